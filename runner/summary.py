"""The lines of `run-summary.txt`: one definition, used to write and to parse them."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..telemetry.models.run_contract import SceneTelemetry
from ..telemetry.process.printable import spaced

STAMP = re.compile(r"^\[\d{2}:\d{2}:\d{2}\] ")
_PATTERNS = {"scene": r"[^\]\[]+", "attempt": r"\d+", "code": r"-?\d+", "count": r"\d{1,18}", "level": "WARNING|ERROR"}


@dataclass(frozen=True)
class Line:
    """One kind of line, by a template such as `Story ready: {story} (scenes={count})`."""

    kind: str
    template: str
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = []
        for literal, name, _, _ in string.Formatter().parse(self.template):
            parts.append(re.escape(literal))
            if name is not None:
                parts.append(f"(?P<{name}>{_PATTERNS.get(name, '.*?')})")
        object.__setattr__(self, "_pattern", re.compile("".join(parts)))

    def write(self, **values: object) -> str:
        """The line, without its time. Values are brought to one line, so that none can pass for another line."""
        return self.template.format(**{name: one_line(value) for name, value in values.items()})

    def read(self, text: str) -> dict[str, str] | None:
        """The values of a line; null where it is another kind."""
        found = self._pattern.fullmatch(text)
        return found.groupdict() if found else None


def one_line(value: object) -> str:
    """A value as it stands in a line: numbers without trailing zeros, text without line breaks and controls."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return spaced(value)


TITLE = Line("title", "E2E Story-to-Video Run: {run}")
STORY_READY = Line("story ready", "Story ready: {story} (scenes={count})")
STORY_LOGLINE = Line("story logline", "Story logline: {logline}")
LLM = Line("llm", "[LLM] Health check: {status} (url={url}, models={models}, override={override})")
_FIVE = (
    "sceneRetries={{sceneRetries}}, historyMaxWait={{historyMaxWait}}{s}, "
    "historyPollInterval={{historyPollInterval}}{s}, historyMaxAttempts={{historyMaxAttempts}}, "
    "postExecutionTimeout={{postExecutionTimeout}}{s}"
)
POLICY = Line("queue policy", "Queue policy: " + _FIVE.format(s="s"))
POLICY_SOURCES = Line("queue policy sources", "Queue policy sources: " + _FIVE.format(s=""))
ATTEMPT = Line("attempt", "[Scene {scene}][Attempt {attempt}] Frames={count} Duration={seconds}s Prefix={prefix}")
TELEMETRY = Line("telemetry", "[Scene {scene}] Telemetry: {entries}")
WARNING = Line("warning", "[Scene {scene}] WARNING: {text}")
HISTORY = Line("history", "[Scene {scene}] HISTORY {level}: {text}")
ERROR = Line("error", "[Scene {scene}] ERROR: {text}")
CHECK = Line("check", "Check {name} exitCode={code}")
VITEST = Line("vitest", "Vitest {name} exitCode={code}")
ARTIFACTS = Line("artifact index", "## Artifact Index")
TOTAL = Line("total", "Total frames copied: {count}")
BELOW_FLOOR = "Frame count below floor ({count} < {floor})"
"""The text of the warning of a scene with too few frames."""
LINES = (
    TITLE,
    STORY_READY,
    STORY_LOGLINE,
    LLM,
    POLICY,
    POLICY_SOURCES,
    ATTEMPT,
    TELEMETRY,
    WARNING,
    HISTORY,
    ERROR,
    CHECK,
    VITEST,
    ARTIFACTS,
    TOTAL,
)

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a telemetry line. `within` is how far the line may be from the metadata: it is rounded there."""

    name: str
    read: Callable[[SceneTelemetry], Value]
    unit: str = ""
    within: float = 0.0
    required: bool = False
    """Without it a line is refused, unless the metadata's value is null."""


def unbounded(limit: int) -> str | int:
    """0 as existing validators expect it."""
    return limit or "unbounded"


ENTRIES = (
    Entry("DurationSeconds", lambda told: round(told.DurationSeconds, 1), "s", 0.1),
    Entry("MaxWaitSeconds", lambda told: told.MaxWaitSeconds, "s"),
    Entry("PollIntervalSeconds", lambda told: told.PollIntervalSeconds, "s"),
    Entry("HistoryAttempts", lambda told: told.HistoryAttempts),
    Entry("pollLimit", lambda told: unbounded(told.HistoryAttemptLimit), required=True),
    Entry("SceneRetryBudget", lambda told: unbounded(told.SceneRetryBudget), required=True),
    Entry("PostExecutionTimeoutSeconds", lambda told: told.PostExecutionTimeoutSeconds, "s"),
    Entry("ExecutionSuccessDetected", lambda told: told.ExecutionSuccessDetected),
    Entry("ExecutionSuccessAt", lambda told: told.ExecutionSuccessAt),
    Entry("HistoryExitReason", lambda told: told.HistoryExitReason),
    Entry("VRAMBeforeMB", lambda told: told.GPU.VramBeforeMB, "MB", 0.01, required=True),
    Entry("VRAMAfterMB", lambda told: told.GPU.VramAfterMB, "MB", 0.01, required=True),
    Entry("VRAMDeltaMB", lambda told: told.GPU.VramDeltaMB, "MB", 0.01, required=True),
    Entry("gpu", lambda told: told.GPU.Name.replace("|", "/")),
    Entry("DoneMarkerWaitSeconds", lambda told: round(told.DoneMarkerWaitSeconds, 1), "s", 0.1, required=True),
    Entry("DoneMarkerDetected", lambda told: told.DoneMarkerDetected),
    Entry("ForcedCopyTriggered", lambda told: told.ForcedCopyTriggered),
    Entry("ForcedCopyDebugPath", lambda told: told.ForcedCopyDebugPath),
)


def write_entries(told: SceneTelemetry) -> str:
    """A telemetry line's entries; what is null is left off."""
    pairs = ((entry, entry.read(told)) for entry in ENTRIES)
    return " | ".join(f"{entry.name}={one_line(value)}{entry.unit}" for entry, value in pairs if value is not None)


def read_entries(text: str) -> dict[str, str]:
    """The entries of a telemetry line by name, with their units."""
    pairs = (part.partition("=") for part in text.split(" | "))
    return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Said:
    """One line that was read."""

    kind: str
    values: dict[str, str]


def read_summary(lines: Iterable[str]) -> list[Said]:
    """The lines that we know, in their order; the times before them are optional, others are left out."""
    return [said for line in lines if (said := _read(STAMP.sub("", line.rstrip("\r\n")))) is not None]


def _read(text: str) -> Said | None:
    for line in LINES:
        values = line.read(text)
        if values is not None:
            return Said(line.kind, values)
    return None
