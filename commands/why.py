"""`run-recorder why ID`: what is usual for a prompt, how this one compares, and the reasons that its record shows."""

from __future__ import annotations

from typing import Any

from ..client import recorder
from ..client.urls import DEFAULT_URL
from ..telemetry.models.why import Why
from ..telemetry.why.words import seconds_of
from .output import DONE, print_json, table
from .prompts import AsJson, Comfyui, PromptId, WhichRun
from .server import Server
from .terminal import say

NODE = {
    "node_id": "node",
    "class_type": "class",
    "usual_seconds": "usual (s)",
    "seconds": "now (s)",
    "share_seconds": "share (s)",
}
SURE, FITS = 0.8, 0.5


def why(prompt_id: PromptId, comfyui: Comfyui = DEFAULT_URL, run: WhichRun = None, as_json: AsJson = False) -> int:
    """Say why a prompt took what it took, or failed, held against earlier runs of its workflow."""
    server = Server(comfyui)
    told = server.by_ids([prompt_id], lambda known: server.record(Why, recorder.why(known, run)))
    if as_json:
        print_json(told.as_it_came)
    else:
        print_why(told.read)
    return DONE


def print_why(told: dict[str, Any]) -> None:
    """In sentences, the surest reason first."""
    usual, ratio = told["usual"], told["ratio"]
    say(f"{told['prompt_id']}, run {told['run_number']}: {told['verdict'] or 'it has no end that could be compared'}")
    if usual is not None:
        low, high = usual["interval"]
        of_it = f"; this one took {ratio:.2f} times that" if ratio is not None else ""
        between = f"{seconds_of(low)} to {seconds_of(high)} in {usual['runs']} runs"
        say(f"Usual: {seconds_of(usual['median'])} ({between}){of_it}")
    for reason in told["reasons"]:
        sure = reason["confidence"]
        word = "" if sure >= SURE else "perhaps: " if sure >= FITS else "possibly: "
        say(f"- {word}{reason['text']} [{reason['kind']}]")
    if told["nodes"]:
        table("Nodes that carry it", told["nodes"], NODE)
    for note in told["notes"]:
        say(f"Note: {note}")
