"""`sentinel install`: what is written for each service manager says exactly the command that is meant."""

import os
import plistlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from run_recorder.cli import main
from run_recorder.commands import sentinel_install
from run_recorder.commands.output import CommandError
from run_recorder.sentinel.install import account
from run_recorder.sentinel.install.account import Account, account_for
from run_recorder.sentinel.install.job import NAME, Job, make_job
from run_recorder.sentinel.install.launchd import Launchd
from run_recorder.sentinel.install.nssm import Nssm
from run_recorder.sentinel.install.ours import DESCRIPTION, MARK
from run_recorder.sentinel.install.plan import Answer, InstallError, Plan, Remove, RunCommand, StepError, Write, perform
from run_recorder.sentinel.install.scheduled_task import NAMESPACE, ScheduledTask
from run_recorder.sentinel.install.systemd import Systemd
from run_recorder.sentinel.options import Options

from .watching import frames, marker, put

ARTIST = Account("artist", 1234, 1234)
NASTY = [
    "plain",
    "two words",
    "ü é 日本",
    "100% %h",
    "$HOME ${x}",
    'it\'s "so"',
    "back\\slash\\",
    ";",
    "-- #x",
    "'",
    'a\\\\" b',
]
"""What a folder may be called where only `/` and NUL may not."""
WINDOWS = ["C:\\out", "C:\\two words\\", "D:\\ü 日本\\", "\\\\server\\share x\\out\\\\", "C:\\100%", "C:\\it's $x"]


