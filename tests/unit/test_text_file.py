"""A text that a person wrote: what is no such text is told in one way, whatever it was to be."""

from pathlib import Path

import pytest
from run_recorder.runner.text_file import TextFileError, read_text


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig"])
def test_a_text_is_read_with_or_without_a_byte_order_mark(tmp_path: Path, coding: str) -> None:
    path = tmp_path / "story.yaml"
    path.write_bytes("Über".encode(coding))
    assert read_text(path, 100, "story") == "Über"


def test_one_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(TextFileError, match=r"story\.yaml can't be read: ") as raised:
        read_text(tmp_path / "story.yaml", 100, "story")
    assert raised.value.kind == "not_found"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"12345678", "is larger than any mapping (7 bytes)"),
        ("123456äö".encode(), "is larger than any mapping (7 bytes)"),
    ],
    ids=["no text", "too large", "cut within a character"],
)
def test_what_is_no_such_text_is_invalid(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "mapping.json"
    path.write_bytes(content)
    with pytest.raises(TextFileError) as raised:
        read_text(path, 7, "mapping")
    assert (raised.value.kind, str(raised.value)) == ("invalid_mapping", f"{path} {why}")
