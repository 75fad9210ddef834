"""Markers are whole or absent, stand where they should, and say what the contract says."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.files.temporaries import is_temporary
from run_recorder.telemetry.markers import file as marker_module
from run_recorder.telemetry.markers.file import (
    MAX_MARKER_BYTES,
    MarkedFile,
    MarkerError,
    MarkerPlace,
    encode,
    make_marker,
    put_in_place,
    put_where_free,
    read_marker,
    remove,
    remove_stale,
    suffix_of,
    sync_folder,
    take_away,
    write_marker,
    write_temporary,
)
from run_recorder.telemetry.markers.folder import FileStamp, stamp_of
from run_recorder.telemetry.markers.prefix import PrefixError, PrefixPath
from run_recorder.telemetry.models.marker import DoneMarker
from run_recorder.telemetry.models.times import iso, parse

from .support import place, tree, write

STATUSES = ["success", "running", "error", "interrupted", "abandoned"]
MISSING = object()


def marked(
    folder: Path, name: str, data: bytes = b"data", modified: float = 1000.5, node_id: str | None = "9"
) -> MarkedFile:
    """A file on the disk, ready for a marker."""
    stamp = stamp_of(write(folder / name, data, modified))
    assert stamp is not None
    return MarkedFile(name, stamp, node_id)


def made(where: MarkerPlace, files: list[MarkedFile] = [], **more: Any) -> DoneMarker:  # noqa: B006
    return make_marker(where, files, **{"status": "success", "producer": "node", "prompt_id": "p", **more})


class Refuses:
    """In place of a system call: raises the given errors one after another, then does the real thing."""

    def __init__(self, real: Callable[..., Any], *errors: OSError, then: Callable[..., Any] | None = None) -> None:
        self.real, self.errors, self.calls, self.then = real, list(errors), 0, then

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return (self.then or self.real)(*given, **named)


def refuse(patch: pytest.MonkeyPatch, where: Any, name: str, *errors: OSError) -> Refuses:
    refuses = Refuses(getattr(where, name), *errors)
    patch.setattr(where, name, lambda *given, **named: refuses(*given, **named))
    return refuses


FOR_EVER = [PermissionError(13, "Permission denied")] * 100_000


# ---------------------------------------------------------------- where


@pytest.mark.parametrize("status", STATUSES)
def test_success_and_running_make_done_and_the_rest_failed(output: Path, status: Any) -> None:
    suffix = ".done" if status in ("success", "running") else ".failed"
    assert suffix_of(status) == suffix
    assert place(output, "shot/a").path(status) == output.resolve() / "shot" / f"a{suffix}"
    assert place(output, "shot/a").relative(status) == f"shot/a{suffix}"
    assert place(output, "a.b").relative(status) == f"a.b{suffix}"


def test_a_place_outside_the_output_folder_is_refused(output: Path) -> None:
    (output / "link").symlink_to("/")
    with pytest.raises(PrefixError):
        MarkerPlace.of(output, PrefixPath("link", "a"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.", "con", "a\0", "x" * 249])
def test_a_place_whose_name_is_none_is_refused_wherever_it_came_from(output: Path, name: str) -> None:
    with pytest.raises(PrefixError):
        MarkerPlace.of(output, PrefixPath("shot", name))


# ---------------------------------------------------------------- what it says


def test_a_marker_says_everything_that_the_contract_names(output: Path) -> None:
    where = place(output, "a")
    files = [
        marked(output, "a_00002_.png", b"22", 2000.5),
        marked(output, "a_00001_.png", b"1", 3000.25, None),
    ]
    before = time.time()
    marker = made(where, files, prompt_id="me", cached=True, notes=["forced"])
    written = json.loads(encode(marker))
    assert abs(parse(written.pop("Timestamp")) / 1000 - before) < 2
    assert written == {
        "FrameCount": 2,
        "Latest": iso(3_000_250),
        "SchemaVersion": 1,
        "Status": "success",
        "PromptId": "me",
        "Producer": "node",
        "Cached": True,
        "Files": [
            {"Name": "a_00001_.png", "Bytes": 1, "Modified": iso(3_000_250), "NodeId": None},
            {"Name": "a_00002_.png", "Bytes": 2, "Modified": iso(2_000_500), "NodeId": "9"},
        ],
        "Notes": ["forced"],
    }


def test_a_marker_without_files_counts_zero_and_knows_no_latest(output: Path) -> None:
    marker = made(place(output, "a"), prompt_id=None)
    assert (marker.FrameCount, marker.Latest, marker.Files, marker.PromptId) == (0, None, [], None)
    assert (marker.Cached, marker.Notes) == (False, [])


def test_the_time_of_writing_is_now_in_milliseconds_and_z(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marker_module.time, "time", lambda: 1_785_579_630.4561)
    assert made(place(output, "a")).Timestamp == "2026-08-01T10:20:30.456Z"


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("producer", ["node", "sentinel", "runner", "cli"])
def test_status_and_producer_are_told(output: Path, status: Any, producer: Any) -> None:
    marker = made(place(output, "a"), status=status, producer=producer)
    assert (marker.Status, marker.Producer) == (status, producer)


def test_a_modification_time_is_cut_not_rounded(output: Path) -> None:
    marker = made(place(output, "a"), [MarkedFile("a", FileStamp(1, 1_999_999_999, "1"))])
    assert marker.Files[0].Modified == marker.Latest == iso(1999)


@pytest.mark.parametrize(
    "names",
    [
        ["a_1.png", "a_2.png", "a_10.png", "a_100.png"],
        ["a_00009_.png", "a_00010_.png", "a_99999_.png", "a_100000_.png"],
        ["1.png", "2.png", "10.png", "a.png"],
        ["a1b2", "a1b10", "a2b1", "a10b1"],
        ["a01", "a1", "a2"],
        ["a1", "a1_", "aa", "ab1"],
        ["A", "B", "a"],
        ["a-1", "a.1", "a_1"],
        ["a²", "b"],
    ],
)
def test_files_are_listed_with_numbers_counted_as_numbers(output: Path, names: list[str]) -> None:
    for order in (names, names[::-1], names[1:] + names[:1]):
        files = [MarkedFile(name, FileStamp(1, 1, "1")) for name in order]
        listed = [file.Name for file in made(place(output, "a"), files).Files]
        assert listed == names


def test_files_are_hashed_only_where_asked(output: Path) -> None:
    data = os.urandom(1024 * 1024 * 2 + 17)
    files = [marked(output, "a_00001_.png", data), marked(output, "a_00002_.png", b"")]
    hashed = json.loads(encode(made(place(output, "a"), files, hash_files=True)))
    assert [file["Sha256"] for file in hashed["Files"]] == [
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256(b"").hexdigest(),
    ]
    assert hashed["Notes"] == []
    plain = json.loads(encode(made(place(output, "a"), files)))
    assert all("Sha256" not in file for file in plain["Files"])


def test_a_file_that_cannot_be_read_for_its_hash_is_listed_with_a_note(output: Path) -> None:
    files = [MarkedFile("gone.png", FileStamp(1, 1, "1")), marked(output, "here.png", b"x")]
    marker = made(place(output, "a"), files, hash_files=True, notes=["first"])
    assert [(file.Name, file.Sha256 is None) for file in marker.Files] == [("gone.png", True), ("here.png", False)]
    assert marker.Notes == ["first", "gone.png could not be read for its hash (No such file or directory)"]


@pytest.mark.parametrize("name", ["ä_00001_.png", "日本.png", "a b.png", 'a"b.png', "a\nb.png", "😀.png"])
def test_odd_names_are_written_as_they_are(output: Path, name: str) -> None:
    write_marker(place(output, "a"), made(place(output, "a"), [marked(output, name)]))
    assert read_marker(output / "a.done").Files[0].Name == name
    assert json.loads((output / "a.done").read_text("utf-8"))["Files"][0]["Name"] == name


def test_a_name_that_is_no_unicode_is_escaped_not_lost(output: Path) -> None:
    name = os.fsdecode(b"a\xff.png")
    text = encode(made(place(output, "a"), [marked(output, name)])).decode("utf-8")
    assert "a\\udcff.png" in text
    assert json.loads(text)["Files"][0]["Name"] == name


def test_a_marker_is_readable_text_that_ends_in_a_newline(output: Path) -> None:
    data = encode(made(place(output, "ä"), [MarkedFile("ä.png", FileStamp(1, 1, "1"))]))
    assert data.startswith(b'{\n  "Timestamp": ')
    assert data.endswith(b"}\n")
    assert "ä.png".encode() in data


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("prefix", ["a", "shot/a", "new/deeper/still/a", "a b", "日本/ä", "x" * 248, "ä" * 124])
def test_a_marker_is_written_and_folders_are_made(output: Path, prefix: str) -> None:
    where = place(output, prefix)
    assert write_marker(where, made(where)) == where.path("success")
    assert tree(output) == [f"{prefix}.done"]
    assert read_marker(output / f"{prefix}.done").PromptId == "p"


@pytest.mark.parametrize("status", STATUSES)
def test_writing_one_kind_removes_the_other(output: Path, status: Any) -> None:
    where = place(output, "a")
    for suffix in (".done", ".failed"):
        write(output / f"a{suffix}", b"stale")
    write(output / "b.done", b"another's")
    write_marker(where, made(where, status=status))
    assert tree(output) == sorted([f"a{suffix_of(status)}", "b.done"])
    assert read_marker(where.path(status)).Status == status


def test_a_marker_without_a_status_is_a_done_one(output: Path) -> None:
    assert write_marker(place(output, "a"), DoneMarker(Timestamp=iso(0))) == output.resolve() / "a.done"
    assert read_marker(output / "a.done").Timestamp == iso(0)


def test_a_temporary_is_hidden_beside_its_place_and_whole(output: Path) -> None:
    where = place(output, "shot/a")
    marker = made(where)
    temporary = write_temporary(where, marker)
    assert temporary.parent == where.folder
    assert is_temporary(temporary.name)
    assert temporary.read_bytes() == encode(marker)
    assert not where.path("success").exists()
    put_in_place(temporary, where, "success")
    assert tree(output) == ["shot/a.done"]
    assert where.path("success").read_bytes() == encode(marker)


def test_data_is_on_the_disk_before_the_rename_and_the_folder_after_it(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, order = place(output, "a"), []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        kind = "folder" if os.path.isdir(f"/dev/fd/{descriptor}") else f"file of {os.fstat(descriptor).st_size}"
        order.append(kind)
        real_sync(descriptor)

    def replace(*given: Any, **named: Any) -> None:
        order.append("replace")
        real_replace(*given, **named)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    marker = made(where)
    write_marker(where, marker)
    assert order == [f"file of {len(encode(marker))}", "replace", "folder"]


def test_readers_never_see_a_broken_marker_nor_none(output: Path) -> None:
    where, stop, seen, broken = place(output, "a"), threading.Event(), [0], []
    files = [MarkedFile(f"a_{number:05}_.png", FileStamp(1, 1, "1")) for number in range(500)]
    write_marker(where, made(where, files))

    def read() -> None:
        while not stop.is_set():
            try:
                assert read_marker(output / "a.done").FrameCount in (500, 0)
                seen[0] += 1
            except Exception as error:
                broken.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(60):
        write_marker(where, made(where, files if number % 2 else []))
    while seen[0] < 20 and not broken:
        time.sleep(0.01)
    stop.set()
    for reader in readers:
        reader.join()
    assert not broken
    assert seen[0] >= 20


def test_two_writers_of_one_marker_never_mix(output: Path) -> None:
    where = place(output, "a")

    def work(prompt_id: str) -> None:
        for _ in range(30):
            write_marker(where, made(where, prompt_id=prompt_id))

    writers = [threading.Thread(target=work, args=(name * 500,)) for name in "xy"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(read_marker(output / "a.done").PromptId or "") in ({"x"}, {"y"})
    assert tree(output) == ["a.done"]


# ---------------------------------------------------------------- when the disk says no


def test_a_folder_that_cannot_be_made_is_told_and_nothing_is_left(output: Path) -> None:
    where = MarkerPlace(PrefixPath("file", "a"), output / "file")
    write(output / "file", b"in the way")
    with pytest.raises(MarkerError, match=r"marker file/a could not be written: File exists"):
        write_temporary(where, made(where))
    assert tree(output) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "full"])
def test_a_write_that_fails_leaves_nothing_behind(output: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    where = place(output, "a")
    full = OSError(28, "No space left on device")
    if call == "fsync":
        refuse(monkeypatch, os, "fsync", full)
    else:
        refuse(monkeypatch, marker_module, "encode", full)
    with pytest.raises(MarkerError, match=r"marker a could not be written: No space left on device"):
        write_marker(where, DoneMarker(Timestamp=iso(0)))
    assert tree(output) == []


def test_an_error_without_words_is_named_by_its_kind(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, os, "fsync", OSError())
    with pytest.raises(MarkerError, match=r"could not be written: OSError"):
        write_marker(place(output, "a"), made(place(output, "a")))


def test_where_replace_is_refused_over_an_existing_marker_the_stale_one_goes_first(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = place(output, "a")
    write(output / "a.done", b"stale")
    refused = refuse(monkeypatch, os, "replace", PermissionError(1, "Operation not permitted"))
    write_marker(where, made(where))
    assert refused.calls == 1
    assert tree(output) == ["a.done"]
    assert read_marker(output / "a.done").PromptId == "p"


def test_where_rename_is_refused_too_it_is_linked_and_unlinked(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = place(output, "a")
    write(output / "a.done", b"stale")
    refuse(monkeypatch, os, "replace", OSError(22, "Invalid argument"))
    refused = refuse(monkeypatch, os, "rename", OSError(22, "Invalid argument"))
    write_marker(where, made(where))
    assert refused.calls == 1
    assert tree(output) == ["a.done"]
    assert read_marker(output / "a.done").PromptId == "p"
    assert (output / "a.done").stat().st_nlink == 1


def test_where_nothing_works_there_is_no_marker_at_all(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = place(output, "shot/a")
    write(output / "shot" / "a.done", b"stale")
    for owner, name in ((os, "replace"), (os, "rename"), (os, "link")):
        refuse(monkeypatch, owner, name, OSError(22, "Invalid argument"))
    with pytest.raises(MarkerError, match=r"marker shot/a.done could not be put in place: Invalid argument"):
        write_marker(where, made(where))
    assert tree(output) == []


def test_where_replace_is_refused_and_nothing_stands_there_the_error_is_told(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = place(output, "a")
    write(output / "a.done", b"of the other kind")
    refuse(monkeypatch, os, "replace", OSError(5, "Input/output error"))
    renamed = refuse(monkeypatch, os, "rename")
    with pytest.raises(MarkerError, match=r"marker a.failed could not be put in place: Input/output error"):
        write_marker(where, made(where, status="error"))
    assert renamed.calls == 0
    assert tree(output) == ["a.done"]


def test_a_stale_marker_that_cannot_be_removed_either_stays(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = place(output, "a")
    (output / "a.done").mkdir()
    with pytest.raises(MarkerError, match=r"marker a.done could not be put in place"):
        write_marker(where, made(where))
    assert [path.name for path in output.iterdir()] == ["a.done"]


def test_a_dangling_link_in_the_way_is_replaced_and_its_target_never_made(tmp_path: Path, output: Path) -> None:
    (output / "a.done").symlink_to(tmp_path / "outside.txt")
    write_marker(place(output, "a"), made(place(output, "a")))
    assert not (output / "a.done").is_symlink()
    assert not (tmp_path / "outside.txt").exists()


Step = Callable[[MarkerPlace], object]
STEPS: list[Step] = [
    lambda where: write_temporary(where, made(where)),
    lambda where: put_in_place(where.folder / TEMPORARY, where, "success"),
    lambda where: put_where_free(where.folder / TEMPORARY, where, "success"),
    lambda where: remove_stale(where),
    lambda where: take_away(where.path("error"), lambda _marker: True, where.root),
]
TEMPORARY = ".rr-00000000-1-1-000000000000.tmp"


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not held by descriptors there")
@pytest.mark.parametrize("step", STEPS, ids=["write", "put", "put where free", "remove", "take away"])
@pytest.mark.parametrize("depth", ["shot", "deep/er/shot"])
def test_a_folder_exchanged_for_a_link_after_the_look_is_not_followed(
    tmp_path: Path, output: Path, step: Step, depth: str
) -> None:
    """Whoever may write above a folder can exchange it at any moment between two steps."""
    where = place(output, f"{depth}/a")
    where.folder.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.failed").write_bytes(encode(made(where, status="error")))
    (outside / TEMPORARY).write_bytes(b"not theirs to move")
    swapped = output / depth.split("/")[0]
    swapped.rename(output / "moved")
    (outside / "er").mkdir()
    (outside / "er" / "shot").symlink_to(outside)
    swapped.symlink_to(outside)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in outside.iterdir())
    with contextlib.suppress(MarkerError):
        step(where)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in outside.iterdir()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="folders are not held by descriptors there")
def test_an_exchanged_folder_is_told(tmp_path: Path, output: Path) -> None:
    where = place(output, "shot/a")
    (tmp_path / "outside").mkdir()
    (output / "shot").symlink_to(tmp_path / "outside")
    with pytest.raises(MarkerError, match=r"marker shot/a could not be written: its folder was exchanged for a link"):
        write_temporary(where, made(where))


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="needs O_PATH")
@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs a user who may become another")
def test_a_folder_that_may_be_written_and_not_listed_gets_its_marker() -> None:
    with tempfile.TemporaryDirectory() as made_here:
        output = Path(made_here)
        output.chmod(0o711)
        (output / "drop").mkdir()
        (output / "drop").chmod(0o733)
        where = place(output, "drop/a")
        child = os.fork()
        if child == 0:  # pragma: no cover  another process
            os.setgid(65534)
            os.setuid(65534)
            with contextlib.suppress(BaseException):
                write_marker(where, made(where))
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert read_marker(output / "drop" / "a.done").PromptId == "p"


def test_a_folder_that_vanishes_between_write_and_rename_is_told(output: Path) -> None:
    where = place(output, "shot/a")
    temporary = write_temporary(where, made(where))
    temporary.unlink()
    where.folder.rmdir()
    with pytest.raises(MarkerError, match=r"marker shot/a.done could not be put in place: No such file or directory"):
        put_in_place(temporary, where, "success")


def test_a_temporary_that_is_gone_costs_no_marker_that_stands(output: Path) -> None:
    where = place(output, "a")
    write(output / "a.done", b"stands")
    with pytest.raises(MarkerError):
        put_in_place(output / "gone", where, "success")
    assert (output / "a.done").read_bytes() == b"stands"


# ---------------------------------------------------------------- Windows


class Clock:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now, self.slept = 50.0, []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def time(self) -> float:
        return self.now


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The marker module believes that it runs on Windows, by a clock of its own."""
    clock = Clock()
    monkeypatch.setattr(marker_module, "sys", type("Sys", (), {"platform": "win32"}))
    monkeypatch.setattr(marker_module, "time", clock)
    return clock


