"""Work that is done again and again, held to a part of the time: the slower it is, the less often it is done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Share:
    """`pause` times as long as the work took nothing more of it is due: 9 makes a tenth of the time.

    Work that took less than `free` seconds is due again at once.
    """

    pause: float
    free: float = 0.005
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)
    _not_before: float = field(default=float("-inf"), repr=False)

    def is_due(self) -> bool:
        """Whether the work may be done now."""
        return self.clock() >= self._not_before

    @contextlib.contextmanager
    def spent(self) -> Iterator[None]:
        """The work, in this block."""
        began = self.clock()
        try:
            yield
        finally:
            ended = self.clock()
            took = ended - began
            self._not_before = ended + took * self.pause if took >= self.free else ended
