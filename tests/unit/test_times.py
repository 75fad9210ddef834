"""Times are UTC, ISO 8601, milliseconds, Z; and what people send is understood or refused."""

import contextlib
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.models.times import Stamp, iso, iso_or_none, milliseconds, parse

LAST = 253402214400000


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_785_579_630_456, "2026-08-01T10:20:30.456Z"),
        (-5, "1970-01-01T00:00:00.000Z"),
        (LAST, "9999-12-31T00:00:00.000Z"),
        (10**30, "9999-12-31T00:00:00.000Z"),
    ],
)
def test_a_time_is_written_with_milliseconds_and_z_and_cut_to_the_calendar(ms: int, text: str) -> None:
    assert iso(ms) == text
    assert iso_or_none(ms) == text


def test_an_unknown_time_stays_unknown() -> None:
    assert iso_or_none(None) is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-08-01T10:20:30.456Z", 1_785_579_630_456),
        (" 2026-08-01T10:20:30.456z ", 1_785_579_630_456),
        ("2026-08-01T10:20:30.4Z", 1_785_579_630_400),
        ("2026-08-01T10:20:30.456789012Z", 1_785_579_630_457),
        ("2026-08-01T10:20:30", 1_785_579_630_000),
        ("2026-08-01 10:20:30", 1_785_579_630_000),
        ("2026-08-01T12:20:30+02:00", 1_785_579_630_000),
        ("2026-08-01T12:20:30.5+02:00", 1_785_579_630_500),
        ("2026-08-01", 1_785_542_400_000),
    ],
)
def test_any_usual_iso_form_is_understood(text: str, ms: int) -> None:
    assert parse(text) == ms


@pytest.mark.parametrize("text", ["", "Z", "yesterday", "2026-13-01", "10:20", "2026-08-01T10:20:30.Zx", "17e9", "\0"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@given(st.integers(0, LAST))
def test_what_is_written_is_read_back_to_the_millisecond(ms: int) -> None:
    assert parse(iso(ms)) == ms


@given(st.integers(-(10**20), 10**20))
def test_every_number_of_milliseconds_can_be_written(ms: int) -> None:
    assert len(iso(ms)) == 24


@given(st.text())
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(text), int)


@given(st.datetimes(datetime(1971, 1, 1), datetime(9990, 1, 1), timezones=st.just(timezone.utc)))
def test_python_s_own_iso_times_are_read_to_the_millisecond(moment: datetime) -> None:
    assert abs(parse(moment.isoformat()) - moment.timestamp() * 1000) < 1


def test_a_stamp_tells_the_wall_time_of_another_monotonic_reading() -> None:
    assert Stamp(wall=1000.0, mono=5.0).at(7.5) == 1002.5
    assert Stamp(wall=1000.0, mono=5.0).at(4.0) == 999.0


@pytest.mark.parametrize(("seconds", "whole"), [(0.0, 0), (1.2344, 1234), (1.2346, 1235)])
def test_seconds_become_whole_milliseconds(seconds: float, whole: int) -> None:
    assert milliseconds(seconds) == whole
