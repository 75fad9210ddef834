"""The recorder's own thread: takes events in, keeps the store up to date, settles ended prompts.

It sleeps while nothing runs, wakes at once when a prompt is queued, started, ended or cancelled, and otherwise at
most every 200 ms while one runs: a writer that commits whenever it is free slows ComfyUI by half.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..markers.marking import Marking
from ..models.environment import Environment
from ..models.record import PromptRecord
from ..process.identity import Identity
from ..store.upkeep import is_due
from .committing import Commits
from .context import Context
from .finishing import Finishing
from .gathering import Gathering
from .handing_in import HandingIn
from .hash_waits import HashWaits
from .names_given import NamesGiven
from .news import UntoldEvents
from .placing import Placing
from .prompt import OpenPrompt
from .recovery import Recovery
from .saving import Saving
from .serving import Serving
from .set_aside import SetAside
from .settling import Settling
from .spool import Spool
from .starting import Starting
from .store_access import STORE_RETRY_SECONDS, StoreAccess
from .watching import Watching

COMMIT_INTERVAL_SECONDS = 0.2
QUEUED_INTERVAL_SECONDS = 1.0
RETRY_SECONDS = 0.05
MAX_UNSAVED = 2000
"""Ended prompts that are kept in memory while the store can't be written."""


