"""Pictures as the built-in nodes pass them: a batch of Pillow images in place of a tensor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

# ComfyUI's own: quick to write, a little larger.
PNG_COMPRESSION = 4


@dataclass(frozen=True)
class ImageBatch:
    """Some pictures of one size. Nodes that only pass it on needn't know what it is."""

    frames: tuple[Image.Image, ...]

    @classmethod
    def filled(cls, width: int, height: int, count: int, color: int) -> ImageBatch:
        """``count`` pictures of one colour, 0xRRGGBB."""
        rgb = (color >> 16 & 0xFF, color >> 8 & 0xFF, color & 0xFF)
        return cls(tuple(Image.new("RGB", (width, height), rgb) for _ in range(count)))

    @classmethod
    def read(cls, path: Path) -> ImageBatch:
        """A file's picture, without its transparency."""
        with Image.open(path) as picture:
            return cls((picture.convert("RGB"),))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Batch, height, width, channels: as a tensor's."""
        width, height = self.frames[0].size
        return len(self.frames), height, width, 3

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.frames)

    def __iter__(self) -> Iterator[Image.Image]:
        """The pictures."""
        return iter(self.frames)

    def inverted(self) -> ImageBatch:
        """Each colour turned to its opposite."""
        return ImageBatch(tuple(ImageOps.invert(frame) for frame in self.frames))


def write_png(frame: Image.Image, path: Path, metadata: dict[str, Any]) -> None:
    """Write one picture, with the graph it came from in its text chunks."""
    info = PngInfo()
    for key, value in metadata.items():
        info.add_text(key, json.dumps(value))
    frame.save(path, pnginfo=info, compress_level=PNG_COMPRESSION)
