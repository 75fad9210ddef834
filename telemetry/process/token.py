"""The token of our routes, as every command takes it from the environment."""

from __future__ import annotations

from pydantic import ValidationError

from .settings import TOKEN, Access


class TokenError(ValueError):
    """A token that can't stand in a header. The message names the setting, and never the token."""


def token_of(**given: str) -> str | None:
    """`RUN_RECORDER_TOKEN`, given by name or of the environment; null where it is not set, or blank.

    Raises TokenError for one that holds anything but visible ASCII and spaces: no header could carry it.
    """
    try:
        return Access(**given).token
    except ValidationError as error:
        why = error.errors()[0]["ctx"]["error"]
    raise TokenError(f"{TOKEN}: {why}")


def bearer_of(**given: str) -> dict[str, str]:
    """The header that carries the token; nothing where none is set. Raises TokenError."""
    token = token_of(**given)
    return {"Authorization": f"Bearer {token}"} if token else {}
