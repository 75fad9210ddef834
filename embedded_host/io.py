"""Everything that a V3 node finds under ``comfy_api``'s ``io``."""

from __future__ import annotations

from .v3_node import ComfyNode, NodeOutput
from .v3_schema import Hidden, HiddenHolder, Schema
from .v3_types import (
    AnyType,
    Audio,
    Boolean,
    Clip,
    Combo,
    Conditioning,
    Custom,
    Float,
    FolderType,
    Image,
    Int,
    Latent,
    Mask,
    MatchType,
    Model,
    String,
    Vae,
    Video,
)
from .v3_types import InputBase as Input
from .v3_types import OutputBase as Output

__all__ = [
    "AnyType",
    "Audio",
    "Boolean",
    "Clip",
    "Combo",
    "ComfyNode",
    "Conditioning",
    "Custom",
    "Float",
    "FolderType",
    "Hidden",
    "HiddenHolder",
    "Image",
    "Input",
    "Int",
    "Latent",
    "Mask",
    "MatchType",
    "Model",
    "NodeOutput",
    "Output",
    "Schema",
    "String",
    "Vae",
    "Video",
]
