"""The writer's hands: turns decisions into marker files, in the two halves between which a record is committed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ..files.temporaries import is_temporary
from ..models.base import MarkerStatus
from ..models.marker import PromptMarker
from ..models.record import PromptRecord
from ..process.problems import Problems
from .decision import Decision
from .file import (
    MarkedFile,
    MarkerError,
    MarkerPlace,
    in_the_way,
    make_marker,
    put_in_place,
    remove,
    remove_stale,
    suffix_of,
    to_be_hashed,
    write_temporary,
)
from .folder import stamp_of
from .hashing import HashedFile
from .prefix import PrefixError, PrefixPath, parse_prefix
from .requests import INPUTS_READY, MarkerPlan, MarkerRequest

OVERTAKEN = "a newer prompt with the same prefix had started"
_STALE: tuple[MarkerStatus, ...] = ("success", "error")


@dataclass(slots=True)
class Prepared:
    """A marker that is written beside its place, and may be put there once its record is committed."""

    place: MarkerPlace
    status: MarkerStatus
    temporary: Path
    entry: PromptMarker


class Marking:
    """Writes the markers of prompts. Nothing that goes wrong here is raised: it is noted and counted."""

    def __init__(self, output_folder: Callable[[], Path], problems: Problems) -> None:
        self._output_folder = output_folder
        self._problems = problems
        self._failing = self._failed_now = False

    def remove_stale(self, record: PromptRecord, output_folder: Path, prefixes: Iterable[PrefixPath]) -> None:
        """Remove the markers that earlier prompts left under these prefixes; what can't be is noted."""
        for prefix in prefixes:
            try:
                place = MarkerPlace.of(output_folder, prefix)
            except PrefixError:
                continue
            remove_stale(place)
            self._tell_obstacles(record, place, _STALE)

    def _tell_obstacles(self, record: PromptRecord, place: MarkerPlace, statuses: Iterable[MarkerStatus]) -> bool:
        """Note what still stands where markers were removed; false where nothing new does."""
        told = [what for what in (in_the_way(place, status) for status in statuses) if what is not None]
        if told:
            self._failing = self._failed_now = True
        new = [what for what in told if what not in record.notes]
        for what in new:
            record.note(what)
            self._problems.report("marker", f"an earlier marker stays: {what}")
        return bool(new)

    def failed(self, record: PromptRecord, error: BaseException) -> None:
        """Note that a marker could not be written."""
        known = isinstance(error, (MarkerError, PrefixError))
        record.note(str(error) if known else f"a marker was not written: {type(error).__name__}")
        hint = "a marker could not be written; the prompt's notes say which"
        self._problems.report("marker", hint, error)
        self._failing = self._failed_now = True

    def _worked(self) -> None:
        """A marker is in its place: what kept others from theirs is over."""
        if self._failing:
            self._failing = False
            self._problems.solved("marker")

    def prepare(
        self,
        record: PromptRecord,
        plan: MarkerPlan,
        decisions: list[Decision],
        overtaken: Callable[[PrefixPath], bool],
        output_folder: Path,
    ) -> list[Prepared]:
        """Write the temporaries of an ended prompt, and say in its record what becomes of each marker.

        `output_folder` is the one that the prompt wrote to: ComfyUI may have another by now.
        `record` has its final status. What is returned goes into its `pending`, too.
        """
        self._failed_now = False
        prepared: list[Prepared] = []
        served: set[str] = set()
        entries = [entry for entry in record.markers if entry.status == "refused"]
        for decision in decisions:
            served.update(request.node_id for request in decision.requests)
            item = None
            if overtaken(decision.prefix):
                record.note(f"no marker {decision.prefix}: {OVERTAKEN}")
            elif not decision.wanted(record.status):
                what = "what would have saved there was refused" if decision.failed else "the prompt failed"
                record.note(f"no marker {decision.prefix}: {what}, and none was wanted for that")
            else:
                status = decision.status_at(cast("MarkerStatus", record.status))
                item = self._try(record, decision, status, output_folder)
            if item is not None:
                prepared.append(item)
            entries.append(item.entry if item is not None else PromptMarker(path=None, status="not written"))
        for request in plan.requests:
            if not request.refused and request.node_id not in served:
                entries += [one for one in _unserved(request, record) if one.path is None or one not in entries]
        record.markers = entries
        record.pending = [(str(item.place.prefix), item.status, item.temporary.name) for item in prepared]
        return prepared

    def _try(self, record: PromptRecord, decision: Decision, status: MarkerStatus, output: Path) -> Prepared | None:
        try:
            return self._prepare(record, decision, status, output)
        except Exception as error:  # noqa: BLE001  one marker must not hold up the end of its prompt
            self.failed(record, error)
            return None

    def _prepare(self, record: PromptRecord, decision: Decision, status: MarkerStatus, output: Path) -> Prepared:
        place = MarkerPlace.of(output, decision.prefix)
        files = _marked_files(decision)
        marker = make_marker(
            place,
            files,
            status=status,
            producer="node",
            prompt_id=record.prompt_id,
            cached=decision.cached,
            hash_files=decision.hash_files,
            hashes=decision.hashes,
            notes=decision.notes,
        )
        temporary = write_temporary(place, marker)
        entry = PromptMarker(path=place.relative(status), status=status, written_at=marker.Timestamp)
        return Prepared(place, status, temporary, entry)

    def place(self, record: PromptRecord, prepared: list[Prepared]) -> bool:
        """Put committed markers in place; false where the record had to be changed, because one could not be."""
        good = True
        for item in prepared:
            try:
                put_in_place(item.temporary, item.place, item.status)
            except MarkerError as error:
                good = False
                _take_back(item.entry)
                self.failed(record, error)
                continue
            if self._tell_obstacles(record, item.place, [_other(item.status)]):
                good = False
        if prepared and not self._failed_now:
            self._worked()
        return good

    def drop(self, prepared: list[Prepared]) -> None:
        """Remove the temporaries of markers whose record could not be committed."""
        for item in prepared:
            remove(item.temporary)

    def write_now(self, record: PromptRecord, decisions: list[Decision], output_folder: Path) -> str:
        """Write markers while their prompt runs; the relative path of the last, empty where there is none."""
        path = ""
        for decision in decisions:
            if not decision.wanted("success"):
                continue
            item = self._prepare(record, decision, decision.status_at("running"), output_folder)
            put_in_place(item.temporary, item.place, item.status)
            self._worked()
            path = item.entry.path or ""
            for request in decision.requests:
                request.written.append(path)
            _take_the_place_of_a_due_one(record.markers, item.entry)
        return path

    def finish_pending(self, record: PromptRecord) -> bool:
        """Finish or drop the renames that a dead process had committed but may not have done.

        False where the record had to be changed, because a marker of which it says that it is written is not.
        """
        good = True
        for prefix, status, name in record.pending:
            try:
                place = MarkerPlace.of(self._output_folder(), parse_prefix(prefix))
            except PrefixError:
                continue
            temporary = place.folder / name
            if not is_temporary(name) or stamp_of(temporary) is None:
                continue
            try:
                if not _is_newer(place, temporary):
                    put_in_place(temporary, place, cast("MarkerStatus", status))
                    continue
                remove(temporary)
                record.note(f"no marker {prefix}: {OVERTAKEN}")
            except (MarkerError, OSError) as error:
                self.failed(record, error)
            good = False
            for entry in record.markers:
                if entry.path == place.relative(cast("MarkerStatus", status)):
                    _take_back(entry)
        return good


