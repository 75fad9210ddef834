"""Small pictures of a scene's frames, as data that stands in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from ..telemetry.files.guarded_files import open_regular
from .pictures import open_picture

MOST_BYTES = 256 * 1024 * 1024
"""Of a frame's file."""
MOST_PIXELS, MOST_PLAIN_PIXELS = 9_000_000, 18_000_000
"""Of a frame that is shown small: decoders hold up to 8 bytes a pixel, those of PLAIN formats 4."""
PLAIN = ("PNG", "BMP", "GIF")
SIDE = 240
QUALITY = 72


def spread(names: Sequence[str], most: int) -> list[str]:
    """So many of them as may be shown, from the first to the last at even distances."""
    if len(names) <= most:
        return list(names)
    if most == 1:
        return [names[0]]
    return [names[round(place * (len(names) - 1) / (most - 1))] for place in range(most)]


def thumbnail(path: Path, root: Path) -> str | None:
    """A `data:` URL of a picture below `root`, at most 240 pixels a side.

    Null where it can't be read, is no regular file inside `root`, is larger than is decoded, or Pillow isn't there.
    """
    try:
        from PIL import ImageOps
    except ImportError:
        return None
    try:
        with open_regular(path, root) as file:
            if file.seek(0, io.SEEK_END) > MOST_BYTES:
                return None
            file.seek(0)
            with open_picture(file) as opened:
                most = MOST_PLAIN_PIXELS if opened.format in PLAIN else MOST_PIXELS
                if opened.width * opened.height > most:
                    return None
                opened.thumbnail((SIDE, SIDE))
                picture = ImageOps.exif_transpose(opened)
            out = io.BytesIO()
            picture.convert("RGB").save(out, "JPEG", quality=QUALITY)
    except Exception:  # noqa: BLE001  a decoder raises what it likes at a broken file, and the page goes on without it
        return None
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
