r"""Foreign text on its way to a terminal, a log or a line of a file: what would steer a terminal is shown, not sent.

ESC and the other control characters of C0 and C1 move cursors, set titles and fill clipboards; bidirectional controls
make a name read as another; a line break makes one line two. Each is written as its escape (`\x1b`, `\u202e`, `\n`).
The tab and everything else that Unicode prints stay as they are.
"""

from __future__ import annotations

import logging
import re
import traceback

_STEERS = (
    r"\x00-\x08\x0a-\x1f\x7f-\x9f"  # C0 without the tab, DEL, C1
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates of direction
    r"\u2028\u2029\ufeff\ufff9-\ufffb"  # separators of lines and paragraphs, a byte order mark, annotations
    r"\U000e0000-\U000e007f\ud800-\udfff"  # invisible tags, halves of surrogate pairs
)
STEERING = re.compile(f"[{_STEERS}]")
"""A character that is never sent to a terminal."""
_RUN = re.compile(f"[{_STEERS}\t]+")
_RAW_IN_JSON = re.compile(f"[{_STEERS}]".replace(r"\x0a-", r"\x0b-"))


def printable(value: object) -> str:
    """A value's text in one line."""
    return STEERING.sub(_escape, str(value))


def printable_lines(value: object) -> str:
    """A value's text with its line breaks; every line after the first is indented, so that none passes for ours."""
    return "\n  ".join(printable(line) for line in str(value).replace("\r\n", "\n").split("\n"))


def spaced(value: object) -> str:
    """A value's text in one line of a file that is read again: each run of what is not printable is one space."""
    return _RUN.sub(" ", str(value))


def escaped_json(text: str) -> str:
    """JSON text with what would steer a terminal as JSON's own escapes: the same document, to the last character."""
    return _RAW_IN_JSON.sub(_escape_json, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _escape_json(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= 0xFFFF:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


class PrintableFilter(logging.Filter):
    """Makes what a logger is given fit to be printed by whatever handler there is, ComfyUI's too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        record.msg, record.args = printable(record.getMessage()), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = printable_lines("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return True


logger = logging.getLogger("run_recorder")
"""The one logger of this package."""
logger.addFilter(PrintableFilter())