def parse_systemd(line: str) -> list[str]:
    """A command line of a unit as systemd.syntax(7) and systemd.service(5) say, without variables."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.sub(r'^@"', '"@', line))
    plain = [re.sub(r"\\(.)", r"\1", quoted or bare).replace("%%", "%") for quoted, bare in words]
    path, *rest = plain
    rest = [text.replace("$$", "$") for text in rest]
    return [path[1:], *rest[1:]] if path.startswith("@") else [path, *rest]


def parse_windows(line: str) -> list[str]:
    """A command line's arguments as Microsoft's C runtime takes them apart."""
    words: list[str] = []
    word, quoted, started = "", False, False
    at = 0
    while at < len(line):
        slashes = len(line) - at - len(line[at:].lstrip("\\"))
        if slashes:
            at += slashes
            if line[at : at + 1] == '"':
                word += "\\" * (slashes // 2)
                if slashes % 2:
                    word, at = word + '"', at + 1
            else:
                word += "\\" * slashes
            started = True
        elif line[at] == '"':
            quoted, started, at = not quoted, True, at + 1
        elif line[at] in " \t" and not quoted:
            words, word, started, at = [*words, word] if started else words, "", False, at + 1
        else:
            word, started, at = word + line[at], True, at + 1
    return [*words, word] if started else words


def unit_line(unit: str, key: str) -> str:
    return next(line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}="))


def element(xml: str, path: str) -> str:
    found = ElementTree.fromstring(xml.partition("\n")[2]).find(
        "/".join(f"{{{NAMESPACE}}}{p}" for p in path.split("/"))
    )
    assert found is not None and found.text is not None, path
    return found.text


def windows_job(folder: str, python: str = "C:\\Program Files\\Pythön\\pythonw.exe") -> Job:
    return Job(python, ("-m", "run_recorder.cli", "sentinel", "watch", "--min-frames", "2", folder), (folder,))


class Manager:
    """A service manager that answers 0 but to what it is told to refuse, and knows services of ours."""

    def __init__(self, *refused: str) -> None:
        self.refused, self.ran = refused, list[tuple[str, ...]]()

    def __call__(self, command: Sequence[str]) -> Answer:
        self.ran.append(tuple(command))
        refuses = any(word in command for word in self.refused)
        told = {"AppParameters": "-m run_recorder.cli sentinel watch", "/XML": DESCRIPTION}
        said = next((text for word, text in told.items() if command[-1] == word), "")
        return Answer(1, "refused") if refuses else Answer(0, said)


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("name", NASTY)
def test_each_way_says_just_the_command_that_is_meant(tmp_path: Path, name: str) -> None:
    job = make_job([tmp_path / name], Options(stable_seconds=0.5, recursive=False), python=f"/opt/{name}/python")
    assert parse_systemd(unit_line(Systemd(config=tmp_path).unit(job), "ExecStart")) == list(job.command)
    agent = plistlib.loads(Launchd(tmp_path, 501).plist(job).encode())
    assert agent["ProgramArguments"] == list(job.command)


@pytest.mark.parametrize("folder", WINDOWS)
def test_windows_gets_a_line_that_comes_apart_as_it_was(folder: str, tmp_path: Path) -> None:
    job = windows_job(folder)
    xml = ScheduledTask("HOME\\ü", tmp_path / "task.xml").xml(job)
    assert element(xml, "Actions/Exec/Command") == job.python
    assert parse_windows(element(xml, "Actions/Exec/Arguments")) == list(job.arguments)
    runs = [step.command for step in Nssm().install(job, Manager()).steps if isinstance(step, RunCommand)]
    line = next(command[4] for command in runs if command[3:4] == ("AppParameters",))
    assert parse_windows(line) == list(job.arguments)


@pytest.mark.parametrize("method", ["systemd", "scheduled-task"])
def test_the_command_exists_and_marks(tmp_path: Path, method: str) -> None:
    folder = tmp_path / "my öutput $x" / "it's"
    put(folder, *frames("a", 2))
    job = make_job([folder], Options(min_frames=2, recursive=False), comfyui="http://127.0.0.1:9")
    if method == "systemd":
        command = parse_systemd(unit_line(Systemd(config=tmp_path).unit(job), "ExecStart"))
    else:
        xml = ScheduledTask("u", tmp_path / "task.xml").xml(job)
        command = [job.python, *parse_windows(element(xml, "Actions/Exec/Arguments"))]
    done = subprocess.run([*command, "--once"], capture_output=True, timeout=60, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    assert (marker(folder, "a") or {})["FrameCount"] == 2


@pytest.mark.parametrize("folder", ["C:\\%TEMP%\\x", "C:\\a%b", "C:\\$(Arg0)"])
def test_what_windows_would_replace_is_refused(folder: str, tmp_path: Path) -> None:
    job = windows_job(folder, "C:\\c%d\\python.exe") if folder == "C:\\a%b" else windows_job(folder)
    if folder == "C:\\a%b":
        job = Job(job.python, (*job.arguments, folder), (folder, folder))
    for make in (ScheduledTask("u", tmp_path / "x.xml").install, Nssm().install):
        with pytest.raises(InstallError, match="Windows"):
            make(job, Manager())


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "\udcff"])
def test_what_no_service_can_be_given_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InstallError, match="control character"):
        make_job([tmp_path / name], Options())


def test_the_agent_has_the_documented_keys(tmp_path: Path) -> None:
    agent = plistlib.loads(Launchd(tmp_path, 501).plist(make_job([tmp_path], Options())).encode())
    kinds = {
        "Label": str,
        "ProgramArguments": list,
        "WorkingDirectory": str,
        "RunAtLoad": bool,
        "KeepAlive": bool,
        "ThrottleInterval": int,
        "StandardOutPath": str,
        "StandardErrorPath": str,
    }
    assert {key: type(value) for key, value in agent.items()} == kinds
    assert agent["KeepAlive"] and agent["RunAtLoad"]


_TASK_RULES: dict[str, tuple[str, ...]] = {
    # By [MS-TSCH] 2.5: what an element may hold; a star in front: in any order.
    "Task": ("*", "RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"),
    "RegistrationInfo": ("*", "URI", "SecurityDescriptor", "Source", "Date", "Author", "Version", "Description"),
    "LogonTrigger": ("Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit", "UserId", "Delay"),
    "Repetition": ("Interval", "Duration", "StopAtDurationEnd"),
    "Principal": ("*", "UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"),
    "Settings": (
        "*", "AllowStartOnDemand", "RestartOnFailure", "MultipleInstancesPolicy", "DisallowStartIfOnBatteries",
        "StopIfGoingOnBatteries", "AllowHardTerminate", "StartWhenAvailable", "NetworkProfileName",
        "RunOnlyIfNetworkAvailable", "WakeToRun", "Enabled", "Hidden", "DeleteExpiredTaskAfter", "IdleSettings",
        "NetworkSettings", "ExecutionTimeLimit", "Priority", "RunOnlyIfIdle", "UseUnifiedSchedulingEngine",
    ),
    "RestartOnFailure": ("*", "Interval", "Count"),
    "Exec": ("*", "Command", "Arguments", "WorkingDirectory"),
}  # fmt: skip
_TEXT_RULES = {
    r"true|false": {"Enabled", "StopAtDurationEnd", "DisallowStartIfOnBatteries", "StopIfGoingOnBatteries"}
    | {"StartWhenAvailable"},
    r"PT\d+[SM]": {"Interval", "ExecutionTimeLimit"},
    r"[1-9]\d?|1\d\d|2[0-4]\d|25[0-5]": {"Count"},
    r"InteractiveToken|S4U|Password|InteractiveTokenOrPassword": {"LogonType"},
    r"LeastPrivilege|HighestAvailable": {"RunLevel"},
    r"Parallel|IgnoreNew|Queue|StopExisting": {"MultipleInstancesPolicy"},
}


def test_the_task_keeps_the_rules_of_its_schema(tmp_path: Path) -> None:
    way = ScheduledTask("HOME\\ü", tmp_path / "task.xml")
    perform(Plan(way.install(windows_job("C:\\ö ut"), Manager()).steps[:1]))
    task = ElementTree.fromstring(way.temporary.read_bytes())  # UTF-16, as the declaration says
    assert task.tag == f"{{{NAMESPACE}}}Task" and task.attrib == {"version": "1.2"}
    principal = task.find(f".//{{{NAMESPACE}}}Principal")
    actions = task.find(f"{{{NAMESPACE}}}Actions")
    assert principal is not None and actions is not None
    assert actions.get("Context") == principal.get("id")
    for parent in task.iter():
        name = parent.tag.partition("}")[2]
        children = [child.tag.partition("}")[2] for child in parent]
        order, *allowed = _TASK_RULES.get(name, ("*", *children))
        allowed = allowed if order == "*" else [order, *allowed]
        assert set(children) <= set(allowed) and len(set(children)) == len(children), name
        if order != "*":
            assert children == sorted(children, key=allowed.index), name
        for rule, names in _TEXT_RULES.items():
            if name in names:
                assert re.fullmatch(rule, parent.text or ""), (name, parent.text)


# ---------------------------------------------------------------- systemd's own judgement


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not on this machine: the units are not verified")
    return found


@pytest.mark.parametrize("system", [False, True], ids=["user", "system"])
def test_systemd_finds_no_fault_in_a_unit(tmp_path: Path, analyze: str, system: bool) -> None:
    folders = [tmp_path / f"{number} {name}" for number, name in enumerate(NASTY)]
    for folder in folders:
        folder.mkdir()
    unit = tmp_path / f"{NAME}.service"
    unit.write_text(Systemd(system, config=tmp_path, account=ARTIST).unit(make_job(folders, Options())), "utf-8")
    command = [analyze, "verify", "--man=no", *(() if system else ("--user",)), str(unit)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    told = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, told) == (0, []), done.stderr


def test_the_system_services_exposure_is_small(tmp_path: Path, analyze: str, capsys: pytest.CaptureFixture) -> None:
    unit = tmp_path / f"{NAME}.service"
    unit.write_text(
        Systemd(True, account=ARTIST).unit(make_job([Path("/srv/o")], Options(), python="/usr/bin/python3"))
    )
    command = [analyze, "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    score = re.search(r"Overall exposure level for .*: (\d+\.\d+)", done.stdout)
    if score is None:
        pytest.skip(f"this systemd-analyze can't judge a file: {done.stderr.strip()}")
    with capsys.disabled():
        sys.stdout.write(f" [{score[0]}] ")
    assert float(score[1]) <= 2.5


def test_a_system_service_may_write_to_the_watched_folders_only(tmp_path: Path) -> None:
    way = Systemd(True, account=Account("artist", 1000, 1001))
    unit = way.unit(make_job([Path("/srv/a b"), Path("/srv/c%d")], Options()))
    assert unit_line(unit, "ReadWritePaths") == '"/srv/a b" "/srv/c%%d"'
    assert unit_line(unit, "ProtectSystem") == "strict"
    assert unit_line(unit, "NoNewPrivileges") == "yes"
    assert (unit_line(unit, "User"), unit_line(unit, "Group")) == ("artist", "1001")
    assert "PrivateTmp" not in way.unit(make_job([Path("/tmp/x")], Options())), "it would hide the folder"


# ---------------------------------------------------------------- what is done


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_is_installed_twice_and_removed_twice_and_leaves_nothing(home: Path) -> None:
    job, manager = make_job([home], Options()), Manager("show-user")
    way = Systemd(config=home)
    perform(way.install(job, manager), manager)
    first = way.path.read_text("utf-8")
    assert manager.ran[-1][-2:] == ("restart", way.path.name)
    again = way.install(job, manager)
    assert not [step for step in again.steps if isinstance(step, Write)], "what is right is not written again"
    perform(again, manager)
    assert manager.ran[-1][-2:] == ("start", way.path.name), "what runs goes on"
    other = way.install(make_job([home], Options(min_frames=3)), manager)
    perform(other, manager)
    assert way.path.read_text("utf-8") != first
    for _ in range(2):
        perform(way.uninstall(manager), manager)
    assert tree(home) == []
    assert way.uninstall(manager).steps == ()
    mac = Launchd(home, 501)
    for _ in range(2):
        perform(mac.install(job, manager), manager)
    mac.log.parent.mkdir()
    mac.log.touch()
    perform(mac.uninstall(manager), manager)
    assert [name for name in tree(home) if not (home / name).is_dir()] == []


def test_lingering_is_offered_and_is_switched_off_again_by_who_switched_it_on(home: Path) -> None:
    job, manager = make_job([home], Options()), Manager("show-user")
    plain = Systemd(user="somebody-else", config=home)
    assert any("enable-linger" in note for note in plain.install(job, manager).notes)
    lingering = Systemd(user="somebody-else", config=home, linger=True)
    perform(lingering.install(job, manager), manager)
    assert ("loginctl", "enable-linger", "somebody-else") in manager.ran
    perform(plain.install(make_job([home], Options(min_frames=2)), manager), manager)
    perform(plain.uninstall(manager), manager)
    assert manager.ran[-1] == ("loginctl", "disable-linger", "somebody-else")
    assert tree(home) == []


def test_what_fails_is_told_and_windows_leaves_no_file_of_ours(tmp_path: Path) -> None:
    way = ScheduledTask("u", tmp_path / "task.xml")
    manager = Manager("/Create")
    with pytest.raises(StepError, match=r"Create.*refused"):
        perform(way.install(windows_job("C:\\out"), manager), manager)
    perform(way.uninstall(manager), manager)
    assert tree(tmp_path) == []
    perform(way.install(windows_job("C:\\out"), Manager()), Manager())
    assert tree(tmp_path) == []
    assert way.uninstall(Manager("/Query")).steps == () == Nssm().uninstall(Manager("status")).steps


def test_a_first_installation_that_fails_is_undone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager("enable", "show-user")
    monkeypatch.setattr(sentinel_install, "ask", manager)
    monkeypatch.setattr(sentinel_install, "perform", lambda plan: perform(plan, manager))
    way = Systemd(config=home)
    with pytest.raises(CommandError, match="enable"):
        sentinel_install._perform(way.install(make_job([home], Options()), manager), way)
    assert tree(home) == []


def test_other_files_beside_ours_stay(home: Path) -> None:
    way = Systemd(config=home)
    perform(Plan((Write(way.path, MARK),)))
    (way.path.parent / "mine.service").touch()
    perform(Plan((Remove(way.path, home),)))
    assert tree(home) == ["systemd", "systemd/user", "systemd/user/mine.service"]


def test_what_the_service_managers_say_is_understood(home: Path) -> None:
    def says(text: str, code: int = 0):
        return lambda _command: Answer(code, text)

    mac = Launchd(home, 501).status(
        says("gui/501/x = {\n\tstate = running\n\truns = 3\n\tpid = 77\n\tsub = {\n\t\tstate = active\n")
    )
    assert (mac.Running, mac.Pid, mac.Restarts) == (True, 77, 2)
    assert not Launchd(home, 501).status(says("Could not find service", 113)).Running
    task = ScheduledTask("u", home / "x")
    assert [task.status(says(code)).Running for code in "34"] == [False, True]
    assert not task.status(says("No MSFT_ScheduledTask objects found", 1)).Installed
    assert Nssm().status(says("SERVICE_RUNNING")).Running
    assert not Nssm().status(says("Can't open service!", 3)).Installed
    linux = Systemd(config=home).status(says("ActiveState=active\nSubState=running\nMainPID=9\nNRestarts=1"))
    assert (linux.Running, linux.Pid, linux.Restarts, linux.Installed) == (True, 9, 1, False)


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize("method", ["systemd", "launchd", "scheduled-task", "nssm"])
def test_a_dry_run_shows_all_and_does_nothing(
    tmp_path: Path, method: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    assert main(["sentinel", "install", str(tmp_path / "out"), "--method", method, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert str(tmp_path / "out") in told
    assert ("needs an administrator" in told) == (method == "nssm")
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--stable-seconds", "0"), "--stable-seconds"),
        (("--method", "launchd"), "launchd is for macOS"),
        (("--method", "nssm", "--system", "--dry-run"), "--system is for systemd"),
        (("--system", "--linger", "--dry-run"), "--linger"),
        (("--user", "nobody", "--dry-run"), "--user is for --system"),
        (("--comfyui", "ftp://x"), "--comfyui"),
        (("--comfyui", "http://a:b@127.0.0.1:8188", "--dry-run"), "a password would stand"),
    ],
)
def test_bad_use_is_named_and_nothing_is_done(
    tmp_path: Path,
    arguments: tuple[str, ...],
    named: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["sentinel", "install", str(tmp_path), *arguments]) == 2
    assert named in capsys.readouterr().err
    assert tree(tmp_path) == []


def test_a_system_service_without_rights_is_refused_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentinel_install, "is_administrator", lambda: False)
    plan = Systemd(system=True, account=ARTIST).install(make_job([Path("/srv")], Options()), Manager())
    with pytest.raises(CommandError, match=r"administrator.*nothing was done"):
        sentinel_install._check_rights(plan)


def another() -> tuple[str, int]:
    import pwd

    return next((entry.pw_name, entry.pw_uid) for entry in pwd.getpwall() if entry.pw_uid not in (0, os.getuid()))


def test_a_system_service_runs_as_the_folders_owner_else_as_who_called_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, number = another()
    monkeypatch.setenv("SUDO_UID", str(number))
    monkeypatch.setattr(account, "_owner", lambda _folder: 0)
    assert account_for(None, (str(tmp_path),)).name == name
    monkeypatch.delenv("SUDO_UID")
    monkeypatch.setattr(account, "_owner", lambda folder: number if folder.endswith("b") else 0)
    assert account_for(None, ("/srv/a", "/srv/b")).name == name


@pytest.mark.parametrize("sudo", [None, "0", "x", "-1", "99999999999999999999"])
def test_a_system_service_of_roots_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sudo: str | None, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    if sudo is not None:
        monkeypatch.setenv("SUDO_UID", sudo)
    monkeypatch.setattr(account, "_owner", lambda _folder: 0)
    ask_for = ("sentinel", "install", str(tmp_path), "--method", "systemd", "--system", "--dry-run")
    assert main([*ask_for]) == 2
    told = capsys.readouterr().err
    assert "never runs as root" in told and f"{tmp_path} belongs to root" in told and "--user NAME" in told
    for name, why in (
        ("root", "that is root"),
        ("nobody", "that is nobody"),
        ("nobody here", "no such user"),
        ("a\0b", "no such user"),
    ):
        assert main([*ask_for, "--user", name]) == 2
        assert why in capsys.readouterr().err
    name, _ = another()
    assert main([*ask_for, "--user", name]) == 0
    assert f"User={name}" in capsys.readouterr().out
    assert tree(tmp_path) == []


def test_no_unit_is_ever_written_for_root(tmp_path: Path) -> None:
    for nobody in (None, Account("root", 0, 0), Account("toor", 0, 0)):
        with pytest.raises(InstallError, match="never runs as root"):
            Systemd(True, account=nobody).unit(make_job([tmp_path], Options()))
    odd = Systemd(True, account=Account("DOM\\jo %h", 1234, 1235)).unit(make_job([tmp_path], Options()))
    assert unit_line(odd, "User") == "1234", "a name that a unit would read otherwise is told by number"


def test_a_windows_service_never_runs_as_local_system() -> None:
    def given(text: str) -> list[tuple[str, ...]]:
        def ask(command: Sequence[str]) -> Answer:
            return Answer(0, text) if command[-1] == "ObjectName" else Manager()(command)

        steps = Nssm().install(windows_job("C:\\out"), ask).steps
        return [step.command for step in steps if isinstance(step, RunCommand) and "ObjectName" in step.command]

    fewest = ("nssm", "set", NAME, "ObjectName", "NT AUTHORITY\\LocalService")
    assert given("LocalSystem") == [fewest] == given("")
    assert given(".\\artist") == [], "an account that somebody gave it stays"


def test_an_interpreter_that_lacks_the_package_is_refused(tmp_path: Path) -> None:
    from run_recorder.sentinel.install.job import check_import

    check_import(make_job([tmp_path], Options()))
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(InstallError, match="run_recorder"):
        check_import(make_job([tmp_path], Options(), python=str(bare)))
