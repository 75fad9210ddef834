"""What a marker lists of savers that name their files in their own way, say nothing, or have no `filename_prefix`."""

import os
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.record.events import PromptCached

from .desk import Desk
from .support import image, marker_node, node, saver, tree, write


def run(desk: Desk, graph: dict[str, Any], written: list[str], reported: dict[str, list[str]]) -> dict[str, list[str]]:
    """What each marker lists, by its path, after a prompt that wrote and reported these files; and after another one

    of the same graph, of which all but the marker is cached.
    """
    desk.begin(graph=graph)
    for name in written:
        write(desk.output / name)
    outputs = {}
    for node_id, names in reported.items():
        outputs[node_id] = {"images": [image(Path(one).name, str(Path(one).parent))["images"][0] for one in names]}
    desk.step(*desk.ran(*graph))
    desk.end(outputs=outputs)
    assert all(one.filename in {Path(name).name for name in written} for one in desk.record().outputs)
    first = listed(desk)
    desk.begin("again", graph)
    markers = [node_id for node_id, one in graph.items() if one["class_type"] == "WriteDoneMarker"]
    rest = frozenset(graph) - {*markers}
    desk.step(PromptCached("again", rest), *desk.ran(*markers, prompt_id="again"))
    desk.end("again", outputs=outputs)
    assert listed(desk) == first
    assert all(desk.marker(path).Cached for path, names in first.items() if names)
    assert len(desk.record("again").outputs) == len(desk.record().outputs)
    return first


def listed(desk: Desk) -> dict[str, list[str]]:
    paths = [path for path in tree(desk.output) if path.endswith((".done", ".failed"))]
    assert all(desk.marker(path).Status == "success" for path in paths)
    return {path: sorted(desk.names(path)) for path in paths}


NO_PREFIX = node("PathSave", images=["1", 0], path="ps", filename="shot")
COUNTED = [
    ["ps/shot_01.png", "ps/shot_02.png"],
    ["ps/shot_1.png"],
    ["ps/shot-0001.png", "ps/shot-0002.png"],
    ["ps/shot.001.exr"],
    ["ps/shot 7.jpg"],
    ["ps/shot7.jpg", "ps/shot8.jpg"],
    ["ps/shot_00001_00002.png"],
    ["ps/shot.png"],
]


@pytest.mark.parametrize("files", COUNTED, ids=lambda files: files[0])
@pytest.mark.parametrize("asked", ["ps/shot", ""])
@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("knows", ["filename_prefix", "other texts"])
def test_counters_of_any_kind(desk: Desk, files: list[str], asked: str, says: bool, knows: str) -> None:
    saves = saver("ps/shot", images=["1", 0]) if knows == "filename_prefix" else NO_PREFIX
    graph = {"1": node("EmptyImage"), "3": saves, "9": marker_node(filename_prefix=asked)}
    found = run(desk, graph, files, {"3": files} if says else {})
    assert found == {"ps/shot.done": sorted(Path(name).name for name in files)}


def test_files_that_lay_there_before_are_not_listed(desk: Desk) -> None:
    write(desk.output / "ps/shot_01.png", modified=1_600_000_000)
    graph = {"1": node("EmptyImage"), "3": NO_PREFIX, "9": marker_node(filename_prefix="ps/shot")}
    assert run(desk, graph, ["ps/shot_02.png"], {}) == {"ps/shot.done": ["shot_02.png"]}


@pytest.mark.parametrize("asked", ["dataset/image", "image", ""])
def test_a_folder_and_a_prefix_in_two_inputs(desk: Desk, asked: str) -> None:
    saves = saver("image", images=["1", 0], folder_name="dataset", mode="overwrite")
    graph = {"1": node("EmptyImage"), "3": saves, "9": marker_node(filename_prefix=asked)}
    files = ["dataset/image_00000.png", "dataset/image_00001.png"]
    assert run(desk, graph, files, {}) == {"dataset/image.done": ["image_00000.png", "image_00001.png"]}


def test_a_silent_saver_that_knows_only_its_folder(desk: Desk) -> None:
    saves = node("Export", images=["1", 0], output_path="renders/day 1", format="png")
    graph = {"1": node("EmptyImage"), "3": saves, "9": marker_node()}
    files = ["renders/day 1/take_1.png", "renders/day 1/take_2.png"]
    assert run(desk, graph, files, {}) == {"renders/day 1/take.done": ["take_1.png", "take_2.png"]}


