"""What would steer a terminal is shown and not sent; everything else stays as it is."""

import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_recorder.runner.summary import ERROR, one_line
from run_recorder.telemetry.process.printable import STEERING, escaped_json, logger, printable, printable_lines, spaced

ANY = st.text(st.characters(exclude_categories=()), max_size=60)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb", "a\tb"),
        ("絵文字 👩‍🎨 é עברית", "絵文字 👩‍🎨 é עברית"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nb\x00\x7f", r"a\r\nb\x00\x7f"),
        ("\u202eexe.gpj\u2066\u200f", r"\u202eexe.gpj\u2066\u200f"),
        ("\u2028\ufeff", r"\u2028\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("\udc80", r"\udc80"),
        ("[bold]x[/]", "[bold]x[/]"),
        (7, "7"),
    ],
)
def test_only_what_steers_is_escaped(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(ANY)
def test_nothing_that_steers_is_left(text: str) -> None:
    for made in (printable(text), spaced(text), printable_lines(text).replace("\n", "")):
        assert not STEERING.search(made)
        assert not [char for char in made if unicodedata.category(char) in ("Cc", "Cs") and char != "\t"]
        made.encode("utf-8")


@given(st.recursive(st.none() | st.integers() | ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_is_the_same_document_to_the_last_character(document: object) -> None:
    for indent in (None, 2):
        text = escaped_json(json.dumps(document, ensure_ascii=False, indent=indent))
        assert json.loads(text) == document
        assert not STEERING.search(text.replace("\n", ""))


def test_a_line_after_the_first_is_indented() -> None:
    assert printable_lines("one\r\ntwo\nthree\x1b") == "one\n  two\n  three\\x1b"


def test_a_summarys_line_has_no_control_of_any_kind() -> None:
    assert one_line("a\x1b]0;x\x07\x85b\x9bc\u2028d\u202ee\x7f") == "a ]0;x b c d e "
    assert ERROR.read(ERROR.write(scene="s", text="a\x9b\nERROR")) == {"scene": "s", "text": "a ERROR"}


def test_a_log_line_is_fit_to_be_printed(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("\x1b[2J\nforged")
    except ValueError:
        logger.exception("file %s", "\x1b]0;x\x07\n")
    (record,) = caplog.records
    assert record.getMessage() == r"file \x1b]0;x\x07\n"
    shown = logging.Formatter().format(record)
    assert "\x1b" not in shown
    assert "\nforged" not in shown
