"""`run-recorder prompts`: the HTTP API for people."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..client import recorder
from ..client.urls import DEFAULT_URL
from ..telemetry.models.node import NodeList
from ..telemetry.models.prompt import Prompt, PromptPage
from ..telemetry.models.text import count_of
from .follow import follow, print_end
from .output import DONE, FAILED, facts, print_json, status_exit_code, table
from .server import Server
from .terminal import say, tell, width

app = typer.Typer(help="What became of prompts, from a ComfyUI server's records.", no_args_is_help=True)

Comfyui = Annotated[str, typer.Option("--comfyui", envvar="COMFYUI_URL", help="The ComfyUI server's URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
PromptId = Annotated[str, typer.Argument(metavar="ID", help="The prompt's id, or a beginning that only it has.")]
WhichRun = Annotated[int | None, typer.Option("--run", min=1, help="The Nth run of this id; else the newest.")]

COLUMNS = {
    "prompt_id": "prompt",
    "name": "name",
    "status": "status",
    "queued_at": "queued (UTC)",
    "duration_seconds": "seconds",
    "nodes": "nodes",
    "files": "files",
    "markers": "markers",
}
NARROW_COLUMNS = {name: COLUMNS[name] for name in ("prompt_id", "name", "status")}
"""What fits beside a whole id in 80 columns; an id that is cut could not be given to the other commands."""
WIDE = 120
NODE_COLUMNS = {
    "node_id": "node",
    "class_type": "class",
    "title": "title",
    "duration_seconds": "seconds",
    "cached": "cached",
    "vram_used_peak_bytes": "peak bytes",
    "vram_delta_bytes": "change",
}
REFUSED_COLUMNS = {"node_id": "node", "class_type": "class", "why": "why"}
DEVICE_COLUMNS = {
    "type": "device",
    "name": "name",
    "vram_used_peak_bytes": "peak bytes",
    "utilization_percent_mean": "busy %",
    "temperature_celsius_max": "max \N{DEGREE SIGN}C",
    "energy_joules": "joules",
    "source": "source",
}


@app.command("list")
def list_prompts(
    comfyui: Comfyui = DEFAULT_URL,
    status: Annotated[list[str] | None, typer.Option(help="Only this status; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option(help="Queued at or after this time, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Queued before this time, ISO 8601.")] = None,
    q: Annotated[str | None, typer.Option(help="Part of an id, a workflow's, class' or output's name.")] = None,
    class_type: Annotated[str | None, typer.Option(help="A node's class.")] = None,
    output: Annotated[str | None, typer.Option(help="An output's file name.")] = None,
    workflow: Annotated[str | None, typer.Option(help="A workflow's fingerprint.")] = None,
    settings: Annotated[str | None, typer.Option(help="A fingerprint of a workflow with its settings.")] = None,
    environment: Annotated[str | None, typer.Option(help="An environment's id.")] = None,
    instance: Annotated[str | None, typer.Option(help="The id of the process that recorded it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, at most.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: AsJson = False,
) -> int:
    """List prompts, newest first."""
    query = {
        "status": status,
        "since": since,
        "until": until,
        "q": q,
        "class_type": class_type,
        "output": output,
        "workflow": workflow,
        "settings": settings,
        "environment": environment,
        "instance": instance,
        "limit": limit,
        "cursor": cursor,
    }
    page = Server(comfyui).record(PromptPage, recorder.prompts(query))
    if as_json:
        print_json(page.as_it_came)
        return DONE
    columns = COLUMNS if width() >= WIDE else NARROW_COLUMNS
    table("Prompts", [_row(prompt) for prompt in page.read["items"]], columns)
    if page.read["next_cursor"]:
        tell(f"More: --cursor {page.read['next_cursor']}")
    return DONE


def _row(prompt: dict[str, Any]) -> dict[str, object]:
    counts = prompt["node_counts"]
    return {
        **prompt,
        "status": _status(prompt),
        "queued_at": (prompt["queued_at"] or "-").split(".")[0].replace("T", " "),
        "nodes": f"{counts['executed']} run, {counts['cached']} cached",
        "files": len(prompt["outputs"]),
        "markers": ", ".join(marker["path"] or marker["status"] for marker in prompt["markers"]),
    }


def _status(prompt: dict[str, Any]) -> str:
    refused = prompt["refused"]
    return f"{prompt['status']}, {count_of(len(refused), 'output')} refused" if refused else str(prompt["status"])


@app.command("show")
def show_prompt(
    prompt_id: PromptId, comfyui: Comfyui = DEFAULT_URL, run: WhichRun = None, as_json: AsJson = False
) -> int:
    """Show one prompt and its nodes."""
    server = Server(comfyui)
    prompt = server.by_ids([prompt_id], lambda known: server.record(Prompt, recorder.prompt(known, run)))
    if as_json:
        print_json(prompt.as_it_came)
        return DONE
    nodes = server.record(NodeList, recorder.nodes(prompt.read["prompt_id"], run))
    print_prompt(prompt.read, nodes.read["items"])
    return DONE


def print_prompt(prompt: dict[str, Any], nodes: list[dict[str, Any]]) -> None:
    """A prompt's record as tables."""
    simple = {
        name: value for name, value in prompt.items() if not isinstance(value, (dict, list)) and value is not None
    }
    facts("Prompt", {**simple, "status": _status(prompt)})
    current = prompt["current_node"]
    if current:
        say(f"At node {current['node_id']} ({current['class_type']}): {current['value']} of {current['max']}")
    if prompt["error"]:
        facts("Error", prompt["error"])
    refused = [{**one, "why": "; ".join(one["reasons"])} for one in prompt["refused"]]
    if refused:
        table("Refused", refused, REFUSED_COLUMNS)
    table("Nodes", nodes, NODE_COLUMNS)
    table(
        "Outputs",
        prompt["outputs"],
        {"filename": "file", "subfolder": "folder", "type": "type", "bytes": "bytes", "node_id": "node"},
    )
    table("Devices", prompt["devices"], DEVICE_COLUMNS)
    table("Markers", prompt["markers"], {"path": "path", "status": "status", "written_at": "written"})
    for note in [*prompt["notes"], *prompt["fallback_notes"]]:
        say(f"Note: {note}")


