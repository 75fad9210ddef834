"""Compressed answers, unpacked in pieces: a small one may stand for gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 64 * 1024
ACCEPTED = "gzip, deflate"
_PLAIN = ("", "identity")


class EncodingError(ValueError):
    """An answer's encoding is none that was asked for, or its bytes are not in it."""


class Decoder:
    """Unpacks one answer. `encoding` is its Content-Encoding; null where it has none. Raises EncodingError."""

    def __init__(self, encoding: str | None) -> None:
        self._name = (encoding or "").strip().lower()
        self._begun = False
        self._packed = None
        if self._name in ("gzip", "x-gzip"):
            self._packed = zlib.decompressobj(16 + zlib.MAX_WBITS)
        elif self._name == "deflate":
            self._packed = zlib.decompressobj()
        elif self._name not in _PLAIN:
            raise EncodingError(f"it is packed by {self._name[:40]!r}, which nobody asked for")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out of the next bytes, in pieces of at most 64 KiB; what follows the end is passed over."""
        if self._packed is None:
            if data:
                yield data
            return
        if self._name == "deflate" and not self._begun and data and data[0] & 0x0F != 8:
            self._packed = zlib.decompressobj(-zlib.MAX_WBITS)  # servers that leave the header out
        self._begun = self._begun or bool(data)
        while data and not self._packed.eof:
            try:
                piece = self._packed.decompress(data, PIECE)
            except zlib.error as error:
                raise EncodingError(f"it is said to be packed by {self._name}, and is not ({error})") from None
            data = self._packed.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> None:
        """To be called at the answer's end: half of a packed answer is none."""
        if self._packed is not None and self._begun and not self._packed.eof:
            raise EncodingError(f"its {self._name} breaks off")
