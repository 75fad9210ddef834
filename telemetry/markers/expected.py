"""Where a plan's files can be expected before they are saved: prefixes, folders, and what names begin with."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .folder import Listing, list_folder
from .prefix import SIZE_TOKENS, PrefixError, PrefixPath, confine, parse_prefix, resolve_tokens
from .requests import MarkerPlan


def name_starts_by_folder(plan: MarkerPlan, started: float, prompt_id: str) -> dict[str, tuple[str, ...]]:
    """The folders, relative to the output folder, in which this plan's files can be expected, each with what their
    names begin with, as far as that is known before they are saved.
    """
    starts: dict[str, dict[str, None]] = {}
    for literal in [*_literals(plan), *_other_literals(plan)]:
        with contextlib.suppress(PrefixError):
            prefix = place_of(resolve_tokens(literal, started, prompt_id))
            starts.setdefault(prefix.folder, {})[_known_start(prefix.name)] = None
    return {folder: tuple(names) for folder, names in starts.items()}


def place_of(prefix: str) -> PrefixPath:
    """As `parse_prefix`; what ends in a slash is a folder with names of any kind. Raises PrefixError."""
    path = parse_prefix(prefix)
    return PrefixPath(str(path), "") if prefix.endswith("/") else path


def _known_start(name: str) -> str:
    return "" if sys.platform == "win32" else name.partition("%")[0]


def _literals(plan: MarkerPlan) -> list[str]:
    asked = [request.filename_prefix for request in plan.requests if not request.refused]
    own = [prefix for prefix in asked if prefix]
    return own + (list(plan.savers.values()) if "" in asked or None in asked else [])


def _other_literals(plan: MarkerPlan) -> list[str]:
    """What else outputs may save under, as far as markers were asked for it."""
    asked = {request.filename_prefix for request in plan.requests if not request.refused}
    anything = "" in asked or None in asked
    return [
        literal
        for node_id, literals in plan.others.items()
        if anything or plan.savers.get(node_id) in asked
        for literal in literals
    ]


def expected_folders(
    plan: MarkerPlan, output_folder: Path, started: float, prompt_id: str
) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """The folders in which this plan's files can be expected, each with its path and what names there begin with.

    A folder outside of the output folder is left out.
    """
    for folder, starts in name_starts_by_folder(plan, started, prompt_id).items():
        with contextlib.suppress(PrefixError):
            yield folder, confine(output_folder, PrefixPath(folder, "")), starts


def list_expected_folders(plan: MarkerPlan, output_folder: Path, started: float, prompt_id: str) -> dict[str, Listing]:
    """What lies now in the folders in which this plan's files can be expected, by folder."""
    return {
        folder: Listing(list_folder(path, starts), time.perf_counter(), starts)
        for folder, path, starts in expected_folders(plan, output_folder, started, prompt_id)
    }


def stale_prefixes(plan: MarkerPlan, started: float, prompt_id: str) -> list[PrefixPath]:
    """The prefixes whose earlier markers are to go when the prompt starts, as far as they are known by then."""
    found = []
    for literal in _literals(plan):
        if any(token in literal for token in SIZE_TOKENS):
            continue
        try:
            found.append(parse_prefix(resolve_tokens(literal, started, prompt_id)))
        except PrefixError:
            continue
    return found
