"""The OpenAPI document of routes: made from the routes and models themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from ..telemetry.models.errors import ErrorAnswer
from ..telemetry.version import VERSION
from .route import JSON, PREFIX, Route

_REFERENCE = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_SHAPES = {JSON: {"type": "object"}}
"""Schemas of answers without a model, by media type; text where it isn't here."""
_SAID = {
    400: "A parameter, or the body, is wrong; `field` names it",
    401: "A token is set and was not given",
    404: "Not known",
    409: "Queued or running; of a name: open on another server",
    503: "The store can't be read now, or a package that the route needs is missing",
}


def openapi(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    components: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Run Recorder", "version": VERSION, "description": "A flight recorder for ComfyUI."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"bearer": []}],
    }


def _operation(route: Route, components: dict[str, Any]) -> dict[str, Any]:
    errors = sorted({400, 401, 403, 500, 503, *route.errors} - ({401, 503} if route.public else set()))
    responses = {str(status): _response(status, model, components) for status, model in route.answers.items()}
    responses.update({str(status): _response(status, ErrorAnswer, components) for status in errors})
    if 200 in route.answers and route.answers[200] is None:
        responses["200"]["content"] = {kind: {"schema": _SHAPES.get(kind, _TEXT)} for kind in route.media_types}
    asked = {"requestBody": _request_body(route.body)} if route.body is not None else {}
    return {
        "operationId": route.handler.__name__,
        **asked,
        "summary": route.summary,
        "description": route.handler.__doc__ or "",
        "parameters": [*_path_parameters(route), *_query_parameters(route, components)],
        "responses": responses,
    }


def _response(status: int, model: type[BaseModel] | None, components: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "description": _SAID.get(status, "Done" if model is None else (model.__doc__ or "").strip()),
        "headers": {"X-Run-Recorder-Version": {"schema": {"type": "string"}}},
    }
    if model is not None:
        said["content"] = {JSON: {"schema": _component(model, components)}}
    return said


def _component(model: type[BaseModel], components: dict[str, Any]) -> dict[str, str]:
    definition = model.model_json_schema(mode="serialization", ref_template=_REFERENCE)
    components.update(definition.pop("$defs", {}))
    components[model.__name__] = definition
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _request_body(model: type[BaseModel]) -> dict[str, Any]:
    definition = model.model_json_schema(mode="validation", ref_template=_REFERENCE)
    return {"required": True, "content": {JSON: {"schema": definition}}}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        }
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]


def _query_parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    definition = route.parameters.model_json_schema(mode="validation", ref_template=_REFERENCE)
    components.update(definition.get("$defs", {}))
    required: list[str] = definition.get("required", [])
    properties: Mapping[str, dict[str, Any]] = definition.get("properties", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": described.get("description", ""),
            "schema": _plain(described),
        }
        for name, described in properties.items()
    ]


def _plain(described: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's schema without null: a query has no null, it leaves a parameter out."""
    found = {key: value for key, value in described.items() if key not in {"title", "description", "default"}}
    choices = [choice for choice in found.pop("anyOf", []) if choice.get("type") != "null"]
    for choice in choices:
        found = {**choice, **found}
    if described.get("default") not in (None, []):
        found["default"] = described["default"]
    return found
