"""Between the writer and the sampler: puts what was sampled into the records, when they are saved and when they end."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ..gpu.samples import Samples, decode
from ..gpu.session import Session
from ..models.gpu import Figures, SampleColumns
from ..models.record import PromptRecord
from .recorder import Run

if TYPE_CHECKING:
    from .recording import Recording

PATIENCE_SECONDS = 0.02
"""How long the end of a prompt waits, at most, for the reading that the sampler makes at it: usually a millisecond."""
PROVISIONAL_SECONDS = 0.9
"""How often a running prompt's figures and curve go into the store, so that a process that is killed leaves them up to
a second before: less than the second in which its record is saved once at least.
"""
KEPT = 64
"""Sessions that may wait for their prompts' ends to be committed; those beyond are let go, oldest first."""
_NAMES = {"low": "_min", "mean": "", "high": "_max"}


class FigureKeeper:
    """Knows each open prompt's session. Any thread may ask; asking never waits, but for the end's last reading."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: OrderedDict[tuple[str, float], Session] = OrderedDict()

    def follow(self, session: Session) -> None:
        """A prompt has started, and this is its session."""
        with self._lock:
            self._sessions[session.prompt_id, session.started] = session
            while len(self._sessions) > KEPT:
                self._sessions.popitem(last=False)

    def of(self, run: Run) -> Session | None:
        """A run's session: the one that began at the very moment at which the run did. Null where there is none."""
        if run.started is None:
            return None
        with self._lock:
            return self._sessions.get((run.record.prompt_id, run.started.mono))

    def refresh(self, run: Run) -> None:
        """Give an open run's nodes what torch's counters say of them so far, and now and then its record the rest."""
        session = self.of(run)
        if session is None or session.closed:
            return
        with session.reading():
            for node_id, node in run.nodes.items():
                found = session.nodes.of(node_id)
                if found is not None:
                    node.vram_used_peak_bytes, node.vram_delta_bytes = found
        now = time.monotonic()
        if now - session.kept_at >= PROVISIONAL_SECONDS:
            session.kept_at = now
            run.record.figures, run.record.samples = so_far(session), session.encode()

    def into_ended(self, run: Run, record: PromptRecord) -> None:
        """Give an ended run's record its figures and curve; they stay the run's, since the store may take it later."""
        session = self.of(run)
        if session is not None and not session.closed:
            if session.ended is not None:
                session.complete.wait(PATIENCE_SECONDS)
            session.closed = True
            run.record.figures, run.record.samples = so_far(session), session.encode()
            for note in session.throttle_notes():
                run.record.note(note)
                record.note(note)
        if session is not None:
            record.figures, record.samples = run.record.figures, run.record.samples

    def forget(self, run: Run) -> None:
        """A run's end is committed."""
        if run.started is not None:
            with self._lock:
                self._sessions.pop((run.record.prompt_id, run.started.mono), None)

    def figures(self, run: Run) -> Figures | None:
        """A run's figures as they are now; null where it has none."""
        session = self.of(run)
        return run.record.figures if session is None or session.closed else so_far(session)

    def curve(self, run: Run) -> bytes | None:
        """A run's encoded curve as it is now; null where it has none."""
        session = self.of(run)
        return run.record.samples if session is None or session.closed else session.encode()


def so_far(session: Session) -> Figures:
    """What a session has come to."""
    return Figures(
        devices=session.devices(),
        system=session.system(),
        telemetry_source=session.source,
        fallback_notes=session.fallback_notes(),
    )


def columns_of(data: bytes | None) -> SampleColumns:
    """An encoded curve as it is served; without any column where there is none. Raises ValueError for a broken one."""
    found = decode(data) if data is not None else Samples([], 1, {})
    columns = SampleColumns(
        t_seconds=found.t_seconds, readings_per_sample=found.readings_per_sample, devices={}, system={}
    )
    for (device, name), ways in found.columns.items():
        group = columns.system if device is None else columns.devices.setdefault(str(device), {})
        for way, values in ways.items():
            group[name + _NAMES[way]] = values
    return columns


def samples_of(recording: Recording, prompt_id: str, run_number: int | None) -> SampleColumns | None:
    """A prompt's curve, of one that runs as it is now. Null where the prompt was never seen."""
    writer = recording.writer
    writer.drain()
    with writer.lock:
        run = writer.recorder.find(prompt_id, run_number)
        kept = writer.handing_in.find(prompt_id, run_number) if run is None else None
    if run is not None:
        return columns_of(writer.figures.curve(run))
    if kept is not None:
        return columns_of(kept.record.samples)
    record = writer.store.record(prompt_id, run_number)
    if record is None or record.pk is None:
        return None
    return columns_of(writer.store.samples(record.pk))