def test_a_sharing_violation_is_retried_on_windows_until_it_is_over(
    output: Path, monkeypatch: pytest.MonkeyPatch, windows: Clock
) -> None:
    where = place(output, "a")
    refused = refuse(monkeypatch, os, "replace", *FOR_EVER[:7])
    write_marker(where, made(where))
    assert refused.calls == 8
    assert windows.slept == [0.01] * 7
    assert tree(output) == ["a.done"]


def test_a_sharing_violation_is_retried_on_windows_for_two_seconds_and_no_longer(
    output: Path, monkeypatch: pytest.MonkeyPatch, windows: Clock
) -> None:
    where = place(output, "a")
    write(output / "a.done", b"held open")
    refuse(monkeypatch, os, "replace", *FOR_EVER)
    with pytest.raises(MarkerError, match="Permission denied"):
        write_marker(where, made(where))
    assert 2.0 <= sum(windows.slept) < 2.02
    assert tree(output) == ["a.done"]
    assert (output / "a.done").read_bytes() == b"held open"


def test_a_marker_that_windows_holds_open_is_removed_after_a_while(
    output: Path, monkeypatch: pytest.MonkeyPatch, windows: Clock
) -> None:
    write(output / "a.done")
    refuse(monkeypatch, os, "unlink", *FOR_EVER[:3])
    assert remove(output / "a.done")
    assert len(windows.slept) == 3
    assert tree(output) == []


