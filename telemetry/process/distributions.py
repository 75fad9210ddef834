"""What is installed beside ComfyUI, as its packages' own metadata says it; nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata

from ..models.text import clean

ATTENTION = (
    "comfy-kitchen",
    "flash-attn",
    "flash-attn-3",
    "flash-attn-4",
    "pytorch-triton-rocm",
    "sageattention",
    "sageattn3",
    "spas-sage-attn",
    "triton",
    "triton-windows",
    "xformers",
)
"""The packages that attention is computed with, and what they are compiled by."""
MOST = 5000
MAX_NAME, MAX_VERSION = 200, 80


def distributions() -> dict[str, str]:
    """Every installed distribution by its normalised name, sorted: its version, `?` where it doesn't say.

    One whose metadata can't be read is left out. Of two of one name the first counts, as it does for an import.
    Takes up to a second, so it belongs on a thread of our own.
    """
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name, version = _told_by(one)
        if name and len(found) < MOST:
            found.setdefault(normalised(name), clean(version or "?", MAX_VERSION))
    return dict(sorted(found.items()))


def _told_by(distribution: metadata.Distribution) -> tuple[str | None, str | None]:
    """Its name and its version; null where its metadata can't be read."""
    try:
        told = distribution.metadata
        return told["Name"], told["Version"]
    except Exception:  # noqa: BLE001  whatever a package has in its folder
        return None, None


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare them."""
    return clean(re.sub(r"[-_.]+", "-", name).lower(), MAX_NAME)


def attention_packages(installed: Mapping[str, str]) -> dict[str, str]:
    """Those of the installed distributions that attention is computed with."""
    return {name: installed[name] for name in ATTENTION if name in installed}


def version_of(installed: Mapping[str, str], beginning: str) -> str | None:
    """The version of the first installed distribution whose name begins so: `nvidia-cudnn` for `nvidia-cudnn-cu13`."""
    return next((version for name, version in installed.items() if name.startswith(beginning)), None)
