"""What is known of a store without asking it, and how it comes to be known."""

import threading

import pytest
from run_recorder.telemetry.store.figures import LOOK_SECONDS, Looks, StoreFigures


def test_nothing_is_known_before_the_first_look() -> None:
    figures = StoreFigures()
    figures.wrote(2, 100)
    assert (figures.prompts, figures.bytes) == (None, 100)
    figures.look(lambda: 5, lambda: 200)
    figures.wrote(2, 300)
    figures.wrote(-3, None)
    assert (figures.prompts, figures.bytes) == (4, None)


def test_a_count_that_a_write_came_between_is_not_taken() -> None:
    figures = StoreFigures()
    figures.look(lambda: 1, lambda: 1)
    counts = iter([10, 20, 30])

    def count() -> int:
        found = next(counts)
        if found < 20:
            figures.wrote(1, 2)
        return found

    figures.look(count, lambda: 3)
    assert (figures.prompts, figures.bytes) == (20, 3)


def test_where_every_count_is_overtaken_the_known_figure_stays() -> None:
    figures = StoreFigures()
    figures.look(lambda: 1, lambda: 1)

    def count() -> int:
        figures.wrote(1, 2)
        return 99

    figures.look(count, lambda: 3)
    assert (figures.prompts, figures.bytes) == (4, 2)


def test_after_a_failed_look_nothing_is_known() -> None:
    figures = StoreFigures()
    figures.look(lambda: 1, lambda: 1)

    def count() -> int:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        figures.look(count, lambda: 3)
    assert (figures.prompts, figures.bytes) == (None, None)


def test_looks_are_made_one_at_a_time_and_a_second_apart() -> None:
    now = [0.0]
    looks = Looks(lambda: now[0])
    started, release, done = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)

    def look() -> None:
        started.release()
        release.acquire(timeout=10)
        done.release()
        raise OSError("its own matter")

    for _ in range(10):
        looks.ask(look)
    assert started.acquire(timeout=5) and not started.acquire(blocking=False)
    release.release()
    assert done.acquire(timeout=5)
    with looks._looking:  # the look has ended
        pass
    now[0] = LOOK_SECONDS - 0.01
    looks.ask(look)
    assert not started.acquire(timeout=0.05)
    now[0] = LOOK_SECONDS
    looks.ask(look)
    assert started.acquire(timeout=5)
    release.release()