@pytest.mark.parametrize("asked", ["v/AD", ""])
def test_a_printf_pattern_is_what_matches_it(desk: Desk, asked: str) -> None:
    graph = {"1": node("EmptyImage"), "3": saver("v/AD", images=["1", 0]), "9": marker_node(filename_prefix=asked)}
    files = [f"v/AD_00001.{number:03}.png" for number in range(1, 7)]
    found = run(desk, graph, [*files, "v/AD_00001.png"], {"3": ["v/AD_00001.%03d.png"]})
    assert found == {"v/AD.done": sorted(Path(name).name for name in [*files, "v/AD_00001.png"])}
    assert "%" not in "".join(one.filename for one in desk.record().outputs)


def test_a_pattern_that_nothing_matches_is_a_missing_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.context.stopping = True
    graph = {"1": node("EmptyImage"), "3": saver("v/AD"), "9": marker_node()}
    desk.begin(graph=graph)
    desk.end(outputs={"3": image("AD_%03d.png", "v")})
    assert "node 3 reported AD_%03d.png, which isn't there" in desk.record().notes


def test_what_begins_with_the_prefix_is_listed_rather_than_nothing(desk: Desk) -> None:
    graph = {"1": node("EmptyImage"), "3": node("Odd", images=["1", 0]), "9": marker_node(filename_prefix="s/shot")}
    assert run(desk, graph, ["s/shotA_x.png"], {"3": ["s/shotA_x.png"]}) == {"s/shot.done": ["shotA_x.png"]}
    assert "listed is what begins with this prefix; no name is as a saver makes it" in desk.marker("s/shot.done").Notes


def test_what_is_another_savers_is_said_and_not_listed(desk: Desk) -> None:
    graph = {"1": node("EmptyImage"), "3": saver("s/shot_b"), "9": marker_node(filename_prefix="s/shot")}
    files = ["s/shot_b_00001_.png", "s/shot_b_00002_.png"]
    assert run(desk, graph, files, {"3": files}) == {"s/shot.done": []}
    assert desk.marker("s/shot.done").Notes == [
        "no file was found under this prefix",
        "2 files with a name that begins with it: of the prefix shot_b",
    ]


def test_two_markers_of_which_one_name_begins_the_other(desk: Desk) -> None:
    graph = {
        "3": saver("s/shot"),
        "4": saver("s/shot_2"),
        "8": marker_node(filename_prefix="s/shot"),
        "9": marker_node(filename_prefix="s/shot_2"),
    }
    files = ["s/shot_1.png", "s/shot_2_1.png"]
    found = run(desk, graph, files, {"3": ["s/shot_1.png"], "4": ["s/shot_2_1.png"]})
    assert found == {"s/shot.done": ["shot_1.png"], "s/shot_2.done": ["shot_2_1.png"]}


def test_a_cached_saver_that_ran_since_in_another_graph_has_nothing_of_the_older_run(desk: Desk) -> None:
    """Its sidecars of then are no more what its cached outputs stand for."""
    graph = {"1": node("EmptyImage"), "3": NO_PREFIX, "9": marker_node()}
    for name in ("ps/shot_01.png", "ps/shot_01.json"):
        write(desk.output / name)
    desk.begin(graph=graph)
    for name in ("ps/shot_02.png", "ps/shot_02.json"):
        write(desk.output / name)
    desk.step(*desk.ran(*graph))
    desk.end(outputs={"3": image("shot_02.png", "ps")})
    assert listed(desk) == {"ps/shot.done": ["shot_02.json", "shot_02.png"]}
    write(desk.output / "ps/shot_03.png")
    desk.begin("again", graph)
    desk.step(PromptCached("again", frozenset({"1", "3"})), *desk.ran("9", prompt_id="again"))
    desk.end("again", outputs={"3": image("shot_03.png", "ps")})
    assert "shot_02.json" not in desk.names("ps/shot.done")


@pytest.mark.parametrize("asked", ["drop/a", ""])
def test_a_folder_that_cannot_be_listed_is_not_said_to_be_empty(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    graph = {"1": node("EmptyImage"), "3": saver("drop/a"), "9": marker_node(filename_prefix=asked)}
    desk.begin(graph=graph)
    write(desk.output / "drop/a_00001_.png")
    desk.step(*desk.ran(*graph))
    scandir = os.scandir

    def refused(path: Any = ".") -> Any:
        if Path(path).name == "drop":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    desk.end(outputs={"3": {"images": []}})
    (told,) = desk.marker("drop/a.done").Notes if asked else desk.record().notes
    assert told.endswith(
        "the folder drop can't be read (Permission denied), so files that nobody reported are not known"
    )
