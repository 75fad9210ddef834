"""A real systemd user instance, in namespaces of its own, runs the sentinel and starts it again when it is killed."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from run_recorder.sentinel.install.account import Account
from run_recorder.sentinel.install.job import make_job
from run_recorder.sentinel.install.systemd import Systemd
from run_recorder.sentinel.options import Options

from ..hosts import CLI
from .watching import frames, listed, marker, put
from .watching import until as watching_until

SYSTEMD = next((path for path in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if Path(path).exists()), None)
START = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/systemd/inaccessible/dir || exit 1
touch /run/systemd/inaccessible/reg
"$0" --user &
wait
"""
"""What a machine's systemd has made before a user's starts. The shell is process 1: systemd must not be."""


class Instance:
    """A systemd that manages one user's services, all of them below a folder."""

    def __init__(self, home: Path, runtime: Path) -> None:
        self.home = home
        (home / ".config").mkdir()
        self._env = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
        for name in ("XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS"):
            self._env.pop(name, None)
        command = ["unshare", "-mpfC", "--mount-proc", "--kill-child", "sh", "-c", START, str(SYSTEMD)]
        self.process = subprocess.Popen(command, env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def inside(self, *command: str | Path) -> subprocess.CompletedProcess:
        """Run something in its namespaces: it answers nobody outside."""
        first = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0]
        enter = ["nsenter", "-t", first, "-m", "-p", "-C", "--", *map(str, command)]
        return subprocess.run(enter, env=self._env, capture_output=True, text=True, timeout=60, check=False)

    def is_up(self) -> bool:
        with contextlib.suppress(OSError, IndexError):
            return self.inside("systemctl", "--user", "is-system-running").returncode == 0
        return False

    def run(self, *arguments: str | Path) -> dict[str, Any]:
        done = self.inside(*CLI, "sentinel", *arguments, "--json")
        assert done.stdout, done.stderr
        return dict(json.loads(done.stdout))

    def files(self) -> list[str]:
        return sorted(str(path) for path in (self.home / ".config").rglob("*"))


until = partial(watching_until, seconds=40)


def remove_control_groups() -> bool:
    """Away with what systemd has made, once its processes are gone."""
    made = [top for name in ("app.slice", "init.scope") for top in Path("/sys/fs/cgroup").glob(f"*/{name}")]
    for top in made:
        for folder in sorted((path for path in [top, *top.rglob("*")] if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
    return not any(top.exists() for top in made)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    if SYSTEMD is None or shutil.which("unshare") is None or os.geteuid() != 0 or Path("/run/systemd/system").exists():
        pytest.skip("needs root, unshare and a systemd that doesn't run this machine: nothing is really started")
    with tempfile.TemporaryDirectory(prefix="rr") as runtime:  # a socket's path has to be short
        instance = Instance(tmp_path, Path(runtime))
        try:
            until(lambda: instance.process.poll() is not None or instance.is_up(), seconds=30)
            if instance.process.poll() is not None:
                pytest.skip("no namespaces here, so no systemd user instance: nothing is really started")
            yield instance
        finally:
            instance.process.kill()
            instance.process.wait(20)
            until(remove_control_groups)


def test_it_is_started_killed_started_again_and_taken_away(instance: Instance) -> None:
    folder = instance.home / "out put é 100% $HOME \"q\" 'it'"
    folder.mkdir()
    before = instance.files()
    options = ("install", folder, "--stable-seconds", "0.2")
    instance.run(*options)
    first = until(lambda: (told := instance.run("status"))["Running"] and told)
    assert (first["Installed"], first["Restarts"]) == (True, 0)
    put(folder, *frames("a", 3))
    assert listed(until(lambda: marker(folder, "a"))) == set(frames("a", 3))

    assert instance.inside("systemctl", "--user", "kill", "-s", "KILL", Path(first["Path"]).name).returncode == 0
    put(folder, *frames("b", 2))
    assert listed(until(lambda: marker(folder, "b"))) == set(frames("b", 2))
    second = instance.run("status")
    assert second["Pid"] != first["Pid"] and second["Restarts"] == 1

    instance.run(*options)
    assert instance.run("status")["Pid"] == second["Pid"], "installed anew as it was, it goes on"
    instance.run("uninstall")
    assert not instance.run("status")["Installed"]
    assert instance.files() == before
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*frames("a", 3), "a.done", *frames("b", 2), "b.done"]
    )
    assert instance.run("uninstall")["Steps"] == []


def test_the_hardened_service_works_and_can_write_to_nothing_else(instance: Instance) -> None:
    folder, elsewhere = instance.home / "watched é", instance.home / "elsewhere"
    folder.mkdir()
    unit = Systemd(True, account=Account("artist", 1000, 1000)).unit(make_job([folder], Options(stable_seconds=0.2)))
    kept = [line for line in unit.splitlines() if not line.startswith(("User=", "Group="))]  # a user's has its own
    lines = [*kept, "[Service]", f"ExecStartPre=-/bin/touch {elsewhere}"]
    path = instance.home / ".config" / "systemd" / "user" / "hardened.service"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines), "utf-8")
    assert instance.inside("systemctl", "--user", "start", path.name).returncode == 0
    put(folder, *frames("a", 2))
    assert listed(until(lambda: marker(folder, "a"))) == set(frames("a", 2))
    assert not elsewhere.exists()