class Writer:
    """What is done, and in which order; each verb is a file of its own. The only one to write the store and markers.

    `step` belongs to one thread; what readers ask is in `reading.py`.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._access = access = StoreAccess(context)
        untold = UntoldEvents(context.stream)
        commits = Commits(context, access)
        marking = Marking(context.output_folder, context.problems)
        gathering = Gathering(context, access)
        self._gathering = gathering
        self._saving = Saving(context, access, commits, untold)
        self._hashes = HashWaits(context)
        self._starting = Starting(context, gathering, marking)
        self._serving = Serving(context, gathering, marking, self._hashes, untold)
        self._placing = Placing(context, access, commits, marking)
        self._finishing = Finishing(context, access, commits, untold, self._saving, gathering, marking, self._placing)
        self._settling = Settling(context, gathering, self._starting, self._hashes, self._serving, self._finishing)
        self._recovery = Recovery(context, gathering, self._hashes, self._finishing, self._placing)
        self._handing_in = HandingIn(context, access, self._finishing, self._recovery)
        self._watching = Watching(context, access)
        self.names = NamesGiven(context, self._saving)
        """What clients call their prompts, and the records don't yet."""

    # ------------------------------------------------------------ what it is given

    def open_with(self, opener: Callable[[], None]) -> None:
        """How to open the store, which is not open; tried again every second while there is anything to save."""
        self._access.opener = opener

    def keep_spool(self, spool: Spool) -> None:
        """Where to keep what the store can't take at once."""
        self._context.kept.spool = spool

    def set_aside_in(self, aside: SetAside) -> None:
        """Where to keep records that the store does not take."""
        self._finishing.aside = aside

    def inherit(self, file: Path) -> None:
        """Take over the spool of a dead process."""
        self._handing_in.inherit(file)

    def adopt(self, record: PromptRecord, identity: Identity) -> None:
        """Settle, as soon as it can be, a prompt that a dead process left in the store."""
        self._recovery.adopt(record, identity)

    def runs_on(self, environment: Environment) -> None:
        """What prompts of this process run on is known now. Any thread."""
        self._context.environment = environment
        self._context.inbox.ring()

    def when_saved(self, listener: Callable[[], None]) -> None:
        """Have it called, on the writer's thread, when open runs have been committed."""
        self._saving.on_saved.append(listener)

    # ------------------------------------------------------------ what others may know

    @property
    def is_failing(self) -> bool:
        """True while the store can't be written. Any thread."""
        return self._access.is_failing

    @property
    def is_open(self) -> bool:
        """True once the store has been opened. Any thread."""
        return self._access.opener is None

    @property
    def is_recovering(self) -> bool:
        """Whether dead processes left something that is not settled yet."""
        return bool(self._recovery.left)

    # ------------------------------------------------------------ the loop

    def timeout(self) -> float | None:
        """How long to sleep if nobody rings; null while there is nothing to look after."""
        context, runs = self._context, self._context.recorder.runs
        with context.lock:
            waiting, started = bool(runs), bool(runs.started)
            ended = any(not self._settling.reads(run) for run in runs.ended)
        behind = waiting or self._placing.is_behind or self.is_recovering or self._handing_in.is_waiting
        if (self._access.has_failed or not self.is_open) and (behind or self._watching.is_behind):
            return STORE_RETRY_SECONDS
        if ended:
            return RETRY_SECONDS
        if context.kept.ends and not started:
            return STORE_RETRY_SECONDS
        if started:
            return COMMIT_INTERVAL_SECONDS
        return QUEUED_INTERVAL_SECONDS if waiting else None

    def step(self) -> None:
        """Everything that is to be done now."""
        context, access = self._context, self._access
        access.open()
        if self._handing_in.is_waiting and access.may_write():
            self._handing_in.hand_in()
        if self.is_recovering and access.may_write():
            self._recovery.settle()
        self._look_around()
        ended, runs = self._open_runs()
        self._settling.settle(ended)
        self._for_each(runs, self._starting.attend)
        self._saving.save_due(runs)
        self._for_each(runs, self._look_after)
        self._serving.serve_hashed()
        self._starting.refresh_listings()
        self.names.give()
        self._saving.solve()
        self._placing.catch_up()
        with context.lock:
            unsaved = any(run.record.pk is None for run in context.recorder.runs.changed)
            context.kept.clear_if(not unsaved and not access.has_failed)
        self._watching.learn_port()
        self._shed()
        if is_due(context.store):
            context.upkeep_due.set()
        context.outstanding.writer_is(idle=not context.inbox and not self._settling.unsettled())

    def stop(self) -> None:
        """End what is open, and settle it: this process ends now. What the store can't take goes to the spool."""
        context = self._context
        context.stopping = True
        self._hashes.hurry()
        context.take_in()
        with context.lock:
            context.recorder.stop(context.clock.stamp())
        self.step()
        self._hashes.stop()

    def _look_around(self) -> None:
        self._watching.keep_environment()
        self._watching.watch_worker()
        self._context.take_in()
        self._watching.watch_queue()
        self._watching.show_life()

    def _open_runs(self) -> tuple[list[OpenPrompt], list[OpenPrompt]]:
        """Those that have ended, and those that have changed and not ended."""
        context = self._context
        with context.lock:
            context.recorder.give_up_waiting(context.clock.perf())
            runs = context.recorder.runs
            return list(runs.ended), [run for run in runs.changed if run.final is None]

    def _look_after(self, run: OpenPrompt) -> None:
        """What an open run needs once it is saved."""
        if run.markers.ready:
            self._serving.serve(run)
        self._gathering.fingerprint(run)

    def _for_each(self, runs: list[OpenPrompt], do: Callable[[OpenPrompt], None]) -> None:
        """Do it with each; one over which we stumble must not cost the others."""
        for run in runs:
            try:
                do(run)
            except Exception as error:  # noqa: BLE001
                hint = "the recorder stumbled over a prompt; it goes on with the others"
                self._context.problems.report("writer", hint, error, passing=True)

    def _shed(self) -> None:
        """Let go of the oldest ended records where the store has not taken them for too long."""
        if not self._access.has_failed:
            return
        context = self._context
        with context.lock:
            ended = list(context.recorder.runs.ended)
            for run in ended[:-MAX_UNSAVED]:
                context.recorder.drop(run)
                if run.markers.decided is not None:
                    run.markers.decided.give_up()
                context.dropped += 1
        if len(ended) > MAX_UNSAVED:
            hint = f"the store could not be written for so long that the oldest of more than {MAX_UNSAVED} were let go"
            context.problems.report("records dropped", hint)
