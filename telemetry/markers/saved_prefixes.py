"""Under which prefixes a prompt saved: what nodes reported, and new files that nobody reported."""

from __future__ import annotations

import contextlib
from functools import cached_property

from .evidence import Evidence
from .expected import place_of
from .fresh_files import FreshFiles
from .grouping import groups_of, is_resolved_from, prefixes_of
from .outputs import ReportedFile, inside
from .prefix import SIZE_TOKENS, PrefixError, PrefixPath, confine, parse_prefix, resolve_tokens
from .requests import MarkerRequest


class SavedPrefixes:
    """The prefixes of one prompt. What is found on the disk is kept while it is looked at."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._unclaimed: dict[str, dict[str, str]] = {}
        self._asked = self._prefixes_asked_for()
        self.saved: list[tuple[PrefixPath, ReportedFile]] = self._prefixes_of_saved()
        """Each file that was reported and is an output, with its prefix."""
        self.fresh = FreshFiles(evidence, (prefix for prefix, _ in self.saved))

    def _prefixes_asked_for(self) -> dict[str, list[str]]:
        """The names that markers ask for in so many words, by folder, the longest first."""
        found: dict[str, list[str]] = {}
        for request in self.evidence.plan.requests:
            for prefix in self.resolvable(request.filename_prefix or "") if not request.refused else ():
                found.setdefault(prefix.folder, []).append(prefix.name)
        return {folder: sorted(names, key=len, reverse=True) for folder, names in found.items()}

    def _prefixes_of_saved(self) -> list[tuple[PrefixPath, ReportedFile]]:
        output = self.evidence.output_folder
        files = [one for one in self.evidence.reported if one.type == "output" and inside(output, one) is not None]
        prefixes = prefixes_of(
            ((file.node_id, file.subfolder, file.filename) for file in files),
            self._literals_of,
        )
        return [
            (PrefixPath(file.subfolder, prefixes[file.node_id, file.subfolder, file.filename]), file) for file in files
        ]

    def prefixes_of(self, request: MarkerRequest, *, failed: bool) -> list[PrefixPath]:
        """The prefixes that a request comes to; of a prompt that `failed` also those under which nothing was saved.

        Raises PrefixError where its own prefix is none.
        """
        if request.filename_prefix is None:
            raise PrefixError("(wired)", "was not known: the node did not run")
        if request.filename_prefix == "":
            return self._savers_prefixes(list(self.evidence.plan.savers.values()), failed=failed, anything=True)
        same = [literal for literal in self.evidence.plan.savers.values() if literal == request.filename_prefix]
        if same:
            found = self._savers_prefixes(same, failed=failed, anything=False)
            if found:
                return found
        return [self._resolved(request.filename_prefix)]

    def _resolved(self, literal: str) -> PrefixPath:
        for token in SIZE_TOKENS:
            if token in literal:
                raise PrefixError(literal, f"holds {token}, which only a saver can fill in")
        prefix = resolve_tokens(literal, self.evidence.started.wall, self.evidence.prompt_id)
        path = parse_prefix(prefix)
        confine(self.evidence.output_folder, path, shown=literal)
        return path

    def _savers_prefixes(self, literals: list[str], *, failed: bool, anything: bool) -> list[PrefixPath]:
        """The prefixes under which savers wrote; of those with one of these literals, or of all (`anything`)."""
        savers = self.evidence.plan.savers
        found = dict.fromkeys(
            prefix for prefix, file in self.saved if anything or savers.get(file.node_id or "") in literals
        )
        reporting = {file.node_id for _, file in self.saved}
        plan = self.evidence.plan
        nodes = dict.fromkeys([*savers, *(plan.others if anything else ())])
        for node_id in nodes:
            literal = savers.get(node_id)
            if node_id in reporting or not (anything or literal in literals):
                continue
            silent = self.unreported(*([literal] if literal else []), *plan.others.get(node_id, ()))
            if not silent and literal and (failed or node_id in self.evidence.refused):
                silent = self.resolvable(literal)
            found.update(dict.fromkeys(silent))
        return list(found)

    def unreported(self, *literals: str) -> list[PrefixPath]:
        """Prefixes of files that a saver with one of these literal prefixes wrote, now or cached, without saying so."""
        found: dict[PrefixPath, None] = {}
        for literal in literals:
            try:
                resolved = place_of(resolve_tokens(literal, self.evidence.started.wall, self.evidence.prompt_id))
            except PrefixError:
                continue
            earlier = (prefix for prefix, file in self.saved if file.node_id is None)
            left = (PrefixPath(resolved.folder, group) for group in self.unclaimed_in(resolved.folder).values())
            for prefix in (*earlier, *left):
                if prefix.folder == resolved.folder and (not resolved.name or is_resolved_from(prefix.name, literal)):
                    found[prefix] = None
        return list(found)

    def unclaimed_in(self, folder: str) -> dict[str, str]:
        """New files in a folder that nobody reported, each with its prefix."""
        if folder not in self._unclaimed:
            claimed = {file.filename for prefix, file in self.saved if prefix.folder == folder}
            unclaimed = (name for name in self.fresh.in_folder(folder) if name not in claimed)
            self._unclaimed[folder] = groups_of(unclaimed, self._literals_in(folder))
        return self._unclaimed[folder]

    def _literals_of(self, node_id: str | None, folder: str) -> list[str]:
        """The prefixes that are known of what a node saved into a folder."""
        if node_id is None:
            return self._literals_in(folder)
        return [*self.evidence.plan.literals_of(node_id), *self._asked.get(folder, ())]

    def _literals_in(self, folder: str) -> list[str]:
        """The prefixes that are known of a folder, for files of which nobody said what node saved them."""
        return [*self._asked.get(folder, ()), *sorted(self._known_in.get(folder, ()), key=_by_name)]

    @cached_property
    def _known_in(self) -> dict[str, list[str]]:
        """The prefixes that savers were given, or may have been, by the folder that they save to."""
        plan = self.evidence.plan
        found: dict[str, dict[str, None]] = {}
        for literal in [*plan.savers.values(), *(literal for some in plan.others.values() for literal in some)]:
            if not literal.endswith("/"):
                with contextlib.suppress(PrefixError):
                    resolved = resolve_tokens(literal, self.evidence.started.wall, self.evidence.prompt_id)
                    found.setdefault(parse_prefix(resolved).folder, {})[literal] = None
        return {folder: list(literals) for folder, literals in found.items()}

    def resolvable(self, literal: str) -> list[PrefixPath]:
        """The prefix that a literal one comes to by itself; none where only a saver can tell, or it is none."""
        try:
            return [self._resolved(literal)]
        except PrefixError:
            return []


def _by_name(literal: str) -> int:
    return -len(literal.rpartition("/")[2])
