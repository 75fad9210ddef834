"""What prompts ran on."""

from __future__ import annotations

from pydantic import Field

from .base import Model


class NodePack(Model):
    """A custom-node pack: its folder's name, the version it declares, the commit it is at."""

    name: str
    version: str | None = None
    commit: str | None = None


class Environment(Model):
    """What prompts ran on. The id is a digest of the rest."""

    id: str
    comfyui_version: str | None = None
    comfyui_commit: str | None = Field(None, description="The commit of its git checkout; null where it is none.")
    python_version: str | None = None
    torch_version: str | None = None
    os: str | None = None
    driver_version: str | None = None
    devices: list[str] = []
    launch_options: list[str] = Field([], description="An allow-list of switches; paths shown as `<path>`.")
    node_packs: list[NodePack] = []
