"""`run-recorder compare A B`: in what two prompts differ."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..client import recorder
from ..client.urls import DEFAULT_URL
from ..telemetry.models.comparison import Comparison
from ..telemetry.why.words import size_of
from .output import DONE, print_json, table
from .prompts import AsJson, Comfyui
from .server import Server
from .terminal import say

NODES_SHOWN = 20
DIFFERENCE = {"what": "what", "before": "before", "after": "after"}
SETTING = {"node_id": "node", "class_type": "class", "input": "input", "before": "before", "after": "after"}
FIGURE = {"what": "what", "before": "before", "after": "after", "change": "change", "ratio": "ratio"}
NODE = {
    "node_id": "node",
    "class_type": "class",
    "before": "before (s)",
    "after": "after (s)",
    "change_seconds": "change (s)",
}
PICTURE = {"before": "before", "after": "after", "same": "the same"}


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A prompt's id, or a beginning that only it has.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another prompt's id, or the same one's with another run.")],
    comfyui: Comfyui = DEFAULT_URL,
    a_run: Annotated[int | None, typer.Option(min=1, help="Which run of A; else the newest.")] = None,
    b_run: Annotated[int | None, typer.Option(min=1, help="Which run of B; else the newest.")] = None,
    as_json: AsJson = False,
) -> int:
    """Compare two prompts, the older one first: settings, environment, conditions, figures, nodes, pictures."""
    server = Server(comfyui)
    told = server.by_ids([a, b], lambda one, two: server.record(Comparison, recorder.compare(one, two, a_run, b_run)))
    if as_json:
        print_json(told.as_it_came)
    else:
        print_comparison(told.read)
    return DONE


def print_comparison(told: dict[str, Any]) -> None:
    """As tables; what is the same is left out."""
    for which in ("before", "after"):
        one = told[which]
        say(f"{which.capitalize()}: {one['prompt_id']}, run {one['run_number']}: {one['name'] or '-'}, {one['status']}")
    for title, rows, columns in (
        ("Settings", told["settings"], SETTING),
        ("Environment", told["environment"], DIFFERENCE),
        ("Conditions", told["conditions"], DIFFERENCE),
        ("Figures", [_figure(one) for one in told["figures"]], FIGURE),
        ("Nodes", [_node(node) for node in told["nodes"] if node["change_seconds"]][:NODES_SHOWN], NODE),
        ("Pictures", [_picture(one) for one in told["pictures"]], PICTURE),
    ):
        if rows:
            table(title, rows, columns)
    for note in told["notes"]:
        say(f"Note: {note}")


def _figure(one: dict[str, Any]) -> dict[str, object]:
    """Bytes in words, whole numbers without what comes behind the point."""
    if one["what"].endswith("_bytes"):
        sides = {name: one[name] and size_of(one[name]) for name in ("before", "after", "change")}
        return {**one, **sides}
    return {**one, **{n: int(v) for n, v in one.items() if isinstance(v, float) and v.is_integer() and n != "ratio"}}


def _node(node: dict[str, Any]) -> dict[str, object]:
    def side(which: str) -> object:
        return "cached" if node[f"{which}_cached"] else node[f"{which}_seconds"]

    return {**node, "before": side("before"), "after": side("after")}


def _picture(one: dict[str, Any]) -> dict[str, object]:
    if one["identical"]:
        same = "yes"
    elif one["pixels_different"]:
        share = one["pixels_different"] / one["pixels"]
        same = f"no: {share:.2%} of the pixels, by {one['greatest_difference']} of 255 at most"
    else:
        same = "no" if one["identical"] is False else "not known"
    return {**one, "same": f"{same} ({one['note']})" if one["note"] else same}
