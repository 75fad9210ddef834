"""Whether so much news came at once that some may have been lost on the way."""

from __future__ import annotations

BURST = 2000
"""So much news within a second, and some may have been lost on the way: the folder is scanned again."""
DOUBT_SECONDS = 5.0
"""A burst that doesn't end is scanned after so long."""


class Bursts:
    """Counts news. Times are those of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._began, self._count, self._busy_at = 0.0, 0, 0.0
        self._doubt_since: float | None = None

    @property
    def is_doubtful(self) -> bool:
        """Whether news may have been lost since the last scan."""
        return self._doubt_since is not None

    @property
    def calm_at(self) -> float:
        """When a burst that gets no more news is over."""
        return self._busy_at + 1.0

    def came(self, count: int, at: float) -> bool:
        """So much news has come; whether that is a burst."""
        if at - self._began > 1.0:
            self._began, self._count = at, 0
        self._count += count
        return self._count > BURST

    def doubt(self, at: float) -> None:
        """A burst goes on: what is known is to be looked at again."""
        self._busy_at = at
        if self._doubt_since is None:
            self._doubt_since = at

    def is_over(self, at: float) -> bool:
        """Whether it is time to scan again: the burst is over, or has gone on for long."""
        calm = at - self._busy_at > 1.0
        return self._doubt_since is not None and (calm or at - self._doubt_since > DOUBT_SECONDS)

    def settled(self) -> None:
        """A scan has settled the doubt, or the folder is gone."""
        self._doubt_since = None
