"""Whether the story's language model answers, before a run relies on it."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from ..client.errors import ServerError
from ..client.http import Http
from ..client.urls import shown_url
from ..telemetry.models.run_contract import StoryHealthCheck
from .llm import WHOM
from .llm_settings import CHAT, LlmSettings
from .track import now

NO_MODEL = "no language model is set (LOCAL_STORY_PROVIDER_URL)"


def models_url(chat: str) -> str:
    """Where an OpenAI-compatible server lists its models, from its chat route."""
    parts = urlsplit(chat)
    path = parts.path.rstrip("/").removesuffix(CHAT)
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/models", "", ""))


async def check_health(
    settings: LlmSettings, *, skip: bool = False, skip_reason: str | None = None
) -> StoryHealthCheck:
    """Ask for the list of models; GET, 5 s. `Status` is `success`, `failed` or `skipped`. Raises nothing."""
    url = settings.healthcheck_url or (models_url(settings.url) if settings.url else None)
    found = StoryHealthCheck(Url=_shown(url), Override=_shown(settings.healthcheck_url), Timestamp=now(), Skipped=False)
    reason = skip_reason if skip else "LOCAL_LLM_SKIP_HEALTHCHECK is set" if settings.skip_healthcheck else None
    if url is None:
        reason = NO_MODEL
    if skip or reason is not None or url is None:
        return found.model_copy(
            update={"Status": "skipped", "Skipped": True, "SkipReason": reason or "it was asked for"}
        )
    try:
        count = await _count(url)
    except (ServerError, ValueError) as error:
        return found.model_copy(update={"Status": "failed", "Error": str(error)})
    return found.model_copy(update={"Status": "success", "Models": count})


def _shown(url: str | None) -> str | None:
    return None if url is None else shown_url(url)


async def _count(url: str) -> int:
    """How many models are listed. Raises ServerError, and ValueError for what is no list of models."""
    async with Http(url, whom=WHOM) as http:
        answer = await http.json("GET", "", "models")
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status}")
    body = answer.value
    if answer.why is not None:
        raise ValueError("the answer is no JSON")
    models = body
    if isinstance(body, dict):
        told = [body[name] for name in ("data", "models") if name in body]
        models = next((one for one in told if one), told[0] or []) if told else None
    if models is None and isinstance(body, dict) and body.get("error"):
        raise ValueError(f"it answered with an error: {str(body['error'])[:200]!r}")
    if not isinstance(models, list):
        raise ValueError("the answer has neither `data` nor `models`")
    if not models:
        raise ValueError("it lists no model: load one")
    return len(models)
