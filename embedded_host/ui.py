"""What a V3 node may show: ``comfy_api``'s ``ui``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SavedResult(dict[str, str]):
    """A file that a node has written, as the page and the history name it."""

    def __init__(self, filename: str, subfolder: str, type: str) -> None:  # noqa: A002 - ComfyUI's name
        super().__init__(filename=filename, subfolder=subfolder, type=getattr(type, "value", type))


class SavedImages:
    """Pictures that a node has written."""

    def __init__(self, results: Sequence[SavedResult], is_animated: bool = False) -> None:
        self.results = list(results)
        self.is_animated = is_animated

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the history."""
        shown: dict[str, Any] = {"images": self.results}
        return shown | {"animated": (True,)} if self.is_animated else shown


class PreviewText:
    """A text to show."""

    def __init__(self, value: str) -> None:
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the history."""
        return {"text": (self.value,)}
