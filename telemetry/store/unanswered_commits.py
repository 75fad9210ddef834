"""What was sent to a database server to be committed, and never answered: done or not, nobody on this end can tell.

It is tried again as if it had not been done. Before that, in the same transaction, what may have been done is undone:
else a prompt would stand there twice, or its nodes be refused for being there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, delete

from .tables import events, nodes, outputs, prompts, samples


class Saved(Protocol):
    """What of a change matters here."""

    @property
    def new_seqs(self) -> list[int]:
        """The places of its new nodes."""

    @property
    def was_new(self) -> bool:
        """Whether its prompt had no key before."""

    @property
    def outputs(self) -> bool:
        """Whether its outputs were in it."""

    @property
    def has_samples(self) -> bool:
        """Whether its curve was in it."""


@dataclass(slots=True)
class UnansweredCommits:
    """The parts of transactions that may have been committed. Forget them when a later one has been for sure."""

    prompts: set[int] = field(default_factory=set)
    """Keys of rows that may be there."""
    nodes: dict[int, set[int]] = field(default_factory=dict)
    """By a prompt's key, the places of its nodes."""
    outputs: set[int] = field(default_factory=set)
    samples: set[int] = field(default_factory=set)
    """Keys of prompts whose outputs, whose curve."""
    events: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.prompts or self.nodes or self.events)

    def add(self, changes: Iterable[tuple[Saved, int]], numbers: Iterable[int | None]) -> None:
        """A transaction of these changes, with their prompts' keys, and of events with these numbers."""
        for change, key in changes:
            if change.was_new:
                self.prompts.add(key)
            else:
                self.nodes.setdefault(key, set()).update(change.new_seqs)
                self.outputs.update([key] if change.outputs else [])
                self.samples.update([key] if change.has_samples else [])
        self.events.update(number for number in numbers if number is not None)

    def undo(self, connection: Connection) -> None:
        """Take away whatever of it is there."""
        connection.execute(delete(prompts).where(prompts.c.pk.in_(self.prompts)))
        for key, seqs in self.nodes.items():
            connection.execute(delete(nodes).where(nodes.c.prompt_pk == key, nodes.c.seq.in_(seqs)))
        connection.execute(delete(outputs).where(outputs.c.prompt_pk.in_(self.outputs)))
        connection.execute(delete(samples).where(samples.c.prompt_pk.in_(self.samples)))
        connection.execute(delete(events).where(events.c.number.in_(self.events)))

    def forget(self) -> None:
        """Nothing is in doubt any more."""
        for part in (self.prompts, self.nodes, self.outputs, self.samples, self.events):
            part.clear()
