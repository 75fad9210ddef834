"""What a prompt's nodes reported: from ComfyUI's merged ui values, which may hold anything, to plain rows."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .folder import FileStamp, stamp_of
from .grouping import pattern_of

MAX_OUTPUTS = 100_000
MAX_NAME = 1024
_SEPARATED = re.compile(r"[/\\]" if sys.platform == "win32" else "/")
_PATH_IN_TEXT = re.compile(r"[^\x00-\x1f]+\.[A-Za-z0-9]{1,11}")


@dataclass(slots=True)
class ReportedFile:
    """One file that a node reported, or that was found under a marker's prefix."""

    node_id: str | None
    filename: str
    subfolder: str
    type: str | None
    cached: bool = False
    stamp: FileStamp | None = None
    """Null until it was looked at, and where it isn't there."""
    guessed: bool = field(default=False, repr=False)
    """True where only its being there can tell that a value was a file's name at all."""

    @property
    def key(self) -> tuple[str, str]:
        """Folder and name: the same file reported twice is one."""
        return self.subfolder, self.filename


def reported_files(outputs: Mapping[Any, Any]) -> list[ReportedFile]:
    """Every file in a history's `outputs`, whatever the key; the same file of the same node once."""
    found: dict[tuple[str, str, str | None, str], ReportedFile] = {}
    for node_id, values in outputs.items():
        if not isinstance(values, Mapping):
            continue
        for file in _files_of_node(str(node_id), values):
            found.setdefault((file.subfolder, file.filename, file.type, str(node_id)), file)
            if len(found) >= MAX_OUTPUTS:
                return list(found.values())
    return list(found.values())


def _files_of_node(node_id: str, values: Mapping[Any, Any]) -> Iterator[ReportedFile]:
    for key, entries in values.items():
        for entry in entries if isinstance(entries, (list, tuple)) else [entries]:
            file = _from_entry(node_id, entry) if isinstance(entry, Mapping) else None
            if isinstance(entry, str) and key == "result":
                file = _from_text(node_id, entry)
            if file is not None:
                yield file


def _from_entry(node_id: str, entry: Mapping[Any, Any]) -> ReportedFile | None:
    filename, subfolder, kind = entry.get("filename"), entry.get("subfolder"), entry.get("type")
    if not isinstance(filename, str) or not 0 < len(filename) <= MAX_NAME or "\0" in filename:
        return None
    within = ""
    if _SEPARATED.search(filename):
        within, _, filename = filename.replace("\\", "/").rpartition("/")
        within = within or "/"
    if not filename:
        return None
    subfolder = _tidy(subfolder) if isinstance(subfolder, str) and "\0" not in subfolder else ""
    kind = kind if isinstance(kind, str) and len(kind) <= 32 else None
    if within:
        subfolder = _tidy(f"{subfolder}/{within}" if subfolder and not within.startswith("/") else within)
    return ReportedFile(node_id, filename, subfolder[:MAX_NAME], kind)


def _tidy(subfolder: str) -> str:
    """Forward slashes, no empty parts; a leading slash stays, so that it can be told that it leads elsewhere."""
    parts = subfolder.replace("\\", "/").split("/")
    return ("/" if subfolder[:1] in ("/", "\\") else "") + "/".join(part for part in parts if part not in ("", "."))


def _from_text(node_id: str, text: str) -> ReportedFile | None:
    if len(text) > MAX_NAME or not _PATH_IN_TEXT.fullmatch(text):
        return None
    subfolder, _, filename = text.replace("\\", "/").rpartition("/")
    return ReportedFile(node_id, filename, subfolder, None, guessed=True)


def inside(root: Path, file: ReportedFile) -> Path | None:
    """Where a reported file lies below `root`; null where its name leads anywhere else."""
    parts = [*file.subfolder.split("/"), file.filename]
    if ".." in parts or Path(file.subfolder).is_absolute() or _SEPARATED.search(file.filename):
        return None
    if ":" in file.subfolder[:2] or (sys.platform == "win32" and ":" in file.filename):
        return None
    return root.joinpath(*[part for part in parts if part])


def spelled_out(files: list[ReportedFile], roots: Mapping[str, Path]) -> list[ReportedFile]:
    """Files that were looked at; in the place of a name like `frame_%03d.png` those that it stands for.

    `roots` gives the folder of `output`, `temp` and `input`.
    """
    found: list[ReportedFile] = []
    for file in files:
        pattern = pattern_of(file.filename) if file.stamp is None else None
        root = roots.get(file.type or "output")
        path = inside(root, file) if pattern is not None and root is not None else None
        names = names_like(path.parent, pattern) if path is not None and pattern is not None else []
        for name in names[: max(0, MAX_OUTPUTS - len(found))]:
            one = replace(file, filename=name)
            look_at(one, roots)
            found.append(one)
        if not names:
            found.append(file)
    return found


def names_like(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    """The names in a folder that a pattern matches, in their order; none where it can't be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if pattern.fullmatch(entry.name))
    except OSError:
        return []


def look_at(file: ReportedFile, roots: Mapping[str, Path]) -> None:
    """Fill in what the disk says: size, time, inode, and the type where the node left it out.

    `roots` gives the folder of `output`, `temp` and `input`.
    """
    for kind in [file.type] if file.type else ["output", "temp"]:
        path = inside(roots[kind], file) if kind in roots else None
        file.stamp = stamp_of(path) if path is not None else None
        if file.stamp is not None:
            file.type = kind
            return
