"""The one thread that executes prompts.

An exception that escapes kills it, as it kills ComfyUI's: HTTP stays up, and nothing runs again.
"""

from __future__ import annotations

import gc
import logging
import time

from . import model_management
from .executor import PromptExecutor
from .prompt_queue import PromptQueue, QueueItem
from .server import PromptServer

# ComfyUI collects garbage after a prompt when the last time is longer ago than this.
GC_INTERVAL_S = 10.0
IDLE_TIMEOUT_S = 1000.0


def prompt_worker(queue: PromptQueue, server: PromptServer) -> None:
    """Take prompts off the queue, for ever."""
    executor = PromptExecutor(server)
    collector = _Collector()
    while True:
        if (taken := queue.get(timeout=collector.timeout())) is not None:
            _run(queue, server, executor, *taken)
            collector.due = True
        flags = queue.get_flags()
        if flags.get("free_memory"):
            executor.reset()
        if flags.get("free_memory") or flags.get("unload_models"):
            collector.demand()
        collector.collect()


def _run(queue: PromptQueue, server: PromptServer, executor: PromptExecutor, item: QueueItem, item_id: int) -> None:
    began = time.perf_counter()
    prompt_id, extra_data = item[1], {**item[3], **item[5]}
    server.last_prompt_id = prompt_id
    executor.execute(item[2], prompt_id, extra_data, item[4])
    ok = executor.success
    status = PromptQueue.ExecutionStatus("success" if ok else "error", ok, executor.status_messages)
    queue.task_done(item_id, executor.history_result, status=status, process_item=_without_sensitive)
    if server.client_id is not None:
        server.send_sync("executing", {"node": None, "prompt_id": prompt_id}, server.client_id)
    logging.info("Prompt executed in %.2f seconds", time.perf_counter() - began)


def _without_sensitive(item: QueueItem) -> QueueItem:
    return item[:5] + item[6:]


class _Collector:
    """Garbage collection on this thread, at most every GC_INTERVAL_S, holding up whoever wants the GIL."""

    def __init__(self) -> None:
        self.due = False
        self._last = float("-inf")

    def timeout(self) -> float:
        """How long the queue may be waited for, s."""
        return max(0.0, self._last + GC_INTERVAL_S - time.perf_counter()) if self.due else IDLE_TIMEOUT_S

    def demand(self) -> None:
        """Collect next time, however short ago the last was."""
        self.due, self._last = True, float("-inf")

    def collect(self) -> None:
        """Collect if it is time."""
        if self.due and time.perf_counter() - self._last > GC_INTERVAL_S:
            gc.collect()
            model_management.soft_empty_cache()
            self.due, self._last = False, time.perf_counter()
