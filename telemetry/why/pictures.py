"""Whether two pictures are the same to the pixel; what a file says of itself besides doesn't count.

Decoding is Pillow's, in a process that ComfyUI lives in: nothing of Pillow's or Python's own state is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..files.guarded_files import open_regular
from ..models.comparison import PictureDifference
from ..models.prompt import Output
from ..models.times import iso

MOST_PICTURES = 20
MOST_PIXELS, MOST_ALTOGETHER = 36_000_000, 100_000_000
"""Of one picture, and of all that are decoded for one comparison. Two pictures are held at a time, whole."""
STRIP = 2_000_000
"""So many pixels are compared at a time."""
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What a file may be, whatever it is called: Pillow would start other programs for some formats."""
EIGHT_BITS = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA"))
"""Modes of Pillow in which every channel has eight bits at most, so that nothing is lost on the way to RGBA."""


class UnreadablePictureError(Exception):
    """A picture that can't be compared; the message says why, and names neither file nor folder."""


def differences(
    before: Sequence[Output], after: Sequence[Output], roots: Mapping[str, Path]
) -> list[PictureDifference]:
    """How the pictures of two prompts differ. What can't be read is said. Takes its time, since it decodes them."""
    found, decoded = [], 0
    for one, other in pairs(before, after):
        told = PictureDifference(node_id=one.node_id, before=one.filename, after=other.filename, identical=None)
        if decoded >= MOST_ALTOGETHER:
            told.note = f"after {MOST_ALTOGETHER:,} pixels no more are compared"
        else:
            _fill(told, one, other, roots)
            decoded += 2 * (told.pixels or 0)
        found.append(told)
    return found


def pairs(before: Sequence[Output], after: Sequence[Output]) -> list[tuple[Output, Output]]:
    """What is to be compared: pictures of both by the node that saved them, and by their place among that node's."""
    found: list[tuple[Output, Output]] = []
    for node_id in dict.fromkeys(one.node_id for one in before):
        mine, theirs = (
            [one for one in side if one.node_id == node_id and _is_picture(one)] for side in (before, after)
        )
        found += zip(mine, theirs, strict=False)
    return found[:MOST_PICTURES]


def _is_picture(output: Output) -> bool:
    return output.type in ("output", "temp") and output.filename.lower().endswith(KINDS)


def _fill(found: PictureDifference, before: Output, after: Output, roots: Mapping[str, Path]) -> None:
    try:
        with _opened(before, roots) as one, _opened(after, roots) as other:
            _compare(one, other, found)
    except UnreadablePictureError as error:
        found.note = str(error)
    except Exception as error:  # noqa: BLE001  a file of anybody's, and a library that reads six kinds of it
        found.note = f"a picture can't be read ({type(error).__name__})"


@contextmanager
def _opened(output: Output, roots: Mapping[str, Path]) -> Iterator[Any]:
    """The picture that a record names, where that very file still lies there. Raises UnreadablePictureError."""
    try:
        from PIL import Image
    except ImportError:
        raise UnreadablePictureError("Pillow is not installed, so pictures are not read") from None
    try:
        root = roots[output.type or ""]
        file = open_regular(root / output.subfolder / output.filename, root)
    except (OSError, ValueError, KeyError):
        raise UnreadablePictureError("a picture is not there any more, or can't be read") from None
    with file:
        status = os.fstat(file.fileno())
        if (output.bytes, output.modified) != (status.st_size, iso(status.st_mtime_ns // 1_000_000)):
            raise UnreadablePictureError("a picture has been written anew since its prompt ended")
        with Image.open(file, formats=FORMATS) as picture:
            yield picture


def _compare(one: Any, other: Any, found: PictureDifference) -> None:
    if one.size != other.size:
        found.identical = False
        found.note = f"{one.size[0]} x {one.size[1]} before, {other.size[0]} x {other.size[1]} after"
        return
    if one.size[0] * one.size[1] > MOST_PIXELS:
        raise UnreadablePictureError(f"each has more than {MOST_PIXELS:,} pixels, so they are not compared")
    if not {one.mode, other.mode} <= EIGHT_BITS:
        _compare_as_a_whole(one, other, found)
        return
    if _is_cut(one) or _is_cut(other):
        raise UnreadablePictureError("of pictures with 16 bits a channel in colour half is lost when they are read")
    _compare_pixels(one, other, found)
    if getattr(one, "n_frames", 1) > 1 or getattr(other, "n_frames", 1) > 1:
        found.note = "of moving pictures the first frames are compared"
        found.identical = found.identical and None


def _is_cut(picture: Any) -> bool:
    """Whether Pillow reads fewer bits than the file has, as the raw mode of its pieces tells (`RGB;16B`)."""
    for piece in picture.tile:
        told = piece[3] if isinstance(piece[3], tuple) else (piece[3],)
        if any(isinstance(one, str) and (";16" in one or ";32" in one) for one in told):
            return True
    return False


def _compare_as_a_whole(one: Any, other: Any, found: PictureDifference) -> None:
    """Pictures of more than eight bits a channel, of which a smaller difference than one of 255 counts, too."""
    if one.mode != other.mode:
        raise UnreadablePictureError(f"one is of the mode {one.mode}, the other of {other.mode}")
    found.pixels = one.size[0] * one.size[1]
    found.identical = one.tobytes() == other.tobytes()
    if found.identical:
        found.pixels_different, found.greatest_difference, found.mean_difference = 0, 0, 0.0
    else:
        found.note = f"of the mode {one.mode} it is told whether they are the same, not by how much they differ"


def _compare_pixels(one: Any, other: Any, found: PictureDifference) -> None:
    """A strip at a time: what is made of two pictures takes more room than they do."""
    from PIL import ImageChops

    width, height = one.size
    rows = max(1, STRIP // width)
    different, greatest, total = 0, 0, 0
    for top in range(0, height, rows):
        box = (0, top, width, min(height, top + rows))
        apart = ImageChops.difference(one.crop(box).convert("RGBA"), other.crop(box).convert("RGBA"))
        channels = apart.split()
        most = channels[0]
        for channel in channels[1:]:
            most = ImageChops.lighter(most, channel)
        counts = most.histogram()
        different += sum(counts[1:])
        greatest = max(greatest, max((value for value, count in enumerate(counts) if count), default=0))
        total += sum(place % 256 * count for place, count in enumerate(apart.histogram()))
    found.pixels = width * height
    found.pixels_different, found.greatest_difference = different, greatest
    found.mean_difference = round(total / (4 * found.pixels), 4)
    found.identical = different == 0
