"""Prefixes: where a marker may stand, what tokens mean, and which prefix a file name is of."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MAX_COMPONENT_BYTES = 255
MAX_PREFIX_BYTES = 1024
"""Of a whole prefix: what every file system takes below an output folder."""
LONGEST_SUFFIX = ".failed"

RESERVED_NAMES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)
"""Names that Windows gives to devices, with any extension."""

SIZE_TOKENS = ("%width%", "%height%")
_TIME_TOKENS = {
    "%year%": "%Y",
    "%month%": "%m",
    "%day%": "%d",
    "%hour%": "%H",
    "%minute%": "%M",
    "%second%": "%S",
}
TOKEN_PATTERNS = {
    **dict.fromkeys([*SIZE_TOKENS, "%batch_num%"], r"\d{1,7}"),
    "%year%": r"\d{4}",
    **dict.fromkeys([token for token in _TIME_TOKENS if token != "%year%"], r"\d\d"),  # noqa: S105  a part of a name
}
OPEN_TOKENS = frozenset([*SIZE_TOKENS, "%batch_num%"])
"""Tokens of which only the saver knows what they come to, and how long that is."""
MAX_TOKENS = 4
"""Such tokens of one name. With more, matching could take for ever: then a saver's files go by the plain rule."""
_TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp", ".lock", "~")
MARKER_SUFFIXES = (".done", ".failed")
MEDIA_KINDS = {
    "images": "png jpg jpeg webp gif exr tif tiff bmp avif svg apng jxl psd hdr dpx tga heic",
    "video": "mp4 webm mov mkv avi m4v mpg",
    "audio": "flac wav mp3 opus ogg m4a aac",
    "3d": "glb gltf obj ply stl usdz usd fbx ksplat spz splat",
    "other": "latent safetensors json txt csv md srt npz pt",
}
"""What savers write, by kind: extensions without their dot. The contract's list."""
EXTENSIONS = frozenset(extension for extensions in MEDIA_KINDS.values() for extension in extensions.split())
"""All of them."""


class PrefixError(ValueError):
    """A prefix that a marker must not be written under. The message names the prefix and why."""

    def __init__(self, prefix: str, why: str) -> None:
        shown = prefix if len(prefix) <= 80 else prefix[:77] + "..."
        super().__init__(f"filename_prefix {shown!r} {why}")


@dataclass(frozen=True, slots=True)
class PrefixPath:
    """A prefix that has been checked: a folder below the output folder, and the beginning of file names."""

    folder: str
    """Relative to the output folder, forward slashes, empty for the output folder itself."""
    name: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


def parse_prefix(prefix: str) -> PrefixPath:
    """Check a prefix and take it apart: no file is touched.

    Accepts what ComfyUI's savers accept below the output folder (`a//b`, `./a`, `a/`), and refuses absolute
    paths, drive letters, `..`, NUL and other control characters, names that Windows reserves, components that
    end in a dot or a space, and names that leave no room for the marker's suffix in 255 bytes.

    Raises PrefixError.
    """
    if not prefix:
        raise PrefixError(prefix, "is empty")
    if any(ord(character) < 32 or ord(character) == 127 for character in prefix):
        raise PrefixError(prefix, "holds a control character")
    if len(prefix.encode("utf-8", "replace")) > MAX_PREFIX_BYTES:
        raise PrefixError(prefix, f"is too long: at most {MAX_PREFIX_BYTES} bytes are accepted")
    if prefix[0] in "/\\":
        raise PrefixError(prefix, "is an absolute path; give one that is relative to the output folder")
    if re.match(r"[A-Za-z]:", prefix):
        raise PrefixError(prefix, "begins with a drive letter; give one that is relative to the output folder")
    for part in re.split(r"[/\\]", prefix):
        _check_component(prefix, part)
    separators = r"[/\\]" if sys.platform == "win32" else "/"
    parts = [part for part in re.split(separators, prefix) if part not in {"", "."}]
    if not parts:
        raise PrefixError(prefix, "names no file")
    if sys.platform == "win32" and re.search(r'[<>:"|?*]', prefix):
        raise PrefixError(prefix, "holds a character that Windows does not allow in names")
    return PrefixPath("/".join(parts[:-1]), parts[-1])


def _check_component(prefix: str, part: str) -> None:
    if part in {"", "."}:
        return
    if part == "..":
        raise PrefixError(prefix, "leads upwards by '..'; markers stay inside the output folder")
    if part[-1] in ". ":
        raise PrefixError(prefix, "has a part that ends in a dot or a space")
    if part.split(".")[0].rstrip(" ").lower() in RESERVED_NAMES:
        raise PrefixError(prefix, f"holds {part!r}, a name that Windows reserves")
    try:
        size = len((part + LONGEST_SUFFIX).encode("utf-8"))
    except UnicodeEncodeError:
        raise PrefixError(prefix, "holds a character that no file name can hold") from None
    if size > MAX_COMPONENT_BYTES:
        raise PrefixError(prefix, f"is too long: a part and {LONGEST_SUFFIX!r} must fit in 255 bytes")


def confine(output_folder: Path, prefix: PrefixPath, *, shown: str | None = None) -> Path:
    """The folder of a checked prefix, with every symlink and junction followed.

    Raises PrefixError where it leads out of the output folder or stands where a file is.
    """
    shown = str(prefix) if shown is None else shown
    try:
        root = os.path.realpath(output_folder)
        folder = os.path.realpath(os.path.join(root, prefix.folder))  # noqa: PTH118
        inside = os.path.commonpath([os.path.normcase(root), os.path.normcase(folder)]) == os.path.normcase(root)
    except (OSError, ValueError):
        inside = False
    if not inside:
        raise PrefixError(shown, "leads out of the output folder by a link")
    if os.path.lexists(folder) and not Path(folder).is_dir():
        raise PrefixError(shown, "stands in a folder that is a file")
    return Path(folder)


def check_prefix(prefix: str, output_folder: Path) -> None:
    """Everything that can be said of a literal prefix before its prompt runs. Raises PrefixError."""
    sample = resolve_tokens(prefix, 0.0, "0" * 36)
    for token in SIZE_TOKENS:
        sample = sample.replace(token, "10000")
    confine(output_folder, parse_prefix(sample), shown=prefix)


def resolve_tokens(prefix: str, started: float, prompt_id: str) -> str:
    """Replace the server's time tokens (local time, zero-padded) and `%prompt_id%`.

    `started` is in seconds since 1970. `%width%`, `%height%` and the front end's `%date:...%` stay as they are.
    """
    if "%" not in prefix:
        return prefix
    moment = time.localtime(started)
    for token, directive in _TIME_TOKENS.items():
        prefix = prefix.replace(token, time.strftime(directive, moment))
    return prefix.replace("%prompt_id%", prompt_id)


def has_tokens(prefix: str) -> bool:
    """True where the saver's own prefix can't be known before it has saved."""
    return any(token in prefix for token in TOKEN_PATTERNS)


def extension_of(filename: str) -> str:
    """A file name's extension without its dot, in lower case."""
    return filename.rpartition(".")[2].lower()


def counts_as_output(filename: str) -> bool:
    """False for hidden and temporary names and for markers, which are never anybody's output."""
    lower = filename.lower()
    return not (filename.startswith(".") or lower.endswith(_TEMPORARY_SUFFIXES) or lower.endswith(MARKER_SUFFIXES))
