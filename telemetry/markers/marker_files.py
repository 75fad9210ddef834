"""Which files a marker lists, and what its notes say of those that are missing or were refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ..models.text import count_of
from .decision import Decision
from .expected import name_starts_by_folder
from .folder import FileStamp
from .grouping import is_resolved_from
from .outputs import ReportedFile
from .prefix import PrefixPath
from .saved_prefixes import SavedPrefixes

MAX_OTHERS = 5
"""Other prefixes that a marker without files names."""


class MarkerFiles:
    """The files of one prompt's markers."""

    def __init__(self, prefixes: SavedPrefixes) -> None:
        self._prefixes = prefixes
        self._evidence = prefixes.evidence
        self._fresh = prefixes.fresh

    def tell_refusals(self, decision: Decision) -> None:
        """Say in a marker's notes what ComfyUI refused of what was to save under its prefix, or of what asked for it.

        Where nothing else was to save there, and nothing was, the marker has failed.
        """
        refused = self._evidence.refused
        savers = dict.fromkeys(self._would_save.get(decision.prefix, ()))
        for request in decision.requests:
            savers.update(dict.fromkeys(self._by_literal.get(request.filename_prefix or "", ())))
        told = [node_id for node_id in savers if node_id in refused]
        told += [request.node_id for request in decision.requests if request.cut_off and request.node_id in refused]
        decision.notes += [refused[node_id] for node_id in dict.fromkeys(told)]
        decision.failed = bool(told) and not decision.files and all(node_id in refused for node_id in savers)

    @cached_property
    def _by_literal(self) -> dict[str, list[str]]:
        """The ids of the savers that have a literal prefix."""
        found: dict[str, list[str]] = {}
        for node_id, literal in self._evidence.plan.savers.items():
            found.setdefault(literal, []).append(node_id)
        return found

    @cached_property
    def _would_save(self) -> dict[PrefixPath, list[str]]:
        """The ids of the savers whose literal prefix says by itself that they save under a prefix."""
        found: dict[PrefixPath, list[str]] = {}
        for literal, node_ids in self._by_literal.items():
            for prefix in self._prefixes.resolvable(literal):
                found.setdefault(prefix, []).extend(node_ids)
        return found

    def files_of(self, prefix: PrefixPath) -> tuple[list[ReportedFile], list[str]]:
        """The files under a prefix, and notes on those that were reported and are missing, empty or cached."""
        files: dict[str, ReportedFile] = {}
        notes: list[str] = []
        for where, file in self._prefixes.saved:
            if where != prefix:
                continue
            if file.stamp is None:
                notes.append(f"node {file.node_id} reported {file.filename}, which isn't there")
                continue
            if file.stamp.bytes == 0:
                notes.append(f"node {file.node_id} reported {file.filename}, which is empty")
            files.setdefault(file.filename, file)
        for name, stamp in self._found_on_disk(prefix, files).items():
            files[name] = ReportedFile(None, name, prefix.folder, "output", stamp=stamp)
        cached = sum(file.cached for file in files.values())
        if 0 < cached < len(files):
            notes.append(f"{cached} of the {len(files)} files are an earlier prompt's")
        return list(files.values()), notes

    def _found_on_disk(self, prefix: PrefixPath, reported: Mapping[str, ReportedFile]) -> dict[str, FileStamp]:
        left, fresh = self._prefixes.unclaimed_in(prefix.folder), self._fresh.in_folder(prefix.folder)
        return {name: fresh[name] for name, group in left.items() if group == prefix.name and name not in reported}

    def look_wider(self, decision: Decision) -> None:
        """A marker without files: list what begins with its prefix and is of no other that is known, or say why not."""
        prefix, plan = decision.prefix, self._evidence.plan
        others: dict[str, int] = {}
        for where, file in self._prefixes.saved:
            if where.folder == prefix.folder and where != prefix and where.name.startswith(prefix.name):
                if any(is_resolved_from(where.name, literal) for literal in plan.literals_of(file.node_id)):
                    others[where.name] = others.get(where.name, 0) + 1
                elif file.stamp is not None:
                    decision.files.append(file)
        fresh = self._fresh.in_folder(prefix.folder)
        for name, group in self._prefixes.unclaimed_in(prefix.folder).items():
            if group.startswith(prefix.name):
                decision.files.append(ReportedFile(None, name, prefix.folder, "output", stamp=fresh[name]))
        if decision.files:
            decision.notes.append("listed is what begins with this prefix; no name is as a saver makes it")
        else:
            decision.notes.append(self._fresh.why_unread(prefix.folder) or "no file was found under this prefix")
        for name, count in list(others.items())[:MAX_OTHERS]:
            decision.notes.append(f"{count_of(count, 'file')} with a name that begins with it: of the prefix {name}")

    def nothing_saved(self) -> str:
        """Why there is no prefix to be marked."""
        evidence = self._evidence
        folders = name_starts_by_folder(evidence.plan, evidence.started.wall, evidence.prompt_id)
        return next(filter(None, map(self._fresh.why_unread, folders)), "no file was saved, so there is no prefix")
