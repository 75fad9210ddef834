"""What prompts ran on: versions, launch options and node packs. Reads files only; runs nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files.guarded_files import read_regular
from ..models.environment import Environment, NodePack
from ..models.text import clean
from .distributions import attention_packages, distributions, version_of
from .machine import machine
from .project_file import MAX_BYTES, project_of

MAX_PACKS = 2000


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """What torch was built for."""

    build: str | None = None
    """`cuda 13.0`, `rocm 7.1`, `xpu 20250302` or `cpu`; null where torch is not loaded."""
    cuda: str | None = None
    """The version of CUDA; null for another build."""
    cudnn: Callable[[], str | None] = lambda: None
    """Asks torch for its cuDNN, which loads it: only where no installed distribution tells that."""


def gather(
    *,
    comfyui_version: str | None,
    comfyui_folder: Path,
    frontend_version: str | None,
    options: Sequence[str],
    node_folders: Iterable[Path],
    devices: Sequence[str],
    driver_version: str | None,
    torch: TorchBuild,
) -> Environment:
    """The environment of this process, as far as its caller and the files of what is installed tell it.

    `frontend_version`: null for that of the installed package. `options`: the launch options that may be told. The id
    is a digest of the rest.
    """
    installed = distributions()
    environment = Environment(
        id="",
        comfyui_version=comfyui_version,
        comfyui_commit=commit_of(comfyui_folder),
        frontend_version=frontend_version or installed.get("comfyui-frontend-package"),
        python_version=platform.python_version(),
        torch_version=installed.get("torch"),
        torch_build=torch.build,
        cuda_runtime_version=torch.cuda and (version_of(installed, "nvidia-cuda-runtime") or torch.cuda),
        cudnn_version=torch.cuda and (version_of(installed, "nvidia-cudnn") or torch.cudnn()),
        os=platform.platform(),
        driver_version=driver_version,
        devices=list(devices),
        machine=machine(),
        launch_options=list(options),
        attention_packages=attention_packages(installed),
        distributions=installed,
        node_packs=sorted((pack for folder in node_folders for pack in packs_in(folder)), key=lambda pack: pack.name),
    )
    told = json.dumps(environment.model_dump(exclude={"id"}), sort_keys=True)
    environment.id = hashlib.sha256(told.encode()).hexdigest()[:16]
    return environment


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
