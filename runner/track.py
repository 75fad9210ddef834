"""Follows one queued prompt to its end: by our route where the server has it, else by web socket, history and queue.

The socket tells the end at once; what is believed of it is the history, where that comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..client import endings
from ..client.answers import History
from ..client.comfy_client import ComfyClient
from ..client.endings import Ending
from ..client.errors import ServerError
from ..client.outputs import OutputFile, files_of, files_of_record
from ..client.web_socket import FLOODED, Heard
from ..telemetry.models.prompt import Prompt
from ..telemetry.models.times import iso, milliseconds
from .policy import Policy
from .step import Step

End = Literal["success", "error", "interrupted", "cancelled", "lost", "maxWait", "attemptLimit", "refused", "unknown"]
MISSES = 2
"""So many looks in a row that find a prompt neither queued, running nor in the history: the server has lost it."""
SOON_SECONDS = 0.2
"""After an end that the socket told, the history is asked again so soon, then after twice as long each time, and at
most after the usual interval."""
UNREAD = ("bad_answer", "too_large", "too_slow")
MOST_UNREAD = 5
"""So many answers in a row that can't be read: this server's word of the prompt will not come."""
MOST_ERRORS = 100
"""Of the history that are kept: the first, which say what began it."""
MOST_MARKERS = 1000
"""Of a record that are looked for."""
NO_HISTORY = "the history has no such prompt; its end and its files are as the web socket told them"


@dataclass(slots=True)
class Tracked:
    """What became of one prompt."""

    end: End = "unknown"
    requests: int = 0
    success_at: str | None = None
    files: list[OutputFile] = field(default_factory=list)
    marker_paths: list[str] = field(default_factory=list)
    marker_due: bool = False
    error: str | None = None
    error_type: str | None = None
    """The exception's class, as ComfyUI tells it; null where it was no node's."""
    error_node: str | None = None
    """The node that failed, or was interrupted; null where none is told."""
    history: dict[str, Any] | None = None
    history_at: str | None = None
    history_errors: list[str] = field(default_factory=list)

    def take(self, ending: Ending) -> None:
        """Note the end, and what was said with it; a success of which no time is told was this moment."""
        self.end, self.error = ending.how, ending.error
        self.error_type, self.error_node = ending.error_type, ending.error_node
        self.success_at = (ending.at or now()) if ending.how == "success" else None

    def trouble(self, said: str) -> None:
        """Note what went wrong with the history; the same as just before is said once."""
        if len(self.history_errors) < MOST_ERRORS and said not in self.history_errors[-1:]:
            self.history_errors.append(said)


class Tracker:
    """Tracks one prompt under a policy. `say` gets a sentence whenever there is news."""

    def __init__(self, client: ComfyClient, policy: Policy, say: Callable[[str], None]) -> None:
        self._client = client
        self._policy = policy
        self._say = say
        self._news: object = None
        self._seen_pending = True
        self._broken = False
        self._given_up = False
        self._unread = 0
        """Answers in a row that could not be read."""
        self._socket = client.web_socket()
        self._heard_at: float | None = None
        """When the end was heard that the history doesn't have yet."""
        self._soon = SOON_SECONDS
        """Seconds until the history is asked again for an end that was heard."""

    async def listen(self) -> None:
        """Open the web socket, so that nothing is missed of what is queued from now on. Raises nothing."""
        await self._socket.open()

    async def close(self) -> None:
        """Hang up."""
        await self._socket.close()

    async def follow(self, prompt_id: str, by_record: bool) -> Tracked:
        """Until its end, the time without progress is up, or the limit of requests is reached."""
        told = Tracked()
        self._begun = time.monotonic()
        misses = 0
        while told.end == "unknown":
            heard = self._listened(prompt_id)
            if self._over(told, heard):
                self._given_up = True
                return told
            began = time.monotonic()
            try:
                told.requests += 1
                if by_record:
                    by_record = await self._ask_record(prompt_id, told)
                else:
                    found = await self._ask_history(prompt_id, told) or heard.end is not None
                    misses = 0 if found else misses + 1
                self._unread = 0
            except ServerError as error:
                self._broken = True
                told.trouble(str(error))
                self._say(str(error))
                self._unread += error.kind in UNREAD
                if error.kind in UNREAD:
                    by_record = False
                if self._unread >= MOST_UNREAD:
                    told.end, told.error = "lost", str(error)
            if misses >= MISSES:
                told.end = "cancelled" if self._seen_pending and not self._broken else "lost"
                told.error = f"the prompt is neither queued, running nor in the history: {told.end}"
            if told.end == "unknown":
                await self._pause(prompt_id, began, by_record)
        if self._socket.flooded:
            told.trouble(FLOODED)
        return told

    @property
    def _interval(self) -> float:
        return float(self._policy["history_poll_interval_seconds"])

    async def _pause(self, prompt_id: str, began: float, by_record: bool) -> None:
        """Until it is time to ask again: the interval, or until the socket tells that there is something to ask for."""
        seconds = max(0.0, self._interval - (time.monotonic() - began))
        if by_record:
            await asyncio.sleep(seconds)
            return
        await self.listen()
        heard = self._socket.of(prompt_id)
        if heard.end is not None or heard.is_idle:
            self._heard_at = time.monotonic() if self._heard_at is None else self._heard_at
            seconds, self._soon = min(seconds, self._soon), self._soon * 2
        await self._socket.until_over(prompt_id, seconds)

    def _listened(self, prompt_id: str) -> Heard:
        """What the socket has told."""
        heard = self._socket.of(prompt_id)
        if heard.progress and heard.end is None:
            node, value, most = heard.progress
            steps = "" if value is None else f", {value} of {most}"
            self._progress(heard.progress, Step(f"running: node {node}{steps}", node, value, most))
        return heard

    def _over(self, told: Tracked, heard: Heard) -> bool:
        """Whether it is given up; where the end was heard and only the history is missing, that end is taken."""
        limit = self._policy["history_max_attempts"]
        patience = self._policy["post_execution_timeout_seconds"]
        late = self._heard_at is not None and time.monotonic() - self._heard_at >= patience
        if heard.end is not None and (late or (limit and told.requests >= limit)):
            told.trouble(NO_HISTORY)
            told.take(endings.told_with(heard.end, heard.told))
            told.files = list(dict.fromkeys(heard.files))
            return True
        if limit and told.requests >= limit:
            told.end, told.error = "attemptLimit", f"not ended after {limit} requests"
        elif time.monotonic() - self._begun > self._policy["max_wait_seconds"]:
            why = f"; {told.history_errors[-1]}" if self._unread else ""
            waited = self._policy["max_wait_seconds"]
            told.end, told.error = "maxWait", f"no end and no progress in {waited} seconds{why}"
        if told.end != "unknown":
            told.trouble(str(told.error))
        return told.end != "unknown"

    def _progress(self, news: object, sentence: str) -> None:
        """The time that a prompt is given counts from its last progress."""
        if news != self._news:
            self._news, self._begun = news, time.monotonic()
            self._say(sentence)

    # ------------------------------------------------------------ our route

    async def _ask_record(self, prompt_id: str, told: Tracked) -> bool:
        """False where the route doesn't know the prompt, or may not be asked: then the history has to do."""
        try:
            answer = await self._client.wait(prompt_id, self._interval)
        except ServerError as error:
            if error.kind != "unauthorized":
                raise
            told.trouble(str(error))
            return False
        if answer is None:
            return False
        ended, record = answer
        if ended:
            _take_record(record, told)
            return True
        node = record.current_node
        news = (record.status, node and node.node_id, node and node.value)
        at = f": node {node.node_id} ({node.class_type}), {node.value or 0:g} of {node.max or 0:g}" if node else ""
        sentence = f"{record.status}{at}"
        self._progress(news, Step(sentence, node.node_id, node.value, node.max) if node else sentence)
        return True

    # ------------------------------------------------------------ ComfyUI's own

    async def _ask_history(self, prompt_id: str, told: Tracked) -> bool:
        """False where the prompt is neither queued, running nor in the history."""
        entry = await self._client.history(prompt_id)
        if entry is None:
            place = (await self._client.queued()).get(prompt_id)
            if place is not None:
                self._seen_pending = place > 0
                self._say("running" if place == 0 else f"queued, place {place}")
            return place is not None
        _take_history(entry, told)
        return True

    async def keep_history(self, prompt_id: str, told: Tracked) -> None:
        """The history is kept beside the files; that it isn't there is no failure of the prompt. Raises nothing.

        Of a prompt that was given up there is none to ask for.
        """
        if self._given_up:
            return
        try:
            told.history = told.history or await self._client.history(prompt_id)
        except ServerError as error:
            told.trouble(str(error))
        if told.history is None:
            told.trouble("the history has no such prompt")
        else:
            told.history_at = now()


def now() -> str:
    """This moment, as the contracts write it."""
    return iso(milliseconds(time.time()))


def _take_record(record: Prompt, told: Tracked) -> None:
    told.take(endings.of_record(record))
    told.files = files_of_record(record)
    told.marker_paths = [marker.path for marker in record.markers if marker.path][:MOST_MARKERS]
    told.marker_due = bool(record.markers)


def _take_history(entry: dict[str, Any], told: Tracked) -> None:
    history = History.model_validate(entry)
    told.history = entry
    told.take(endings.of_history(history))
    told.files = files_of(history.outputs)
