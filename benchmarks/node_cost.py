"""What recording a node's start and finish costs the thread that executes it.

ComfyUI's progress registry (the embedded host's, which calls handlers as ComfyUI's does) starts and finishes nodes,
with a handler that does nothing (the control) and with ours, in turn. `warm` is one node after another; `cold` does,
before each call, what a node does to the processor's caches: it writes 4 MiB. Prints the median of microseconds a node,
and the ratio to the control; the difference is what recording costs, which is to be 10 us or less. Beside it stands the
mean that the recorder itself counts, as `run_recorder_record_seconds` shows it.

    python benchmarks/node_cost.py [--rounds 20] [--nodes 300]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

from run_recorder import comfyui_host
from run_recorder.comfyui_host.progress import handler_class
from run_recorder.embedded_host import progress
from run_recorder.embedded_host.graph import DynamicPrompt
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.process.cost import RecordCost
from run_recorder.telemetry.record.host import HostProcess

CACHES = bytearray(4 << 20)
NOTHING = bytes(4 << 20)


class Bare(progress.ProgressHandler):
    """The control: does nothing."""

    def __init__(self) -> None:
        super().__init__("bare")

    def start_handler(self, node_id: str, *args: Any, **kwargs: Any) -> None:
        pass

    def finish_handler(self, node_id: str, *args: Any, **kwargs: Any) -> None:
        pass


def host_of(folder: Path) -> comfyui_host.Host:
    """The border as it is in ComfyUI, but for the recorder's thread, which isn't started."""

    def recording_host(host: comfyui_host.Host) -> HostProcess:
        return HostProcess(folder, dict, lambda: True, lambda *_: False, lambda: None, Environment)

    return comfyui_host.Host(recording_host)


def registry_with(handler: Any, nodes: int) -> progress.ProgressRegistry:
    """A prompt's registry, as it is when its nodes begin to run."""
    graph = {str(number): {"class_type": "EmptyImage", "inputs": {}} for number in range(nodes)}
    registry = progress.ProgressRegistry("a prompt", DynamicPrompt(graph))
    handler.set_registry(registry)
    registry.register_handler(handler)
    return registry


def warm(registry: progress.ProgressRegistry, nodes: int) -> float:
    """Seconds a node, one after another."""
    began = perf_counter()
    for number in range(nodes):
        registry.start_progress(str(number))
        registry.finish_progress(str(number))
    return (perf_counter() - began) / nodes


def cold(registry: progress.ProgressRegistry, nodes: int) -> float:
    """Seconds a node, each call after other work; the median, since that work is told to the caches, not to us."""
    found = []
    for number in range(nodes):
        seconds = 0.0
        for tell in (registry.start_progress, registry.finish_progress):
            CACHES[:] = NOTHING
            began = perf_counter()
            tell(str(number))
            seconds += perf_counter() - began
        found.append(seconds)
    return statistics.median(found)


def counted(before: RecordCost, after: RecordCost) -> float:
    """Seconds a node, by the recorder's own count."""
    return (after.seconds - before.seconds) / (after.nodes - before.nodes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        host = host_of(Path(folder))
        ours = handler_class(progress)
        ways: dict[str, Callable[[progress.ProgressRegistry, int], float]] = {"warm": warm, "cold": cold}
        for name, measure in ways.items():
            bare, with_us = [], []
            before = replace(host.cost)
            for _ in range(given.rounds):
                bare.append(measure(registry_with(Bare(), given.nodes), given.nodes))
                with_us.append(measure(registry_with(ours(host.execution, "a prompt"), given.nodes), given.nodes))
                for _ in host.inbox.take():
                    pass
            control, recorded = statistics.median(bare) * 1e6, statistics.median(with_us) * 1e6
            sys.stdout.write(
                f"{name}: a handler that does nothing {control:.2f} us a node, ours {recorded:.2f} "
                f"({recorded / control:.2f}), so recording costs {recorded - control:.2f} us a node; "
                f"counted by the recorder itself: {counted(before, host.cost) * 1e6:.2f} us\n"
            )


if __name__ == "__main__":
    main()
