"""GET /telemetry/openapi.json and /telemetry/schema/{model}, and what is said of a path that is no route."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from ..telemetry.models.run_contract import RUN_MODELS
from ..telemetry.models.schemas import MODELS
from .openapi import openapi
from .route import PREFIX, AnyParameters, ApiError, Call, Route, answer_bytes, not_found

SCHEMAS: dict[str, type[BaseModel]] = {**MODELS, **RUN_MODELS}
"""What `/telemetry/schema/{model}` serves, by name: the core's models, and those of a run's record."""


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON Schema (2020-12), as it is served."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(mode="serialization"),
    }


def document_routes(all_routes: Callable[[], Sequence[Route]]) -> tuple[Route, ...]:
    """The routes that document all routes, these among them; `all_routes` is asked when the first request comes."""

    @functools.lru_cache(maxsize=1)
    def document() -> bytes:
        return json.dumps(openapi(all_routes())).encode("utf-8")

    async def get_openapi(call: Call) -> web.StreamResponse:
        """This API as an OpenAPI 3.1 document."""
        return answer_bytes(document())

    return (
        Route("GET", "/openapi.json", "This document", get_openapi, answers={200: None}),
        Route("GET", "/schema/{model}", "A model's JSON Schema", get_schema, answers={200: None}, errors=(404,)),
    )


async def get_schema(call: Call) -> web.StreamResponse:
    """The JSON Schema of one of the models."""
    model = SCHEMAS.get(call.path["model"])
    if model is None:
        raise not_found(f"no model {call.path['model']!r}; there are {', '.join(SCHEMAS)}", "model")
    return answer_bytes(json.dumps(schema(model)).encode("utf-8"))


def no_route(all_routes: Callable[[], Sequence[Route]]) -> Route:
    """Takes what is no route of ours, or another method of one, and says which methods that path takes."""

    async def nowhere(call: Call) -> web.StreamResponse:
        """What is no route of ours, or another method of one."""
        path = "/" + call.path.get("tail", "")
        methods = [r.method for r in all_routes() if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", r.path), path)]
        if methods:
            allowed = ", ".join(methods)
            raise ApiError(405, "not_found", f"{PREFIX}{path} takes {allowed}", headers={"Allow": allowed})
        raise not_found(f"there is no {PREFIX}{path}; {PREFIX}/openapi.json lists all routes")

    return Route("*", "/{tail}", "Any other path", nowhere, AnyParameters)
