"""The queue policy's options, the same in every command that has them."""

from __future__ import annotations

from typing import Annotated

import typer

from ..runner.policy import KNOBS, Given, Source

SOURCES: dict[str, Source] = {"COMMANDLINE": "option", "ENVIRONMENT": "environment"}

MaxWait = Annotated[str | None, typer.Option(envvar="SCENE_MAX_WAIT_SECONDS")]
PollInterval = Annotated[str | None, typer.Option(envvar="SCENE_HISTORY_POLL_INTERVAL_SECONDS")]
MaxAttempts = Annotated[str | None, typer.Option(envvar="SCENE_HISTORY_MAX_ATTEMPTS")]
PostExecution = Annotated[str | None, typer.Option(envvar="SCENE_POST_EXECUTION_TIMEOUT_SECONDS")]
RetryBudget = Annotated[str | None, typer.Option(envvar="SCENE_RETRY_BUDGET")]
FrameWait = Annotated[
    str | None,
    typer.Option(help="The longest wait for frames after a success, whatever the other limits allow."),
]
Knob = Annotated[str | None, typer.Option()]
AllowPartial = Annotated[
    bool,
    typer.Option("--allow-partial", help="Outputs that the server refuses are a warning; the others are run."),
]


def given_policy(context: typer.Context) -> Given:
    """Each knob's value, and where typer found it."""
    given = {}
    for knob in KNOBS:
        source = context.get_parameter_source(knob.name)
        given[knob.name] = (context.params.get(knob.name), SOURCES.get(source.name if source else "", "default"))
    return given
