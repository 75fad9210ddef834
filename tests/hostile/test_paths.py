"""Paths that may not be looked at, or that no file system has room for: one line each, and no traceback."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from run_recorder.cli import main

LONG = "x" * 300


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below one that may not be looked into; root's may be whatever its mode."""
    closed, stat = tmp_path / "locked", Path.stat

    def denied(path: Path, **how: bool) -> os.stat_result:
        if closed in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", denied)
    return closed / "in"


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.parametrize(
    "arguments",
    [
        ["mark", "{}/a"],
        ["sentinel", "watch", "{}", "--once"],
        ["sentinel", "install", "{}", "--dry-run", "--method", "systemd"],
        ["demo", "--once", "--dir", "{}"],
        ["demo", "--once", "--dir", "base", "--comfyui-path", "{}"],
        ["node", "deploy", "{}"],
        ["node", "remove", "{}"],
    ],
)
@pytest.mark.parametrize("name", ["locked", LONG])
def test_a_path_that_cannot_be_looked_at_is_named_in_one_line(
    arguments: list[str],
    form: list[str],
    name: str,
    locked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if arguments[0] == "node" and form:
        pytest.skip("it has no --json")
    monkeypatch.chdir(tmp_path)
    where = str(locked if name == "locked" else tmp_path / LONG)
    assert main([one.format(where) for one in arguments] + form) == 1
    said = capsys.readouterr()
    assert where in said.out + said.err
    if form:
        assert json.loads(said.out)["error"]["type"] == "io"
    else:
        assert len(said.err.splitlines()) == 1 and not said.out


def test_custom_nodes_that_may_not_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = tmp_path / "custom_nodes"
    (nodes / "run-recorder").mkdir(parents=True)
    (nodes / "run-recorder" / ".deployed-by-run-recorder").touch()
    (tmp_path / "main.py").touch()

    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    assert main(["node", "remove", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"run-recorder: {nodes}: Permission denied\n"
    assert (nodes / "run-recorder").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@pytest.mark.parametrize("odd", [".", "custom_nodes", "server.log"])
def test_what_lies_in_the_place_of_the_demos_own_is_named(
    odd: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    if odd != ".":
        base.mkdir()
    if odd == "server.log":
        os.mkfifo(base / odd)
    else:
        (base / odd).write_bytes(b"")
    assert main(["demo", "--once", "--dir", str(base)]) == 1
    said = capsys.readouterr().err
    assert str(base) in said and len(said.splitlines()) == 1
