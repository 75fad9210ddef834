"""The models say what the contract says, and every one of them is documented."""

import importlib
import pkgutil

import jsonschema
import pytest
from pydantic import ValidationError
from run_recorder.server_routes.documents import SCHEMAS
from run_recorder.telemetry import models
from run_recorder.telemetry.models.base import Model
from run_recorder.telemetry.models.marker import DoneMarker
from run_recorder.telemetry.models.prompt import PromptError
from run_recorder.telemetry.models.schemas import MODELS

PROMPT_FIELDS = (
    "prompt_id run_number status queued_at started_at ended_at last_seen_at queue_wait_seconds duration_seconds "
    "client_id queue_number workflow_name name workflow_fingerprint settings_fingerprint environment_id node_counts "
    "current_node error outputs markers devices system telemetry_source fallback_notes notes refused instance batch "
    "conditions"
).split()


def every_model() -> list[type[Model]]:
    modules = [
        importlib.import_module(f"{models.__name__}.{found.name}") for found in pkgutil.iter_modules(models.__path__)
    ]
    every = [one for module in modules for one in vars(module).values()]
    return [one for one in every if isinstance(one, type) and issubclass(one, Model)]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_served_model_has_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name].model_json_schema())


def test_every_model_is_described() -> None:
    assert [one.__name__ for one in every_model() if not one.__doc__] == []


def test_a_prompt_has_exactly_the_contract_s_fields() -> None:
    assert sorted(MODELS["prompt"].model_fields) == sorted(PROMPT_FIELDS)


def test_times_are_told_to_be_times() -> None:
    schema = MODELS["done_marker"].model_json_schema()
    assert schema["properties"]["Timestamp"]["format"] == "date-time"


def test_a_reader_ignores_what_it_does_not_know() -> None:
    assert DoneMarker.model_validate({"Timestamp": "x", "Later": 1}) == DoneMarker(Timestamp="x")


def test_defaults_are_not_shared() -> None:
    one, two = DoneMarker(Timestamp="x"), DoneMarker(Timestamp="x")
    one.Notes.append("mine")
    assert two.Notes == []


def test_an_error_text_has_a_limit() -> None:
    with pytest.raises(ValidationError):
        PromptError(node_id=None, class_type=None, exception_type=None, message="x" * 2001)
