"""Whether the story's language model answers, before a run relies on it."""

from __future__ import annotations

import json
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from ..telemetry.run_contract import StoryHealthCheck
from .llm import CHAT, SKIP_HEALTHCHECK, LlmSettings
from .track import now

SECONDS = 5.0
MOST_BYTES = 4 * 1024 * 1024
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
    found = StoryHealthCheck(Url=url, Override=settings.healthcheck_url, Timestamp=now(), Skipped=False)
    reason = skip_reason if skip else f"{SKIP_HEALTHCHECK} is set" if settings.skip_healthcheck else None
    if url is None:
        reason = NO_MODEL
    if skip or reason is not None or url is None:
        return found.model_copy(
            update={"Status": "skipped", "Skipped": True, "SkipReason": reason or "it was asked for"}
        )
    try:
        count = await _count(url)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        why = f"no answer within {SECONDS:g} s" if _is_timeout(error) else (str(error) or type(error).__name__)
        return found.model_copy(update={"Status": "failed", "Error": why})
    except ValueError as error:
        return found.model_copy(update={"Status": "failed", "Error": str(error)})
    return found.model_copy(update={"Status": "success", "Models": count})


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, (TimeoutError, aiohttp.ServerTimeoutError)) or type(error).__name__ == "TimeoutError"


async def _count(url: str) -> int:
    """How many models are listed. Raises ValueError for what is no list of models."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        content = await answer.content.read(MOST_BYTES)
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("the answer is no JSON") from None
    models = (body.get("data") or body.get("models")) if isinstance(body, dict) else None
    if models is None and isinstance(body, dict) and ("data" in body or "models" in body):
        models = []
    if not isinstance(models, list):
        raise ValueError("the answer has neither `data` nor `models`")
    return len(models)
