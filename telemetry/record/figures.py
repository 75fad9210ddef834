"""What the sampler has of a prompt, put into its record: while it runs, and when it ends."""

from __future__ import annotations

import time

from ..gpu.samples import Samples, decode
from ..gpu.session import Session
from ..models.gpu import Figures, SampleColumns
from ..models.record import PromptRecord
from .conditions import take_sampled
from .prompt import OpenPrompt

PATIENCE_SECONDS = 0.02
"""How long the end of a prompt waits, at most, for the reading that the sampler makes at it: usually a millisecond."""
PROVISIONAL_SECONDS = 0.9
"""How often a running prompt's figures and curve go into the store, so that a process that is killed leaves them up to
a second before: less than the second in which its record is saved once at least.
"""
_NAMES = {"low": "_min", "mean": "", "high": "_max"}


def refresh_figures(run: OpenPrompt) -> None:
    """Give an open run's nodes what torch's counters say of them so far, and now and then its record the rest."""
    session = run.session
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
        run.record.figures, run.record.samples = figures_of_session(session), session.encode()
        take_sampled(run.record, session)


def final_figures(run: OpenPrompt, record: PromptRecord) -> None:
    """Give an ended run's record its figures and curve; they stay the run's, since the store may take it later."""
    session = run.session
    if session is None:
        return
    if not session.closed:
        if session.ended is not None:
            session.complete.wait(PATIENCE_SECONDS)
        session.closed = True
        run.record.figures, run.record.samples = figures_of_session(session), session.encode()
        take_sampled(run.record, session)
        for note in session.throttle_notes():
            run.record.note(note)
            record.note(note)
    record.figures, record.samples = run.record.figures, run.record.samples
    record.conditions = run.record.conditions


def figures_of(run: OpenPrompt) -> Figures | None:
    """A run's figures as they are now; null where it has none."""
    session = run.session
    return run.record.figures if session is None or session.closed else figures_of_session(session)


def curve_of(run: OpenPrompt) -> bytes | None:
    """A run's encoded curve as it is now; null where it has none."""
    session = run.session
    return run.record.samples if session is None or session.closed else session.encode()


def figures_of_session(session: Session) -> Figures:
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
