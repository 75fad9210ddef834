"""`run-recorder prompts` on answers that have no more than our models ask for: of older and newer servers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from run_recorder.cli import main
from run_recorder.client import blocking
from run_recorder.client.reading import Answer
from run_recorder.client.request import Request

PROMPT: dict[str, Any] = {
    "prompt_id": "p",
    "run_number": 1,
    "status": "success",
    "node_counts": {"total": 1, "executed": 1, "cached": 0},
    "instance": {"id": "i"},
    "of a newer server": [1],
}
NODE = {"node_id": "1", "class_type": None, "title": None}
MORE: list[dict[str, Any]] = [
    {},
    {"current_node": NODE, "status": "running"},
    {"refused": [{"node_id": "2"}]},
    {"markers": [{"path": None, "status": "due"}]},
    {"outputs": [{"node_id": None, "filename": "a.png", "subfolder": "", "type": None}]},
    {"devices": [{}]},
]
Serve = Callable[[dict[str, Any]], None]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Let this prompt be the one that every server has."""

    def begin(prompt: dict[str, Any]) -> None:
        def ask(_url: str, request: Request, **_options: object) -> Answer:
            path = request.path
            ended = prompt["status"] == "success" or "/wait" not in path
            page = {"items": [prompt], "next_cursor": None}
            value = {"items": []} if path.endswith("/nodes") else page if path.endswith("prompts?limit=20") else prompt
            return Answer(200 if ended else 202, {}, value)

        monkeypatch.setattr(blocking, "ask", ask)

    return begin


@pytest.mark.parametrize("more", MORE, ids=str)
@pytest.mark.parametrize("command", [["list"], ["show", "p"], ["wait", "p"]], ids=" ".join)
def test_what_may_be_missing_is_missed_by_nobody(
    serve: Serve, capsys: pytest.CaptureFixture[str], command: list[str], more: dict[str, Any]
) -> None:
    serve(PROMPT | more)
    options = ["--timeout", "0"] if command[0] == "wait" else []
    running = "status" in more and command[0] == "wait"
    assert main(["prompts", *command, *options]) == int(running)
    assert "p" in capsys.readouterr().out or running


@pytest.mark.parametrize("command", [["list"], ["show", "p"], ["wait", "p"]], ids=" ".join)
def test_json_is_what_the_server_said(serve: Serve, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    serve(PROMPT)
    assert main(["prompts", *command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["items"][0] if command == ["list"] else told) == PROMPT


def test_a_prompt_that_still_runs_without_a_node_is_told(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    running = PROMPT | {"status": "running"}
    serve(running)
    assert main(["prompts", "wait", "p", "--timeout", "0", "--json"]) == 1
    late = {"Type": "timeout", "Message": "still running after 0 s", "NodeId": None}
    assert json.loads(capsys.readouterr().out) == running | {"Error": late}


def test_an_end_without_a_time_is_followed(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve(PROMPT)
    assert main(["prompts", "follow", "p", "--json"]) == 0
    told = {"id": None, "event": "prompt.finished", "at": None, "prompt_id": "p", "status": "success"}
    assert json.loads(capsys.readouterr().out) == told
