"""The queue of prompts and the history of those done: ``execution.PromptQueue``."""

from __future__ import annotations

import copy
import heapq
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from . import nodes

# (number, prompt id, prompt, extra data, outputs to execute, sensitive extra data)
QueueItem = tuple[Any, ...]
MAXIMUM_HISTORY_SIZE = 10_000


class Updated(Protocol):
    """Whoever wants to know that the queue has changed."""

    def queue_updated(self) -> None:
        """The number of prompts may be another."""


class _ExecutionStatus(NamedTuple):
    status_str: str
    completed: bool
    messages: list[Any]


class PromptQueue:
    """Prompts by priority number, lowest first, equal numbers by id; one lock for everything."""

    ExecutionStatus = _ExecutionStatus

    def __init__(self, server: Updated) -> None:
        self.server = server
        self.mutex = threading.RLock()
        self.not_empty = threading.Condition(self.mutex)
        self.task_counter = 0
        self.queue: list[QueueItem] = []
        self.currently_running: dict[int, QueueItem] = {}
        self.history: dict[str, dict[str, Any]] = {}
        self.flags: dict[str, Any] = {}

    def put(self, item: QueueItem) -> None:
        """Queue a prompt."""
        with self.mutex:
            heapq.heappush(self.queue, item)
            self.server.queue_updated()
            self.not_empty.notify()

    def get(self, timeout: float | None = None) -> tuple[QueueItem, int] | None:
        """Take the next prompt and its item id. None: nothing came in ``timeout`` seconds, or a flag did."""
        with self.not_empty:
            while not self.queue:
                self.not_empty.wait(timeout=timeout)
                if timeout is not None and not self.queue:
                    return None
            item, item_id = heapq.heappop(self.queue), self.task_counter
            self.currently_running[item_id] = copy.deepcopy(item)
            self.task_counter += 1
            self.server.queue_updated()
            return item, item_id

    def task_done(
        self,
        item_id: int,
        history_result: dict[str, Any],
        status: _ExecutionStatus | None,
        process_item: Callable[[QueueItem], QueueItem] | None = None,
    ) -> None:
        """A prompt has ended: into the history with it."""
        with self.mutex:
            item = self.currently_running.pop(item_id)
            if len(self.history) > MAXIMUM_HISTORY_SIZE:
                del self.history[next(iter(self.history))]
            told = copy.deepcopy(status._asdict()) if status is not None else None
            kept = process_item(item) if process_item is not None else item
            self.history[item[1]] = {"prompt": kept, "outputs": {}, "status": told} | history_result
            self.server.queue_updated()

    def get_current_queue_volatile(self) -> tuple[list[QueueItem], list[QueueItem]]:
        """The running and the waiting prompts themselves."""
        with self.mutex:
            return list(self.currently_running.values()), list(self.queue)

    def interrupt_if_running(self, prompt_id: str) -> bool:
        """Interrupt this prompt if it is the one that runs."""
        with self.mutex:
            running = any(item[1] == prompt_id for item in self.currently_running.values())
            if running:
                nodes.interrupt_processing()
            return running

    def get_tasks_remaining(self) -> int:
        """How many run or wait."""
        with self.mutex:
            return len(self.queue) + len(self.currently_running)

    def wipe_queue(self) -> None:
        """Drop all that wait."""
        with self.mutex:
            self.queue = []
            self.server.queue_updated()

    def delete_queue_item(self, function: Callable[[QueueItem], bool]) -> bool:
        """Drop the first waiting prompt for which ``function`` is true. The last one goes by ``wipe_queue``."""
        with self.mutex:
            found = next((i for i, item in enumerate(self.queue) if function(item)), None)
            if found is None:
                return False
            if len(self.queue) == 1:
                self.wipe_queue()
            else:
                del self.queue[found]
                heapq.heapify(self.queue)
            self.server.queue_updated()
            return True

    def get_history(
        self,
        prompt_id: str | None = None,
        max_items: int | None = None,
        offset: int = -1,
        map_function: Callable[[dict[str, Any]], Any] | None = None,
    ) -> dict[str, Any]:
        """One prompt's entry, or a slice of all: the last ``max_items`` where ``offset`` is negative."""
        change = map_function or (copy.deepcopy if prompt_id is not None else _same)
        with self.mutex:
            if prompt_id is not None:
                return {key: change(self.history[key]) for key in [prompt_id] if key in self.history}
            keys = list(self.history)
            if offset < 0 and max_items is not None:
                offset = len(keys) - max_items
            keys = keys[max(offset, 0) :]
            # the real one looks whether it has enough only after it has taken one
            wanted = keys if max_items is None else keys[: max(max_items, 1)]
            return {key: change(self.history[key]) for key in wanted}

    def wipe_history(self) -> None:
        """Forget all that has ended."""
        with self.mutex:
            self.history = {}

    def delete_history_item(self, id_to_delete: str) -> None:
        """Forget one."""
        with self.mutex:
            self.history.pop(id_to_delete, None)

    def set_flag(self, name: str, data: Any) -> None:
        """Leave a request for the worker and wake it."""
        with self.mutex:
            self.flags[name] = data
            self.not_empty.notify()

    def get_flags(self, reset: bool = True) -> dict[str, Any]:
        """The requests left for the worker."""
        with self.mutex:
            flags = dict(self.flags)
            if reset:
                self.flags = {}
            return flags


def _same(entry: dict[str, Any]) -> dict[str, Any]:
    return entry
