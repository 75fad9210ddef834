"""Everything that a V3 node finds under ``comfy_api``'s ``io``."""

from __future__ import annotations

from .v3_node import ComfyNode, NodeOutput
from .v3_schema import Hidden, HiddenHolder, Schema
from .v3_types import (
    AnyType,
    Boolean,
    Combo,
    Float,
    FolderType,
    Image,
    Int,
    MatchType,
    String,
)
from .v3_types import InputBase as Input
from .v3_types import OutputBase as Output

__all__ = [
    "AnyType",
    "Boolean",
    "Combo",
    "ComfyNode",
    "Float",
    "FolderType",
    "Hidden",
    "HiddenHolder",
    "Image",
    "Input",
    "Int",
    "MatchType",
    "NodeOutput",
    "Output",
    "Schema",
    "String",
]
