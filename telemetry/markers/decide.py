"""Which files does each marker of an ended prompt speak of? Decides; `writer.py` writes.

The rules are those of `docs/done-marker.md`: what nodes reported under exactly a prefix, and what is new or
changed on the disk under it since the folder was listed before the prompt's first node.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..models.base import MarkerStatus, PromptStatus
from ..models.text import count_of
from ..models.times import Stamp
from .folder import FileStamp, Listing, changed, folder_clock, list_folder
from .grouping import groups_of, is_resolved_from, prefixes_of
from .hashing import Hashed
from .outputs import ReportedFile, inside, look_at, spelled_out
from .prefix import SIZE_TOKENS, PrefixError, PrefixPath, confine, has_tokens, parse_prefix, resolve_tokens
from .requests import INPUTS_READY, NOTHING, MarkerPlan, MarkerRequest

SLACK_SECONDS = 2.0
"""How much older than the prompt's start a file of it may look where its folder was listed too late, and the file
system may count in steps of two seconds, as FAT does.
"""
FINE_SLACK_SECONDS = 0.02
"""The same for a file system that is seen to count in fractions of a second."""
QUIET_SECONDS = 1.0
"""A file that was written after the prompt's end is taken once it has not changed for so long."""
CLOCK_GRAIN_SECONDS = 0.02
"""How far a file's time and the process' may be apart on one machine."""
MAX_OTHERS = 5
"""Other prefixes that a marker without files names."""


@dataclass(slots=True)
class Evidence:
    """What is known of a prompt when its markers are decided."""

    prompt_id: str
    plan: MarkerPlan
    roots: Mapping[str, Path]
    """The folders of `output`, `temp` and `input`."""
    started: Stamp
    ended: Stamp | None = None
    first_node_mono: float | None = None
    reported: list[ReportedFile] = field(default_factory=list)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Of outputs that ComfyUI refused, what is to be said of each, by node id."""
    queued_listings: dict[str, Listing] = field(default_factory=dict)
    """By folder, relative to the output folder; the last before the prompt started."""
    started_listings: dict[str, Listing] = field(default_factory=dict)
    listed: Callable[[str, Iterable[str]], set[tuple[str, FileStamp]]] = lambda _folder, _names: set()
    """Which versions of these files in this folder earlier records list."""
    in_peace: frozenset[str] = frozenset()
    """Folders in which no other prompt has written since they were listed at queueing: what is new since, of what was
    looked at, is no earlier prompt's.
    """
    this_process: bool = True
    """False after a restart: then only the wall clock tells what is older."""

    @property
    def output_folder(self) -> Path:
        """ComfyUI's output folder."""
        return self.roots["output"]


@dataclass(slots=True)
class Decision:
    """One marker: where, asked for by whom, with which files."""

    prefix: PrefixPath
    requests: list[MarkerRequest]
    files: list[ReportedFile]
    notes: list[str]
    failed: bool = False
    """True where ComfyUI refused whatever would have saved under this prefix, so that it is no success."""
    hashes: Mapping[Path, Hashed] | None = None
    """Of its files by their paths, where they were read before the marker is made up."""

    @property
    def hash_files(self) -> bool:
        """Whether one of those who asked for it wants the files' hashes."""
        return any(request.hash_files for request in self.requests)

    @property
    def cached(self) -> bool:
        """True where the prompt wrote nothing new under this prefix."""
        return bool(self.files) and all(file.cached for file in self.files)

    def status_at(self, status: MarkerStatus) -> MarkerStatus:
        """What the marker says at a prompt's end of this status, or while it runs."""
        return "error" if self.failed and status in ("success", "running") else status

    def wanted(self, status: PromptStatus) -> bool:
        """False where this failed and nobody wants to be told by a file."""
        good = status == "success" and not self.failed
        return good or any(request.on_failure != NOTHING for request in self.requests)


def heads_of(plan: MarkerPlan, started: float, prompt_id: str) -> dict[str, tuple[str, ...]]:
    """The folders, relative to the output folder, in which this plan's files can be expected, each with what their
    names begin with, as far as that is known before they are saved.
    """
    heads: dict[str, dict[str, None]] = {}
    for literal in [*_literals(plan), *_other_literals(plan)]:
        with contextlib.suppress(PrefixError):
            prefix = _place(resolve_tokens(literal, started, prompt_id))
            heads.setdefault(prefix.folder, {})[_head(prefix.name)] = None
    return {folder: tuple(names) for folder, names in heads.items()}


