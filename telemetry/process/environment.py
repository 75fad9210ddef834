"""What prompts ran on: versions, launch options and node packs. Reads files only; runs nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from ..files.guarded_files import read_regular
from ..models.environment import Environment, NodePack
from ..models.text import clean
from .project_file import MAX_BYTES, project_of

SWITCHES = frozenset(
    "listen port cpu cuda-device default-device cuda-malloc disable-cuda-malloc force-fp32 force-fp16 fp32-unet "
    "fp64-unet bf16-unet fp16-unet fp8_e4m3fn-unet fp8_e5m2-unet fp8_e8m0fnu-unet fp16-vae fp32-vae bf16-vae cpu-vae "
    "fp8_e4m3fn-text-enc fp8_e5m2-text-enc fp16-text-enc fp32-text-enc bf16-text-enc force-channels-last directml "
    "oneapi-device-selector disable-ipex-optimize supports-fp8-compute preview-method preview-size cache-classic "
    "cache-lru cache-none cache-ram use-split-cross-attention use-quad-cross-attention use-pytorch-cross-attention "
    "use-sage-attention use-flash-attention disable-xformers force-upcast-attention dont-upcast-attention "
    "enable-manager gpu-only highvram normalvram lowvram novram reserve-vram async-offload disable-async-offload "
    "force-non-blocking disable-smart-memory deterministic fast mmap-torch-files disable-mmap disable-pinned-memory "
    "disable-dynamic-vram enable-dynamic-vram disable-metadata disable-all-custom-nodes multi-user enable-assets "
    "disable-api-nodes base-directory output-directory input-directory temp-directory user-directory "
    "extra-model-paths-config front-end-version enable-compress-response-body".split()
)
"""The launch options that are told; everything else might hold a secret."""
_HARMLESS_VALUE = re.compile(r"[A-Za-z0-9_.,:-]{1,64}")
_PATH_OPTIONS = frozenset(
    "base-directory output-directory input-directory temp-directory user-directory extra-model-paths-config".split()
)
MAX_PACKS = 2000


def gather(
    *,
    comfyui_version: str | None,
    comfyui_folder: Path,
    arguments: Sequence[str],
    node_folders: Iterable[Path],
    devices: Sequence[str],
    driver_version: str | None,
) -> Environment:
    """The environment of this process. `arguments` as in `sys.argv[1:]`. Its id is a digest of the rest."""
    environment = Environment(
        id="",
        comfyui_version=comfyui_version,
        comfyui_commit=commit_of(comfyui_folder),
        python_version=platform.python_version(),
        torch_version=installed_version("torch"),
        os=platform.platform(),
        driver_version=driver_version,
        devices=list(devices),
        launch_options=launch_options(arguments),
        node_packs=sorted((pack for folder in node_folders for pack in packs_in(folder)), key=lambda pack: pack.name),
    )
    told = json.dumps(environment.model_dump(exclude={"id"}), sort_keys=True)
    environment.id = hashlib.sha256(told.encode()).hexdigest()[:16]
    return environment


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, without importing it; null where it isn't there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def launch_options(arguments: Sequence[str]) -> list[str]:
    """The switches that may be told, each with its values; a path is shown as `<path>`."""
    told: list[str] = []
    current: str | None = None
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            current = name if name in SWITCHES else None
            if current is not None:
                told.append(f"--{name}" + (f" {_value(name, value)}" if equals else ""))
        elif current is not None:
            told[-1] += f" {_value(current, argument)}"
    return told


def _value(name: str, value: str) -> str:
    if name in _PATH_OPTIONS or not _HARMLESS_VALUE.fullmatch(value):
        return "<path>"
    return value


def packs_in(folder: Path) -> list[NodePack]:
    """The custom-node packs in one folder."""
    try:
        entries = sorted(folder.iterdir())[:MAX_PACKS]
    except OSError:
        return []
    return [pack for pack in map(_pack, entries) if pack is not None]


def _pack(entry: Path) -> NodePack | None:
    if entry.name.startswith((".", "__")) or entry.name.endswith(".disabled"):
        return None
    if entry.is_dir():
        return NodePack(name=clean(entry.name), version=declared_version(entry), commit=commit_of(entry))
    return NodePack(name=clean(entry.stem)) if entry.suffix == ".py" else None


def declared_version(pack: Path) -> str | None:
    """The version in a pack's `pyproject.toml`; null where it declares none."""
    version = project_of(pack).get("version")
    return clean(version, 80) if isinstance(version, str) and version else None


def commit_of(pack: Path) -> str | None:
    """The commit that a pack's git checkout is at, read from its files; null where it is none."""
    git = pack / ".git"
    if git.is_file():
        where = (_read(git) or "").partition("gitdir:")[2].strip()
        git = pack / where if where else git
    head = (_read(git / "HEAD") or "").strip()
    if not head.startswith("ref: "):
        return _commit(head)
    reference = head[5:]
    found = _commit((_read(git / reference) or "").strip())
    if found is None:
        for line in (_read(git / "packed-refs") or "").splitlines():
            commit, _, name = line.partition(" ")
            if name == reference:
                return _commit(commit)
    return found


def _commit(text: str) -> str | None:
    return text if re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", text) else None


def _read(path: Path) -> str | None:
    try:
        return read_regular(path, MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return None


def nvidia_driver_version(proc: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """The NVIDIA driver's version as the Linux kernel tells it; null elsewhere."""
    match = re.search(r"Kernel Module[^\n]*?\s(\d+\.\d+(?:\.\d+)?)\s", _read(proc) or "")
    return match[1] if match else None
