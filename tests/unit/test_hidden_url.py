"""No password of a database's URL is ever said: not in health, not in the log, not by a command."""

import logging
from pathlib import Path

import pytest
from run_recorder.cli import main
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.process.hidden_url import without_password
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.record.host import HostProcess
from run_recorder.telemetry.record.recording import Recording

SECRET = "Sesam-0ffne"
URLS = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:{SECRET}@127.0.0.1:badport/db",
    f"postgresql://me:x@{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:x/{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:x:{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:x#{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:x?{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:%53{SECRET[1:]}@127.0.0.1:1/db",
    f"postgresql://me@127.0.0.1:1/db?password={SECRET}",
    f"postgresql://me@127.0.0.1:1/db?password={SECRET}&nosuch=1",
    f"postgresql://me:{SECRET}@127.0.0.1:1/db?pool_size=x",
    f"postgresql://me:{SECRET}@127.0.0.1:1/db?sslmode=nosuch",
    f"nosuch://me:{SECRET}@host/db",
    f"postgresql+nosuch://me:{SECRET}@host/db",
    f"sqlite://me:{SECRET}@/x/y",
    f"postgresql:/me:{SECRET}@host/db",
    f"postgresql:me:{SECRET}@host/db",
    f"me:{SECRET}@host/db",
    f"me:x//{SECRET}@host/{'x' * 300}",
    f"/me:{SECRET}@host/db",
]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", [["upgrade"], ["prune", "--prompts", "1"], ["export"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_command_says_the_password(
    url: str,
    command: list[str],
    form: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if command == ["export"] and form:
        form = []
    assert main(["db", *command, "--database", url, *form]) in (1, 2)
    said = "".join(capsys.readouterr())
    assert said.strip()
    assert SECRET not in said and SECRET[1:] not in said, said


@pytest.mark.parametrize("url", URLS)
def test_neither_health_nor_the_log_says_the_password(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roots = {name: tmp_path / name for name in ("output", "temp", "input")}
    caplog.set_level(logging.DEBUG)
    recording = Recording(
        HostProcess(
            tmp_path / "private",
            roots=lambda: roots,
            worker_alive=lambda: True,
            is_choice=lambda *_: False,
            port=lambda: 8188,
            environment=lambda: Environment(id="env", devices=["cpu"]),
            settings=ServerSettings(RUN_RECORDER_DATABASE_URL=url),
        )
    )
    recording.start()
    assert recording.ready.wait(20)
    recording.stop()
    said = [problem.hint for problem in recording.problems.all()]
    assert said
    for line in (*said, *(record.getMessage() for record in caplog.records)):
        assert SECRET not in line and SECRET[1:] not in line, line


@pytest.mark.parametrize(
    ("said", "url", "told"),
    [
        ("could not parse 'postgresql://me:pw@host/x'", None, "could not parse 'postgresql://<key>@host/x'"),
        ("host 'ss@host' is unknown", "postgresql://me:pa@ss@host/x", "host 'ss@host' is unknown"),
        ("host 'word' is unknown", "postgresql://me:pass/word@host/x", "host '<key>' is unknown"),
        ("no route to host", "postgresql://me:secret@host/x", "no route to host"),
        ("no such file", "sqlite:////folder/file", "no such file"),
        ("there is no postgresql:/me:pw@host/x", "postgresql:/me:pw@host/x", "there is no postgresql:/<key>@host/x"),
        ("there is no /home/me@work/a.db", "/home/me@work/a.db", "there is no /home/me@work/a.db"),
    ],
)
def test_what_else_is_said_stays_as_it_is(said: str, url: str | None, told: str) -> None:
    assert without_password(said, url) == told
