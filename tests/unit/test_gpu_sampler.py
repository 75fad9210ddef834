"""The sampler and what stands between it and the records: a real thread, a real store, a scripted chain."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from run_recorder.telemetry.gpu import sampler as sampler_module
from run_recorder.telemetry.gpu.chain import Chain
from run_recorder.telemetry.gpu.live import live_figures
from run_recorder.telemetry.gpu.merging import Snapshot
from run_recorder.telemetry.gpu.metrics import GpuMetrics
from run_recorder.telemetry.gpu.node_memory import NodeBoundary
from run_recorder.telemetry.gpu.reading import DeviceReading, SourceReading, SystemReading
from run_recorder.telemetry.gpu.sampler import ModelCounts, Sampler, make_sampler, sources_of
from run_recorder.telemetry.gpu.session import Session
from run_recorder.telemetry.gpu.settings import SamplerSettings
from run_recorder.telemetry.gpu.timed_calls import HungError
from run_recorder.telemetry.gpu.torch_devices import HostDevice
from run_recorder.telemetry.models.gpu import Figures
from run_recorder.telemetry.models.view import UP_TO_THEN, node_of, prompt_of
from run_recorder.telemetry.process.problems import Problems
from run_recorder.telemetry.process.settings import GPU_SOURCES, ServerSettings
from run_recorder.telemetry.record import figures as figures_module
from run_recorder.telemetry.record.acknowledging import Acknowledging
from run_recorder.telemetry.record.events import NodeFinished, NodeStarted, PromptStarted
from run_recorder.telemetry.record.figures import columns_of, curve_of, figures_of, final_figures, refresh_figures
from run_recorder.telemetry.record.reading import Reading
from run_recorder.telemetry.record.recorder import Recorder
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.store import Store

from .desk import Desk, now
from .support import at, done, node, outcome, queued, started

GIB = 1024**3


class Source:
    """A source of one card, that counts how often it is read."""

    name, may_hang, gives = "nvml", False, frozenset[str]()

    def __init__(self) -> None:
        self.reads = 0
        self.models: frozenset[int] | None = frozenset()
        self.fault: Exception | None = None
        self.takes = 0.0

    def probe(self) -> None:
        pass

    def read(self) -> SourceReading:
        self.reads += 1
        time.sleep(self.takes)
        if self.fault is not None:
            raise self.fault
        card = DeviceReading(
            "nvml", "cuda", 0, "Card", "GPU-1", None, True, False, 8 * GIB, 6 * GIB, utilization_percent=self.reads
        )
        host = SystemReading(64 * GIB, 32 * GIB, GIB, 50.0)
        return SourceReading([card], host, self.models)

    def close(self) -> None:
        pass


def until(true: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return answer


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def sampler(source: Source) -> Iterator[Sampler]:
    made = Sampler(Chain([source]), SamplerSettings(0.05), Problems())
    made.start()
    until(lambda: source.reads)
    yield made
    made.stop(30)


# --- the thread


def test_a_prompt_is_read_at_its_start_while_it_runs_and_at_its_end(sampler: Sampler, source: Source) -> None:
    session = sampler.begin("p", time.perf_counter())
    assert sampler.is_sampling
    until(lambda: source.reads >= 5)
    ended = time.perf_counter()
    sampler.end(ended)
    assert session.complete.wait(60)
    assert not sampler.is_sampling
    (device,) = session.devices()
    assert device.vram_free_before_bytes == device.vram_free_after_bytes == 6 * GIB
    encoded = session.encode()
    assert encoded is not None
    times = columns_of(encoded).t_seconds
    assert times[-1] >= round(ended - session.started, 3) - 0.001
    assert len(times) >= 3


def test_while_no_prompt_runs_it_never_wakes(sampler: Sampler, source: Source) -> None:
    sampler.begin("p", time.perf_counter())
    sampler.end(time.perf_counter())
    until(lambda: not sampler.is_sampling)
    session = sampler.begin("q", time.perf_counter())
    sampler.end(time.perf_counter())
    session.complete.wait(60)
    wakes, reads = sampler.wakes, source.reads
    time.sleep(10 * sampler.settings.interval_seconds)
    assert (sampler.wakes, source.reads) == (wakes, reads)


def test_a_prompt_that_begins_ends_the_one_before(sampler: Sampler) -> None:
    first = sampler.begin("p", time.perf_counter())
    second = sampler.begin("q", time.perf_counter())
    assert first.complete.wait(60)
    assert first.ended is not None
    assert second.ended is None
    sampler.end(time.perf_counter())
    sampler.end(time.perf_counter())
    assert second.complete.wait(60)


def test_a_slow_source_is_read_less_often(source: Source) -> None:
    source.takes = 0.02
    sampler = Sampler(Chain([source]), SamplerSettings(0.05), Problems())
    sampler.start()
    until(lambda: source.reads)
    session = sampler.begin("p", time.perf_counter())
    until(lambda: source.reads >= 4)
    sampler.end(time.perf_counter())
    session.complete.wait(60)
    encoded = session.encode()
    assert encoded is not None
    times = columns_of(encoded).t_seconds
    assert min(b - a for a, b in itertools.pairwise(times[1:-1])) >= 0.3
    sampler.stop(30)


def test_a_fault_of_ours_is_a_problem_and_the_thread_lives(
    sampler: Sampler, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Session, "add", lambda *args: 1 / 0)
        broken = sampler.begin("p", time.perf_counter())
        sampler.end(time.perf_counter())
        assert broken.complete.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(sampler_module.Chain, "read", lambda *args: 1 / 0)
        sampler.begin("p", time.perf_counter())
        sampler.end(time.perf_counter())
        until(lambda: sampler._problems.counts().get("sampler", 0) >= 1)
        assert sampler.now(newest=True) is None
    session = sampler.begin("q", time.perf_counter())
    sampler.end(time.perf_counter())
    assert session.complete.wait(60)
    assert session.devices()


# --- questions in between


def test_while_nothing_runs_a_question_reads_and_the_next_one_soon_after_does_not(
    sampler: Sampler, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "FRESH_SECONDS", 60.0)
    before = source.reads
    assert sampler.now(newest=True) is not None
    assert sampler.now() is sampler.now()
    assert source.reads == before + 1
    assert sampler.now(newest=True) is not None
    assert source.reads == before + 2
    assert sampler.source == "nvml"


def test_the_processor_is_looked_at_twice_where_nobody_has_looked_lately(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [None, 40.0]

    def read(*_: object) -> Snapshot:
        return Snapshot(system=SystemReading(cpu_percent=answers.pop(0)), at=time.perf_counter())

    monkeypatch.setattr(sampler_module, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(sampler_module.Chain, "read", read)
    told = sampler.now()
    assert told is not None
    assert told.system is not None
    assert told.system.cpu_percent == 40


def test_where_another_reading_hangs_nothing_is_known(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object) -> Snapshot:
        raise HungError("another reading has not come to an end")

    monkeypatch.setattr(sampler_module.Chain, "read", hang)
    assert sampler.now(newest=True) is None
    assert sampler._problems.all() == []


def test_turned_off_it_reads_nothing() -> None:
    sampler = Sampler(Chain([]), SamplerSettings(0.05, ()), Problems())
    sampler.start()
    session = sampler.begin("p", 5.0)
    assert not sampler.is_on
    assert not sampler.is_sampling
    assert sampler.now() is None
    assert session.fallback_notes()[0].endswith("turns it off")
    sampler.stop()


def test_notes_say_which_sources_are_of_no_use(sampler: Sampler, source: Source) -> None:
    assert sampler.notes() == []
    source.fault = RuntimeError("Driver Not Loaded")
    sampler.now(newest=True)
    assert sampler.notes() == ["nvml: Driver Not Loaded"]


def test_the_environment_makes_the_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    class Torch:
        def devices(self, with_memory: bool) -> list[HostDevice]:
            return [HostDevice("cpu", None, "cpu")]

        def loaded_models(self) -> frozenset[int] | None:
            return None

    problems = Problems()
    monkeypatch.setenv("RUN_RECORDER_SAMPLER_INTERVAL_SECONDS", "7.5")
    monkeypatch.setenv("RUN_RECORDER_GPU_SOURCES", "psutil,torch")
    sampler = make_sampler(Torch(), problems, ServerSettings())
    assert (sampler.chain.names, sampler.settings.interval_seconds) == (("torch", "psutil"), 7.5)
    assert [source.name for source in sources_of(GPU_SOURCES, Torch())] == list(GPU_SOURCES)
    assert all(source.gives for source in sources_of(GPU_SOURCES, Torch()))
    told = live_figures(sampler.now(newest=True))
    assert told.devices[0].type == "cpu"
    assert told.system is not None


def test_models_that_leave_are_swaps() -> None:
    models = ModelCounts()
    models.take(None)
    assert models.loaded is None
    for loaded in ({1, 2}, {2, 3}, {2, 3}, {2}):
        models.take(frozenset(loaded))
    assert (models.loaded, models.swaps) == (1, 2)


# --- what is served


def test_live_figures_without_a_snapshot_are_a_note() -> None:
    assert live_figures(None).fallback_notes == ["no figures of GPU and memory can be read now"]
    assert live_figures(Snapshot(notes=["a", "a"])).model_dump()["fallback_notes"] == ["a"]


def test_live_figures_say_what_is_missing_of_comfyuis_device_and_why() -> None:
    bare = DeviceReading("torch", "cuda", 0, in_use=True, vram_total_bytes=8, vram_free_bytes=4)
    other = DeviceReading("nvml", "cuda", 1)
    assert live_figures(Snapshot([bare, other]), {"nvml": "Driver Not Loaded"}).fallback_notes == [
        "cuda:0: no source tells utilization_percent, temperature_celsius, power_watts (nvml: Driver Not Loaded)"
    ]


def values(snapshot: Snapshot | None, models: ModelCounts) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(GpuMetrics(lambda: snapshot, models))
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


def test_metrics_have_what_is_known_and_no_series_of_what_is_not() -> None:
    models = ModelCounts()
    assert values(None, models) == {"comfyui_model_swaps_total": 0}
    models.take(frozenset({1}))
    card = DeviceReading("nvml", "cuda", 0, uuid="GPU-1", vram_total_bytes=8, vram_free_bytes=6, energy_joules=5.5)
    found = values(Snapshot([card, DeviceReading("torch", "cpu")]), models)
    assert found == {
        "comfyui_gpu_memory_used_bytes": 2,
        "comfyui_gpu_memory_total_bytes": 8,
        "comfyui_gpu_energy_joules_total": 5.5,
        "comfyui_models_loaded": 1,
        "comfyui_model_swaps_total": 0,
    }


# --- into the records


def running() -> tuple[Recorder, Any]:
    recorder = Recorder("me", lambda _: 0)
    recorder.apply(queued("p", {"1": node("A"), "2": node("B")}))
    recorder.apply(started("p", at(1)))
    return recorder, recorder.runs[0]


def session_of(run: Any, readings: int = 2) -> Session:
    session = Session("p", run.started.mono)
    for n in range(readings):
        card = DeviceReading("nvml", "cuda", 0, "Card", "GPU-1", in_use=True, utilization_percent=5.0 + n)
        session.add(Snapshot([card], sources=("nvml",), at=run.started.mono + n), {})
    return session


def test_an_ended_runs_record_gets_its_figures_and_its_curve(store: Store) -> None:
    recorder, run = running()
    session = run.session = session_of(run)
    recorder.apply(NodeStarted("p", "1", at(1).mono))
    recorder.apply(NodeFinished("p", "1", at(2).mono))
    session.nodes.boundaries += [NodeBoundary("1", True, 10, 10, 10), NodeBoundary("1", False, 15, 90, 95)]
    refresh_figures(run)
    assert (run.nodes["1"].vram_used_peak_bytes, run.nodes["1"].vram_delta_bytes) == (90, 5)
    assert run.record.figures is None
    live = figures_of(run)
    assert live is not None
    assert live.devices[0].utilization_percent_max == 6
    assert curve_of(run) is not None

    session.ended = at(3).mono
    session.complete.set()
    recorder.apply(outcome("p", when=at(3)))
    recorder.apply(done("p", when=at(3)))
    final_figures(run, run.record)
    record = replace(run.record)
    store.save([Change(record, list(run.nodes.values()))])
    store.save([Change(record)])
    kept = store.prompts.record("p")
    assert kept is not None
    assert kept.pk is not None
    assert prompt_of(kept, {}).devices == prompt_of(run.record, {}).devices
    assert prompt_of(kept, {}).telemetry_source == "nvml"
    assert node_of(store.prompts.nodes(kept.pk)[0]).vram_used_peak_bytes == 90
    assert columns_of(store.prompts.samples(kept.pk)).devices["0"]["utilization_percent"] == [5, 6]
    assert curve_of(run) == run.record.samples
    assert figures_of(run) == run.record.figures
    record.status = "success"
    store.save([Change(record)])
    assert store.erasing.erase_prompt("p") == 1
    assert store.prompts.samples(kept.pk) is None


def test_the_end_waits_for_its_last_reading_but_not_for_long() -> None:
    _, run = running()
    session = run.session = session_of(run)
    session.ended = at(3).mono
    timer = threading.Timer(0.001, session.complete.set)
    timer.start()
    final_figures(run, run.record)
    timer.join()
    assert run.record.figures is not None
    assert session.closed
    before = run.record.figures
    final_figures(run, run.record)
    refresh_figures(run)
    assert run.record.figures is before


def test_now_and_then_a_running_prompts_figures_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = running()
    session = run.session = session_of(run)
    refresh_figures(run)
    assert run.record.figures is None
    monkeypatch.setattr(figures_module, "PROVISIONAL_SECONDS", 0.0)
    refresh_figures(run)
    assert run.record.figures is not None
    store.save([Change(run.record)])
    kept = store.prompts.record("p")
    assert kept is not None
    assert kept.pk is not None
    first = store.prompts.samples(kept.pk)
    session.add(Snapshot([DeviceReading("nvml", "cuda", uuid="GPU-1")], sources=("nvml",), at=at(9).mono), {})
    refresh_figures(run)
    store.save([Change(run.record)])
    later = store.prompts.samples(kept.pk)
    assert columns_of(later).t_seconds[:-1] == columns_of(first).t_seconds, "the newer one takes its place"
    kept.status = "abandoned"
    told = prompt_of(kept, {})
    assert told.devices[0].uuid == "GPU-1"
    assert told.fallback_notes[-1] == UP_TO_THEN


def test_a_run_without_a_session_has_a_note_and_is_left_as_it_is() -> None:
    recorder, run = running()
    refresh_figures(run)
    final_figures(run, run.record)
    assert (run.record.figures, figures_of(run), curve_of(run)) == (None, None, None)
    assert prompt_of(run.record, {}).fallback_notes == [
        "no figures of GPU and memory were sampled while this prompt ran"
    ]
    recorder.apply(queued("q"))
    waiting = recorder.runs[1]
    assert (figures_of(waiting), curve_of(waiting)) == (None, None)
    assert columns_of(None).model_dump() == {"t_seconds": [], "readings_per_sample": 1, "devices": {}, "system": {}}


def test_figures_are_stored_without_what_is_null() -> None:
    _, run = running()
    cpu = DeviceReading("torch", "cpu", name="cpu", in_use=True)
    session = Session("p", run.started.mono)
    session.add(Snapshot([cpu], sources=("psutil",), at=run.started.mono), {})
    told = figures_module.figures_of_session(session)
    plain = told.model_dump(exclude_none=True)
    assert plain["devices"] == [{"name": "cpu", "type": "cpu", "in_use": True, "source": "torch"}]
    assert Figures.model_validate(plain) == told


def test_a_clock_that_was_held_down_is_noted_in_the_prompts_record() -> None:
    _, run = running()
    session = Session("p", run.started.mono)
    card = DeviceReading("nvml", "cuda", 0, uuid="GPU-1", in_use=True, throttled=("power_limit",))
    session.add(Snapshot([card], sources=("nvml",), at=run.started.mono), {})
    run.session = session
    final_figures(run, run.record)
    assert run.record.notes == ["cuda:0 was held down by its power limit in 1 of 1 readings"]


def test_samples_come_from_the_running_prompt_else_from_the_store(desk: Desk) -> None:
    reading = Reading(desk.context, desk.writer, Acknowledging())
    begun = now()
    session = Session("p", begun.mono)
    for n in range(3):
        card = DeviceReading("nvml", "cuda", 0, "Card", "GPU-1", in_use=True, utilization_percent=5.0 + n)
        session.add(Snapshot([card], sources=("nvml",), at=begun.mono + n), {})
    desk.queue()
    desk.step(PromptStarted("p", begun, session=session))
    live = reading.samples("p")
    assert live is not None
    assert live.devices["0"]["utilization_percent"] == [5, 6, 7]
    assert reading.samples("nobody") is None
    desk.end()
    assert (desk.record().status, len(desk.runs)) == ("success", 0)
    assert reading.samples("p", 1) == live
    assert reading.samples("p", 2) is None
