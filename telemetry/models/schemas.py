"""The models by the names under which their schemas are served."""

from __future__ import annotations

from pydantic import BaseModel

from .conditions import Conditions, LoadedModel
from .environment import Environment, Machine
from .errors import ErrorAnswer
from .gpu import Device, LiveDevice, LiveFigures, SampleColumns, System
from .health import Health
from .marker import DoneMarker, PromptMarker
from .node import Node, NodeList
from .prompt import Batch, CurrentNode, Instance, Output, Prompt, PromptName, PromptPage
from .settings import SettingsList, SettingsOfNode

MODELS: dict[str, type[BaseModel]] = {
    "batch": Batch,
    "conditions": Conditions,
    "current_node": CurrentNode,
    "device": Device,
    "done_marker": DoneMarker,
    "environment": Environment,
    "error": ErrorAnswer,
    "gpu": LiveFigures,
    "health": Health,
    "instance": Instance,
    "loaded_model": LoadedModel,
    "machine": Machine,
    "marker": PromptMarker,
    "node": Node,
    "node_list": NodeList,
    "output": Output,
    "prompt": Prompt,
    "live_device": LiveDevice,
    "prompt_name": PromptName,
    "prompt_page": PromptPage,
    "samples": SampleColumns,
    "settings_list": SettingsList,
    "settings_of_node": SettingsOfNode,
    "system": System,
}
"""Those of the core, by the names under which `/telemetry/schema/{model}` serves them."""