def test_other_errors_are_not_retried(output: Path, monkeypatch: pytest.MonkeyPatch, windows: Clock) -> None:
    refused = refuse(monkeypatch, os, "replace", OSError(28, "full"))
    with pytest.raises(MarkerError, match="full"):
        write_marker(place(output, "a"), made(place(output, "a")))
    assert (refused.calls, windows.slept) == (1, [])


def test_windows_folders_are_not_synced(output: Path, monkeypatch: pytest.MonkeyPatch, windows: Clock) -> None:
    opened = refuse(monkeypatch, os, "open")
    sync_folder(output)
    assert opened.calls == 0


def test_elsewhere_a_refusal_is_final_at_once(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marker_module.time, "sleep", lambda _seconds: pytest.fail("slept"))
    refused = refuse(monkeypatch, os, "unlink", *FOR_EVER)
    assert not remove(write(output / "a.done"))
    assert refused.calls == 1


# ---------------------------------------------------------------- removing, syncing


def test_removing_says_whether_there_was_something_to_remove(output: Path) -> None:
    write(output / "a.done")
    assert remove(output / "a.done")
    assert not remove(output / "a.done")
    assert not remove(output)


@pytest.mark.parametrize(
    ("there", "removed"),
    [([], False), (["a.done"], True), (["a.failed"], True), (["a.done", "a.failed"], True), (["b.done"], False)],
)
def test_both_kinds_of_a_stale_marker_go(output: Path, there: list[str], removed: bool) -> None:
    for name in there:
        write(output / name)
    assert remove_stale(place(output, "a")) is removed
    assert tree(output) == [name for name in there if name.startswith("b")]


