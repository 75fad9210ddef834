"""How prompts leave the store, and with them every trace of what was erased."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, exists, select

from ..models.base import OPEN_STATUSES
from ..models.text import kept_id, storable
from . import kept_events, word_index
from .connections import StoreConnections
from .figures import StoreFigures
from .tables import prompts, settings


class Erasing:
    """Deletes ended prompts. Every method may raise sqlalchemy.exc.DBAPIError, and StoreClosedError."""

    def __init__(self, connections: StoreConnections, figures: StoreFigures) -> None:
        self._connections = connections
        self._figures = figures

    def erase_prompt(self, prompt_id: str, run_number: int | None = None) -> int:
        """Erase an ended prompt (all its runs, or one) with its events; how many runs were there."""
        prompt_id = kept_id(prompt_id)
        which = [prompts.c.prompt_id == prompt_id, prompts.c.status.not_in(OPEN_STATUSES)]
        if run_number is not None:
            which.append(prompts.c.run_number == storable(run_number, 32))
        with self._connections.writing() as connection:
            known = connection.execute(select(prompts.c.settings_id).where(*which)).scalars().all()
            gone = connection.execute(delete(prompts).where(*which)).rowcount
            _forget_settings(connection, known)
            kept_events.erase(connection, {prompt_id})
            self._owe_words(connection, gone)
        self._figures.wrote(-gone, self._connections.database.bytes())
        return gone

    def delete_oldest(self, most: int, before_ms: int | None = None, *, erasing: bool = False) -> int:
        """Delete at most so many of the oldest ended prompts, of those queued before a time; how many there were.

        With `erasing` their events go, too.
        """
        oldest = select(prompts.c.pk, prompts.c.prompt_id, prompts.c.settings_id).where(
            prompts.c.status.not_in(OPEN_STATUSES)
        )
        if before_ms is not None:
            oldest = oldest.where(prompts.c.sort_ms < storable(before_ms))
        oldest = oldest.order_by(prompts.c.sort_ms, prompts.c.pk).limit(most)
        with self._connections.writing() as connection:
            found = connection.execute(oldest).all()
            if not found:
                return 0
            if erasing:
                kept_events.erase(connection, {row.prompt_id for row in found}, but_of=[row.pk for row in found])
            gone = connection.execute(delete(prompts).where(prompts.c.pk.in_([row.pk for row in found]))).rowcount
            _forget_settings(connection, [row.settings_id for row in found])
            if erasing:
                self._owe_words(connection, gone)
        self._figures.wrote(-gone, self._connections.database.bytes())
        return gone

    def forget_log(self) -> None:
        """Empty SQLite's log, in which what was erased may still stand."""
        self._connections.database.empty_log()

    @property
    def owes_words(self) -> bool:
        """Whether letters of what was erased may still be in the search index."""
        self._connections.require_open()
        return self._connections.owes_words

    def _owe_words(self, connection: Connection, gone: int) -> None:
        if gone and self._connections.has_word_index:
            word_index.owe(connection)
            self._connections.owes_words = True

    def merge_words(self, pages: int) -> bool:
        """Put about so many pages of the search index in order; whether that found anything to do.

        Negative pages begin to merge all of it into one piece, from which what was erased is gone.
        """
        self._connections.require_open()
        if not self._connections.has_word_index:
            return False
        with self._connections.writing() as connection:
            before = self._connections.database.changes(connection)
            word_index.merge(connection, pages)
            return self._connections.database.changes(connection) - before >= word_index.LEAST_MERGED

    def words_are_gone(self) -> None:
        """Note that what was erased has left the search index."""
        self._connections.owes_words = False
        with self._connections.writing() as connection:
            word_index.done(connection)


def _forget_settings(connection: Connection, ids: Iterable[str | None]) -> None:
    """Let go of settings that no prompt has any more."""
    had = {one for one in ids if one is not None}
    if had:
        unused = ~exists().where(prompts.c.settings_id == settings.c.id)
        connection.execute(delete(settings).where(settings.c.id.in_(had), unused))
