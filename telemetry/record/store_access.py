"""Whether the store can be asked and written now; and what is done where it can't, or has become corrupt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from ..store.database import is_corrupt
from ..store.database_file import ForeignFileError
from ..store.errors import StoreClosedError
from .context import Context

STORE_RETRY_SECONDS = 1.0
"""How long a store that could not be written, or gave no answer, is left alone."""
Answer = TypeVar("Answer")


class StoreAwayError(RuntimeError):
    """The store can't be asked now."""


class StoreAccess:
    """The writer's way to the store. Only its own thread writes; `is_failing` may be read by any."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = context.store
        self._clock = context.clock
        self.opener: Callable[[], None] | None = None
        """Opens the store, where that has failed so far; tried again every second while there is anything to save."""
        self.on_replaced: list[Callable[[], None]] = []
        """Called when a corrupt database was set aside: what is open is to be saved anew, to another one."""
        self._failing_until = 0.0
        self._silent_until = 0.0
        """Until when the store is not asked anything, because it gave no answer."""
        self._troubled = False

    @property
    def is_failing(self) -> bool:
        """True while the store can't be written."""
        return self.opener is not None or self._troubled

    @property
    def has_failed(self) -> bool:
        """True from a failed write to the next that works."""
        return bool(self._failing_until)

    def may_write(self) -> bool:
        """False while the store is closed, and for a second after it could not be written."""
        return self.opener is None and not self.is_paused()

    def is_paused(self) -> bool:
        """True for a second after it could not be written."""
        return self._clock.mono() < self._failing_until

    def ask(self, question: Callable[..., Answer], *args: Any) -> Answer:
        """Ask the store. Raises StoreAwayError where it can't answer now; then it is not asked again for a second.

        A store that can't be written may still be read.
        """
        if self.opener is not None or self._clock.mono() < self._silent_until:
            raise StoreAwayError("the store can't be asked now")
        try:
            return question(*args)
        except (SQLAlchemyError, StoreClosedError) as error:
            self._silent_until = self._clock.mono() + STORE_RETRY_SECONDS
            self.failed(error)
            raise StoreAwayError("the store can't be asked now") from error

    def write(self, write: Callable[[], object]) -> bool:
        """Write something that belongs to no prompt; false where the store can't take it now."""
        try:
            write()
        except Exception as error:  # noqa: BLE001  whatever the database does, ComfyUI goes on
            self.failed(error)
            return False
        self.worked()
        return True

    def takes_others(self) -> bool:
        """Whether anything can be written now."""
        try:
            self._store.try_to_write()
        except Exception:  # noqa: BLE001  why not is told with the fault that we ask for
            return False
        return True

    def worked(self) -> None:
        """Something was written."""
        if self._troubled:
            self._troubled, self._failing_until = False, 0.0
            self._context.problems.solved("store")

    def failed(self, error: Exception) -> None:
        """The store could not be written, or gave no answer."""
        self._troubled = True
        self._failing_until = self._clock.mono() + STORE_RETRY_SECONDS
        hint = "records can't be written now; they are kept in memory and tried again every second"
        self._context.problems.report("store", hint, error)
        if self.opener is None and is_corrupt(error):
            self._start_anew()

    def open(self) -> None:
        """Open the store where it is not open, unless that has just failed."""
        if self.opener is None or self.is_paused():
            return
        try:
            self.opener()
        except Exception as error:  # noqa: BLE001  whatever the database does, ComfyUI goes on
            self.failed(error)
        else:
            self.opener = None

    def _start_anew(self) -> None:
        """The database has become corrupt: set it aside, and save everything that is still open to a new one."""
        problems = self._context.problems
        try:
            aside = self._store.database.set_aside()
        except (ForeignFileError, OSError) as error:
            hint = "the database is corrupt and can't be set aside; records are kept in memory and tried again"
            problems.report("store corrupt", hint, error)
        else:
            name = aside.name if aside is not None else "it is"
            problems.report("store corrupt", f"the database was corrupt; it is kept as {name}, beside a new one")
        for replaced in self.on_replaced:
            replaced()
        self.opener = self._reopen
        self._failing_until = 0.0
        self._context.inbox.ring()

    def _reopen(self) -> None:
        self._store.database.open()
        self._context.stream.give_back()
        self._store.servers.add_instance(self._context.instance, self._context.identity)
        self._store.look()
