"""What time it surely is, for those who delete by age: a clock that is ahead must not erase history.

A clock is believed as far as something else agrees with it: records that others have left, the time for which this
process has been running, or that it has gone on for a day without a jump. A clock that is set wrong when a machine
starts is usually corrected within minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_SECONDS = 60.0
"""By so much a clock that is only steered does not leave the time that has passed."""
STEADY_SECONDS = 86_400.0
"""A clock that has gone on for so long without a jump is believed."""
DOUBTFUL_MS = 7 * 86_400_000
"""A clock that is ahead of what is sure by more than that is told."""


def since_boot() -> float:
    """Seconds that nobody sets, those of a machine that sleeps included where the system tells them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SureTime:
    """The time, never later than is sure. One thread's."""

    def __init__(self, wall: Callable[[], float] = time.time, passing: Callable[[], float] = since_boot) -> None:
        self._wall, self._passing = wall, passing
        self._sure: float | None = None
        """What was sure at `_sure_at`, in seconds since 1970; null before the first question."""
        self._began, self._sure_at = wall(), passing()
        self._offset = self._began - self._sure_at
        self._steady_since = self._sure_at

    def now_ms(self, newest: Callable[[int], int | None]) -> int:
        """At most what the clock says, in milliseconds since 1970.

        `newest` tells when the newest record of others was queued that is not later than a time; null where there is
        none. Raises what that raises.
        """
        now, passed = self._wall(), self._passing()
        if abs(now - passed - self._offset) > JUMP_SECONDS:
            self._offset, self._steady_since = now - passed, passed
        if passed - self._steady_since >= STEADY_SECONDS:
            self._sure, self._sure_at = now, passed
        else:
            told = newest(int(now * 1000))
            if self._sure is None:
                self._sure = self._began if told is None else told / 1000
            sure = max(self._sure + passed - self._sure_at, (told or 0) / 1000)
            self._sure, self._sure_at = min(sure, now), passed
        return int(self._sure * 1000)

    def doubt_ms(self) -> int:
        """By how much the clock was ahead of what was sure at the last question, in milliseconds."""
        return 0 if self._sure is None else int((self._offset + self._sure_at - self._sure) * 1000)
