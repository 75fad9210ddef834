"""Folders that people name: refused before anything is asked or made where no run's record can hold them."""

import json
import os
from pathlib import Path

import pytest
from run_recorder.cli import main
from run_recorder.commands.output import CommandError
from run_recorder.commands.places import place
from run_recorder.runner.patching import placeholders_in

ODD = ["r\x1b[31m1", "r\n", "\udcff", "a\x7f"]


@pytest.mark.parametrize("name", ODD)
def test_one_that_no_record_holds_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--there"):
        place("--there", tmp_path / name)


@pytest.mark.parametrize("name", ["a b", "ünï", "x" * 200, "100%", "it's"])
def test_others_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    assert place("--there", tmp_path / name) == tmp_path / name


def test_a_tilde_is_the_user_s_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert place("--there", Path("~/runs")) == tmp_path / "runs"
    with pytest.raises(CommandError):
        place("--there", Path("~no-such-user-anywhere/runs"))


@pytest.mark.skipif(os.name == "nt", reason="a name that Windows takes nowhere")
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    "command",
    [
        ["run", "--story", "story.json", "--workflow", "graph.json", "--runs-dir"],
        ["run", "--resume"],
        ["queue", "graph.json", "--output"],
        ["queue", "graph.json", "--runs-dir"],
    ],
    ids=" ".join,
)
def test_commands_refuse_it_before_anything_is_made(
    command: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "graph.json").write_text('{"1": {"class_type": "A", "inputs": {}}}', "utf-8")
    (tmp_path / "story.json").write_text('{"id": "s", "scenes": [{"id": "scene-001", "prompt": "p"}]}', "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([*command, name, "--comfyui", "http://127.0.0.1:9", "--json"]) == 2
    assert "invalid_parameter" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.json", "story.json"]


@pytest.mark.parametrize("name", ["__SCENE_PREFIX__", "__SEED__", "__SCENE_PROMPT__"])
def test_a_template_is_not_queued(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graph.json").write_text(json.dumps({"1": {"class_type": "A", "inputs": {"x": f"a {name}"}}}), "utf-8")
    assert main(["queue", "graph.json", "--comfyui", "http://127.0.0.1:9", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "template" and name in error["message"]


def test_placeholders_of_others_and_escaped_ones_are_none_of_ours() -> None:
    graph = {"1": {"class_type": "A", "inputs": {"x": "__FLOWER__", "y": "\\__SEED__"}}}
    assert placeholders_in(graph) == []
