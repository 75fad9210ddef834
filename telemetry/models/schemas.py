"""The models by the names under which their schemas are served."""

from __future__ import annotations

from pydantic import BaseModel

from .comparison import (
    ComparedPrompt,
    Comparison,
    Difference,
    FigureDifference,
    NodeDifference,
    PictureDifference,
    SettingDifference,
)
from .conditions import Conditions, LoadedModel
from .environment import Environment, Machine
from .errors import ErrorAnswer
from .gpu import Device, LiveDevice, LiveFigures, SampleColumns, System
from .health import Health
from .marker import DoneMarker, PromptMarker
from .node import Node, NodeList
from .prompt import Batch, CurrentNode, Instance, Output, Prompt, PromptName, PromptPage
from .settings import SettingsList, SettingsOfNode
from .why import NodeShare, Reason, Usual, Why

MODELS: dict[str, type[BaseModel]] = {
    "batch": Batch,
    "compared_prompt": ComparedPrompt,
    "comparison": Comparison,
    "conditions": Conditions,
    "current_node": CurrentNode,
    "device": Device,
    "difference": Difference,
    "done_marker": DoneMarker,
    "environment": Environment,
    "error": ErrorAnswer,
    "figure_difference": FigureDifference,
    "gpu": LiveFigures,
    "health": Health,
    "instance": Instance,
    "loaded_model": LoadedModel,
    "machine": Machine,
    "marker": PromptMarker,
    "node": Node,
    "node_difference": NodeDifference,
    "node_list": NodeList,
    "node_share": NodeShare,
    "output": Output,
    "picture_difference": PictureDifference,
    "prompt": Prompt,
    "live_device": LiveDevice,
    "prompt_name": PromptName,
    "prompt_page": PromptPage,
    "reason": Reason,
    "samples": SampleColumns,
    "setting_difference": SettingDifference,
    "settings_list": SettingsList,
    "settings_of_node": SettingsOfNode,
    "system": System,
    "usual": Usual,
    "why": Why,
}
"""Those of the core, by the names under which `/telemetry/schema/{model}` serves them."""
