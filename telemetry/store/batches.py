"""Long work on the database in small transactions, so that no record waits long for any of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

BATCH_SECONDS = 0.01
"""About how long a transaction may take, for which a record would have to wait."""
FIRST_BATCH, LARGEST_BATCH = 4, 100
"""Pieces of work a transaction. The size follows from how long the last one took: what a prompt costs depends on how
many nodes and outputs it has, and on the disk."""
PAUSE_SECONDS = 0.01


def in_batches(do_batch: Callable[[int], int], pause: Callable[[float], object], most: float = math.inf) -> int:
    """Call `do_batch` with how much it may do until it has done nothing, or `most` is done; how much that was."""
    done, size = 0, FIRST_BATCH
    while done < most:
        begun = time.perf_counter()
        taken = do_batch(int(min(size, most - done)))
        took = time.perf_counter() - begun
        if not taken:
            break
        done += taken
        size = next_batch_size(size, took)
        pause(PAUSE_SECONDS)
    return done


def next_batch_size(size: int, took: float) -> int:
    """How much to do next, after so much took so many seconds: up slowly, down at once."""
    fitting = int(size * BATCH_SECONDS / max(took, 1e-6))
    return max(1, min(fitting, size + FIRST_BATCH, LARGEST_BATCH))