def files_to_hash(decisions: Iterable[Decision], output_folder: Path) -> list[HashedFile]:
    """The files of which markers are to say the hash. A marker whose place is refused has none."""
    found: list[HashedFile] = []
    for decision in decisions:
        if decision.hash_files and decision.files:
            with contextlib.suppress(PrefixError):
                place = MarkerPlace.of(output_folder, decision.prefix)
                found += [to_be_hashed(place, file) for file in _marked_files(decision)]
    return found


def _marked_files(decision: Decision) -> list[MarkedFile]:
    return [MarkedFile(file.filename, file.stamp, file.node_id) for file in decision.files if file.stamp]


def written_paths(record: PromptRecord) -> set[str]:
    """Where a record says that its markers are, relative to the output folder."""
    return {entry.path for entry in record.markers if entry.path is not None}


def _take_back(entry: PromptMarker) -> None:
    """Let an entry say that its marker is not written."""
    entry.status, entry.path, entry.written_at = "not written", None, None


def _is_newer(place: MarkerPlace, temporary: Path) -> bool:
    """Whether a marker that stands there was written after a temporary was."""
    written = temporary.lstat().st_mtime_ns
    stamps = [stamp_of(place.path("success")), stamp_of(place.path("error"))]
    return any(stamp is not None and stamp.modified_ns > written for stamp in stamps)


def _other(status: MarkerStatus) -> MarkerStatus:
    return "error" if suffix_of(status) == ".done" else "success"


def _take_the_place_of_a_due_one(entries: list[PromptMarker], entry: PromptMarker) -> None:
    for index, other in enumerate(entries):
        if other.path == entry.path or (other.status == "due" and other.path is None):
            entries[index] = entry
            return
    entries.append(entry)


def _unserved(request: MarkerRequest, record: PromptRecord) -> list[PromptMarker]:
    """What became of a request that the end of its prompt did not serve."""
    written = [entry for entry in record.markers if entry.path in request.written]
    if written:
        return written
    if request.when == INPUTS_READY and not request.ran:
        record.note(f"no marker from node {request.node_id}: it did not run, so its inputs never were ready")
    return [PromptMarker(path=None, status="not written")]
