"""One listing a folder for all prompts that wait, taken within a tenth of the time and within a bound of memory."""

import gc
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.markers import listings as listings_module
from run_recorder.telemetry.markers.listings import MOST_HEADS, PAUSE, Listings
from run_recorder.telemetry.markers.share import Share

from .support import write


class Clock:
    """Stands still until it is turned; a listing takes `cost` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.cost = 100.0, 0.0
        self.listed: list[tuple[Path, tuple[str, ...]]] = []
        true = listings_module.files_in

        def files_in(path: Path, heads: tuple[str, ...], *known: Any) -> Any:
            self.listed.append((path, heads))
            self.now += self.cost
            return true(path, heads, *known)

        monkeypatch.setattr(listings_module, "files_in", files_in)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_many_prompts_share_one_listing_of_a_folder(tmp_path: Path, clock: Clock) -> None:
    write(tmp_path / "a_1.png")
    shared = Listings(clock=clock)
    folders = [shared.want(tmp_path, ("a",)) for _ in range(200)]
    assert not clock.listed
    shared.refresh(3)
    assert clock.listed == [(tmp_path, ("a",))]
    (latest,) = {id(folder.latest): folder.latest for folder in folders}.values()
    assert latest is not None
    assert (list(latest.files), latest.finished, latest.begun) == (["a_1.png"], 100.0, 3)
    assert latest.saw("a_7.png") and not latest.saw("b_1.png")


def test_a_folder_is_listed_again_when_a_prompt_is_queued_and_only_then(tmp_path: Path, clock: Clock) -> None:
    shared = Listings(clock=clock)
    first = shared.want(tmp_path, ("a",))
    shared.refresh(0)
    shared.refresh(0)
    write(tmp_path / "a_1.png")
    second = shared.want(tmp_path, ("b",))
    shared.refresh(None)
    assert clock.listed == [(tmp_path, ("a",)), (tmp_path, ("a", "b"))]
    assert first is second
    assert first.latest is not None and list(first.latest.files) == ["a_1.png"]


def test_listing_takes_a_tenth_of_the_time(tmp_path: Path, clock: Clock) -> None:
    clock.cost = 0.2
    shared = Listings(clock=clock)
    held = []
    for _ in range(1000):
        held.append(shared.want(tmp_path, ("a",)))
        shared.refresh(0)
        clock.now += 0.01
    spent = clock.cost * len(clock.listed)
    assert 0.08 <= spent / (clock.now - 100) <= 0.12
    clock.now += clock.cost * PAUSE
    listed = len(clock.listed)
    shared.refresh(0)
    assert len(clock.listed) == listed + 1, "what was put off is done later"


def test_a_folder_is_forgotten_with_the_last_prompt_that_waits_for_it(tmp_path: Path, clock: Clock) -> None:
    shared = Listings(clock=clock)
    folder = shared.want(tmp_path, ("a",))
    shared.refresh(0)
    del folder
    gc.collect()
    assert shared.want(tmp_path, ("a",)).latest is None
    gc.collect()
    shared.refresh(0)
    assert len(clock.listed) == 1, "nobody waits for it any more"


def test_what_is_remembered_of_all_folders_is_bounded(tmp_path: Path, clock: Clock) -> None:
    for name in ("a/1", "a/2", "b/1", "b/2", "b/3", "c/1"):
        write(tmp_path / name)
    shared = Listings(4, clock=clock)
    folders = [shared.want(tmp_path / name, ("",)) for name in ("a", "b", "c")]
    shared.refresh(0)
    assert [folder.latest and len(folder.latest.files) for folder in folders] == [2, None, 1]
    del folders[0]
    shared.want(tmp_path / "b", ("",))
    shared.refresh(0)
    assert [folder.latest and len(folder.latest.files) for folder in folders] == [3, 1]


def test_an_unchanged_file_is_remembered_once(tmp_path: Path, clock: Clock) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    shared = Listings(clock=clock)
    folder = shared.want(tmp_path, ("",))
    shared.refresh(0)
    first = folder.latest
    write(tmp_path / "b", b"more")
    shared.want(tmp_path, ("",))
    shared.refresh(0)
    assert first is not None and folder.latest is not None and folder.latest is not first
    assert folder.latest.files["a"] is first.files["a"]
    assert folder.latest.files["b"] != first.files["b"]


def test_many_beginnings_of_names_become_all_names(tmp_path: Path, clock: Clock) -> None:
    shared = Listings(clock=clock)
    for number in range(MOST_HEADS):
        folder = shared.want(tmp_path, (f"shot{number}",))
    assert len(folder.heads) == MOST_HEADS
    assert shared.want(tmp_path, ("another",)).heads == ("",)
    assert shared.want(tmp_path, ("one more",)).heads == ("",)


def test_a_share_is_a_part_of_the_time_whatever_the_work_comes_to() -> None:
    now = [0.0]
    share = Share(9.0, clock=lambda: now[0])
    assert share.is_due()
    with pytest.raises(OSError, match="full"), share.spent():
        now[0] = 2.0
        raise OSError("full")
    now[0] = 19.9
    assert not share.is_due()
    now[0] = 20.0
    assert share.is_due()


def test_quick_work_is_always_due() -> None:
    now = [0.0]
    share = Share(9.0, free=0.01, clock=lambda: now[0])
    with share.spent():
        now[0] = 0.009
    assert share.is_due()
    with share.spent():
        now[0] = 0.02
    assert not share.is_due()
