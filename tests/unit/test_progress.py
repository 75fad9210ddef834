"""Progress for people: a bar while a node tells steps, and nothing where nobody looks."""

import io

import pytest
from rich.console import Console
from run_recorder.commands import progress
from run_recorder.commands import terminal as terminal_module
from run_recorder.runner.step import Step


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    stream = io.StringIO()
    monkeypatch.setattr(terminal_module, "_err", Console(file=stream, force_terminal=terminal, width=120))
    with progress.showing() as say:
        say("queued, place 2")
        say(Step("running: node [bold]3[/]", "3", 5, 20))
        say(Step("running: node 3", "3", 12, 20))
        say(Step("running: node 4", "4", None, None))
        say("collecting")
    return stream.getvalue()


def test_a_terminal_shows_steps_and_text_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True)
    assert "collecting" in text


def test_where_nobody_looks_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, terminal=False) == ""


def test_a_step_is_its_sentence() -> None:
    step = Step("running", "3", 1, 2)
    assert (step, step.node, step.value, step.most) == ("running", "3", 1, 2)
    assert f"{step}!" == "running!"
