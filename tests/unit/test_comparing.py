"""Two prompts beside each other: what differs is told, what is the same is not, and what can't be told is said."""

import random
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin
from run_recorder.telemetry.models.conditions import Conditions, LoadedModel
from run_recorder.telemetry.models.environment import Environment, Machine, NodePack
from run_recorder.telemetry.models.gpu import Device, System
from run_recorder.telemetry.models.node import Node
from run_recorder.telemetry.models.prompt import Output
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.settings import NodeSettings, settings_list
from run_recorder.telemetry.models.times import iso
from run_recorder.telemetry.models.view import prompt_of
from run_recorder.telemetry.why import pictures
from run_recorder.telemetry.why.comparing import Side, compared

GIB = 2**30


def prompt(prompt_id: str, queued_ms: int | None = 1000, **more: Any) -> Any:
    given = {"status": "success", "queued_ms": queued_ms, "workflow_fingerprint": "1:w", "settings_fingerprint": "2:s"}
    return prompt_of(PromptRecord(prompt_id, 1, "i", **{**given, **more}), {})


def side(prompt_id: str = "a", queued_ms: int | None = 1000, **more: Any) -> Side:
    parts = {name: more.pop(name) for name in ("nodes", "settings", "environment") if name in more}
    known = parts.get("settings")
    settings = settings_list("s", known) if known is not None else None
    made = prompt(prompt_id, queued_ms, **{"conditions": Conditions(), **more})
    return Side(made, parts.get("nodes", []), settings, parts.get("environment"))


def told(one: Side, other: Side, roots: dict[str, Path] | None = None) -> Any:
    return compared(one, other, roots or {})


# ---------------------------------------------------------------- which is older


@pytest.mark.parametrize(
    ("first", "second", "before"),
    [(1000, 2000, "a"), (2000, 1000, "b"), (1000, 1000, "a"), (None, 1000, "a"), (1000, None, "b")],
)
def test_the_older_one_comes_first_whatever_the_order(first: int | None, second: int | None, before: str) -> None:
    assert told(side("a", first), side("b", second)).before.prompt_id == before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1:w", "1:w", True),
        ("1:w", "1:x", False),
        ("1:w", None, None),
        (None, None, None),
        ("1:w", "2:w", None),
    ],
)
def test_workflows_are_the_same_where_that_can_be_told(one: str | None, other: str | None, same: bool | None) -> None:
    found = told(side(workflow_fingerprint=one), side(workflow_fingerprint=other))
    assert found.same_workflow is same
    assert any("two workflows" in note for note in found.notes) is (same is False)


# ---------------------------------------------------------------- settings


def differing(before: dict[str, NodeSettings], after: dict[str, NodeSettings]) -> list[tuple[Any, ...]]:
    found = told(side(settings=before), side(settings=after, queued_ms=2000)).settings
    return [(one.node_id, one.class_type, one.input, one.before, one.after) for one in found]


def test_settings_differ_node_by_node() -> None:
    before: dict[str, NodeSettings] = {
        "3": ("Sampler", {"steps": 20, "cfg": 7.0, "tiled": True}),
        "10": ("A", {"x": 1}),
        "2": ("B", {"y": 1}),
    }
    after: dict[str, NodeSettings] = {
        "3": ("Sampler", {"steps": 30, "cfg": 7, "name": "euler", "tiled": True}),
        "2": ("C", {"y": 1}),
    }
    assert differing(before, after) == [
        ("2", "B", "y", 1, None),
        ("2", "C", "y", None, 1),
        ("3", "Sampler", "name", None, "euler"),
        ("3", "Sampler", "steps", 20, 30),
        ("10", "A", "x", 1, None),
    ]
    assert differing(before, before) == []


def test_true_is_not_one() -> None:
    assert differing({"1": ("A", {"x": True})}, {"1": ("A", {"x": 1})}) == [("1", "A", "x", True, 1)]


def test_settings_that_were_not_kept_are_not_compared() -> None:
    found = told(side(settings={"1": ("A", {"x": 1})}), side(queued_ms=2000))
    assert found.settings == []
    assert "the settings of the newer prompt were not kept, so settings are not compared" in found.notes


# ---------------------------------------------------------------- environment, conditions


def environment(**more: Any) -> Environment:
    given = {
        "id": "e",
        "torch_version": "2.8",
        "machine": Machine(cpu="x", cpu_count=8),
        "distributions": {"numpy": "1", "scipy": "1"},
        "node_packs": [NodePack(name="kj", version="1.0", commit="c1"), NodePack(name="gone")],
    }
    return Environment(**{**given, **more})