def _place(prefix: str) -> PrefixPath:
    """As `parse_prefix`; what ends in a slash is a folder with names of any kind. Raises PrefixError."""
    path = parse_prefix(prefix)
    return PrefixPath(str(path), "") if prefix.endswith("/") else path


def _head(name: str) -> str:
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


def folders_of(
    plan: MarkerPlan, output_folder: Path, started: float, prompt_id: str
) -> Iterator[tuple[str, Path, tuple[str, ...]]]:
    """Those folders once more, each with its path, as far as it is inside of the output folder."""
    for folder, heads in heads_of(plan, started, prompt_id).items():
        with contextlib.suppress(PrefixError):
            yield folder, confine(output_folder, PrefixPath(folder, "")), heads


def take_listings(plan: MarkerPlan, output_folder: Path, started: float, prompt_id: str) -> dict[str, Listing]:
    """What lies in those folders now."""
    return {
        folder: Listing(list_folder(path, heads), time.perf_counter(), heads)
        for folder, path, heads in folders_of(plan, output_folder, started, prompt_id)
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


def newly_seen(evidence: Evidence) -> list[PrefixPath]:
    """The prefixes of new files whose savers' literal prefixes only the savers themselves can resolve."""
    asked = [request.filename_prefix for request in evidence.plan.requests if not request.refused]
    savers = [
        literal
        for literal in dict.fromkeys(evidence.plan.savers.values())
        if has_tokens(literal) and ("" in asked or literal in asked)
    ]
    case = _Case(evidence) if savers else None
    return [prefix for literal in savers if case is not None for prefix in case.unreported(literal)]


def decide(evidence: Evidence, requests: list[MarkerRequest], status: PromptStatus) -> tuple[list[Decision], list[str]]:
    """The markers that some requests come to, and notes for the prompt's record on those that come to none."""
    case = _Case(evidence)
    by_prefix: dict[PrefixPath, list[MarkerRequest]] = {}
    notes: list[str] = []
    for request in requests:
        try:
            prefixes = case.prefixes_of(request, failed=status != "success")
        except PrefixError as error:
            notes.append(f"no marker from node {request.node_id}: {error}")
            continue
        if not prefixes:
            notes.append(f"no marker from node {request.node_id}: {case.nothing_saved()}")
        for prefix in prefixes:
            by_prefix.setdefault(prefix, []).append(request)
    decisions = [Decision(prefix, asked, *case.files_of(prefix)) for prefix, asked in by_prefix.items()]
    for decision in decisions:
        case.tell_refusals(decision)
    if status == "success":
        for decision in decisions:
            if not decision.files and not decision.failed:
                case.look_wider(decision)
    return decisions, notes


class _Case:
    """One prompt's evidence, with what was found on the disk kept while it is looked at."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._fresh: dict[str, dict[str, FileStamp]] = {}
        self._left: dict[str, dict[str, str]] = {}
        self._asked = self._prefixes_asked_for()
        self.saved: list[tuple[PrefixPath, ReportedFile]] = self._prefixes_of_saved()

    def _prefixes_asked_for(self) -> dict[str, list[str]]:
        """The names that markers ask for in so many words, by folder, the longest first."""
        found: dict[str, list[str]] = {}
        for request in self.evidence.plan.requests:
            for prefix in self._resolvable(request.filename_prefix or "") if not request.refused else ():
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

    # ---- which prefixes

    def prefixes_of(self, request: MarkerRequest, *, failed: bool) -> list[PrefixPath]:
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
                silent = self._resolvable(literal)
            found.update(dict.fromkeys(silent))
        return list(found)

    def unreported(self, *literals: str) -> list[PrefixPath]:
        """Prefixes of files that a saver with one of these literal prefixes wrote, now or cached, without saying so."""
        found: dict[PrefixPath, None] = {}
        for literal in literals:
            try:
                resolved = _place(resolve_tokens(literal, self.evidence.started.wall, self.evidence.prompt_id))
            except PrefixError:
                continue
            earlier = (prefix for prefix, file in self.saved if file.node_id is None)
            left = (PrefixPath(resolved.folder, group) for group in self._left_in(resolved.folder).values())
            for prefix in (*earlier, *left):
                if prefix.folder == resolved.folder and (not resolved.name or is_resolved_from(prefix.name, literal)):
                    found[prefix] = None
        return list(found)

    def _left_in(self, folder: str) -> dict[str, str]:
        """New files in a folder that nobody reported, each with its prefix."""
        if folder not in self._left:
            claimed = {file.filename for prefix, file in self.saved if prefix.folder == folder}
            unclaimed = (name for name in self.fresh(folder) if name not in claimed)
            self._left[folder] = groups_of(unclaimed, self._literals_in(folder))
        return self._left[folder]

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

    def _resolvable(self, literal: str) -> list[PrefixPath]:
        try:
            return [self._resolved(literal)]
        except PrefixError:
            return []

    def tell_refusals(self, decision: Decision) -> None:
        """Say in a marker's notes what ComfyUI refused of what was to save under its prefix, or of what asked for it.

        Where nothing else was to save there, and nothing was, the marker has failed.
        """
        refused = self.evidence.refused
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
        for node_id, literal in self.evidence.plan.savers.items():
            found.setdefault(literal, []).append(node_id)
        return found

    @cached_property
    def _would_save(self) -> dict[PrefixPath, list[str]]:
        """The ids of the savers whose literal prefix says by itself that they save under a prefix."""
        found: dict[PrefixPath, list[str]] = {}
        for literal, node_ids in self._by_literal.items():
            for prefix in self._resolvable(literal):
                found.setdefault(prefix, []).extend(node_ids)
        return found

    # ---- which files

    def look_wider(self, decision: Decision) -> None:
        """A marker without files: list what begins with its prefix and is of no other that is known, or say why not."""
        prefix, plan = decision.prefix, self.evidence.plan
        others: dict[str, int] = {}
        for where, file in self.saved:
            if where.folder == prefix.folder and where != prefix and where.name.startswith(prefix.name):
                if any(is_resolved_from(where.name, literal) for literal in plan.literals_of(file.node_id)):
                    others[where.name] = others.get(where.name, 0) + 1
                elif file.stamp is not None:
                    decision.files.append(file)
        fresh = self.fresh(prefix.folder)
        for name, group in self._left_in(prefix.folder).items():
            if group.startswith(prefix.name):
                decision.files.append(ReportedFile(None, name, prefix.folder, "output", stamp=fresh[name]))
        if decision.files:
            decision.notes.append("listed is what begins with this prefix; no name is as a saver makes it")
        else:
            decision.notes.append(self._unread(prefix.folder) or "no file was found under this prefix")
        for name, count in list(others.items())[:MAX_OTHERS]:
            decision.notes.append(f"{count_of(count, 'file')} with a name that begins with it: of the prefix {name}")

    def nothing_saved(self) -> str:
        """Why there is no prefix to be marked."""
        evidence = self.evidence
        folders = heads_of(evidence.plan, evidence.started.wall, evidence.prompt_id)
        return next(filter(None, map(self._unread, folders)), "no file was saved, so there is no prefix")

    def _unread(self, folder: str) -> str | None:
        """That a folder can't be listed; null where it can, or isn't there."""
        try:
            os.scandir(confine(self.evidence.output_folder, PrefixPath(folder, ""))).close()
        except (FileNotFoundError, PrefixError):
            pass
        except OSError as error:
            return f"the folder {folder} can't be read ({error.strerror}), so files that nobody reported are not known"
        return None

    def files_of(self, prefix: PrefixPath) -> tuple[list[ReportedFile], list[str]]:
        files: dict[str, ReportedFile] = {}
        notes: list[str] = []
        for where, file in self.saved:
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
        left, fresh = self._left_in(prefix.folder), self.fresh(prefix.folder)
        return {name: fresh[name] for name, group in left.items() if group == prefix.name and name not in reported}

    def fresh(self, folder: str) -> dict[str, FileStamp]:
        """What this prompt wrote in a folder, as far as the disk can tell."""
        if folder not in self._fresh:
            self._fresh[folder] = self._look(folder)
        return self._fresh[folder]

    def _look(self, folder: str) -> dict[str, FileStamp]:
        evidence = self.evidence
        try:
            path = confine(evidence.output_folder, PrefixPath(folder, ""))
        except PrefixError:
            return {}
        now = list_folder(path, self._heads(folder))
        found: dict[str, FileStamp] = {}
        before = evidence.started_listings.get(folder)
        if before is not None and self._in_time(before):
            found = changed({name: stamp for name, stamp in now.items() if before.saw(name)}, before.files)
            now = {name: stamp for name, stamp in now.items() if not before.saw(name)}
        return {**found, **self._by_time(folder, path, now)} if now else found

    def _heads(self, folder: str) -> tuple[str, ...]:
        """What the names begin with that can matter in a folder."""
        evidence = self.evidence
        known = heads_of(evidence.plan, evidence.started.wall, evidence.prompt_id).get(folder, ())
        return (*known, *(prefix.name for prefix, _ in self.saved if prefix.folder == folder))

    def _by_time(self, folder: str, path: Path, now: dict[str, FileStamp]) -> dict[str, FileStamp]:
        """The files among `now` that can only be this prompt's by their time, where no listing can tell."""
        evidence = self.evidence
        before = evidence.queued_listings.get(folder)
        if before is not None and not self._in_time(before):
            before = None
        if before is not None:
            now = changed(now, before.files)
        started = self._start_by_clock_of(path)
        recent = {name: stamp for name, stamp in now.items() if stamp.modified_ns >= (started - _slack(stamp)) * 1e9}
        peaceful = before if folder in evidence.in_peace else None
        doubtful = [name for name in recent if peaceful is None or not peaceful.saw(name)]
        known = evidence.listed(folder, doubtful) if doubtful else set()
        return {name: stamp for name, stamp in recent.items() if (name, stamp) not in known}

    def _in_time(self, listing: Listing) -> bool:
        first = self.evidence.first_node_mono
        return first is None or listing.finished <= first

    def _start_by_clock_of(self, path: Path) -> float:
        started = self.evidence.started
        clock = folder_clock(path) if self.evidence.this_process else None
        return started.wall if clock is None else clock - (time.perf_counter() - started.mono)


def _by_name(literal: str) -> int:
    return -len(literal.rpartition("/")[2])


def _slack(stamp: FileStamp) -> float:
    return FINE_SLACK_SECONDS if stamp.modified_ns % 1_000_000_000 else SLACK_SECONDS


def unready(evidence: Evidence) -> list[str]:
    """What is still to be waited for: reported files that are missing, empty, or still being written."""
    waiting = []
    evidence.reported = spelled_out(evidence.reported, evidence.roots)
    for file in evidence.reported:
        if file.cached or file.guessed or file.type not in ("output", None):
            continue
        if inside(evidence.output_folder, file) is None:
            continue
        if file.stamp is None or file.stamp.bytes == 0:
            look_at(file, evidence.roots)
        if file.stamp is None:
            if file.type == "output":
                waiting.append(f"node {file.node_id} reported {file.filename}, which isn't there")
        elif file.stamp.bytes == 0:
            waiting.append(f"node {file.node_id} reported {file.filename}, which is empty")
        elif _still_written(evidence, file):
            waiting.append(f"{file.filename} was still being written after the prompt had ended")
    return waiting


def _still_written(evidence: Evidence, file: ReportedFile) -> bool:
    ended = evidence.ended
    path = inside(evidence.output_folder, file)
    if ended is None or path is None or file.stamp is None:
        return False
    if file.stamp.modified_ns / 1e9 <= ended.wall + CLOCK_GRAIN_SECONDS:
        return False
    clock = folder_clock(path.parent)
    if clock is None:
        return False
    since_end = time.perf_counter() - ended.mono
    look_at(file, evidence.roots)
    age = clock - file.stamp.modified_ns / 1e9
    return age < min(QUIET_SECONDS, since_end - CLOCK_GRAIN_SECONDS)


def due_requests(plan: MarkerPlan, status: PromptStatus) -> list[MarkerRequest]:
    """The requests that the end of a prompt is to serve."""
    return [
        request
        for request in plan.requests
        if not request.refused and not (status == "success" and request.when == INPUTS_READY and not request.cut_off)
    ]
