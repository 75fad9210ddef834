"""Foreign text is made fit for UTF-8, and nothing else about it changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.telemetry.models.text import clean, clean_or_none


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("plain", None, "plain"),
        ("a\0b", None, "ab"),
        ("ä\0b", None, "äb"),
        ("日本語", 2, "日本"),
        ("abc", 2, "ab"),
        ("\ud83d", None, "\\ud83d"),
        ("x\udcffy", None, "x\\udcffy"),
        ("😀", None, "😀"),
    ],
)
def test_half_surrogates_are_escaped_and_nul_is_dropped(text: str, most: int | None, kept: str) -> None:
    assert clean(text, most) == kept
    assert clean_or_none(text, most) == kept


@pytest.mark.parametrize("value", [None, 3, b"x", ["a"], {}])
def test_what_is_no_text_is_null(value: object) -> None:
    assert clean_or_none(value) is None


@given(st.text(st.characters(), max_size=50))
def test_clean_text_is_always_utf8_and_clean_again(text: str) -> None:
    once = clean(text)
    once.encode("utf-8")
    assert "\0" not in once
    assert clean(once) == once
