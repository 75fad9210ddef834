"""Whether two pictures are the same to the pixel; what a file says of itself besides doesn't count."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..files.guarded_files import open_regular
from ..models.comparison import PictureDifference
from ..models.prompt import Output
from ..models.times import iso

MOST_PICTURES = 20
MOST_PIXELS = 36_000_000
"""Of one picture: 4 bytes of each pixel are held three times while two are compared."""
KINDS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
EIGHT_BITS = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA"))
"""Modes of Pillow in which every channel has eight bits at most, so that nothing is lost on the way to RGBA."""
_ONE_AT_A_TIME = threading.Lock()


class UnreadablePictureError(Exception):
    """A picture that can't be compared; the message says why, and names neither file nor folder."""


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


def difference(before: Output, after: Output, roots: Mapping[str, Path]) -> PictureDifference:
    """How two pictures differ. What can't be read is said. Takes its time, since it decodes both."""
    found = PictureDifference(node_id=before.node_id, before=before.filename, after=after.filename, identical=None)
    try:
        with _ONE_AT_A_TIME, _opened(before, roots) as one, _opened(after, roots) as other:
            _compare(one, other, found)
    except UnreadablePictureError as error:
        found.note = str(error)
    except Exception as error:  # noqa: BLE001  a file of anybody's, and a library that reads forty kinds of it
        found.note = f"a picture can't be read ({type(error).__name__})"
    return found


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
    with file, warnings.catch_warnings():
        status = os.fstat(file.fileno())
        told = (status.st_size, iso(status.st_mtime_ns // 1_000_000))
        if (output.bytes, output.modified) != told:
            raise UnreadablePictureError("a picture has been written anew since its prompt ended")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file) as picture:
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
    _compare_pixels(one, other, found)
    if getattr(one, "n_frames", 1) > 1 or getattr(other, "n_frames", 1) > 1:
        found.note = "of moving pictures the first frames are compared"
        found.identical = found.identical and None


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
    from PIL import ImageChops, ImageStat

    apart = ImageChops.difference(one.convert("RGBA"), other.convert("RGBA"))
    channels = apart.split()
    most = channels[0]
    for channel in channels[1:]:
        most = ImageChops.lighter(most, channel)
    found.pixels = apart.size[0] * apart.size[1]
    found.pixels_different = found.pixels - most.histogram()[0]
    found.greatest_difference = max(value for value, count in enumerate(most.histogram()) if count)
    found.mean_difference = round(sum(ImageStat.Stat(apart).mean) / len(channels), 4)
    found.identical = found.pixels_different == 0
