"""Two prompts beside each other, the older one first: everything in which they differ."""

from __future__ import annotations

from pydantic import Field

from .base import Figure, Model, Time
from .settings import Setting

Value = Setting | list[str] | None


class ComparedPrompt(Model):
    """One of the two."""

    prompt_id: str
    run_number: int
    name: str | None
    status: str
    queued_at: Time | None
    workflow_fingerprint: str | None
    settings_fingerprint: str | None
    environment_id: str | None


class Difference(Model):
    """One thing that is not the same."""

    what: str = Field(description="Its name; within a group with a dot between: `distributions.numpy`.")
    before: Value = Field(description="Of the older prompt; null where it has none, or it is not known.")
    after: Value = Field(description="Of the newer prompt.")


class SettingDifference(Model):
    """A setting that is not the same."""

    node_id: str
    class_type: str
    input: str
    before: Setting | None = Field(description="Null where the older prompt has no such node, or no such setting.")
    after: Setting | None


class FigureDifference(Model):
    """A figure of both; the two may be the same."""

    what: str = Field(description="As in the prompt; of a device's figure its first device in use.")
    before: Figure | None
    after: Figure | None
    change: Figure | None = Field(description="After less before; null where either is.")
    ratio: Figure | None = Field(description="After by before; null where either is, or before is 0.")


class NodeDifference(Model):
    """A node of either."""

    node_id: str
    class_type: str | None
    title: str | None
    before_seconds: Figure | None = Field(description="Null where it did not run, or did not finish.")
    after_seconds: Figure | None
    change_seconds: Figure | None = Field(
        description="After less before; one that was cached or is not there counts as 0. Null where neither ran."
    )
    before_cached: bool | None = Field(description="Null where the older prompt has no such node.")
    after_cached: bool | None
    before_vram_used_peak_bytes: int | None
    after_vram_used_peak_bytes: int | None


class PictureDifference(Model):
    """A picture of each, by the node that saved both and its place among that node's."""

    node_id: str | None
    before: str = Field(description="The older prompt's file name.")
    after: str
    identical: bool | None = Field(description="Whether every pixel is the same; null where that can't be told.")
    pixels: int | None = Field(default=None, description="How many each has; null where they differ in size.")
    pixels_different: int | None = None
    greatest_difference: int | None = Field(default=None, description="Of a channel of a pixel, 0 to 255.")
    mean_difference: Figure | None = Field(default=None, description="Over all channels of all pixels, 0 to 255.")
    note: str | None = Field(default=None, description="Why it can't be told, or that the sizes differ.")


class Comparison(Model):
    """Two prompts beside each other."""

    before: ComparedPrompt = Field(description="The older one, whatever order they were given in.")
    after: ComparedPrompt
    same_workflow: bool | None = Field(description="Null where the fingerprint of either is not known.")
    same_settings: bool | None
    settings: list[SettingDifference]
    environment: list[Difference]
    conditions: list[Difference]
    figures: list[FigureDifference]
    nodes: list[NodeDifference] = Field(description="By absolute change of seconds, the largest first.")
    pictures: list[PictureDifference]
    notes: list[str] = Field(description="What could not be compared, and why.")
