"""Where the language model is, and how it is asked: LOCAL_STORY_PROVIDER_URL and LOCAL_LLM_* of the environment."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import SettingsConfigDict

from ..client.urls import address_of, shown_url
from ..telemetry.process.settings import Settings

URL = "LOCAL_STORY_PROVIDER_URL"
CHAT = "/chat/completions"
MOST_SEED = 2**63 - 1


class SettingError(ValueError):
    """Settings that can't be used. The message names each, what was given, and what is accepted."""


def _http(url: str) -> str:
    address = address_of(url)
    if address is None:
        raise ValueError("no address")
    return address


def _chat(url: str) -> str:
    """The chat route of what people set: that route itself, a base that ends with /v1, or a bare host."""
    parts = urlsplit(_http(url))
    path = parts.path.rstrip("/")
    if not path.endswith(CHAT):
        path += CHAT if path.endswith("/v1") else f"/v1{CHAT}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


ADDRESS = "an http(s) address is accepted, such as http://127.0.0.1:1234"


class LlmSettings(Settings):
    """Each field is LOCAL_LLM_ and its name in capitals; the first is LOCAL_STORY_PROVIDER_URL."""

    model_config = SettingsConfigDict(
        alias_generator=lambda name: URL if name == "url" else f"LOCAL_LLM_{name.upper()}"
    )

    url: Annotated[str | None, AfterValidator(lambda url: url and _chat(url))] = Field(None, description=ADDRESS)
    """The chat route; null where no model is set."""
    model: str = "local-model"
    seed: int | None = Field(None, ge=0, le=MOST_SEED, description=f"a whole number from 0 to {MOST_SEED} is accepted")
    temperature: float = Field(0.7, ge=0, le=5, description="a number from 0 to 5 is accepted")
    timeout_seconds: float = Field(120.0, ge=0.1, le=86_400, description="a number from 0.1 to 86400 is accepted")
    healthcheck_url: Annotated[str | None, AfterValidator(lambda url: url and _http(url))] = Field(
        None, description=ADDRESS
    )
    """An address of its own for the health check; null derives it from `url`."""
    skip_healthcheck: bool = Field(False, description="1, true, yes, on, 0, false, no and off are accepted")

    @classmethod
    def from_environment(cls, **given: str) -> LlmSettings:
        """From the environment, what is given by name before it. Raises SettingError."""
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            wrong = {str(one["loc"][0]): one["input"] for one in error.errors()}
        said = {field.alias: field.description for field in cls.model_fields.values()}
        shown = {name: shown_url(value) if name.endswith("URL") else value for name, value in wrong.items()}
        raise SettingError("; ".join(f"{name} is {shown[name]!r}: {said[name]}" for name in wrong))
