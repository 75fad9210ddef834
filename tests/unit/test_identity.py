"""A process is known by more than a number, and a folder by more than nothing; neither can be read back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_recorder.telemetry.process import identity
from run_recorder.telemetry.process.identity import Identity, is_alive, machine, root_of, this_process


def test_this_process_lives() -> None:
    assert this_process().machine == machine()
    assert is_alive(this_process().process) is True


def test_another_process_lives_until_it_is_killed_and_not_as_a_zombie_either() -> None:
    code = (
        "from run_recorder.telemetry.process.identity import this_process as t; print(t().process, flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = process.stdout.readline().strip()
    assert is_alive(told) is True
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_alive(told) is False, "nobody has waited for it yet"
    process.communicate()
    assert is_alive(told) is False


def test_a_number_that_somebody_else_has_by_now_is_a_dead_process() -> None:
    place, number, _ = str(this_process().process).split(":")
    assert is_alive(f"{place}:{number}:1") is False


@pytest.mark.parametrize("odd", [None, "", ":", "::", "elsewhere:1:1", "here:x:1", "here:1:", "here:-1:5", "\0"])
def test_of_a_process_of_another_place_nothing_is_known(odd: str | None) -> None:
    here = str(this_process().process).partition(":")[0]
    assert is_alive(odd if odd is None else odd.replace("here", here)) is None


def test_where_nothing_can_be_read_of_it_a_process_is_not_called_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    told = this_process().process
    monkeypatch.setattr(identity, "_began", lambda _pid: None)
    assert is_alive(told) is None


def test_without_proc_a_process_is_known_by_its_number_and_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity.sys, "platform", "darwin")
    assert is_alive(this_process().process) is True
    assert identity._began(2**22 + 1) == ""


def test_an_identity_of_which_nothing_was_kept_is_empty() -> None:
    assert Identity() == Identity(None, None)


def test_a_folder_is_the_same_by_any_of_its_names_and_its_path_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert root_of(tmp_path / "out") == root_of(tmp_path / "link") == root_of(tmp_path / "other" / ".." / "out")
    assert root_of(tmp_path / "out") != root_of(tmp_path / "other")
    assert "out" not in root_of(tmp_path / "out")
    assert len(root_of(tmp_path / "out")) == 32
