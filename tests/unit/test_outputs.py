"""What nodes report, in every shape that ComfyUI's savers and custom nodes give it."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.markers import outputs as outputs_module
from run_recorder.telemetry.markers.outputs import MAX_NAME, ReportedFile, inside, look_at, reported_files

from .support import image, write


def shown(outputs: Any) -> list[tuple[str | None, str, str, str | None]]:
    return [(file.node_id, file.subfolder, file.filename, file.type) for file in reported_files(outputs)]


@pytest.mark.parametrize(
    "values",
    [
        image("x.png", "s"),
        {**image("x.png", "s"), "animated": (True,)},
        {**image("x.png", "s"), "animated": [True]},
        image("x.png", "s", key="latents"),
        image("x.png", "s", key="audio"),
        image("x.png", "s", key="3d"),
        image("x.png", "s", key="gifs"),
        image("x.png", "s", key="videos"),
        image("x.png", "s", key="a_images"),
        {"text": list("a whole text, as letters"), **image("x.png", "s", key="files")},
        {"text": ("the whole text.png",), **image("x.png", "s", key="files")},
        {"images": ({"filename": "x.png", "subfolder": "s", "type": "output"},)},
        {"images": {"filename": "x.png", "subfolder": "s", "type": "output"}},
        {"images": [{"filename": "x.png", "subfolder": "s", "type": "output", "id": "asset", "format": "png"}]},
        {"images": [*image("x.png", "s")["images"] * 2]},
        {**image("x.png", "s"), **image("x.png", "s", key="files")},
        {**image("x.png", "s"), "odd": [None, 3, {"filename": 7}, object(), [["nested"]], b"x"]},
        image("x.png", "s/"),
        image("x.png", "./s"),
    ],
)
def test_every_saver_s_shape_is_one_file(values: dict[str, Any]) -> None:
    assert shown({"9": values}) == [("9", "s", "x.png", "output")]


def test_a_path_in_result_is_a_file_of_unknown_kind() -> None:
    outputs = {"9": {"result": ["mesh/a_00001_.glb", None, {"camera": 1}]}}
    (file,) = reported_files(outputs)
    assert (file.subfolder, file.filename, file.type, file.guessed) == ("mesh", "a_00001_.glb", None, True)


@pytest.mark.parametrize(
    "value", ["just words", "no suffix/", "a.png\n", "x" * (MAX_NAME + 1) + ".png", "", "a.toolongsuffix"]
)
def test_a_text_in_result_that_is_no_path_is_no_file(value: str) -> None:
    assert reported_files({"9": {"result": [value]}}) == []


def test_texts_under_other_keys_and_lists_of_characters_are_no_files() -> None:
    assert reported_files({"9": {"text": ["a.png"], "string": list("mesh/a.glb"), "result": list("a.glb")}}) == []


def test_a_backslash_in_a_result_separates() -> None:
    assert shown({"9": {"result": "mesh\\a.glb"}}) == [("9", "mesh", "a.glb", None)]


@pytest.mark.parametrize("outputs", [{}, {"9": None}, {"9": []}, {"9": "x"}, {"9": {}}, {"9": {"images": None}}])
def test_a_node_that_reports_nothing_is_no_file(outputs: Any) -> None:
    assert reported_files(outputs) == []


@pytest.mark.parametrize("filename", [None, 7, "", "a\0b", "x" * (MAX_NAME + 1)])
def test_an_entry_without_a_usable_name_is_no_file(filename: Any) -> None:
    assert reported_files({"9": {"images": [{"filename": filename, "subfolder": "", "type": "output"}]}}) == []


@pytest.mark.parametrize(
    ("entry", "subfolder", "kind"),
    [
        ({}, "", None),
        ({"subfolder": None, "type": None}, "", None),
        ({"subfolder": 7, "type": 7}, "", None),
        ({"subfolder": "a\0b", "type": "x" * 33}, "", None),
        ({"subfolder": "a\\b", "type": "temp"}, "a/b", "temp"),
        ({"subfolder": "a//b/.", "type": "x" * 32}, "a/b", "x" * 32),
        ({"subfolder": "/etc"}, "/etc", None),
        ({"subfolder": "\\\\host\\x"}, "/host/x", None),
        ({"subfolder": "../up"}, "../up", None),
        ({"subfolder": "x" * 2000}, "x" * MAX_NAME, None),
    ],
)
def test_subfolder_and_type_are_tidied_or_unknown(entry: dict[str, Any], subfolder: str, kind: str | None) -> None:
    assert shown({"9": {"images": [{"filename": "a", **entry}]}}) == [("9", subfolder, "a", kind)]


@pytest.mark.parametrize(
    ("filename", "subfolder", "told"),
    [
        ("s/a.png", "", [("s", "a.png")]),
        ("t/a.png", "s", [("s/t", "a.png")]),
        ("./t//a.png", "s/", [("s/t", "a.png")]),
        ("/etc/passwd", "s", [("/etc", "passwd")]),
        ("/passwd", "s", [("/", "passwd")]),
        ("../../up.png", "s", [("s/../..", "up.png")]),
        ("C:\\me\\a.png", "s", [("s/C:/me", "a.png") if os.name == "nt" else ("s", "C:\\me\\a.png")]),
        ("s/", "", []),
        ("/", "", []),
    ],
)
def test_a_folder_in_a_file_s_name_is_part_of_its_subfolder(
    filename: str, subfolder: str, told: list[tuple[str, str]], tmp_path: Path
) -> None:
    found = reported_files({"9": image(filename, subfolder)})
    assert [file.key for file in found] == told
    for file in found:
        where = inside(tmp_path, file)
        assert where is None or tmp_path in where.parents


def test_the_same_file_of_two_nodes_or_two_kinds_is_told_of_each() -> None:
    outputs = {1: image("a.png"), "2": {"x": [*image("a.png")["images"], *image("a.png", kind="temp")["images"]]}}
    assert shown(outputs) == [("1", "", "a.png", "output"), ("2", "", "a.png", "output"), ("2", "", "a.png", "temp")]


def test_there_is_a_limit_to_what_one_prompt_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "MAX_OUTPUTS", 3)
    entries = [{"filename": f"{number}.png"} for number in range(9)]
    assert [file.filename for file in reported_files({"9": {"images": entries}})] == ["0.png", "1.png", "2.png"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["filename", "subfolder", "type", "result", "images"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_ui_values_may_hold_anything(values: Any) -> None:
    for file in reported_files({"9": values if isinstance(values, dict) else {"result": values, "images": values}}):
        assert 0 <= len(file.filename) <= MAX_NAME


# ---------------------------------------------------------------- on the disk


def reported(filename: str, subfolder: str = "", kind: str | None = "output") -> ReportedFile:
    return ReportedFile("9", filename, subfolder, kind)


def test_a_reported_file_lies_below_its_root(tmp_path: Path) -> None:
    assert inside(tmp_path, reported("a.png")) == tmp_path / "a.png"
    assert inside(tmp_path, reported("a.png", "s/t")) == tmp_path / "s" / "t" / "a.png"


@pytest.mark.parametrize(
    ("filename", "subfolder"),
    [("a", ".."), ("a", "s/../.."), ("..", ""), ("a", "/etc"), ("x/a", ""), ("/etc/passwd", ""), ("a", "C:/x")],
)
def test_a_hostile_name_lies_nowhere(tmp_path: Path, filename: str, subfolder: str) -> None:
    assert inside(tmp_path, reported(filename, subfolder)) is None
    file = reported(filename, subfolder)
    look_at(file, {"output": tmp_path})
    assert file.stamp is None


@pytest.mark.parametrize(
    ("kind", "where", "found"),
    [
        ("output", "output", "output"),
        ("temp", "temp", "temp"),
        ("input", "input", "input"),
        (None, "output", "output"),
        (None, "temp", "temp"),
        ("temp", "output", None),
        (None, "input", None),
        ("elsewhere", "output", None),
    ],
)
def test_the_disk_says_size_and_kind(tmp_path: Path, kind: str | None, where: str, found: str | None) -> None:
    roots = {name: tmp_path / name for name in ("output", "temp", "input")}
    write(tmp_path / where / "s" / "a.png", b"12345")
    file = reported("a.png", "s", kind)
    look_at(file, roots)
    assert (file.stamp.bytes if file.stamp else None) == (5 if found else None)
    assert file.type == (found or kind)
    assert file.key == ("s", "a.png")


def test_a_file_that_is_gone_loses_its_stamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    file = reported("a.png")
    look_at(file, {"output": tmp_path})
    assert file.stamp is not None
    path.unlink()
    look_at(file, {"output": tmp_path})
    assert file.stamp is None
