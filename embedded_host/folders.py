"""Where things lie: what custom nodes import as ``folder_paths``."""

from __future__ import annotations

import os
import time
from pathlib import Path

folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}
_directories: dict[str, str] = {}


def configure(base: Path, **overrides: str | None) -> None:
    """Lay out the folders below ``base``; an override names another place for one of them."""
    for kind in ("output", "input", "temp", "user"):
        chosen = Path(overrides.get(kind) or base / kind).resolve()
        if kind != "temp":
            chosen.mkdir(parents=True, exist_ok=True)
        _directories[kind] = str(chosen)
    (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
    folder_names_and_paths["custom_nodes"] = ([str(base / "custom_nodes")], set())


def get_output_directory() -> str:
    """Where savers write."""
    return _directories["output"]


def get_input_directory() -> str:
    """Where uploads go."""
    return _directories["input"]


def get_temp_directory() -> str:
    """Where previews go; it may not exist yet."""
    return _directories["temp"]


def get_user_directory() -> str:
    """Where users' settings and workflows lie."""
    return _directories["user"]


def get_directory_by_type(type_name: str) -> str | None:
    """The folder of ``output``, ``input`` or ``temp``; None for any other word."""
    return _directories.get(type_name) if type_name in ("output", "input", "temp") else None


def get_system_user_directory(name: str = "system") -> str:
    """A private folder in the user folder, which no HTTP route serves. It is not created here."""
    if not name or name.startswith("_") or not name.replace("_", "").isalnum():
        raise ValueError(f"not a name for a system folder: {name!r}")
    return str(Path(get_user_directory()) / f"__{name}")


def get_folder_paths(folder_name: str) -> list[str]:
    """The folders in which things of this kind are looked for."""
    return list(folder_names_and_paths[folder_name][0])


def is_within_directory(directory: str, target: str) -> bool:
    """Whether ``target``, links followed, lies in ``directory``."""
    inside, root = os.path.realpath(target), os.path.realpath(directory)
    try:
        return os.path.commonpath((inside, root)) == root
    except ValueError:
        return False


def get_save_image_path(
    filename_prefix: str, output_dir: str, image_width: int = 0, image_height: int = 0
) -> tuple[str, str, int, str, str]:
    """Resolve a saver's prefix: its folder, file name, next counter, subfolder and the prefix with tokens filled in.

    Raises where the prefix leads out of ``output_dir``.
    """
    prefix = _fill_tokens(filename_prefix, image_width, image_height) if "%" in filename_prefix else filename_prefix
    subfolder, name = os.path.split(os.path.normpath(prefix))
    folder = str(Path(output_dir, subfolder))
    if not is_within_directory(output_dir, folder):
        raise Exception(f"Saving an image outside the output folder is not allowed: {filename_prefix!r}")
    counter = _next_counter(folder, name, len(os.path.split(prefix)[1]))
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder, name, counter, subfolder, prefix


def _fill_tokens(prefix: str, width: int, height: int) -> str:
    now = time.localtime()
    values = {"width": str(width), "height": str(height), "year": str(now.tm_year)}
    clock = (("month", now.tm_mon), ("day", now.tm_mday), ("hour", now.tm_hour), ("minute", now.tm_min))
    values |= {name: f"{value:02d}" for name, value in (*clock, ("second", now.tm_sec))}
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix


def _next_counter(folder: str, name: str, length: int) -> int:
    """One more than the highest number behind ``name_``.

    ComfyUI cuts names at the length of the raw prefix: ``a/`` always counts 1.
    """
    numbers = [0]
    wanted = os.path.normcase(name) + "_"
    for entry in [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else []:
        head, rest = entry[: length + 1], entry[length + 1 :]
        if os.path.normcase(head[:-1]) + head[-1:] == wanted:
            numbers.append(_leading_number(rest))
    return max(numbers) + 1


def _leading_number(text: str) -> int:
    digits = text.split(".")[0].split("_")[0]
    try:
        return int(digits)
    except ValueError:
        return 0
