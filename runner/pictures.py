"""Opens a picture that somebody else made: by the formats that are named here, and only its head is read.

Pillow knows sixty formats, some of which start other programs or have had one fault after another; a frame or a
keyframe is one of these. What is decoded is bounded by who decodes it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


@contextmanager
def open_picture(file: BinaryIO) -> Iterator[Image]:
    """The picture in an open file, not yet decoded.

    Raises ImportError where Pillow isn't there, its DecompressionBombError where the picture has more pixels than it
    takes for harmless, and whatever a decoder raises at a broken file.
    """
    from PIL import Image as pillow  # noqa: N813

    with warnings.catch_warnings():
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        with pillow.open(file, formats=FORMATS) as opened:
            yield opened