def test_a_folder_is_synced_and_its_descriptor_closed(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    sync_folder(output)
    assert len(synced) == 1
    with pytest.raises(OSError):
        os.fstat(synced[0])
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)


def test_a_folder_that_cannot_be_synced_is_no_error(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_folder(output / "missing")
    refuse(monkeypatch, os, "fsync", OSError(22, "Invalid argument"))
    sync_folder(output)


# ---------------------------------------------------------------- reading


def test_an_older_marker_with_only_a_timestamp_is_one(output: Path) -> None:
    write(output / "a.done", b'{"Timestamp": "2024-01-01T00:00:00Z"}')
    marker = read_marker(output / "a.done")
    assert marker.Timestamp == "2024-01-01T00:00:00Z"
    assert (marker.Status, marker.FrameCount, marker.Files, marker.Notes) == (None, None, [], [])


def test_fields_that_we_do_not_know_are_dropped_and_a_byte_order_mark_is_no_fault(output: Path) -> None:
    data = {"Timestamp": "x", "FrameCount": 1, "Latest": None, "New": {}, "Files": [], "SchemaVersion": 2}
    write(output / "a.done", b"\xef\xbb\xbf" + json.dumps(data).encode())
    assert read_marker(output / "a.done").SchemaVersion == 2


def test_a_marker_that_is_not_there_is_not_found(output: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_marker(output / "a.done")


def test_a_marker_that_cannot_be_read_is_told(output: Path) -> None:
    (output / "a.done").mkdir()
    with pytest.raises(MarkerError, match=r"^a\.done can't be read: it is a folder$"):
        read_marker(output / "a.done")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"{}",
        b'{"Timestamp": 3}',
        b'{"Timestamp": "x", "FrameCount": -1}',
        b'{"Timestamp": "x", "Status": "fine"}',
        b'{"Timestamp": "x", "Files": [{}]}',
        b'{"Timestamp": "x", "Files": [{"Name": "a", "Bytes": -1, "Modified": "x"}]}',
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"\x89PNG\r\n\x1a\n",
        b"1" * 10_000,
    ],
)
def test_garbage_is_no_marker_and_the_reason_is_one_line(output: Path, data: bytes) -> None:
    write(output / "a.done", data)
    with pytest.raises(MarkerError) as refused:
        read_marker(output / "a.done")
    assert re.match(r"a\.done is no marker: .", str(refused.value))
    assert "\n" not in str(refused.value)
    assert str(output) not in str(refused.value)


