"""Service files in folders that others may have prepared: nothing of another's is read as ours, replaced or removed."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from run_recorder.commands import sentinel_install
from run_recorder.commands.output import CommandError
from run_recorder.sentinel.install.account import Account
from run_recorder.sentinel.install.job import Job, check_import, make_job
from run_recorder.sentinel.install.launchd import Launchd
from run_recorder.sentinel.install.nssm import Nssm
from run_recorder.sentinel.install.ours import MARK
from run_recorder.sentinel.install.plan import Answer, InstallError, Plan, Remove, StepError, Write, perform
from run_recorder.sentinel.install.scheduled_task import ScheduledTask
from run_recorder.sentinel.install.systemd import Systemd
from run_recorder.sentinel.options import Options

pytestmark = [
    pytest.mark.timeout(60, func_only=True),
    pytest.mark.skipif(sys.platform == "win32", reason="makes links, pipes and sockets"),
]

SECRET = "somebody's own"


def yes(_command: Sequence[str]) -> Answer:
    return Answer(0, "")


def a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "secret")


def a_link_to_ours(path: Path) -> None:
    ours = path.parent.parent / "ours"
    ours.write_text(MARK, "utf-8")
    path.symlink_to(ours)


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "not there")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def another_file(path: Path) -> None:
    path.write_text(SECRET, "utf-8")


def a_huge_file(path: Path) -> None:
    path.write_text(MARK, "utf-8")
    os.truncate(path, 1 << 40)


ODD = [a_link, a_link_to_ours, a_dangling_link, a_pipe, a_folder, another_file, a_huge_file]
Way = Systemd | Launchd | ScheduledTask


@pytest.fixture(params=["systemd", "launchd", "scheduled-task"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    home = tmp_path / "home"
    return {
        "systemd": Systemd(config=home),
        "launchd": Launchd(home, 501),
        "scheduled-task": ScheduledTask("u", home / "folder" / "task.xml"),
    }[request.param]


def place_of(way: Way) -> Path:
    return way.temporary if isinstance(way, ScheduledTask) else way.path


def job_for(way: Way, folder: Path) -> Job:
    if isinstance(way, ScheduledTask):
        return Job("C:\\python.exe", ("-m", "run_recorder.cli", "sentinel", "watch", "C:\\out"), ("C:\\out",))
    return make_job([folder], Options())


def all_that_lies_there(folder: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        held = path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20 else b""
        found[str(path)] = (status.st_mode, status.st_ino, status.st_size if held else 0, held)
    return found


@pytest.mark.parametrize("odd", ODD, ids=lambda make: make.__name__)
def test_what_is_not_ours_is_neither_replaced_nor_removed_nor_waited_for(
    way: Way, odd: Callable[[Path], None], tmp_path: Path
) -> None:
    place = place_of(way)
    place.parent.mkdir(parents=True)
    for secret in (tmp_path / "secret", place.parent.parent / "secret"):
        secret.write_text(SECRET, "utf-8")
        secret.chmod(0o600)
    odd(place)
    before = all_that_lies_there(tmp_path)
    with pytest.raises(InstallError, match=place.name):
        way.install(job_for(way, tmp_path), yes)
    for plan in (Plan((Write(place, MARK),)), Plan((Remove(place, tmp_path),))):
        with pytest.raises(StepError, match=place.name):
            perform(plan, yes)
    assert all_that_lies_there(tmp_path) == before


@pytest.mark.parametrize("odd", ODD, ids=lambda make: make.__name__)
def test_looking_at_it_tells_that_it_is_not_installed(odd: Callable[[Path], None], tmp_path: Path) -> None:
    for way in (Systemd(config=tmp_path / "one" / "home"), Launchd(tmp_path / "two" / "home", 501)):
        way.path.parent.mkdir(parents=True)
        odd(way.path)
        assert not way.status(yes).Installed
        with pytest.raises(InstallError, match="left as it is"):
            way.uninstall(yes)


def test_the_command_says_whose_it_is_and_exits_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    way = Systemd(config=tmp_path / "home")
    way.path.parent.mkdir(parents=True)
    way.path.write_text(SECRET, "utf-8")
    monkeypatch.setattr(sentinel_install, "_method", lambda *_given, **_named: way)
    monkeypatch.setattr(sentinel_install, "_check_method", lambda *_given, **_named: None)
    for command in (sentinel_install.uninstall, lambda: sentinel_install.install([tmp_path], dry_run=True)):
        with pytest.raises(CommandError, match="was not written by") as refused:
            command()
        assert refused.value.exit_code == 2
    assert way.path.read_text("utf-8") == SECRET


def test_a_service_of_the_same_name_that_is_anothers_stays() -> None:
    def foreign(command: Sequence[str]) -> Answer:
        return Answer(0, "<Task><Exec><Command>other.exe</Command></Exec></Task>")

    job = Job("C:\\python.exe", ("-m", "run_recorder.cli", "sentinel", "watch", "C:\\out"), ("C:\\out",))
    with tempfile.TemporaryDirectory() as folder:
        for way in (Nssm(), ScheduledTask("u", Path(folder, "task.xml"))):
            for plan in (lambda way=way: way.install(job, foreign), lambda way=way: way.uninstall(foreign)):
                with pytest.raises(InstallError, match="was not made by"):
                    plan()


def test_where_the_service_manager_does_not_answer_nothing_is_removed(tmp_path: Path) -> None:
    for way in (Nssm(), ScheduledTask("u", tmp_path / "task.xml")):
        with pytest.raises(InstallError, match="doesn't answer"):
            way.uninstall(lambda _command: None)


def test_a_log_that_is_a_link_is_not_touched(tmp_path: Path) -> None:
    mac = Launchd(tmp_path / "home", 501)
    perform(mac.install(make_job([tmp_path], Options()), yes), yes)
    (tmp_path / "secret").write_text(SECRET, "utf-8")
    mac.log.parent.mkdir()
    mac.log.symlink_to(tmp_path / "secret")
    with pytest.raises(StepError, match="is a link"):
        perform(mac.uninstall(yes), yes)
    assert mac.log.is_symlink() and (tmp_path / "secret").read_text("utf-8") == SECRET


@pytest.fixture
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    import pwd

    if os.geteuid() != 0:
        pytest.skip("needs root, to act as another user: NOT TRIED here")
    entry = pwd.getpwnam("nobody")
    yield Account("nobody", entry.pw_uid, entry.pw_gid)


def test_root_writes_no_service_into_a_folder_that_is_another_users(nobody: Account, tmp_path: Path) -> None:
    home, trap = tmp_path / "home", tmp_path / "trap"
    home.mkdir()
    trap.mkdir()
    (home / "systemd").symlink_to(trap)
    os.chown(home, nobody.user_id, nobody.group_id)
    os.chown(trap, nobody.user_id, nobody.group_id)
    for way in (Systemd(config=home), Launchd(home, 0)):
        with pytest.raises(InstallError, match="belongs to another user"):
            way.install(make_job([tmp_path], Options()), yes)
    assert list(trap.iterdir()) == []


def test_a_user_who_could_not_do_the_work_is_refused_before_anything_is_written(nobody: Account) -> None:
    with tempfile.TemporaryDirectory() as name:
        shared = Path(name)
        shared.chmod(0o755)
        python = shared / "python"  # stands for an interpreter that everybody may run and that has the package
        python.write_text(
            '#!/bin/sh\nshift 2\nexec /usr/bin/env python3 -c "$(printf %s "$1" | grep -v run_recorder)" "$2"\n'
        )
        python.chmod(0o755)
        if subprocess.run([python, "-B", "-c", "", "."], user=nobody.user_id, check=False, cwd="/").returncode:
            pytest.skip("nobody can run no python here: NOT TRIED")
        closed = shared / "out"
        closed.mkdir(mode=0o755)
        with pytest.raises(InstallError, match=r"run as nobody.*may not write to .*out"):
            check_import(make_job([closed], Options(), python=str(python)), nobody)
        os.chown(closed, nobody.user_id, nobody.group_id)
        check_import(make_job([closed], Options(), python=str(python)), nobody)
        shared.chmod(0o700)
        with pytest.raises(InstallError, match="nobody"):
            check_import(make_job([closed], Options(), python=str(python)), nobody)