@app.command("wait")
def wait_prompt(
    prompt_id: PromptId,
    comfyui: Comfyui = DEFAULT_URL,
    timeout: Annotated[float, typer.Option(min=0, max=30 * 86400, help="Seconds.")] = 3600.0,
    run: WhichRun = None,
    strict: Annotated[bool, typer.Option("--strict", help="Outputs that ComfyUI refused are a failure, too.")] = False,
    as_json: AsJson = False,
) -> int:
    """Wait until a prompt has ended and its markers are written; exit 0 if it succeeded, else 1."""
    server = Server(comfyui)
    ended, told = server.by_ids([prompt_id], lambda known: server.wait(known, timeout, run))
    prompt = told.read
    prompt_id = prompt["prompt_id"]
    late = None if ended else f"still {prompt['status']} after {timeout:g} s"
    refused = prompt["refused"]
    if as_json:
        node = prompt["current_node"]
        why = {"Type": "timeout", "Message": late, "NodeId": node and node["node_id"]}
        print_json(told.as_it_came if late is None else {**told.as_it_came, "Error": why})
    elif ended:
        say(f"{prompt_id}: {prompt['status']}")
    if late is not None:
        tell(f"{prompt_id}: {late}")
        return FAILED
    for one in refused:
        tell(f"{prompt_id}: refused: node {one['node_id']} ({one['class_type']}): {'; '.join(one['reasons'])}")
    return FAILED if strict and refused else status_exit_code(prompt["status"])


@app.command("follow")
def follow_prompts(
    prompt_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this prompt, until it has ended.")
    ] = None,
    comfyui: Comfyui = DEFAULT_URL,
    after: Annotated[str | None, typer.Option(help="Begin after the event of this number.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line on standard output.")] = False,
) -> int:
    """Print what happens as it happens; with an ID end with the prompt, exit 0 if it succeeded, else 1."""
    server = Server(comfyui)
    if prompt_id is not None and after is None:
        ended, prompt = server.by_ids([prompt_id], lambda known: server.wait(known, 0))
        prompt_id = prompt.read["prompt_id"]
        if ended:
            return print_end(prompt, as_json=as_json)
    return follow(server, prompt_id, after, as_json=as_json, until_finished=prompt_id is not None)
