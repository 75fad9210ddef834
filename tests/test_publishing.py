"""What the registry would get: the same files as comfy-cli packs, enough to run, and nothing that its scanner flags."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .graphs import saved
from .hosts import REPO, Host

MODULES = "subprocess socket urllib http.client httpx ctypes pickle marshal base64 importlib telnetlib ftplib smtplib"
FLAGGED = re.compile(
    rf"\b({'|'.join(re.escape(name) for name in MODULES.split())})\b|\bimport requests\b|\brequests\.(?:get|post)\b"
    r"|os\.(environ|system|popen|exec\w*|spawn\w*)|(?<![.\w])(eval|exec|compile|__import__)\("
)
"""As the scanner looks: by words, wherever they stand in code."""


def published() -> list[str]:
    """What git tracks, without what `.comfyignore` names."""
    if shutil.which("git") is None or not (REPO / ".git").exists():
        pytest.skip("not a git checkout")

    def listed(*more: str) -> set[str]:
        done = subprocess.run(["git", "ls-files", "-z", *more], cwd=REPO, capture_output=True, text=True, check=True)
        return set(filter(None, done.stdout.split("\0")))

    return sorted(name for name in listed() - listed("-ci", "--exclude-from=.comfyignore") if (REPO / name).is_file())


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "run-recorder"
    for name in published():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPO / name, folder / name)
    return folder


def test_it_runs_a_prompt_and_serves_the_panel(package: Path, tmp_path: Path) -> None:
    host = Host("embedded", tmp_path / "host", recorder=False)
    shutil.copytree(package, host.custom_nodes / "run-recorder")
    try:
        host.start()
        record = host.wait(host.queue(saved("shot/a", marker={})), 60)
        assert (record["status"], record["markers"][0]["status"]) == ("success", "success")
        assert host.path("shot/a.done").exists()
        for path in ("/telemetry/", "/telemetry/panel/panel.js", "/telemetry/gpu", "/telemetry/metrics"):
            assert host.request("GET", path).status == 200, path
        health = host.get("/telemetry/health")[1]
        assert health["problems"] == [], health
    finally:
        host.stop()


def test_it_holds_no_test_no_script_and_nothing_that_is_not_needed() -> None:
    names = published()
    assert {"__init__.py", "pyproject.toml", "requirements.txt", "web/comfyui/run-recorder.js"} <= set(names)
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {"tests", "benchmarks", ".ci", "embedded_host", "runner", "commands", "docs"}
    assert not tops & {".github", ".pre-commit-config.yaml", "noxfile.py", "CONTRIBUTING.md", "SECURITY.md"}
    assert not [name for name in names if name.endswith((".sh", ".bat", ".exe", ".so", ".dll", ".whl", ".zip"))]
    assert sum((REPO / name).stat().st_size for name in names) < 2_000_000


def test_every_word_that_a_scanner_stops_at_is_listed_with_its_reason() -> None:
    text = (REPO / "docs" / "publishing.md").read_text("utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    listed = set(re.findall(r"`([\w/]+\.py)`", table))
    found = {}
    for name in published():
        if name.endswith(".py"):
            code = "\n".join(line.partition("  #")[0] for line in (REPO / name).read_text("utf-8").splitlines())
            words = {match[0] for match in FLAGGED.finditer(re.sub(r'"""[\s\S]*?"""', "", code))}
            if words - {"re.compile("}:
                found[name] = words
    assert set(found) - listed == set(), {name: found[name] for name in set(found) - listed}
    assert listed - set(found) == set(), "listed, and not there"


def test_no_script_of_the_page_reaches_elsewhere() -> None:
    for name in published():
        if name.endswith(".js"):
            text = (REPO / name).read_text("utf-8")
            assert not re.search(r"https?://(?!www\.w3\.org)|WebSocket\(|sendBeacon|XMLHttpRequest|eval\(", text), name
