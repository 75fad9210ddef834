"""Files of ComfyUI's folders, by its route `/view`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from .http import Http
from .outputs import OutputFile
from .room import Room

MOST_NAME = 200
"""Characters of a file's name in a message."""
_AS_IT_IS = {"Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Stat:
    """A file's size in bytes, and its time as the server writes it."""

    bytes: int | None
    modified: str | None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file, and the size of the whole in bytes and its time, as the server says them."""

    data: bytes
    whole: int
    modified: str | None


class Files:
    """One server's files. All raise ServerError where it doesn't answer, or not as a server does."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def stat(self, file: OutputFile) -> Stat | None:
        """Size and time of an output; null where it isn't there."""
        async with self._http.ask("HEAD", "/view", "stat", params=_view(file), headers=_AS_IT_IS) as asked:
            if asked.status != 200:
                return None
            return Stat(asked.size, asked.headers.get("Last-Modified"))

    async def is_there(self, place: Mapping[str, str]) -> bool:
        """Whether there is a file at a place that `input_place` gives."""
        async with self._http.ask("HEAD", "/view", "stat", params=place, headers=_AS_IT_IS) as asked:
            return asked.status == 200

    async def piece(self, file: OutputFile, start: int, length: int) -> Piece | None:
        """Some bytes of an output; null where it isn't there, or the server sends no parts."""
        headers = {**_AS_IT_IS, "Range": f"bytes={start}-{start + length - 1}"}
        async with self._http.ask("GET", "/view", "piece", params=_view(file), headers=headers) as asked:
            span, _, whole = asked.headers.get("Content-Range", "").partition("/")
            if asked.status != 206 or span != f"bytes {start}-{start + length - 1}" or not whole.isdecimal():
                return None
            return Piece(await asked.body(), int(whole[:20]), asked.headers.get("Last-Modified"))

    async def view(self, file: OutputFile, target: Path, most_bytes: int | None = None) -> Stat | None:
        """Write an output into a new file; null where it isn't there.

        Raises ServerError also where it comes in part, or is larger than `most_bytes` or than there is room for, and
        OSError where it can't be written.
        """
        async with self._http.ask("GET", "/view", "file", params=_view(file), headers=_AS_IT_IS) as asked:
            if asked.status != 200:
                return None
            room = await asyncio.to_thread(Room, target, file.relative[:MOST_NAME], asked.size, most_bytes)
            with target.open("xb") as out:
                async for piece in asked.pieces():
                    room.take(len(piece))
                    out.write(piece)
            return Stat(room.taken, asked.headers.get("Last-Modified"))


def _view(file: OutputFile) -> dict[str, str]:
    return {"filename": file.filename, "subfolder": file.subfolder, "type": "output"}


def input_place(value: str) -> dict[str, str] | None:
    """What `/view` is asked for a file as a node's input names it; null for what leads out of ComfyUI's folders.

    Behind the name stands the folder where it isn't the input folder, in brackets and with a space before it: ComfyUI
    takes one character more than the brackets away, whatever it is.
    """
    kind = next((kind for kind in ("output", "input", "temp") if value.endswith(f"[{kind}]")), None)
    name = value[: -len(kind) - 3] if kind else value
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or not parts or "\0" in name:
        return None
    return {"filename": parts[-1], "subfolder": "/".join(parts[:-1]), "type": kind or "input"}


def seconds_of(date: str | None) -> float | None:
    """A header's date in seconds since 1970; null for what is none."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, IndexError):
        return parsedate_to_datetime(date or "").timestamp()
    return None
