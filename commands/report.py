"""`run-recorder report ID`: what a bug tracker needs to know of a prompt, as Markdown."""

from __future__ import annotations

from typing import Annotated

import typer

from ..client import recorder
from ..client.urls import DEFAULT_URL
from .output import DONE, print_json
from .prompts import AsJson, Comfyui, PromptId, WhichRun
from .server import Server
from .terminal import say


def report(
    prompt_id: PromptId,
    comfyui: Comfyui = DEFAULT_URL,
    run: WhichRun = None,
    with_model_names: Annotated[
        bool, typer.Option("--with-model-names", help="Models and other choices by name; else as <model 1>.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Print a prompt's report for a bug tracker: no texts, paths or keys, and by default no names of models."""
    server = Server(comfyui)

    def ask(known: str) -> list[str]:
        with server.stream(recorder.report(known, run, with_model_names)) as lines:
            return [line.decode("utf-8", "replace") for line in lines]

    lines = server.by_ids([prompt_id], ask)
    if as_json:
        print_json({"report": "\n".join(lines)})
        return DONE
    for line in lines:
        say(line)
    return DONE
