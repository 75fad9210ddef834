"""What Prometheus reads: prompts, nodes and markers counted once each prompt's end is committed; the rest read live.

Counters begin at 0 with each process, as Prometheus expects. No label ever holds an id, a path or a text.
"""

from __future__ import annotations

import re
from collections import Counter as Counted
from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ..models.base import OPEN_STATUSES, MarkerStatus, PromptStatus
from ..models.record import NodeRecord, PromptRecord
from ..process.cost import RecordCost
from ..process.problems import Problems

PROMPT_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)
"""A quick preview takes tenths of a second, a render of a film's scene hours."""
NODE_SECONDS = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""Fewer, since each of them is a series of each class."""
MAX_CLASSES = 200
MAX_PROBLEMS = 100
OTHER = "other"
"""The class of nodes of a class that is unknown, or beyond the first 200; the same for problems."""
FINAL_STATUSES: tuple[str, ...] = tuple(status for status in get_args(PromptStatus) if status not in OPEN_STATUSES)
MARKER_STATUSES: tuple[str, ...] = (*get_args(MarkerStatus), "refused", "not written")
QUEUE_STATES = ("queued", "running")
_OF_ONE_ROW = re.compile(r"^(record|event|process|instance|environment) [0-9a-f-]+$")
"""A problem that is named by a row of the store: its label is what it is, not which."""


class Registry(CollectorRegistry):
    """A registry of our own: nothing of the process' other packages is in it, nor anything of ours in theirs."""

    def collect(self) -> Iterator[Metric]:
        """Everything, without the `_created` series, which would double their number and are in no contract."""
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """Counts what ends, and reads what is open, when it is asked.

    `queue_depth` gives how many prompts wait and how many run, without waiting for anyone.
    """

    def __init__(self, queue_depth: Callable[[], tuple[int, int]], problems: Problems, cost: RecordCost) -> None:
        self.registry = Registry()
        self._problems = problems
        self._classes: set[str] = set()
        self._prompts = Counter(
            "comfyui_prompts", "Prompts that have ended, by how.", ["status"], registry=self.registry
        )
        self._durations = Histogram(
            "comfyui_prompt_duration_seconds",
            "From a prompt's start to its end.",
            buckets=PROMPT_SECONDS,
            registry=self.registry,
        )
        self._waits = Histogram(
            "comfyui_prompt_queue_wait_seconds",
            "From a prompt's queueing to its start.",
            buckets=PROMPT_SECONDS,
            registry=self.registry,
        )
        self._node_durations = Histogram(
            "comfyui_node_duration_seconds",
            "What the nodes that ran took, by class.",
            ["class_type"],
            buckets=NODE_SECONDS,
            registry=self.registry,
        )
        self._nodes = Counter(
            "comfyui_nodes",
            "Nodes of ended prompts, by class and by whether they came from ComfyUI's cache.",
            ["class_type", "cached"],
            registry=self.registry,
        )
        self._markers = Counter(
            "comfyui_done_markers",
            "Markers that prompts asked for, by what became of them.",
            ["status"],
            registry=self.registry,
        )
        self.registry.register(Live(queue_depth, problems, cost))
        for status in FINAL_STATUSES:
            self._prompts.labels(status)
        for status in MARKER_STATUSES:
            self._markers.labels(status)

    def ended(self, record: PromptRecord, nodes: Iterable[NodeRecord]) -> None:
        """Count a prompt whose end is committed; to be called once for each. Raises nothing.

        A prompt that never started has no duration and no wait, and is only counted; so is one of a dead process, whose
        nodes were that process' to count.
        """
        try:
            self._count_prompt(record)
            self._count_nodes(nodes)
        except Exception as error:  # noqa: BLE001  what can't be counted costs the prompt nothing
            self._problems.report(
                "metrics", "a prompt's end was not counted for /telemetry/metrics", error, passing=True
            )

    def _count_prompt(self, record: PromptRecord) -> None:
        self._prompts.labels(record.status).inc()
        if record.duration_seconds is not None:
            self._durations.observe(record.duration_seconds)
        if record.queue_wait_seconds is not None:
            self._waits.observe(record.queue_wait_seconds)
        for marker in record.markers:
            self._markers.labels(marker.status if marker.status in MARKER_STATUSES else "not written").inc()

    def _count_nodes(self, nodes: Iterable[NodeRecord]) -> None:
        """Class by class, since to find a class' series costs more than to count in it."""
        counted: dict[tuple[str, bool], list[float | None]] = {}
        for node in nodes:
            key = self._class_label(node.class_type), node.cached
            counted.setdefault(key, []).append(node.duration_seconds)
        for (class_type, cached), durations in counted.items():
            self._nodes.labels(class_type, "true" if cached else "false").inc(len(durations))
            took = [seconds for seconds in durations if seconds is not None and not cached]
            if took:
                observe = self._node_durations.labels(class_type).observe
                for seconds in took:
                    observe(seconds)

    def _class_label(self, class_type: str | None) -> str:
        """The class, where it is one of the first 200 that came; else `other`."""
        if class_type is None:
            return OTHER
        if class_type not in self._classes:
            if len(self._classes) >= MAX_CLASSES:
                return OTHER
            self._classes.add(class_type)
        return class_type


class Live(Collector):
    """What is known anyway and read when it is asked for: nothing is polled in between."""

    def __init__(self, queue_depth: Callable[[], tuple[int, int]], problems: Problems, cost: RecordCost) -> None:
        self._depth = queue_depth
        self._problems = problems
        self._cost = cost

    def collect(self) -> Iterator[Metric]:
        """The queue, the problems, and what recording costs."""
        yield self._queue_depth()
        yield self._problem_counts()
        yield SummaryMetricFamily(
            "run_recorder_record_seconds",
            "What recording a node's start and finish costs ComfyUI's executing thread, a node.",
            count_value=self._cost.nodes,
            sum_value=self._cost.seconds,
        )

    def _queue_depth(self) -> Metric:
        family = GaugeMetricFamily("comfyui_queue_depth", "Prompts that wait, and that run.", labels=["state"])
        for state, depth in zip(QUEUE_STATES, self._depth(), strict=True):
            family.add_metric([state], depth)
        return family

    def _problem_counts(self) -> Metric:
        family = CounterMetricFamily(
            "run_recorder_problems", "What went wrong in the recorder, as in health, by what.", labels=["what"]
        )
        by_label: Counted[str] = Counted()
        for what, count in self._problems.counts().items():
            by_label[_OF_ONE_ROW.sub(r"\1", what)] += count
        counts = list(by_label.items())
        for what, count in counts[:MAX_PROBLEMS]:
            family.add_metric([what], count)
        beyond = sum(count for _, count in counts[MAX_PROBLEMS:])
        if beyond:
            family.add_metric([OTHER], beyond)
        return family