def test_environments_differ_by_name() -> None:
    packs = [NodePack(name="kj", version="1.0", commit="c2"), NodePack(name="new", version="2")]
    after = environment(id="f", torch_version="2.9", distributions={"numpy": "2", "torch": "2.9"}, node_packs=packs)
    found = told(side(environment=environment()), side(environment=after, queued_ms=2000)).environment
    assert {one.what: (one.before, one.after) for one in found} == {
        "torch_version": ("2.8", "2.9"),
        "distributions.numpy": ("1", "2"),
        "distributions.scipy": ("1", None),
        "distributions.torch": (None, "2.9"),
        "node_packs.kj": ("1.0 c1", "1.0 c2"),
        "node_packs.gone": ("?", None),
        "node_packs.new": (None, "2"),
    }
    assert told(side(environment=environment()), side(environment=environment(id="g"))).environment == []


def test_launch_options_are_compared_one_by_one_and_not_where_it_listens() -> None:
    before = environment(launch_options=["--port 1", "--lowvram", "--fast fp16_accumulation"])
    after = environment(id="f", launch_options=["--port 2", "--listen 0.0.0.0", "--fast cublas_ops", "--cpu"])
    found = told(side(environment=before), side(environment=after, queued_ms=2000)).environment
    assert {one.what: (one.before, one.after) for one in found} == {
        "launch_options.--lowvram": (True, None),
        "launch_options.--fast": ("fp16_accumulation", "cublas_ops"),
        "launch_options.--cpu": (None, True),
    }


def test_an_environment_that_is_not_known_is_not_compared() -> None:
    found = told(side(environment=environment()), side(queued_ms=2000))
    assert found.environment == []
    assert any("environment of the newer prompt is not known" in note for note in found.notes)


def test_conditions_differ_by_name_and_run_number_is_none_of_them() -> None:
    flux = LoadedModel(name="Flux", device_bytes=1)
    before = Conditions(attention="pytorch", run_since_start=1, models=[flux], warm=False, throttled_seconds={})
    after = Conditions(
        attention="sage", run_since_start=9, models=[], warm=True, throttled_seconds={"temperature": 3.0}
    )
    found = told(side(conditions=before), side(conditions=after, queued_ms=2000)).conditions
    assert {one.what: (one.before, one.after) for one in found} == {
        "attention": ("pytorch", "sage"),
        "models": (["Flux"], []),
        "warm": (False, True),
        "throttled_seconds.temperature": (None, 3.0),
    }


def test_a_record_of_before_conditions_says_so() -> None:
    found = told(side(conditions=None), side(queued_ms=2000))
    assert found.conditions == []
    assert any("conditions of the older prompt were not recorded" in note for note in found.notes)


# ---------------------------------------------------------------- figures, nodes


def test_figures_are_told_with_their_change() -> None:
    one, other = side(duration_seconds=2.0), side(duration_seconds=3.0, queued_ms=2000)
    for which, peak in ((one, 4 * GIB), (other, 6 * GIB)):
        idle = Device(name="other", in_use=False, vram_used_peak_bytes=1)
        which.prompt.devices = [idle, Device(name="card", in_use=True, vram_used_peak_bytes=peak, energy_joules=0)]
    other.prompt.system = System(process_rss_peak_bytes=5)
    found = {one.what: (one.before, one.after, one.change, one.ratio) for one in told(one, other).figures}
    assert found == {
        "duration_seconds": (2.0, 3.0, 1.0, 1.5),
        "vram_used_peak_bytes": (4 * GIB, 6 * GIB, 2 * GIB, 1.5),
        "energy_joules": (0, 0, 0, None),
        "process_rss_peak_bytes": (None, 5, None, None),
    }


def node(node_id: str, seconds: float | None, **more: Any) -> Node:
    given = {"class_type": "A", "duration_seconds": seconds, "started_at": None, "cached": False, "error": None}
    return Node(**{**dict.fromkeys(Node.model_fields), **given, **more, "node_id": node_id})


def test_nodes_come_by_their_absolute_change() -> None:
    before = [node("1", 1.0), node("2", 5.0), node("3", 0.5), node("4", 0.0, cached=True), node("5", None)]
    after = [node("1", 1.5), node("2", 1.0), node("4", 7.0), node("6", 2.0), node("5", None)]
    found = told(side(nodes=before), side(nodes=after, queued_ms=2000)).nodes
    assert [(one.node_id, one.change_seconds, one.before_cached, one.after_cached) for one in found] == [
        ("4", 7.0, True, False),
        ("2", -4.0, False, False),
        ("6", 2.0, None, False),
        ("1", 0.5, False, False),
        ("3", -0.5, False, None),
        ("5", None, False, False),
    ]
    assert (found[0].before_seconds, found[0].after_seconds) == (None, 7.0)


