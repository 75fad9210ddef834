"""A run's folder that somebody else made: validate, --resume, archive and report look, and refuse by name."""

import base64
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_recorder.cli import main
from run_recorder.runner.archive import write_archive
from run_recorder.runner.policy import resolve
from run_recorder.runner.report import render
from run_recorder.telemetry.models.run_contract import ArtifactMetadata

from ..unit.run_files import METADATA, SCENE, Run
from .server import HostileServer, png

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes")
SECRET = b"somebody else's"
TRY = {"Attempt": 1, "PromptId": "p1", "Server": "http://127.0.0.1:9", "Frames": 1, "DurationSeconds": 1.0}
KNOBS = ["--max-wait-seconds", "1", "--history-poll-interval-seconds", "1", "--post-execution-timeout-seconds", "1"]
Told = tuple[int, dict[str, Any]]


@pytest.fixture
def server() -> Iterator[HostileServer]:
    made = HostileServer()
    yield made
    made.stop()


@pytest.fixture
def begun(tmp_path: Path, server: HostileServer, capfd: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run of two scenes that is whole."""
    graph, story = tmp_path / "graph.json", tmp_path / "story.json"
    nodes = {
        "1": {"class_type": "EmptyImage", "inputs": {"text": "__SCENE_PROMPT__", "image": "__KEYFRAME_IMAGE__"}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "__SCENE_PREFIX__", "images": ["1", 0]}},
    }
    graph.write_text(json.dumps(nodes), "utf-8")
    scenes = [{"id": f"scene-{number:03}", "prompt": f"p{number}"} for number in (1, 2)]
    story.write_text(json.dumps({"id": "s", "logline": "A light.", "scenes": scenes}), "utf-8")
    given = ["run", "--story", str(story), "--workflow", str(graph), "--runs-dir", str(tmp_path / "runs"), *KNOBS]
    assert main([*given, "--comfyui", server.url("good"), "--json"]) == 0, capfd.readouterr()
    capfd.readouterr()
    (folder,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "secret").write_bytes(SECRET)
    return folder


@pytest.fixture
def resumed(begun: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def resume(*more: str) -> Told:
        capfd.readouterr()
        code = main(["run", "--resume", str(begun), "--json", *more])
        return code, json.loads(capfd.readouterr().out)

    return resume


def seen(folder: Path) -> dict[str, Any]:
    """Every entry with what it is and holds."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path)] = (path.lstat().st_mode, content)
    return found


def change(path: Path, spoil: Callable[[Any], Any]) -> None:
    told = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(spoil(told)), "utf-8")


def unfinished(folder: Path) -> None:
    """As a process leaves it that was killed in the second scene."""
    (folder / "scene-002" / "result.json").unlink()
    (folder / "scene-002" / "attempts.json").write_text(json.dumps([TRY]), "utf-8")


# ---------------------------------------------------------------- --resume


