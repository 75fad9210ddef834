"""The queue policy: where each knob's value came from, and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..client.limits import Limits
from ..telemetry.models.run_contract import POLICY_DEFAULTS, RunQueueConfig

Source = Literal["option", "environment", "fast-iteration", "default"]
Given = Mapping[str, tuple[str | int | None, Source]]
"""What was given by knob: the value, and whether it was an option or in the environment; null where neither."""


class PolicyError(ValueError):
    """Values that knobs don't accept. The message names each knob, its value and where that came from."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob: seconds or counts, always whole."""

    name: str
    """As the policy has it, and the option with hyphens."""
    contract: str
    default: int
    least: int
    fast: int | None = None
    """With fast iteration; null leaves the default."""
    line: str | None = None
    """Its name in the summary's policy line."""


def _five(name: str, contract: str, least: int, fast: int | None, line: str) -> Knob:
    return Knob(name, contract, POLICY_DEFAULTS[name], least, fast, line)


KNOBS = (
    _five("max_wait_seconds", "SceneMaxWaitSeconds", 1, 30, "historyMaxWait"),
    _five("history_poll_interval_seconds", "SceneHistoryPollIntervalSeconds", 1, 1, "historyPollInterval"),
    _five("history_max_attempts", "SceneHistoryMaxAttempts", 0, None, "historyMaxAttempts"),
    _five("post_execution_timeout_seconds", "ScenePostExecutionTimeoutSeconds", 1, 15, "postExecutionTimeout"),
    _five("scene_retry_budget", "SceneRetryBudget", 0, None, "sceneRetries"),
    Knob("done_marker_timeout_seconds", "DoneMarkerTimeoutSeconds", 60, 1, 10),
    Knob("stability_seconds", "StabilitySeconds", 5, 1, 1),
    Knob("stability_retries", "StabilityRetries", 3, 0, 2),
    Knob("frame_wait_timeout_seconds", "FrameWaitTimeoutSeconds", 300, 1, 60),
    Knob("frame_floor", "FrameFloor", 1, 0),
)
"""The five of the contract first, then those beside them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The values in force, and where each came from."""

    values: Mapping[str, int]
    sources: Mapping[str, Source]

    def __getitem__(self, name: str) -> int:
        return self.values[name]

    def limits(self) -> Limits:
        """How long a server's answers may take: never longer than the policy waits at all."""
        return Limits(float(self["max_wait_seconds"]), float(self["frame_wait_timeout_seconds"]))

    def config(self) -> RunQueueConfig:
        """The policy as the metadata has it."""
        return RunQueueConfig(
            SceneRetryBudget=self["scene_retry_budget"],
            HistoryMaxWaitSeconds=self["max_wait_seconds"],
            HistoryMaxAttempts=self["history_max_attempts"],
            HistoryPollIntervalSeconds=self["history_poll_interval_seconds"],
            PostExecutionTimeoutSeconds=self["post_execution_timeout_seconds"],
        )

    def lines(self) -> tuple[dict[str, object], dict[str, object]]:
        """The values and the sources under their names in the summary."""
        named = {knob.line: knob.name for knob in KNOBS if knob.line}
        values: dict[str, object] = {line: self.values[name] for line, name in named.items()}
        values["historyMaxAttempts"] = values["historyMaxAttempts"] or "unbounded"
        return values, {line: self.sources[name] for line, name in named.items()}


def resolve(given: Given, *, fast_iteration: bool = False) -> Policy:
    """An option beats the environment, that beats fast iteration, and that the default.

    Raises PolicyError, which names each wrong one.
    """
    values: dict[str, int] = {}
    sources: dict[str, Source] = {}
    wrong: list[str] = []
    for knob in KNOBS:
        value, source = given.get(knob.name, (None, "default"))
        if value is None:
            fast = fast_iteration and knob.fast is not None
            value, source = (knob.fast if fast else knob.default), ("fast-iteration" if fast else "default")
        try:
            values[knob.name], sources[knob.name] = _checked(knob, value, source), source
        except PolicyError as error:
            wrong.append(str(error))
    if wrong:
        raise PolicyError("; ".join(wrong))
    return Policy(values, sources)


def _checked(knob: Knob, value: str | int | None, source: Source) -> int:
    text = str(value).strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text) or int(text) < knob.least:
        accepted = f"a whole number of at least {knob.least}, and at most 999999999"
        raise PolicyError(f"{knob.contract} is {text!r}, from {source}: {accepted} is accepted")
    return int(text)
