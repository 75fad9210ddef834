"""A marker: the file itself, and what a prompt's record says of it."""

from __future__ import annotations

from pydantic import Field

from .base import MarkerProducer, MarkerStatus, Model, Time


class MarkerFile(Model):
    """One file that a marker speaks of."""

    Name: str = Field(description="Relative to the marker's folder, forward slashes.")
    Bytes: int = Field(ge=0)
    Modified: Time
    NodeId: str | None = Field(None, description="The node that reported it; null where none did.")
    Sha256: str | None = Field(None, description="Only where the marker was asked to hash; else left out.")


class DoneMarker(Model):
    """A `.done` or `.failed` file. A marker with only `Timestamp` is a valid one, too."""

    Timestamp: Time = Field(description="When the marker was written.")
    FrameCount: int | None = Field(None, ge=0, description="The number of files listed.")
    Latest: Time | None = Field(None, description="Newest modification time among the files.")
    SchemaVersion: int | None = None
    Status: MarkerStatus | None = None
    PromptId: str | None = Field(None, description="Null where the producer could not tell.")
    Producer: MarkerProducer | None = None
    Cached: bool | None = Field(None, description="This prompt wrote nothing new.")
    Files: list[MarkerFile] = []
    Notes: list[str] = []


class PromptMarker(Model):
    """What became of one marker that a prompt asked for."""

    path: str | None = Field(description="Relative to the output folder; null until known.")
    status: str = Field(description="`due`, then the marker's Status, `refused` or `not written`.")
    written_at: Time | None = None
