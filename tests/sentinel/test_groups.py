"""What decides, alone: news in, a complete group out."""

from run_recorder.sentinel.evidence import Ended, Key, Named
from run_recorder.sentinel.groups import Groups
from run_recorder.telemetry.folder import FileStamp

KEY, STAMP = Key("new", "a"), FileStamp(9, 1_000_000_000, "1")
NAME = "a_00001_.png"
ENDED = Ended("p", "success", (Named("new", NAME, "2"),))


def ended(groups: Groups, at: float) -> object:
    groups.ended(ENDED, {KEY: {NAME: ENDED.files[0]}}, at)
    assert groups.due(at) == [KEY]
    return groups.looked(KEY, {NAME: STAMP}, at)


def test_a_file_that_a_scan_has_met_is_settled_by_its_prompts_record() -> None:
    groups = Groups(3.0)
    groups.found(KEY, {NAME: STAMP}, [NAME], 10.0)
    assert ended(groups, 10.1) is not None


def test_a_file_that_is_known_to_be_open_is_waited_for_whatever_the_record_says() -> None:
    groups = Groups(3.0)
    groups.found(KEY, {NAME: STAMP}, [NAME], 10.0)
    groups.appeared(KEY, NAME, STAMP, 10.05)
    assert ended(groups, 10.1) is None
    groups.closed(KEY, NAME, 10.2)
    assert groups.due(10.2) == [KEY]
    assert groups.looked(KEY, {NAME: STAMP}, 10.2) is not None
