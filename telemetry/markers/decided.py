"""What markers are to say, and the reading of their files for the hashes that they are to have."""

from __future__ import annotations

from dataclasses import dataclass, field

from .decision import Decision
from .hashing import HashJob


@dataclass(slots=True)
class Decided:
    """Decisions over the markers of one prompt."""

    decisions: list[Decision] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    job: HashJob | None = None
    """Reads the files; null where none are to be hashed."""

    @property
    def is_read(self) -> bool:
        """Whether files are still being read."""
        return self.job is not None and not self.job.is_done

    def give_up(self) -> None:
        """Read no more: these markers will not be written."""
        if self.job is not None:
            self.job.give_up()
