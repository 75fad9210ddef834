"""Preflight and the server agree: what passes is run whole, and what fails is refused, whole or in part."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_recorder.client.comfy_client import ComfyClient
from run_recorder.runner.preflight import Check, preflight
from run_recorder.runner.workflow import read_workflow

from .graphs import Graph, Link
from .hosts import REPO, Host

Draw = Callable[[Graph], object]
FOLDER = "agree"


def image(graph: Graph, **changed: Any) -> Link:
    given = {"width": 16, "height": 16, "batch_size": 1, "color": 3} | changed
    return graph.add("EmptyImage", **given)


def saver(images: Any, **more: Any) -> Draw:
    return lambda graph: graph.add("SaveImage", images=images, **({"filename_prefix": f"{FOLDER}/a"} | more))


def with_image(**changed: Any) -> Draw:
    return lambda graph: graph.save(image(graph, **changed), f"{FOLDER}/a")


def linked(*link: Any) -> Draw:
    def draw(graph: Graph) -> None:
        image(graph)
        saver(list(link))(graph)

    return draw


def unused(class_type: str, **inputs: Any) -> Draw:
    def draw(graph: Graph) -> None:
        with_image()(graph)
        graph.add(class_type, **inputs)

    return draw


def through(class_type: str, name: str = "image", **inputs: Any) -> Draw:
    def draw(graph: Graph) -> None:
        made = graph.add(class_type, **{name: image(graph)}, **inputs)
        graph.save(made, f"{FOLDER}/a")

    return draw


def loaded(name: Any, class_type: str = "LoadImage", **inputs: Any) -> Draw:
    return lambda graph: graph.save(graph.add(class_type, image=name, **inputs), f"{FOLDER}/a")


def beside(other: Draw) -> Draw:
    """An output that is good, and another."""

    def draw(graph: Graph) -> None:
        with_image()(graph)
        other(graph)

    return draw


def cycle(graph: Graph) -> None:
    graph.add("ImageInvert", image=["2", 0])
    graph.add("ImageInvert", image=["1", 0])
    graph.save(["2", 0], f"{FOLDER}/a")


def itself(graph: Graph) -> None:
    graph.add("ImageInvert", image=["1", 0])
    graph.save(["1", 0], f"{FOLDER}/a")


def unused_cycle(graph: Graph) -> None:
    with_image()(graph)
    graph.add("ImageInvert", id="a", image=["b", 0])
    graph.add("ImageInvert", id="b", image=["a", 0])


def cycle_upstream(graph: Graph) -> None:
    """Two savers, of which one hangs on a cycle three nodes away."""
    with_image()(graph)
    graph.add("ImageInvert", id="a", image=["b", 0])
    graph.add("ImageInvert", id="b", image=["a", 0])
    graph.add("ImageInvert", id="c", image=["b", 0])
    graph.save(["c", 0], f"{FOLDER}/b")


def diamond(graph: Graph) -> None:
    made = image(graph)
    one, other = graph.add("ImageInvert", image=made), graph.add("ImageInvert", image=made)
    graph.save(one, f"{FOLDER}/a")
    graph.save(other, f"{FOLDER}/b")


def long_chain(graph: Graph) -> None:
    made = image(graph)
    for _ in range(60):
        made = graph.add("ImageInvert", image=made)
    graph.save(made, f"{FOLDER}/a")


def no_inputs_field(graph: Graph) -> None:
    with_image()(graph)
    del graph["2"]["inputs"]


def extra_inputs(graph: Graph) -> None:
    made = image(graph, nobody_knows=["99", 7], other="x")
    graph.save(made, f"{FOLDER}/a", also={"a": 1})


def grown(**images: int) -> Draw:
    def draw(graph: Graph) -> None:
        made = [image(graph, color=number) for number in range(3)]
        given = {f"images.{name}": made[which] for name, which in images.items()}
        graph.save(graph.add("BatchImagesNode", **given), f"{FOLDER}/a")

    return draw


def latent_into_saver(graph: Graph) -> None:
    graph.save(graph.add("EmptyLatentImage", width=64, height=64, batch_size=1), f"{FOLDER}/a")


def switched(**sides: bool) -> Draw:
    def draw(graph: Graph) -> None:
        made = image(graph)
        graph.add("ComfySoftSwitchNode", switch=True, **{name: made for name, there in sides.items() if there})
        graph.save(["2", 0], f"{FOLDER}/a")

    return draw


def custom_combo(graph: Graph) -> None:
    graph.add("PreviewAny", source=graph.add("CustomCombo", choice="what nobody lists", index=3, option1="x"))


def text_into_choice(graph: Graph) -> None:
    text = graph.add("PrimitiveString", value="area")
    graph.save(graph.add("ImageScaleBy", image=image(graph), upscale_method=text, scale_by=1.0), f"{FOLDER}/a")


SCALE = {"upscale_method": "area", "scale_by": 1.0}
GRAPHS: dict[str, Draw] = {
    "plain": with_image(),
    "empty_is_no_prompt": lambda graph: graph.add("PreviewAny"),
    "no_output": image,
    "diamond": diamond,
    "chain_of_60": long_chain,
    "extra_inputs_are_not_looked_at": extra_inputs,
    "node_without_inputs": no_inputs_field,
    # links
    "link_to_nothing": linked("9", 0),
    "link_by_number": linked(1, 0),
    "link_of_one": linked("1"),
    "link_of_three": linked("1", 0, 0),
    "link_empty": linked(),
    "link_slot_too_big": linked("1", 3),
    "link_slot_text": linked("1", "0"),
    "link_slot_fraction": linked("1", 0.0),
    "link_slot_null": linked("1", None),
    "link_slot_from_the_end": linked("1", -1),
    "link_slot_too_far_from_the_end": linked("1", -2),
    "link_slot_true": linked("1", True),
    "link_slot_false": linked("1", False),
    "link_from_null": linked(None, 0),
    "link_from_a_list": linked(["1"], 0),
    "value_for_a_link_is_null": saver(None),
    "value_for_a_link_is_text": saver("1"),
    "type_mismatch": latent_into_saver,
    "second_output_of_another_type": lambda graph: graph.save([loaded("in.png")(graph)[0], 1], f"{FOLDER}/b"),  # type: ignore[index]
    "any_type": lambda graph: graph.add("PreviewAny", source=image(graph)),
    "text_into_a_choice": text_into_choice,
    # cycles
    "cycle": cycle,
    "hangs_on_itself": itself,
    "cycle_that_nothing_uses": unused_cycle,
    "cycle_upstream_of_one_output": cycle_upstream,
    # values
    "number_as_text": with_image(width="16"),
    "number_as_text_with_spaces": with_image(width=" 16 "),
    "number_as_word": with_image(width="wide"),
    "number_as_fraction_text": with_image(width="16.0"),
    "number_with_fraction": with_image(width=16.7),
    "number_true": with_image(batch_size=True),
    "number_null": with_image(width=None),
    "number_object": with_image(width={"a": 1}),
    "number_empty": with_image(width=""),
    "number_too_small": with_image(width=0),
    "number_too_large": with_image(width=99999),
    "number_at_its_most": with_image(color=0xFFFFFF),
    "number_false_is_less": with_image(batch_size=False),
    "wrapped_number": with_image(width={"__value__": 32}),
    "wrapped_list": with_image(width={"__value__": [1]}),
    "wrapped_too_large": with_image(width={"__value__": 99999}),
    "number_missing": lambda graph: graph.save(graph.add("EmptyImage", width=16, height=16), f"{FOLDER}/a"),
    "text_from_number": lambda graph: graph.save(image(graph), 7),
    "text_from_null": lambda graph: graph.add("PreviewAny", source=None),
    "fraction_as_text": through("ImageScaleBy", **SCALE | {"scale_by": "1.5"}),
    "fraction_too_small": through("ImageScaleBy", **SCALE | {"scale_by": 0.001}),
    "choice_unknown": through("ImageScaleBy", **SCALE | {"upscale_method": "no-such-method"}),
    "choice_in_another_case": through("ImageScaleBy", **SCALE | {"upscale_method": "AREA"}),
    "choice_number": through("ImageScaleBy", **SCALE | {"upscale_method": 1}),
    "choice_null": through("ImageScaleBy", **SCALE | {"upscale_method": None}),
    "choice_object": through("ImageScaleBy", **SCALE | {"upscale_method": {"a": 1}}),
    "choices_of_the_node_s_own": custom_combo,
    # what outputs don't reach
    "unused_model": unused("CheckpointLoaderSimple", ckpt_name="nope.safetensors"),
    "used_model": beside(
        lambda graph: graph.add("PreviewAny", source=graph.add("CheckpointLoaderSimple", ckpt_name="nope"))
    ),
    "unused_and_incomplete": unused("ImageScaleBy"),
    "unused_link_to_nothing": unused("ImageInvert", image=["77", 0]),
    "unused_class_unknown": unused("NobodyHasThis"),
    "one_of_two_refused": beside(saver(["77", 0])),
    "one_of_two_incomplete": beside(lambda graph: graph.add("SaveImage", filename_prefix="x")),
    # files
    "file": loaded("in.png"),
    "file_in_a_folder": loaded("sub/in.png"),
    "file_in_a_deeper_folder": loaded("sub/deep/in.png"),
    "file_of_input": loaded("in.png [input]"),
    "file_of_input_in_a_folder": loaded("sub/in.png [input]"),
    "file_of_output": loaded("there.png [output]"),
    "file_of_output_in_a_folder": loaded("sub/there.png [output]"),
    "file_of_temp": loaded("t.png [temp]"),
    "file_without_the_space": loaded("there.png[output]"),
    "file_absent": loaded("none.png"),
    "file_absent_of_output": loaded("none.png [output]"),
    "file_absent_in_a_folder": loaded("sub/none.png"),
    "file_absent_of_input": loaded("there.png [input]"),
    "file_absent_of_temp": loaded("in.png [temp]"),
    "file_of_no_such_place": loaded("in.png [models]"),
    "file_outside": loaded("../output/there.png"),
    "file_clipspace": loaded("clipspace/c.png [input]"),
    "file_clipspace_absent": loaded("clipspace/x.png [input]"),
    "file_in_another_case": loaded("IN.PNG"),
    "file_is_a_number": loaded(5),
    "file_is_null": loaded(None),
    "file_of_a_mask": lambda graph: graph.add(
        "PreviewAny", source=graph.add("LoadImageMask", image="sub/in.png", channel="alpha")
    ),
    "file_of_an_output_loader": loaded("there.png [output]", "LoadImageOutput"),
    "file_absent_of_an_output_loader": loaded("none.png [output]", "LoadImageOutput"),
    "latent_absent": lambda graph: graph.add("PreviewAny", source=graph.add("LoadLatent", latent="none.latent")),
    "video_absent": lambda graph: graph.add("PreviewAny", source=graph.add("LoadVideo", file="none.mp4")),
    "video_there": lambda graph: graph.add("PreviewAny", source=graph.add("LoadVideo", file="sub/v.mp4")),
    # inputs that grow
    "list_of_one": grown(image0=0),
    "list_of_three": grown(image0=0, image1=1, image2=2),
    "list_without_its_first": grown(image1=0),
    "list_empty": grown(),
    "list_with_a_gap": grown(image0=0, image7=1),
    "resized": through(
        "ResizeImageMaskNode",
        "input",
        **{"resize_type": "scale by multiplier", "resize_type.multiplier": 2.0, "scale_method": "area"},
    ),
    "resized_without_its_number": through(
        "ResizeImageMaskNode", "input", resize_type="scale by multiplier", scale_method="area"
    ),
    "resized_too_much": through(
        "ResizeImageMaskNode",
        "input",
        **{"resize_type": "scale by multiplier", "resize_type.multiplier": 99, "scale_method": "area"},
    ),
    "resized_by_the_numbers_of_another_choice": through(
        "ResizeImageMaskNode",
        "input",
        **{"resize_type": "scale dimensions", "resize_type.multiplier": 2, "scale_method": "area"},
    ),
    "switch_with_one_side": switched(on_true=True),
    "switch_with_none": switched(),
    # classes that are gone
    "class_replaced": lambda graph: graph.save(
        graph.add("ResizeImagesByLongerEdge", images=image(graph), longer_edge=8), f"{FOLDER}/a"
    ),
    "class_replaced_and_wrong": lambda graph: graph.save(
        graph.add("ResizeImagesByLongerEdge", images=image(graph), longer_edge="wide"), f"{FOLDER}/a"
    ),
    "class_unknown": beside(lambda graph: graph.add("SaveImag", filename_prefix="x")),
    # ours
    "marker": beside(lambda graph: graph.add("WriteDoneMarker", filename_prefix=f"{FOLDER}/a")),
    "marker_outside": beside(lambda graph: graph.add("WriteDoneMarker", filename_prefix="../a")),
    "marker_of_no_such_time": beside(lambda graph: graph.add("WriteDoneMarker", filename_prefix="", when="soon")),
}


@pytest.fixture(scope="module")
def given(shared_host: Host) -> Host:
    """The host with some files in its folders."""
    for name in (
        "input/in.png",
        "input/sub/in.png",
        "input/sub/deep/in.png",
        "input/clipspace/c.png",
        "input/sub/v.mp4",
        "output/there.png",
        "output/sub/there.png",
        "temp/t.png",
    ):
        path = shared_host.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path, "PNG")
    return shared_host


def checks_of(host: Host, graph: dict[str, Any], tmp_path: Path) -> list[Check]:
    async def look() -> list[Check]:
        async with ComfyClient(host.url) as client:
            return await preflight(client, [graph], output=tmp_path)

    return asyncio.run(look())


def agreed(host: Host, graph: dict[str, Any], tmp_path: Path) -> tuple[bool, bool, str]:
    checks = [
        one for one in checks_of(host, graph, tmp_path) if one.name in ("node classes", "inputs", "models", "server")
    ]
    passes = not any(one.status == "failed" for one in checks)
    status, told = host.post(graph)
    runs = status == 200 and not told["node_errors"]
    return passes, runs, f"preflight: {checks}\nserver: {status} {json.dumps(told)[:1500]}"


@pytest.mark.parametrize("name", GRAPHS)
def test_preflight_and_the_server_agree_on(given: Host, host: Host, tmp_path: Path, name: str) -> None:
    graph = Graph()
    GRAPHS[name](graph)
    passes, runs, why = agreed(host, graph, tmp_path)
    assert passes == runs, why


@pytest.mark.parametrize(
    "path", sorted((REPO / "example_workflows" / "api").glob("*.json")), ids=lambda path: str(path.stem)
)
def test_preflight_and_the_server_agree_on_every_example(given: Host, host: Host, tmp_path: Path, path: Path) -> None:
    if path.stem == "story":
        pytest.skip("a story, no workflow")
    text = path.read_text("utf-8")
    for placeholder, value in {"__SEED__": 5, "__FRAMES__": 2}.items():
        text = text.replace(f'"{placeholder}"', str(value))
    for placeholder in ("PROMPT", "PREFIX"):
        text = text.replace(f"__SCENE_{placeholder}__", FOLDER)
    text = text.replace("__NEGATIVE_PROMPT__", "x").replace("__KEYFRAME_IMAGE__", "in.png")
    copy = tmp_path / path.name
    copy.write_text(text, "utf-8")
    passes, runs, why = agreed(host, read_workflow(copy), tmp_path)
    assert passes == runs, why


def test_what_is_wrong_is_said_with_node_and_input(given: Host, host: Host, tmp_path: Path) -> None:
    graph = Graph()
    through("ImageScaleBy" if host.kind == "real" else "ImageInvert")(graph)
    graph["1"]["inputs"]["width"] = 99999
    graph.save(["1", 3], f"{FOLDER}/b")
    (found,) = [one for one in checks_of(host, graph, tmp_path) if one.name == "inputs"]
    assert "node 1 (EmptyImage), width: 99999 is more than its most, 16384" in found.found
    assert "images: it is wired to output 3 of node 1 (EmptyImage), which has 1" in found.found


def test_a_graph_that_is_run_in_part_is_a_warning_where_that_is_allowed(
    given: Host, host: Host, tmp_path: Path
) -> None:
    graph = Graph()
    beside(saver(["77", 0]))(graph)

    async def look(graph: dict[str, Any]) -> list[Check]:
        async with ComfyClient(host.url) as client:
            return await preflight(client, [graph], output=tmp_path, allow_partial=True)

    statuses = {one.name: one.status for one in asyncio.run(look(graph))}
    assert statuses["inputs"] == "warning"
    del graph["1"], graph["2"]
    statuses = {one.name: one.status for one in asyncio.run(look(graph))}
    assert statuses["inputs"] == "failed", "nothing of it would be run"
