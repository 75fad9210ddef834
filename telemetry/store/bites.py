"""Long work on the database in small transactions, so that no record waits long for any of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

BITE_SECONDS = 0.01
"""About how long a transaction may take, for which a record would have to wait."""
FIRST_BITE, LARGEST_BITE = 4, 100
"""Pieces of work a transaction. The size follows from how long the last one took: what a prompt costs depends on how
many nodes and outputs it has, and on the disk."""
PAUSE_SECONDS = 0.01


def bite_by_bite(bite: Callable[[int], int], pause: Callable[[float], object], most: float = math.inf) -> int:
    """Work until a bite, which is told how much it may do, has done nothing, or `most` is done; how much that was."""
    done, size = 0, FIRST_BITE
    while done < most:
        begun = time.perf_counter()
        taken = bite(int(min(size, most - done)))
        took = time.perf_counter() - begun
        if not taken:
            break
        done += taken
        size = next_bite(size, took)
        pause(PAUSE_SECONDS)
    return done


def next_bite(size: int, took: float) -> int:
    """How much to do next, after so much took so many seconds: up slowly, down at once."""
    fitting = int(size * BITE_SECONDS / max(took, 1e-6))
    return max(1, min(fitting, size + FIRST_BITE, LARGEST_BITE))
