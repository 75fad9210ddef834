"""Small pictures of a scene's frames, as data that stands in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
MOST_PIXELS = 64_000_000
SIDE = 240
QUALITY = 72


def spread(names: Sequence[str], most: int) -> list[str]:
    """So many of them as may be shown, from the first to the last at even distances."""
    if len(names) <= most:
        return list(names)
    if most == 1:
        return [names[0]]
    return [names[round(place * (len(names) - 1) / (most - 1))] for place in range(most)]


def thumbnail(path: Path) -> str | None:
    """A `data:` URL of a picture, at most 240 pixels a side; null where it can't be read or Pillow isn't there."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return None
            picture = ImageOps.exif_transpose(opened)
            picture.thumbnail((SIDE, SIDE))
            out = io.BytesIO()
            picture.convert("RGB").save(out, "JPEG", quality=QUALITY)
    except Exception:  # noqa: BLE001  a decoder raises what it likes at a broken file, and the page goes on without it
        return None
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