def test_a_node_of_another_class_under_the_same_id_is_another_node() -> None:
    found = told(side(nodes=[node("1", 1.0)]), side(nodes=[node("1", 2.0, class_type="B")], queued_ms=2000)).nodes
    assert [(one.class_type, one.before_seconds, one.after_seconds) for one in found] == [
        ("B", None, 2.0),
        ("A", 1.0, None),
    ]


# ---------------------------------------------------------------- pictures


class Pictures:
    """Pictures in an output folder, and what records say of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.roots = {"output": root}

    def save(self, name: str, picture: Image.Image, **more: Any) -> Output:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **more)
        return self.output(name)

    def output(self, name: str, node_id: str = "9") -> Output:
        status = (self.root / name).lstat()
        folder, _, file = name.rpartition("/")
        return Output(
            node_id=node_id,
            filename=file,
            subfolder=folder,
            type="output",
            bytes=status.st_size,
            modified=iso(status.st_mtime_ns // 1_000_000),
            cached=False,
        )

    def differ(self, one: Output, other: Output) -> Any:
        (found,) = pictures.differences([one], [other], self.roots)
        return found


@pytest.fixture
def shots(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path)


def noise(mode: str = "RGB", size: tuple[int, int] = (20, 10), seed: int = 1) -> Image.Image:
    dice = random.Random(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, dice.randbytes(size[0] * size[1] * bands))


def test_what_a_file_says_of_itself_does_not_count(shots: Pictures) -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("prompt", "a cat")
    one, other = shots.save("a.png", noise()), shots.save("sub/b.png", noise(), pnginfo=words, compress_level=1)
    found = shots.differ(one, other)
    assert (found.identical, found.pixels, found.pixels_different) == (True, 200, 0)
    assert (found.greatest_difference, found.mean_difference, found.note) == (0, 0.0, None)
    assert (found.before, found.after, found.node_id) == ("a.png", "b.png", "9")


def test_pixels_that_differ_are_counted(shots: Pictures) -> None:
    changed = noise()
    for place, by in (((0, 0), 3), ((5, 5), -40)):
        red, green, blue = noise().getpixel(place)  # type: ignore[misc]
        changed.putpixel(place, (max(0, min(255, red + by)), green, blue))
    red = noise().getpixel((5, 5))[0]  # type: ignore[index]
    most = max(min(40, red), 3)
    found = shots.differ(shots.save("a.png", noise()), shots.save("b.png", changed))
    assert (found.identical, found.pixels_different, found.greatest_difference) == (False, 2, most)
    assert found.mean_difference == pytest.approx((3 + min(40, red)) / 800, abs=1e-4)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_kinds_of_pictures_are_compared_too(shots: Pictures, mode: str) -> None:
    picture, other = noise("RGBA").convert(mode), noise("RGBA", seed=2).convert(mode)
    assert shots.differ(shots.save("a.png", picture), shots.save("b.png", picture)).identical is True
    assert shots.differ(shots.save("a.png", picture), shots.save("c.png", other)).identical is False


def test_a_difference_in_what_can_be_seen_through_is_one(shots: Pictures) -> None:
    clear = noise("RGB").convert("RGBA")
    clear.putalpha(254)
    assert shots.differ(shots.save("a.png", noise()), shots.save("b.png", clear)).pixels_different == 200


def test_sixteen_bits_are_compared_to_the_last(shots: Pictures) -> None:
    one = Image.frombytes("I;16", (4, 4), bytes(32))
    other = Image.frombytes("I;16", (4, 4), b"\1" + bytes(31))
    assert shots.differ(shots.save("a.png", one), shots.save("b.png", one)).identical is True
    found = shots.differ(shots.save("a.png", one), shots.save("c.png", other))
    assert (found.identical, found.pixels_different) == (False, None)
    assert "not by how much" in found.note
    found = shots.differ(shots.save("a.png", one), shots.save("d.png", noise(size=(4, 4))))
    assert (found.identical, "mode" in found.note) == (None, True)


def png(color_type: int, low: int) -> bytes:
    """A picture of 4 x 4 pixels with 16 bits a channel, each 0x80 and then `low`."""
    channels = {2: 3, 4: 2, 6: 4}[color_type]
    rows = (b"\0" + bytes((0x80, low)) * channels * 4) * 4
    made = b"\x89PNG\r\n\x1a\n"
    for name, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, color_type, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        made += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return made


@pytest.mark.parametrize("color_type", [2, 4, 6])
def test_of_sixteen_bits_in_colour_nothing_is_said_that_can_t_be_seen(
    shots: Pictures, tmp_path: Path, color_type: int
) -> None:
    for name, low in (("a.png", 0), ("b.png", 0xFF)):
        (tmp_path / name).write_bytes(png(color_type, low))
    found = shots.differ(shots.output("a.png"), shots.output("b.png"))
    assert (found.identical, "16 bits a channel" in found.note) == (None, True)


def test_nothing_of_python_s_or_pillow_s_own_state_is_touched(shots: Pictures) -> None:
    before = list(warnings.filters)
    during: list[Any] = []
    honest = pictures._compare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "_compare", lambda *given: (during.extend(warnings.filters), honest(*given)))
        shots.differ(shots.save("a.png", noise()), shots.save("b.png", noise()))
    assert before == during == list(warnings.filters)


def test_a_file_of_another_kind_is_not_opened_whatever_it_is_called(shots: Pictures, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    noise().save(tmp_path / "b.png", format="TGA")
    found = shots.differ(shots.output("a.png"), shots.output("b.png"))
    assert found.note == "a picture can't be read (UnidentifiedImageError)"


def test_after_so_many_pixels_no_more_are_decoded(shots: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_ALTOGETHER", 800)
    outputs = [shots.save(f"{number}.png", noise()) for number in range(4)]
    told = pictures.differences(outputs, outputs, shots.roots)
    assert [one.identical for one in told] == [True, True, None, None]
    assert told[-1].note == "after 800 pixels no more are compared"


def test_strips_add_up(shots: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = shots.save("a.png", noise()), shots.save("b.png", noise(seed=2))
    whole = shots.differ(one, other)
    monkeypatch.setattr(pictures, "STRIP", 45)
    assert shots.differ(one, other) == whole


def test_of_moving_pictures_the_same_first_frame_says_nothing(shots: Pictures) -> None:
    more = {"save_all": True, "append_images": [noise(seed=2)], "duration": 100, "loop": 0}
    one, same = (
        shots.save("a.webp", noise(), lossless=True, **more),
        shots.save("b.webp", noise(), lossless=True, **more),
    )
    other = shots.save("c.webp", noise(seed=3), lossless=True, **more)
    assert (shots.differ(one, same).identical, shots.differ(one, other).identical) == (None, False)
    assert "first frames" in shots.differ(one, same).note


def test_pictures_of_two_sizes_are_not_the_same(shots: Pictures) -> None:
    found = shots.differ(shots.save("a.png", noise()), shots.save("b.png", noise(size=(10, 10))))
    assert (found.identical, found.note) == (False, "20 x 10 before, 10 x 10 after")


def test_a_picture_that_is_not_what_the_record_says_is_not_compared(shots: Pictures, tmp_path: Path) -> None:
    good, other = shots.save("a.png", noise()), shots.save("b.png", noise())
    shots.save("b.png", noise(seed=2, size=(21, 10)))
    assert "written anew" in shots.differ(good, other).note
    (tmp_path / "b.png").unlink()
    assert "not there any more" in shots.differ(good, other).note
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert "not there any more" in shots.differ(good, other).note
    assert "not there any more" in shots.differ(good, good.model_copy(update={"subfolder": "../.."})).note
    assert "not there any more" in shots.differ(good, good.model_copy(update={"type": "temp"})).note
    assert "not there any more" in shots.differ(good, good.model_copy(update={"filename": "x\0y.png"})).note


@pytest.mark.parametrize("data", [b"", b"no picture", bytes(range(256)) * 40])
def test_a_corrupt_picture_is_said(shots: Pictures, tmp_path: Path, data: bytes) -> None:
    good = shots.save("a.png", noise())
    (tmp_path / "b.png").write_bytes(data)
    found = shots.differ(good, shots.output("b.png"))
    assert (found.identical, found.note) == (None, "a picture can't be read (UnidentifiedImageError)")
    cut = (tmp_path / "a.png").read_bytes()[:200]
    (tmp_path / "c.png").write_bytes(cut)
    assert "can't be read" in shots.differ(good, shots.output("c.png")).note


def test_a_picture_that_is_too_large_is_not_decoded(shots: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 199)
    found = shots.differ(shots.save("a.png", noise()), shots.save("b.png", noise()))
    assert (found.identical, "199 pixels" in found.note) == (None, True)


def test_pictures_are_paired_by_node_and_place(shots: Pictures) -> None:
    def outputs(*names: tuple[str, str]) -> list[Output]:
        for _, name in names:
            shots.save(name, noise())
        return [shots.output(name, node_id) for node_id, name in names]

    before = outputs(("1", "a.png"), ("1", "b.png"), ("2", "c.png"), ("3", "d.png"))
    after = outputs(("1", "e.png"), ("2", "f.png"), ("2", "g.png"), ("4", "h.png"))
    before.append(before[0].model_copy(update={"filename": "film.mp4", "node_id": "2"}))
    assert [(one.filename, other.filename) for one, other in pictures.pairs(before, after)] == [
        ("a.png", "e.png"),
        ("c.png", "f.png"),
    ]
    assert len(pictures.pairs(before[:1] * 50, after[:1] * 50)) == pictures.MOST_PICTURES
