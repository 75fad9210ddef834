"""What a server's answer, or the want of one, comes to."""

from __future__ import annotations

from ..telemetry.models.text import clean

MOST = 1000
"""Characters of a message: what went wrong may quote a server's own words."""


class ServerError(Exception):
    """The server did not answer as a ComfyUI does. `kind` is a stable word.

    `unavailable` nobody answers, or stops to; `unauthorized` 401; `tls` no secure connection; `not_comfyui` another
    server's answer; `bad_answer` one that can't be read; `too_large` and `too_slow` one beyond what is taken;
    `missing` a package that it takes to ask.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(clean(" ".join(message.split()), MOST))
        self.kind = kind


class RefusedError(Exception):
    """ComfyUI refused the graph: final at once. The message names node, input and reason."""
