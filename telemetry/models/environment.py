"""What prompts ran on."""

from __future__ import annotations

from pydantic import Field

from .base import Model


class NodePack(Model):
    """A custom-node pack: its folder's name, the version it declares, the commit it is at."""

    name: str
    version: str | None = None
    commit: str | None = None


class Machine(Model):
    """The computer."""

    cpu: str | None = Field(default=None, description="The processor's name.")
    cpu_count: int | None = Field(default=None, description="Logical processors.")
    ram_total_bytes: int | None = None


class Environment(Model):
    """What prompts ran on. The id is a digest of the rest.

    What a version before this one did not record is null, or missing in `distributions` and `attention_packages`.
    """

    id: str
    comfyui_version: str | None = None
    comfyui_commit: str | None = Field(
        default=None, description="The commit of its git checkout; null where it is none."
    )
    frontend_version: str | None = Field(default=None, description="The version of the web page that is served.")
    python_version: str | None = None
    torch_version: str | None = None
    torch_build: str | None = Field(
        default=None, description="What torch was built for: `cuda 13.0`, `rocm 7.1`, `cpu`."
    )
    cuda_runtime_version: str | None = Field(default=None, description="Null where torch was not built for CUDA.")
    cudnn_version: str | None = Field(default=None, description="Null where torch was not built for CUDA.")
    os: str | None = None
    driver_version: str | None = None
    devices: list[str] = []
    machine: Machine | None = None
    launch_options: list[str] = Field(
        default=[],
        description="Those of ComfyUI's own parser that are switches, choices or numbers; of a path `<path>`, no text.",
    )
    attention_packages: dict[str, str] = Field(
        default={}, description="What attention is computed with: version by name."
    )
    distributions: dict[str, str] = Field(
        default={}, description="Everything that is installed: version by normalised name."
    )
    node_packs: list[NodePack] = []
