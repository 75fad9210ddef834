"""The settings of a graph: its numbers, switches and choices. Never its texts, nor its seeds."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping

from pydantic import Field, ValidationError

from .base import Model
from .text import natural_key

Setting = bool | int | float | str


NodeSettings = tuple[str, dict[str, Setting]]
"""The class of a node, and its settings by the names of its inputs."""


class SettingsOfNode(Model):
    """The settings of one node, as they are served."""

    node_id: str
    class_type: str
    inputs: dict[str, Setting] = Field(description="Numbers, switches and choices by the input's name.")


class SettingsList(Model):
    """The settings of a prompt's graph."""

    settings_id: str | None = Field(description="Null where they were not kept.")
    items: list[SettingsOfNode] = Field(description="Nodes that have any, in the order of their ids.")


def settings_id(settings: Mapping[str, NodeSettings]) -> str:
    """A digest of them all, node ids included: two prompts with the same one have the same settings, node by node."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def settings_list(key: str | None, settings: Mapping[str, NodeSettings] | None) -> SettingsList:
    """As they are served."""
    items = []
    for node_id, node in sorted((settings or {}).items(), key=lambda item: natural_key(item[0])):
        with contextlib.suppress(ValueError, TypeError, ValidationError):  # a damaged row
            class_type, inputs = node
            items.append(SettingsOfNode(node_id=node_id, class_type=class_type, inputs=inputs))
    return SettingsList(settings_id=key if settings is not None else None, items=items)
