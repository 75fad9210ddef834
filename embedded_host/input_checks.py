"""What a single input of a posted node may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import nodes
from .v3_types import MATCH_TYPE

# A combo with more words than this isn't spelled out in an error.
LONG_COMBO = 20
_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class InputError(Exception):
    """What is wrong with an input, in the fields of ComfyUI's ``node_errors``."""

    def __init__(self, kind: str, message: str, details: str, name: str, **extra: Any) -> None:
        super().__init__(message)
        self.fields = {"type": kind, "message": message, "details": details}
        self.extra = {"input_name": name, **extra}

    def as_dict(self) -> dict[str, Any]:
        """As the response has it."""
        return {**self.fields, "extra_info": self.extra}


def types_match(received: Any, wanted: Any) -> bool:
    """Whether an output of one type fits an input of another. Several types are joined by commas; ``*`` is any."""
    if not received != wanted:  # noqa: SIM202 - any-type strings of older packs answer only `!=`
        return True
    if isinstance(received, list) and wanted == "COMBO":
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return "*" in (received, wanted) or MATCH_TYPE in (received, wanted)
    ones, others = ({part.strip() for part in types.split(",")} for types in (received, wanted))
    return bool(ones & others or {"*", MATCH_TYPE} & (ones | others))


def check_link(
    name: str, link: list[Any], kind: Any, info: dict[str, Any], prompt: dict[str, Any], types_matter: bool
) -> Any:
    """The type that comes through a link. A link to nowhere raises KeyError or IndexError, as ComfyUI's does."""
    config = (kind, info)
    if len(link) != 2:
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        raise InputError("bad_linked_input", message, name, name, input_config=config, received_value=link)
    source = nodes.NODE_CLASS_MAPPINGS[prompt[link[0]]["class_type"]]
    received = source.RETURN_TYPES[link[1]]
    if types_matter and not types_match(received, kind):
        details = f"{name}, received_type({received}) mismatch input_type({kind})"
        extra = {"input_config": config, "received_type": received, "linked_node": link}
        raise InputError("return_type_mismatch", "Return type mismatch between linked nodes", details, name, **extra)
    return received


def check_literal(name: str, value: Any, kind: Any, info: dict[str, Any], bounds: bool) -> Any:
    """The value, converted to its type. ``bounds``: hold it against min, max and choices, too."""
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    convert = _CONVERSIONS.get(kind) if isinstance(kind, str) else None
    try:
        value = value if convert is None else convert(value)
    except Exception as error:
        message = f"Failed to convert an input value to a {kind} value"
        extra = {"input_config": (kind, info), "received_value": value, "exception_message": str(error)}
        raise InputError("invalid_input_type", message, f"{name}, {value}, {error}", name, **extra) from error
    if bounds:
        _check_range(name, value, (kind, info))
        _check_choice(name, value, kind, info)
    return value


def _check_range(name: str, value: Any, config: tuple[Any, dict[str, Any]]) -> None:
    low, high = config[1].get("min"), config[1].get("max")
    extra = {"input_config": config, "received_value": value}
    if low is not None and value < low:
        raise InputError("value_smaller_than_min", f"Value {value} smaller than min of {low}", name, name, **extra)
    if high is not None and value > high:
        raise InputError("value_bigger_than_max", f"Value {value} bigger than max of {high}", name, name, **extra)


def _check_choice(name: str, value: Any, kind: Any, info: dict[str, Any]) -> None:
    is_combo = isinstance(kind, list) or kind == "COMBO"  # not `!=`: any-type strings answer that with False
    if not is_combo:
        return
    choices = kind if isinstance(kind, list) else info.get("options", [])
    given = value if info.get("multiselect") and isinstance(value, list) else [value]
    if not (wrong := [choice for choice in given if choice not in choices]):
        return
    is_long = len(choices) > LONG_COMBO
    listed = f"(list of length {len(choices)})" if is_long else str(choices)
    extra = {"input_config": None if is_long else (kind, info), "received_value": value}
    details = f"{name}: {', '.join(map(repr, wrong))} not in {listed}"
    raise InputError("value_not_in_list", "Value not in list", details, name, **extra)
