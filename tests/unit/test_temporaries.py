"""Temporary names belong to one writer; what a dead one left is swept up, and nothing else."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from run_recorder.telemetry.files import temporaries
from run_recorder.telemetry.files.temporaries import FOREIGN_AGE_SECONDS, is_orphan, is_temporary, sweep, temporary_name

from .support import tree, write

OURS = temporary_name().split("-")[1]
BORN = int(psutil.Process().create_time())


def name(host: str = OURS, pid: int | None = None, born: int = BORN) -> str:
    return f".rr-{host}-{os.getpid() if pid is None else pid}-{born}-0123456789ab.tmp"


def dead_pid() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_no_two_names_are_the_same_and_all_are_hidden_and_short() -> None:
    made = {temporary_name() for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_temporary(one) and one.startswith(".rr-") and len(one) < 80 for one in made)


def test_a_name_tells_its_owner_but_not_the_machine_s_name() -> None:
    _, host, pid, born, _ = temporary_name().split("-")
    assert int(pid) == os.getpid()
    assert abs(int(born) - psutil.Process().create_time()) <= 1
    assert socket.gethostname() not in host


@pytest.mark.parametrize(
    "text",
    ["a.tmp", ".rr-x.tmp", name() + "x", "x" + name(), name().upper(), ""],
    ids=["another's", "short", "longer", "not hidden", "upper case", "empty"],
)
def test_other_names_are_not_ours(tmp_path: Path, text: str) -> None:
    assert not is_temporary(text)
    assert not is_orphan(tmp_path / text)


def test_a_living_process_has_no_orphans(tmp_path: Path) -> None:
    assert not is_orphan(tmp_path / name())
    assert not is_orphan(tmp_path / name(born=BORN + 1))
    assert not is_orphan(tmp_path / name(born=BORN - 1))


def test_a_dead_process_number_makes_an_orphan() -> None:
    assert is_orphan(Path(name(pid=dead_pid())))


@pytest.mark.parametrize("apart", [2, -2, 100_000])
def test_a_process_number_that_someone_else_has_by_now_makes_an_orphan(apart: int) -> None:
    assert is_orphan(Path(name(born=BORN + apart)))


def test_a_process_that_cannot_be_asked_about_is_taken_for_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_pid: int) -> int:
        raise psutil.AccessDenied

    monkeypatch.setattr(temporaries, "_born", denied)
    assert not is_orphan(Path(name()))


@pytest.mark.parametrize(
    ("age", "orphan"), [(0, False), (FOREIGN_AGE_SECONDS - 60, False), (FOREIGN_AGE_SECONDS + 60, True)]
)
def test_another_machine_s_temporary_is_an_orphan_after_a_day(tmp_path: Path, age: float, orphan: bool) -> None:
    path = write(tmp_path / name(host="00000000"), modified=time.time() - age)
    assert is_orphan(path) is orphan


def test_another_machine_s_temporary_that_is_gone_is_none(tmp_path: Path) -> None:
    assert not is_orphan(tmp_path / name(host="00000000"))


def test_a_sweep_removes_orphans_and_nothing_else(tmp_path: Path) -> None:
    orphan = name(pid=dead_pid())
    outside, root = tmp_path / "outside", tmp_path / "root"
    for path in (root / orphan, root / "deep" / "er" / orphan, root / name(), root / "a.tmp", outside / orphan):
        write(path)
    (root / "link").symlink_to(outside)
    assert sweep(root) == 1
    assert tree(root) == sorted([name(), "a.tmp", f"deep/er/{orphan}"])
    assert sweep(root, recursive=True) == 1
    assert tree(root) == sorted([name(), "a.tmp"])
    assert tree(outside) == [orphan]


def test_a_sweep_looks_at_no_more_folders_once_it_has_seen_enough_names(tmp_path: Path) -> None:
    orphan = name(pid=dead_pid())
    write(tmp_path / "one" / "two" / orphan)
    assert sweep(tmp_path, recursive=True, most=1) == 0
    assert sweep(tmp_path, recursive=True, most=10) == 1


def test_a_sweep_survives_what_it_may_not_remove_and_folders_that_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name(pid=dead_pid()))

    def denied(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", denied)
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path / "missing", recursive=True) == 0
