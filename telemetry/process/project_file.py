"""What a project's own file, `pyproject.toml`, says of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files.guarded_files import read_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 1024 * 1024


def project_of(folder: Path) -> Mapping[str, Any]:
    """The `[project]` table of the project in a folder; empty where there is none, or none that can be read."""
    try:
        text = read_regular(folder / "pyproject.toml", MAX_BYTES).decode("utf-8")
        project = tomllib.loads(text).get("project")
    except (OSError, ValueError, RecursionError):
        return {}
    return project if isinstance(project, dict) else {}