def test_the_reason_that_is_told_is_the_first_line(output: Path) -> None:
    write(output / "a.done", b"{}")
    with pytest.raises(MarkerError, match=r"^a\.done is no marker: 1 validation error for DoneMarker$"):
        read_marker(output / "a.done")


def test_a_file_larger_than_any_marker_is_none(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_MARKER_BYTES == 64 * 1024 * 1024
    monkeypatch.setattr(marker_module, "MAX_MARKER_BYTES", 40)
    write(output / "a.done", b'{"Timestamp": "x"}'.ljust(40))
    assert read_marker(output / "a.done").Timestamp == "x"
    write(output / "a.done", b'{"Timestamp": "x"}'.ljust(41))
    with pytest.raises(MarkerError, match=r"a\.done is larger than any marker \(40 bytes\)"):
        read_marker(output / "a.done")


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_random_bytes_are_a_marker_or_a_marker_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.done"
    path.write_bytes(data)
    try:
        read_marker(path)
    except MarkerError as error:
        assert str(error).startswith("random.done is no marker: ")


@given(
    st.lists(
        st.tuples(st.text(st.characters(), min_size=1, max_size=20), st.integers(0, 2**60), st.integers(0, 2**62)),
        max_size=5,
    ),
    st.none() | st.text(st.characters(), max_size=40),
    st.lists(st.text(st.characters(), max_size=30), max_size=3),
    st.booleans(),
)
def test_what_is_encoded_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[tuple[str, int, int]],
    prompt_id: str | None,
    notes: list[str],
    cached: bool,
) -> None:
    where = MarkerPlace(PrefixPath("", "round"), tmp_path_factory.getbasetemp())
    listed = [MarkedFile(name, FileStamp(size, modified, "1")) for name, size, modified in files]
    marker = made(where, listed, prompt_id=prompt_id, notes=notes, cached=cached)
    where.path("success").write_bytes(encode(marker))
    assert read_marker(where.path("success")) == marker


def test_a_writer_killed_at_any_moment_leaves_a_whole_marker_or_none(output: Path) -> None:
    """A process that writes markers as fast as it can is killed, again and again."""
    code = (
        "import sys; from pathlib import Path\n"
        "from run_recorder.telemetry.markers.file import *\n"
        "from run_recorder.telemetry.markers.folder import FileStamp\n"
        "from run_recorder.telemetry.markers.prefix import parse_prefix\n"
        "where = MarkerPlace.of(Path(sys.argv[1]), parse_prefix('a'))\n"
        "files = [MarkedFile(f'a_{n}', FileStamp(1, 1, '1')) for n in range(3000)]\n"
        "marker = make_marker(where, files, status='success', producer='node', prompt_id='p')\n"
        "print('ready', flush=True)\n"
        "while True: write_marker(where, marker)\n"
    )
    for wait in (0.0, 0.013):
        with subprocess.Popen([sys.executable, "-c", code, str(output)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            process.kill()
        if (output / "a.done").exists():
            assert read_marker(output / "a.done").FrameCount == 3000
    assert all(path.name == "a.done" or is_temporary(path.name) for path in output.iterdir())
