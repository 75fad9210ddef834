"""A scene's first picture: the given one, or one that is made of its title; and its place on the server."""

from __future__ import annotations

import asyncio
import colorsys
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..client.comfy_client import ComfyClient
from ..telemetry.files.guarded_files import OddEntryError, read_regular
from .pictures import open_picture
from .story import Scene
from .windows_paths import windows_path_in

if TYPE_CHECKING:
    from PIL import ImageFont
    from PIL.ImageDraw import ImageDraw

FOLDER = "run-recorder"
"""Below the server's input folder: nobody else's pictures are there."""
LEAST_SIDE, MOST_SIDE = 64, 4096
MOST_BYTES = 64 * 1024 * 1024


class KeyframeError(Exception):
    """A picture that can't be used. `kind` is a stable word."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _not_there(path: Path, scene_id: str) -> KeyframeError:
    windows = windows_path_in(str(path))
    if windows is None:
        return KeyframeError("not_found", f"{scene_id}: its keyframe {path} is not there")
    why = f"is a path of Windows, and no {windows.name} lies beside the story: put it there, or mend the path"
    return KeyframeError("not_found", f"{scene_id}: its keyframe {windows} {why}")


def check_keyframe(path: Path, scene_id: str) -> None:
    """Raises KeyframeError for what can't be read as a picture, naming the scene and the file."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        if not path.is_file():
            raise _not_there(path, scene_id) from None
        return
    try:
        if path.stat().st_size > MOST_BYTES:
            raise KeyframeError(
                "invalid_keyframe", f"{scene_id}: its keyframe {path} is larger than {MOST_BYTES} bytes"
            )
        with path.open("rb") as file, open_picture(file) as picture:
            picture.verify()
    except FileNotFoundError:
        raise _not_there(path, scene_id) from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KeyframeError("invalid_keyframe", f"{scene_id}: its keyframe {path} is no picture ({why})") from None


def make_keyframe(scene: Scene, size: tuple[int, int], path: Path) -> Path:
    """Draw the scene's title and id over two colours, as a PNG of this size; the same scene gives the same picture.

    Sides from 64 to 4096 pixels are kept as they are, others brought there. Raises KeyframeError without Pillow, and
    OSError where the file can't be written.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise KeyframeError("unavailable", "to make keyframes, pip install 'run-recorder[runner]'") from None
    width, height = (max(LEAST_SIDE, min(MOST_SIDE, side)) for side in size)
    chance = hashlib.sha256(f"{scene.id}\n{scene.title}\n{scene.prompt}".encode()).digest()
    top, bottom = _colour(chance[0], 0.42), _colour(chance[1], 0.16)
    column = Image.new("RGB", (1, height))
    for y in range(height):
        share = y / max(1, height - 1)
        mixed = [round(a + (b - a) * share) for a, b in zip(top, bottom, strict=True)]
        column.putpixel((0, y), (mixed[0], mixed[1], mixed[2]))
    picture = column.resize((width, height))
    draw = ImageDraw.Draw(picture)
    _write(draw, scene.title or scene.id, scene.id, width, height)
    picture.save(path, "PNG", optimize=False)
    return path


def _colour(chance: int, light: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(chance / 256, light, 0.45)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write(draw: ImageDraw, title: str, scene_id: str, width: int, height: int) -> None:
    """The title as large as it fits, broken at spaces, and the id below it."""
    margin = max(4, min(width, height) // 12)
    for points in range(max(10, height // 6), 7, -2):
        font = _font(points)
        lines = _lines(draw, title, font, width - 2 * margin)
        box = draw.multiline_textbbox((0, 0), "\n".join(lines), font=font, spacing=points // 4)
        if box[3] <= height - 3 * margin and box[2] <= width - 2 * margin:
            break
    draw.multiline_text((margin, margin), "\n".join(lines), font=font, fill=(255, 255, 255), spacing=points // 4)
    small = _font(max(8, points // 2))
    draw.text((margin, height - margin), scene_id, font=small, fill=(220, 220, 220), anchor="ls")


def _font(points: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(points)
    except TypeError:  # before Pillow 10.1 it has one size
        return ImageFont.load_default()


def _lines(draw: ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int) -> list[str]:
    lines = [""]
    for word in text.split()[:60]:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font=font) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


async def upload_keyframe(client: ComfyClient, path: Path, run_id: str, scene_id: str, root: Path) -> str:
    """Put a picture below `root` into the server's input folder; what a LoadImage node calls it there.

    Its name holds the run, the scene and a digest of its content, so that it can't be taken for another. Raises
    ServerError, KeyframeError for what is no regular file inside `root`, and OSError where it can't be read.
    """
    try:
        content, digest = await asyncio.to_thread(_read_with_digest, path, root)
    except OddEntryError as error:
        raise KeyframeError("invalid_keyframe", f"{scene_id}: its keyframe {path} {error.what}") from None
    name = f"{run_id}-{scene_id}-{digest[:12]}{path.suffix.lower() or '.png'}"
    return await client.upload(name, content, FOLDER)


def _read_with_digest(path: Path, root: Path) -> tuple[bytes, str]:
    content = read_regular(path, MOST_BYTES, root)
    return content, hashlib.sha256(content).hexdigest()
