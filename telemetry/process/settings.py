"""The settings that are taken from the environment, and what is done about one that can't be used."""

from __future__ import annotations

import difflib
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "RUN_RECORDER_"
TOKEN = PREFIX + "TOKEN"
ALIKE = 0.75
"""How alike (0 to 1, difflib's ratio), behind the prefix, a misspelt name is to the one that was meant."""
GPU_SOURCES = ("nvml", "amdsmi", "sysfs", "torch", "psutil")
"""All sources of figures of GPU and memory, in the order in which they are believed."""
NO_SOURCE = "none"
DEFAULT_PROMPTS = 1_000_000
MOST = 2**62
SPACES = " \t\r\n\f\v"
"""What is left out around a value. Other signs that show nothing are part of it."""
MOST_DAYS = 1_000_000
"""More than any calendar has of past."""


class Settings(BaseSettings):
    """Base of settings. Spaces around a value don't count, and a blank one is not set. Given by name, or found in the
    environment.
    """

    model_config = SettingsConfigDict(case_sensitive=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: dict[str, Any]) -> dict[str, Any]:
        stripped = {name: one.strip(SPACES) if isinstance(one, str) else one for name, one in given.items()}
        return {name: one for name, one in stripped.items() if one != ""}


def _for_a_header(token: str) -> str:
    odd = next((place for place, sign in enumerate(token, 1) if not " " <= sign <= "~"), None)
    if odd is not None:
        raise ValueError(f"its character {odd} can't stand in a header; visible ASCII is accepted")
    return token


def _words(given: object) -> object:
    """What stands between commas."""
    return [word.strip().lower() for word in given.split(",") if word.strip()] if isinstance(given, str) else given


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.rstrip(".") for name in names)


def _sources(names: tuple[str, ...]) -> tuple[str, ...]:
    if names == (NO_SOURCE,):
        return ()
    if not set(names) <= set(GPU_SOURCES):
        raise ValueError("unknown")
    return tuple(name for name in GPU_SOURCES if name in names) or GPU_SOURCES


def _whole(given: object) -> object:
    """`1e9` is a whole number, too."""
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return given
    return int(number) if number.is_integer() and "e" in str(given).lower() else given


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=MOST)]


class Access(Settings):
    """What gives access to the routes of a server: for the server itself, and for every command that asks it."""

    model_config = SettingsConfigDict(alias_generator=lambda name: PREFIX + name.upper())

    token: Annotated[str | None, AfterValidator(lambda one: _for_a_header(one) if one else None)] = Field(
        None, repr=False, description="visible ASCII; every request is refused meanwhile"
    )
    """What a request must bear; null where none is needed."""


class ServerSettings(Access):
    """All that ComfyUI's process takes from its environment: `RUN_RECORDER_` and the field's name in capitals.

    A description says what is accepted, and what is used in the place of a wrong value.
    """

    allowed_hosts: Annotated[Words, AfterValidator(_hosts)] = Field((), description="names, with commas between them")
    """Names of this server besides its addresses, in lower case; `*.` begins any name below one."""
    database_url: str | None = Field(None, repr=False, description="a database's URL; the default one is used")
    """Null for the SQLite file in the private folder."""
    gpu_sources: Annotated[Words, AfterValidator(_sources)] = Field(
        GPU_SOURCES,
        description=f"any of {', '.join(GPU_SOURCES)}, with commas between them, or {NO_SOURCE}; all are used",
    )
    """Which of GPU_SOURCES are read, in their order; empty for none."""
    keep_bytes: Count = Field(0, description="a whole number, 0 or more; 0 keeps all; 0 is used")
    """As many of the newest prompts are kept as fit into so many bytes of database; 0 for all."""
    keep_days: float = Field(0, ge=0, le=MOST_DAYS, description=f"a number, 0 to {MOST_DAYS:,}; 0 keeps all; 0 is used")
    """Prompts of the last so many days are kept; 0 for all."""
    keep_prompts: Count = Field(
        DEFAULT_PROMPTS, description=f"a whole number, 0 or more; 0 keeps all; {DEFAULT_PROMPTS} is used"
    )
    """The newest so many prompts are kept; 0 for all."""
    keep_settings: bool = Field(True, description="on, 1, true, yes, off, 0, false or no; it is on")
    """Whether numbers, switches and choices of graphs are kept, besides their fingerprints."""
    sampler_interval_seconds: float = Field(
        0.2, ge=0.05, le=60, description="a number of seconds from 0.05 to 60; 0.2 is used"
    )
    """How often figures are read while a prompt runs."""
    sentinel: bool = Field(False, description="on, 1, true, yes, off, 0, false or no; it is off")
    """Whether the sentinel runs in the server, for its own output folder."""


NAMES = frozenset(PREFIX + name.upper() for name in ServerSettings.model_fields)
"""Every setting of ComfyUI's process."""
_SECRET = frozenset(PREFIX + name.upper() for name, field in ServerSettings.model_fields.items() if not field.repr)


class WrongSetting(NamedTuple):
    """A setting that can't be used."""

    name: str
    why: str
    """The name once more, what was given, what is accepted, and what is used instead. Never a secret."""


def server_settings(**given: str) -> tuple[ServerSettings, list[WrongSetting]]:
    """From the environment, what is given by name before it; and what was wrong with it.

    A wrong value is told, and its default taken; in the place of a wrong token one that nobody knows.
    """
    try:
        return ServerSettings(**given), []  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = {str(one["loc"][0]): one for one in error.errors()}
    defaults = {PREFIX + name.upper(): field.default for name, field in ServerSettings.model_fields.items()}
    instead = {name: defaults[name] for name in wrong} | dict.fromkeys(
        wrong.keys() & {TOKEN}, secrets.token_urlsafe(32)
    )
    return ServerSettings(**{**given, **instead}), [_wrong(name, one) for name, one in wrong.items()]


def _wrong(name: str, error: ErrorDetails) -> WrongSetting:
    accepted = ServerSettings.model_fields[name.removeprefix(PREFIX).lower()].description
    given = "" if name in _SECRET else f"={error['input']!r}"
    return WrongSetting(name, f"{name}{given}: give {accepted}")


def misspelt(environment: Mapping[str, str] = os.environ) -> Iterator[WrongSetting]:
    """Variables that are not settings, and look as if somebody took them for one."""
    known = {one.removeprefix(PREFIX): one for one in sorted(NAMES)}
    for name in environment:
        if name in NAMES or not name.upper().startswith(PREFIX):
            continue
        for meant in difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1, cutoff=ALIKE):
            yield WrongSetting(name, f"{name} is no setting; is {known[meant]} meant?")