def linked(name: str, target: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(folder.parent.parent / target)

    return spoil


def piped(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


ENTRIES = {
    "scene-002": linked("scene-002", "elsewhere"),
    "scene-001/generated-frames-attempt-2": linked("scene-001/generated-frames-attempt-2", "elsewhere"),
    "scene-002/keyframe.png": linked("scene-002/keyframe.png", "secret"),
    "scene-002/result.json": linked("scene-002/result.json", "secret"),
    "test-results": linked("test-results", "elsewhere"),
    "story": linked("story", "elsewhere"),
    ".run.lock": linked(".run.lock", "secret"),
    "run.json": linked("run.json", "secret"),
    "scene-001/attempts.json": piped("scene-001/attempts.json"),
    "workflow.json": piped("workflow.json"),
    "artifact-metadata.json": piped("artifact-metadata.json"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_link_or_a_pipe_is_refused_by_name(
    begun: Path, resumed: Callable[..., Told], name: str, tmp_path: Path
) -> None:
    unfinished(begun)
    ENTRIES[name](begun)
    before = seen(begun)
    code, told = resumed()
    assert (code, told["error"]["type"]) == (2, "invalid_run")
    assert name in told["error"]["message"]
    assert seen(begun) == before, "nothing is changed"
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "secret").read_bytes() == SECRET


def scene(**changes: Any) -> Callable[[Any], Any]:
    return lambda told: {**told, "Scene": {**told["Scene"], **changes}}


def tried(**changes: Any) -> Callable[[Any], Any]:
    return lambda _: [{**TRY, **changes}]


ABSURD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "another scene's": ("result.json", scene(SceneId="scene-001")),
    "absolute": ("result.json", scene(GeneratedFramesDir="/etc")),
    "upwards": ("result.json", scene(GeneratedFramesDir="scene-002/../../..")),
    "another's folder": ("result.json", scene(GeneratedFramesDir="scene-001/generated-frames-attempt-1")),
    "a history elsewhere": ("result.json", scene(HistoryPath="../../x.json")),
    "a keyframe elsewhere": ("result.json", scene(KeyframeSource="/etc/passwd")),
    "a file upwards": ("result.json", lambda told: {**told, "Files": {"../../a": 1}}),
    "a negative size": ("result.json", lambda told: {**told, "Files": {"a": -1}}),
    "a try of the result": ("result.json", scene(AttemptSummaries=[{**TRY, "Attempt": -1}])),
    "a negative number": ("attempts.json", tried(Attempt=-5)),
    "a huge number": ("attempts.json", tried(Attempt=10**30)),
    "a number that is text": ("attempts.json", tried(Attempt="1")),
    "a number that is none": ("attempts.json", tried(Attempt=True)),
    "no id": ("attempts.json", tried(PromptId="")),
    "an id with a line": ("attempts.json", tried(PromptId="a\nb")),
    "an id of 5,000 letters": ("attempts.json", tried(PromptId="p" * 5000)),
    "a server that is none": ("attempts.json", tried(Server=["x"])),
    "negative frames": ("attempts.json", tried(Frames=-1)),
    "20,000 tries": ("attempts.json", lambda _: [TRY] * 20_000),
}


@pytest.mark.parametrize("what", ABSURD)
def test_a_file_that_no_runner_writes_is_refused_by_name(begun: Path, resumed: Callable[..., Told], what: str) -> None:
    name, spoil = ABSURD[what]
    if name == "attempts.json":
        unfinished(begun)
    change(begun / "scene-002" / name, spoil)
    code, told = resumed()
    assert (code, told["error"]["type"]) == (2, "invalid_run")
    assert f"scene-002/{name}" in told["error"]["message"]
    assert len(told["error"]["message"]) < 2000


PLANS: dict[str, dict[str, Any]] = {
    "a mapping elsewhere": {"Mapping": "/etc/passwd"},
    "a mapping upwards": {"Mapping": "../mapping.json"},
    "a server that is a file": {"Servers": ["file:///etc/passwd"]},
    "a server with a password": {"Servers": ["http://a:S3cret@127.0.0.1:9"]},
    "a server without a port that can be": {"Servers": ["http://127.0.0.1:99999"]},
    "half an address": {"Servers": ["http://[::1"]},
    "a server with a query": {"Servers": ["http://127.0.0.1:9/?x=1"]},
    "no server": {"Servers": []},
    "a prefix that leads upwards": {"Prefix": "../../x"},
    "a knob of text": {"Knobs": {"max_wait_seconds": "soon"}},
}


@pytest.mark.parametrize("what", PLANS)
def test_a_plan_that_no_runner_writes_is_refused_by_name(begun: Path, resumed: Callable[..., Told], what: str) -> None:
    unfinished(begun)
    change(begun / "run.json", lambda told: {**told, **PLANS[what]})
    code, told = resumed()
    assert (code, told["error"]["type"]) == (2, "invalid_run")
    assert "run.json" in told["error"]["message"]
    assert "S3cret" not in told["error"]["message"]


def test_a_file_nested_too_deep_is_refused(begun: Path, resumed: Callable[..., Told]) -> None:
    (begun / "scene-002" / "attempts.json").write_text("[" * 800 + "]" * 800, "utf-8")
    (begun / "scene-002" / "result.json").unlink()
    code, told = resumed()
    assert (code, told["error"]["type"]) == (2, "invalid_run")


@pytest.mark.parametrize(
    "more, tokens",
    [((), set()), (("--trust-servers",), {"other"}), (("--comfyui", "HERE"), {"good"})],
    ids=["nobody", "trusted", "named"],
)
def test_the_token_goes_to_servers_that_this_command_line_names(
    begun: Path,
    resumed: Callable[..., Told],
    server: HostileServer,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    tokens: set[str],
) -> None:
    """`other` is what the folder says that the run was begun with."""
    unfinished(begun)
    change(begun / "run.json", lambda told: {**told, "Servers": [server.url("upload-odd")]})
    monkeypatch.setenv("RUN_RECORDER_TOKEN", "secret")
    monkeypatch.delenv("COMFYUI_URL", raising=False)
    resumed(*(server.url("good") if part == "HERE" else part for part in more))
    names = {"upload-odd": "other", "good": "good"}
    assert {names[way] for way, _ in server.tokens} == tokens
    assert server.counts.get(("upload-odd", "stats"), 0) or "--comfyui" in more, "it is asked all the same"


def test_a_password_in_a_servers_url_reaches_that_server_and_no_file(
    begun: Path, resumed: Callable[..., Told], server: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(begun)
    monkeypatch.delenv("RUN_RECORDER_TOKEN", raising=False)
    code, told = resumed("--comfyui", server.url("good").replace("://", "://someone:S3cret@"))
    assert code == 0, told
    assert set(server.tokens) == {("good", "Basic " + base64.b64encode(b"someone:S3cret").decode())}
    result = json.loads((begun / "scene-002" / "result.json").read_text("utf-8"))
    assert result["Scene"]["AttemptSummaries"][-1]["Server"] == server.url("good")
    assert "S3cret" not in json.dumps(told)
    for path, (_, content) in seen(begun).items():
        assert b"S3cret" not in (content or b""), path


def test_names_that_are_no_utf_8_cost_nothing(begun: Path, resumed: Callable[..., Told], server: HostileServer) -> None:
    """A run from before: its tries tell an error with half a surrogate, and a frame has such a name."""
    unfinished(begun)
    text = "no such file: '/models/\\udcff'"
    tries = json.dumps([TRY]).replace('"DurationSeconds"', f'"Error": "{text}", "End": "error", "DurationSeconds"')
    (begun / "scene-002" / "attempts.json").write_text(tries, "ascii")
    odd = os.fsencode(begun / "scene-001" / "generated-frames-attempt-1") + b"/\xff_00002_.png"
    with open(odd, "wb") as file:
        file.write(png())
    code, told = resumed("--comfyui", server.url("history-surrogates"))
    assert (code, told["Scenes"][1]["Success"]) == (1, False)
    assert "\\udcff" in told["Scenes"][1]["Errors"][0]
    for name in ("run-summary.txt", "artifact-metadata.json", "report.html"):
        (begun / name).read_text("utf-8")
    with zipfile.ZipFile(begun / f"{begun.name}.zip") as archive:
        assert any(name.endswith("udcff_00002_.png") for name in archive.namelist())
    unfinished(begun)
    assert resumed("--comfyui", server.url("good"))[0] == 0


# ---------------------------------------------------------------- validate, archive, report


def spoiled(tmp_path: Path, name: str, how: str) -> Path:
    folder = Run().write(tmp_path / "run")
    path = folder / name
    if how == "a link":
        shutil.move(path, tmp_path / name)
        path.symlink_to(tmp_path / name)
    elif how == "a named pipe":
        path.unlink()
        os.mkfifo(path)
    elif how == "larger":
        os.truncate(path, 2**40)
    else:
        path.write_text("[" * 100_000, "utf-8")
    return folder


@pytest.mark.parametrize("name", ["run-summary.txt", "artifact-metadata.json"])
@pytest.mark.parametrize("how", ["a link", "a named pipe", "larger", "deep"])
def test_validate_says_what_is_wrong(tmp_path: Path, name: str, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["validate", str(spoiled(tmp_path, name, how)), "--json"])
    told = json.loads(capfd.readouterr().out)
    if how == "deep":
        assert code == 1 and told["Errors"]
    else:
        assert (code, how in told["error"]["message"]) == (2, True)
        assert name in told["error"]["message"]


def test_an_archive_holds_regular_files_of_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "frames").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    (folder / "frames" / "a.png").write_bytes(b"frame")
    (folder / "frames" / "link.png").symlink_to(tmp_path / "secret")
    (folder / "frames" / "zero.png").symlink_to("/dev/zero")
    (folder / "linked").symlink_to(tmp_path / "outside", target_is_directory=True)
    os.mkfifo(folder / "frames" / "pipe.png")
    with open(os.fsencode(folder) + b"/\xff.txt", "wb") as file:
        file.write(b"text")
    assert write_archive(folder, folder / "run.zip") == 2
    with zipfile.ZipFile(folder / "run.zip") as archive:
        assert set(archive.namelist()) == {"frames/a.png", "\\udcff.txt"}


def test_a_report_shows_no_picture_that_is_a_link_a_bomb_or_of_another_format(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    frames = folder / "frames"
    frames.mkdir(parents=True)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "secret.png")
    (frames / "a.png").symlink_to(tmp_path / "secret.png")
    (frames / "b.png").write_bytes(png(60_000, 60_000))
    Image.new("RGB", (16, 16)).save(frames / "c.ppm")
    (frames / "c.ppm").rename(frames / "c.png")
    (frames / "d.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(frames / "e.png")
    with open(os.fsencode(frames) + b"/\xff.png", "wb") as file:
        file.write(png())
    metadata = json.loads(json.dumps(METADATA))
    metadata["Scenes"] = [SCENE | {"GeneratedFramesDir": "frames", "FramePrefix": "\x1b]0;x\x07"}]
    page = render(ArtifactMetadata.model_validate_json(json.dumps(metadata)), resolve({}), folder)
    assert page.count("data:image/jpeg") == 1, "only the last is a picture"
    page.encode("utf-8")
    assert "%FF.png" in page
