"""The recorder's markers in an output folder that others may write to, or that is another one in mid-prompt."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.markers import size as marker_size
from run_recorder.telemetry.markers.file import (
    MAX_MARKER_BYTES,
    MarkedFile,
    MarkerError,
    encode,
    make_marker,
    read_marker,
    remove_stale,
    take_away,
    write_marker,
)
from run_recorder.telemetry.markers.folder import FileStamp, stamp_of
from run_recorder.telemetry.markers.hashing import MAX_HASHED_BYTES
from run_recorder.telemetry.markers.size import MAX_NOTES, fitting_files
from run_recorder.telemetry.models.marker import MarkerFile

from ..graphs import saved
from ..hosts import Host
from ..unit.support import place, tree, write
from ..unit.test_writer import Desk, image, ready
from .test_output_folder import ODD, a_folder, a_link, a_pipe, untouched

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="links and pipes"), pytest.mark.timeout(60, func_only=True)]
ENTRIES = {what: make for what, make in ODD.items() if what not in ("larger", "too deep")}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"somebody else's")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "outside").mkdir()
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


@pytest.fixture
def desk(tmp_path: Path, output: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.database.close()


# ---------------------------------------------------------------- the marker's own code


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_marker_is_not_read(output: Path, what: str) -> None:
    ODD[what](output / "a.done")
    with pytest.raises(MarkerError, match=r"^a\.done ") as told:
        read_marker(output / "a.done")
    assert "somebody" not in str(told.value)
    assert take_away(output / "a.done", lambda _marker: True) is None
    assert os.path.lexists(output / "a.done")


@pytest.mark.parametrize("what", ENTRIES)
def test_a_marker_takes_the_place_of_all_but_a_folder(output: Path, what: str) -> None:
    where = place(output, "a")
    marker = make_marker(where, [], status="success", producer="node", prompt_id="p")
    ENTRIES[what](output / "a.done")
    if what == "a folder":
        with pytest.raises(MarkerError, match=r"a\.done could not be put in place"):
            write_marker(where, marker)
    else:
        write_marker(where, marker)
        assert read_marker(output / "a.done").PromptId == "p"
    untouched(output)


@pytest.mark.parametrize("what", ENTRIES)
def test_stale_removal_takes_the_entry_and_nothing_behind_it(output: Path, what: str) -> None:
    ENTRIES[what](output / "a.done")
    assert remove_stale(place(output, "a")) is (what != "a folder")
    assert os.path.lexists(output / "a.done") is (what == "a folder")
    untouched(output)


@pytest.mark.parametrize("what", ENTRIES)
def test_only_regular_files_are_hashed(output: Path, what: str) -> None:
    """What was a file when it was listed may be something else when it is read."""
    write(output / "a_1.png", b"data")
    ENTRIES[what](output / "a_2.png")
    stamp = stamp_of(output / "a_1.png") or FileStamp(0, 0, "")
    files = [MarkedFile(name, stamp) for name in ("a_1.png", "a_2.png")]
    made = make_marker(place(output, "a"), files, status="success", producer="node", prompt_id="p", hash_files=True)
    assert [file.Sha256 for file in made.Files] == [hashlib.sha256(b"data").hexdigest(), None]
    assert any("a_2.png could not be read for its hash (is a" in note for note in made.Notes)


def test_a_file_that_claims_a_size_beyond_all_reason_is_not_hashed(output: Path) -> None:
    write(output / "a.png", b"data")
    os.truncate(output / "a.png", MAX_HASHED_BYTES + 1)
    files = [MarkedFile("a.png", FileStamp(4, 1, "1"))]
    made = make_marker(place(output, "a"), files, status="success", producer="node", prompt_id="p", hash_files=True)
    assert made.Files[0].Sha256 is None and "is larger than" in made.Notes[0]


def test_a_marker_that_is_exchanged_while_it_is_taken_away_goes_back(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = place(output, "a")
    write_marker(where, make_marker(where, [], status="success", producer="node", prompt_id="p"))
    really = os.replace

    def exchange(*given: Any, **named: Any) -> None:
        (output / "a.done").unlink()
        a_pipe(output / "a.done")
        really(*given, **named)

    monkeypatch.setattr(os, "replace", exchange)
    assert take_away(output / "a.done", lambda _marker: True) is None
    assert tree(output) == ["a.done"]


# ---------------------------------------------------------------- sizes


def named(count: int, letters: int = 200) -> list[MarkedFile]:
    return [MarkedFile(f"{number:07}".ljust(letters, "x"), FileStamp(1, 1, "1"), "9") for number in range(count)]


def test_a_marker_is_never_too_large_to_be_read_again(output: Path) -> None:
    where = place(output, "a")
    count = 230_000
    notes = [f"{number}{chr(1) * 5000}" for number in range(5000)]
    made = make_marker(where, named(count), status="success", producer="node", prompt_id="p", notes=notes)
    path = write_marker(where, made)
    assert path.stat().st_size <= MAX_MARKER_BYTES
    told = read_marker(path)
    assert 100_000 < len(told.Files) < count
    assert told.FrameCount == len(told.Files)
    assert told.Notes[0].startswith(f"lists only the first {len(told.Files)} of {count} files")
    assert "and 4000 more notes" in told.Notes


@pytest.mark.parametrize("name", ["a", "é", "漢", "\U0001f600", "\udcff", "\x01", '"'])
def test_sizes_are_counted_as_they_are_written(output: Path, name: str) -> None:
    files = [MarkedFile(f"{number}{name * 40}", FileStamp(1, 1, "1"), name * 9) for number in range(300)]
    made = make_marker(place(output, "a"), files, status="success", producer="node", prompt_id="p")
    counted = sum(marker_size._sizes(made.Files))
    bare = len(encode(made)) - len(encode(made.model_copy(update={"Files": []})))
    assert bare <= counted + 10


def test_what_fits_is_left_whole() -> None:
    notes: list[str] = []
    files = [MarkerFile(Name=file.name, Bytes=1, Modified="2026-01-01T00:00:00.000Z") for file in named(20_000)]
    assert fitting_files(files, notes) == files and notes == []
    assert MAX_NOTES == 1000


# ---------------------------------------------------------------- a prompt's marker


@pytest.mark.parametrize("name", ["shot/a.done", "shot/a.failed"])
@pytest.mark.parametrize("make", [a_pipe, a_link, a_folder])
def test_a_prompt_ends_whatever_stands_at_its_marker_s_name(
    desk: Desk, make: Callable[[Path], None], name: str
) -> None:
    (desk.output / "shot").mkdir()
    make(desk.output / name)
    desk.whole()
    record = desk.record()
    assert record.status == "success"
    stays = [note for note in record.notes if name in note or "a.done" in note]
    if make is a_folder:
        assert stays and any("is a folder that can't be removed" in note for note in record.notes)
        assert "marker" in desk.hints()
    if make is not a_folder or name.endswith(".failed"):
        assert desk.names() == ["a_00001_.png"]
        assert os.path.lexists(desk.output / "shot" / "a.failed") is (make is a_folder)
    untouched(desk.output)


def test_a_reported_link_or_pipe_is_no_file_of_the_prompt(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("run_recorder.telemetry.record.settling.FILE_PATIENCE_SECONDS", 0.0)
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    a_link(desk.output / "shot" / "a_00002_.png")
    a_pipe(desk.output / "shot" / "a_00003_.png")
    entries = [image(f"a_0000{number}_.png", "shot")["images"][0] for number in (1, 2, 3)]
    desk.end(outputs={"3": {"images": entries}})
    assert desk.names() == ["a_00001_.png"]
    assert sum("which isn't there" in note for note in desk.marker().Notes) == 2


# ---------------------------------------------------------------- another output folder in mid-prompt


def moved(desk: Desk) -> Path:
    desk.roots = {**desk.roots, "output": desk.folder / "elsewhere"}
    desk.roots["output"].mkdir(exist_ok=True)
    return desk.roots["output"]


def test_files_are_looked_for_and_marked_where_the_prompt_wrote_them(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    other = moved(desk)
    desk.step(*desk.ran("1", "3"))
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.names() == ["a_00001_.png"]
    assert desk.record().outputs[0].stamp is not None
    assert tree(other) == []


def test_without_a_marker_too(desk: Desk) -> None:
    graph = {"3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "shot/a"}}}
    desk.begin(graph=graph)
    write(desk.output / "shot" / "a_00001_.png")
    moved(desk)
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert desk.record().outputs[0].stamp is not None


def test_a_prompt_that_starts_after_the_change_is_looked_for_in_the_new_folder(desk: Desk) -> None:
    write(desk.output / "shot" / "a_00001_.png")
    desk.queue()
    other = moved(desk)
    desk.step(*_started())
    write(other / "shot" / "a_00001_.png")
    desk.step(*desk.ran("1", "3"))
    desk.end(outputs={"3": image("a_00001_.png", "shot")})
    assert read_marker(other / "shot" / "a.done").FrameCount == 1
    assert tree(desk.output) == ["shot/a_00001_.png"]


def _started() -> list:
    from run_recorder.telemetry.record.events import PromptStarted

    from ..unit.test_writer import now

    return [PromptStarted("p", now())]


def test_a_node_that_waits_for_its_marker_has_it_there_too(desk: Desk) -> None:
    desk.begin()
    write(desk.output / "shot" / "a_00001_.png")
    other = moved(desk)
    event, answer = ready()
    desk.step(event)
    assert answer.result(5) == "shot/a.done"
    assert desk.marker().Status == "running"
    assert tree(other) == []


# ---------------------------------------------------------------- on a ComfyUI


def test_on_a_comfyui_odd_entries_cost_no_prompt(host: Host, folder: str) -> None:
    there = host.output / folder
    there.mkdir(parents=True)
    (there.parent / f"{folder}-secret").write_bytes(b"somebody else's")
    a_pipe(there / "one.done")
    a_pipe(there / "one.failed")
    (there / "two.done").symlink_to(there.parent / f"{folder}-secret")
    (there / "three.failed").mkdir()
    for name in ("one", "two", "three"):
        record = host.run(saved(f"{folder}/{name}", 2, marker={}))
        assert record["status"] == "success"
        assert read_marker(there / f"{name}.done").FrameCount == 2
    assert any("three.failed is a folder" in note for note in record["notes"])
    assert (there.parent / f"{folder}-secret").read_bytes() == b"somebody else's"
