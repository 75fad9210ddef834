"""The token of our routes, as ComfyUI's process and the commands take it from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "RUN_RECORDER_TOKEN"


class TokenError(ValueError):
    """A token that can't stand in a header. The message names the setting, and never the token."""


def token_of(settings: Mapping[str, str] = os.environ) -> str | None:
    """`RUN_RECORDER_TOKEN` without the spaces around it; null where it is not set, or empty.

    Raises TokenError for one that holds anything but visible ASCII and spaces: no header could carry it.
    """
    given = settings.get(VARIABLE, "").strip()
    if not given:
        return None
    odd = next((place for place, sign in enumerate(given, 1) if not " " <= sign <= "~"), None)
    if odd is not None:
        raise TokenError(f"{VARIABLE}: its character {odd} can't stand in a header; visible ASCII is accepted")
    return given


def bearer_of(settings: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The header that carries the token; nothing where none is set. Raises TokenError."""
    token = token_of(settings)
    return {"Authorization": f"Bearer {token}"} if token else {}
