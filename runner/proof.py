"""Takes a file from the server's own output folder on this machine, where the server has shown that it is its file.

A server says where its folder is, and names files in it; neither is believed. Each file by itself has to be a regular
one inside that folder, reached by no link, of the size and the time that the server's `/view` tells, and the server
has to send a part of it that it can't know to be asked for. So nothing is copied that the server couldn't have sent
itself. A file that is no larger than such a part is fetched whole, and only its time is taken from the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from ..client.comfy_client import ComfyClient
from ..client.errors import ServerError
from ..client.files import seconds_of
from ..client.outputs import OutputFile
from ..client.room import room
from ..telemetry.files.guarded_files import open_regular
from ..telemetry.markers.file import remove
from .disk import is_time_of

PART = 16 * 1024
"""Bytes of a file that the server has to send."""
CHUNK = 1024 * 1024
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class NoRoomError(OSError):
    """What a server names will not fit on the disk; nothing is full yet."""


async def copy_proved(client: ComfyClient, file: OutputFile, folder: Path, temporary: Path) -> bool:
    """Copy a file from the server's folder to a new one, with its times and no wider rights; whether that was done.

    False where it isn't there, is no regular file inside the folder, or the server doesn't show that it has it; then
    nothing is left behind. Raises OSError where the copy can't be written.
    """
    try:
        source = await asyncio.to_thread(open_regular, folder / file.relative, folder)
    except (OSError, ValueError):
        return False
    with source:
        status = os.fstat(source.fileno())
        if status.st_size <= PART or not await _shows(client, file, source, status):
            return False
        work = asyncio.ensure_future(asyncio.to_thread(_copy, source, status, temporary))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # the file may not be closed under the thread
            remove(temporary)
            raise


async def _shows(client: ComfyClient, file: OutputFile, source: BinaryIO, status: os.stat_result) -> bool:
    """Whether the server sends the bytes at a place of our choice, and the same size and time."""
    start = secrets.randbelow(status.st_size - PART + 1)
    try:
        piece = await client.files.piece(file, start, PART)
    except ServerError:
        return False
    if piece is None or piece.whole != status.st_size or not is_time_of(seconds_of(piece.modified), status):
        return False
    source.seek(start)
    return source.read(PART) == piece.data


def _copy(source: BinaryIO, status: os.stat_result, temporary: Path) -> bool:
    """As many bytes as the server said, of a file that stays as it was meanwhile. Raises OSError."""
    if status.st_size > room(temporary.parent):
        raise NoRoomError(errno.ENOSPC, f"no room: {status.st_size} bytes are needed", str(temporary.parent))
    source.seek(0)
    descriptor = os.open(temporary, _FLAGS, status.st_mode & 0o666)
    try:
        with open(descriptor, "wb") as target:
            left = status.st_size
            while left and (chunk := source.read(min(CHUNK, left))):
                target.write(chunk)
                left -= len(chunk)
        now = os.fstat(source.fileno())
        whole = not left and (now.st_size, now.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        if whole:
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if not whole:
        temporary.unlink(missing_ok=True)
    return whole


def take_time(fetched: Path, original: Path, folder: Path, modified: float | None) -> None:
    """Give a small file that the server sent its time to the nanosecond, where the same file is in the folder."""
    with contextlib.suppress(OSError, ValueError), open_regular(original, folder) as source:
        status = os.fstat(source.fileno())
        if status.st_size <= PART and is_time_of(modified, status) and source.read(PART + 1) == fetched.read_bytes():
            os.utime(fetched, ns=(status.st_atime_ns, status.st_mtime_ns))
