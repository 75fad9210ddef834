"""What counts for the sentinel, what is no success, and what can't be marked."""

import json
import os
import time
from pathlib import Path

import pytest
from run_recorder.telemetry.markers.prefix import EXTENSIONS

from ..hosts import cli
from ..unit.support import tree

PROMISED = (
    "png jpg jpeg webp gif exr tif tiff bmp avif svg mp4 webm mov mkv avi flac wav mp3 opus ogg glb gltf obj ply stl "
    "usdz latent safetensors json txt csv md fbx ksplat spz splat apng jxl m4a srt psd hdr dpx tga heic m4v mpg aac "
    "npz pt usd"
).split()


def put(folder: Path, *names: str, data: bytes = b"data") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (time.time() - 60,) * 2)


def once(folder: Path, *options: str) -> tuple[int, list[str], str]:
    """The exit code, the markers that lie there, and what was said."""
    done = cli("sentinel", "watch", str(folder), "--once", *options)
    return done.returncode, [name for name in tree(folder) if name.endswith((".done", ".failed"))], done.stderr


def test_all_that_is_promised_counts_and_nothing_else(tmp_path: Path) -> None:
    assert set(PROMISED) == EXTENSIONS
    put(tmp_path, *(f"{extension}/a_00001_.{extension.upper()}" for extension in PROMISED), "exe/a_00001_.exe")
    assert once(tmp_path)[:2] == (0, sorted(f"{extension}/a.done" for extension in PROMISED))


@pytest.mark.parametrize(
    ("given", "marked"),
    [
        ("blend", ["b.done"]),
        (".BLEND, vdb", ["b.done", "v.done"]),
        ("+blend", ["a.done", "b.done"]),
        ("png", ["a.done"]),
    ],
)
def test_what_counts_can_be_changed(tmp_path: Path, given: str, marked: list[str]) -> None:
    put(tmp_path, "a_00001_.png", "b_00001_.blend", "v_00001_.vdb")
    assert once(tmp_path, "--extensions", given)[:2] == (0, marked)


@pytest.mark.parametrize("given", ["", "+", "png,", "p ng", "../x", "done", "tmp", "part", "x" * 17, "png;rm"])
def test_what_can_not_count_is_bad_use(tmp_path: Path, given: str) -> None:
    put(tmp_path, "a_00001_.png")
    code, marked, said = once(tmp_path, "--extensions", given)
    assert (code, marked) == (2, [])
    assert "--extensions" in said


def test_a_group_with_an_empty_file_is_no_success_until_it_has_something_in_it(tmp_path: Path) -> None:
    put(tmp_path, "a_00001_.png", "a_00003_.png")
    put(tmp_path, "a_00002_.png", data=b"")
    assert once(tmp_path)[:2] == (0, ["a.failed"])
    marker = json.loads((tmp_path / "a.failed").read_text("utf-8"))
    assert (marker["Status"], marker["FrameCount"], marker["Notes"]) == ("error", 3, ["a_00002_.png is empty"])
    assert once(tmp_path)[:2] == (0, ["a.failed"]), "it stands"
    put(tmp_path, "a_00002_.png")
    assert once(tmp_path)[:2] == (0, ["a.done"])


@pytest.mark.parametrize("name", ["CON_00001_.png", "a\nb_00001_.png", "x" * 250 + ".png", "a .png", "a.._00001_.png"])
def test_a_name_that_can_not_be_marked_is_said_and_costs_the_exit_code(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "good_00001_.png")
    code, marked, said = once(tmp_path)
    assert (code, marked) == (1, ["good.done"])
    assert "can't be marked" in said and "1 marked" in said


def test_numbered_frames_of_a_numbered_sequence_are_one_group(tmp_path: Path) -> None:
    put(tmp_path, "AD_00001.png", *(f"AD_00001.{number:03}.png" for number in range(1, 25)))
    assert once(tmp_path)[:2] == (0, ["AD.done"])
    assert json.loads((tmp_path / "AD.done").read_text("utf-8"))["FrameCount"] == 25
