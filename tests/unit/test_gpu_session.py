"""A prompt's figures: peaks, means, energy, gaps, the curve, the nodes; each against the test's own arithmetic."""

import math
import random
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_recorder.telemetry.gpu.merging import Snapshot
from run_recorder.telemetry.gpu.node_memory import NodeBoundary, NodeMemory
from run_recorder.telemetry.gpu.notes import CPU_HAS_NONE
from run_recorder.telemetry.gpu.reading import DeviceReading, SystemReading
from run_recorder.telemetry.gpu.samples import MAX_SAMPLES, VERSION, Curve, decode
from run_recorder.telemetry.gpu.session import Session

GIB = 1024**3


def device(**given: Any) -> DeviceReading:
    figures = {
        "vram_total_bytes": 8 * GIB,
        "vram_free_bytes": 6 * GIB,
        "utilization_percent": 50.0,
        "temperature_celsius": 40.0,
        "power_watts": 100.0,
        "energy_joules": 0.0,
    }
    about = {"source": "nvml+torch", "type": "cuda", "index": 0, "name": "Card", "uuid": "GPU-1", "in_use": True}
    return DeviceReading(**{**about, **figures, **given})


def at(moment: float, *devices: DeviceReading, **more: Any) -> Snapshot:
    host = SystemReading(ram_total_bytes=64 * GIB, ram_free_bytes=32 * GIB, process_rss_bytes=GIB, cpu_percent=10)
    return Snapshot(list(devices), more.pop("system", host), sources=("nvml", "torch", "psutil"), at=moment, **more)


def told(*snapshots: Snapshot, trouble: dict[str, str] | None = None, complete: bool = True) -> Session:
    """A session that began at 100 s on its clock."""
    session = Session("p", 100.0)
    for snapshot in snapshots:
        session.add(snapshot, trouble or {})
    session.ended = snapshots[-1].at if snapshots else 100.0
    if complete:
        session.complete.set()
    return session


def only(session: Session) -> Any:
    (found,) = session.devices()
    return found


# --- figures


def test_a_mean_counts_each_reading_for_the_time_before_it() -> None:
    loads = [(100.0, 90.0), (100.2, 10.0), (100.4, 20.0), (100.9, 60.0)]
    found = only(told(*[at(when, device(utilization_percent=load)) for when, load in loads]))
    assert found.utilization_percent_mean == pytest.approx((10 * 0.2 + 20 * 0.2 + 60 * 0.5) / 0.9, abs=0.005)
    assert found.utilization_percent_max == 90


def test_one_reading_is_its_own_mean() -> None:
    found = only(told(at(100.0, device(utilization_percent=42, power_watts=80))))
    assert (found.utilization_percent_mean, found.power_watts_mean) == (42, 80)
    assert found.energy_joules is None


def test_memory_before_after_and_at_its_highest() -> None:
    frees = [6, 3, 1, 5]
    found = only(told(*[at(100 + n * 0.2, device(vram_free_bytes=free * GIB)) for n, free in enumerate(frees)]))
    assert (found.vram_free_before_bytes, found.vram_free_after_bytes) == (6 * GIB, 5 * GIB)
    assert found.vram_used_peak_bytes == 7 * GIB
    assert found.vram_total_bytes == 8 * GIB


def test_what_torch_had_reserved_between_two_readings_was_used() -> None:
    session = told(at(100, device()), at(100.2, device()))
    session.nodes.boundaries.append(NodeBoundary(None, False, 0, 4 * GIB, 5 * GIB))
    found = only(session)
    assert (found.vram_used_peak_bytes, found.torch_reserved_peak_bytes) == (5 * GIB, 5 * GIB)
    assert found.torch_allocated_peak_bytes == 4 * GIB


def test_while_it_runs_nothing_is_told_of_after() -> None:
    assert only(told(at(100, device()), complete=False)).vram_free_after_bytes is None


def test_a_first_reading_after_the_end_says_nothing_of_before() -> None:
    session = Session("p", 100.0)
    session.ended = 100.01
    session.add(at(100.02, device()), {})
    assert only(session).vram_free_before_bytes is None


def test_energy_is_the_counters_growth() -> None:
    session = told(*[at(100 + n, device(energy_joules=5_000 + 70.5 * n)) for n in range(4)])
    assert only(session).energy_joules == 211.5
    assert session.fallback_notes() == []


def test_a_counter_that_begins_anew_is_counted_from_there_with_a_note() -> None:
    counters = [1000, 1100, 20, 50]
    session = told(*[at(100 + n, device(energy_joules=value)) for n, value in enumerate(counters)])
    assert only(session).energy_joules == 130
    assert "cuda:0: its energy counter began anew" in session.fallback_notes()[0]


def test_without_a_counter_energy_is_power_over_time_with_a_note() -> None:
    powers = [(100.0, 50.0), (100.2, 100.0), (100.4, 300.0)]
    session = told(*[at(when, device(energy_joules=None, power_watts=power)) for when, power in powers])
    assert only(session).energy_joules == pytest.approx(100 * 0.2 + 300 * 0.2, abs=0.001)
    assert session.fallback_notes() == [
        "cuda:0: energy_joules is the power readings added up over time, since it has no counter"
    ]


def test_a_machine_that_slept_is_not_counted_as_work() -> None:
    moments = [(100.0, 100.0), (100.2, 100.0), (4000.0, 100.0)]
    session = told(*[at(when, device(energy_joules=None, power_watts=power)) for when, power in moments])
    assert only(session).energy_joules == pytest.approx(100 * 0.2 + 100 * 1.0)


def test_the_hosts_figures_are_the_last_the_peak_and_the_mean() -> None:
    def host(rss: int, cpu: float | None) -> SystemReading:
        return SystemReading(64 * GIB, 30 * GIB, rss, cpu)

    moments = [(100.0, host(5, None)), (100.5, host(9, 20.0)), (101.0, host(7, 40.0))]
    system = told(*[at(when, system=host) for when, host in moments]).system()
    assert system is not None
    assert (system.ram_total_bytes, system.ram_free_bytes) == (64 * GIB, 30 * GIB)
    assert (system.process_rss_bytes, system.process_rss_peak_bytes, system.cpu_percent) == (7, 9, 30)


def test_without_any_reading_there_is_a_note_and_nothing_else() -> None:
    session = told()
    assert (session.devices(), session.system(), session.source, session.encode()) == ([], None, None, None)
    assert session.fallback_notes() == ["no figures of GPU and memory: nothing could be read while this prompt ran"]
    assert Session("p", 1.0, is_on=False).fallback_notes()[0].endswith("RUN_RECORDER_GPU_SOURCES turns it off")


def test_a_processor_is_one_note_whatever_other_sources_lack() -> None:
    cpu = DeviceReading("torch", "cpu", name="cpu", in_use=True)
    session = told(at(100, cpu), at(100.2, cpu), trouble={"nvml": "no library", "sysfs": "no card"})
    assert session.fallback_notes() == [CPU_HAS_NONE]


def test_what_no_source_tells_of_comfyuis_device_is_named_with_why() -> None:
    bare = device(
        source="torch", utilization_percent=None, temperature_celsius=None, power_watts=None, energy_joules=None
    )
    session = told(at(100, bare), trouble={"nvml": "Driver Not Loaded", "sysfs": "no card"})
    assert session.fallback_notes() == [
        "cuda:0: no source tells utilization_percent, temperature_celsius, power_watts (nvml: Driver Not Loaded)"
    ]
    others = told(at(100, device(in_use=False, utilization_percent=None)))
    assert others.fallback_notes() == []


def test_an_end_whose_reading_did_not_come_is_told() -> None:
    assert told(at(100, device()), complete=False).fallback_notes() == [
        "the reading at this prompt's end did not come in time: what is free after it is null"
    ]


def test_what_held_the_clock_down_is_counted() -> None:
    hot = device(throttled=("temperature",))
    session = told(at(100, device()), at(100.2, hot), at(100.4, hot))
    assert session.throttle_notes() == ["cuda:0 was held down by its temperature in 2 of 3 readings"]


# --- devices that go and come


def test_a_card_that_goes_and_comes_leaves_one_gap_and_keeps_its_place() -> None:
    other = device(uuid="GPU-2", name="Other", in_use=False, index=1, source="nvml")
    session = Session("p", 100.0)
    session.add(at(100.0, device(), other), {})
    for n in range(1, 5):
        session.add(at(100 + n * 0.5, device()), {"nvml": "Other: GPU is lost"})
    session.add(at(102.5, device(), other), {})
    session.complete.set()
    first, second = session.devices()
    assert (first.uuid, second.uuid) == ("GPU-1", "GPU-2")
    assert session.fallback_notes() == [
        "Other could not be read by nvml for 2.0 s, from 0.0 s after the start (Other: GPU is lost)"
    ]
    encoded = session.encode()
    assert encoded is not None
    column = decode(encoded).columns[1, "utilization_percent"]["mean"]
    assert column == [50, None, None, None, None, 50]


def test_comfyuis_own_device_is_the_same_when_only_torch_tells_of_it() -> None:
    alone = device(
        source="torch",
        uuid="1",
        vram_free_bytes=None,
        utilization_percent=None,
        temperature_celsius=None,
        power_watts=None,
        energy_joules=None,
    )
    session = Session("p", 100.0)
    session.add(at(100.0, device()), {})
    session.add(at(100.5, alone), {"nvml": "GPU is lost"})
    session.add(at(101.0, alone), {"nvml": "GPU is lost"})
    session.add(at(101.5, device(utilization_percent=99)), {})
    session.add(at(102.0, alone), {"nvml": "GPU is lost"})
    session.complete.set()
    found = only(session)
    assert (found.uuid, found.utilization_percent_max, found.source) == ("GPU-1", 99, "nvml+torch")
    assert found.vram_free_after_bytes is None
    assert session.fallback_notes() == [
        "cuda:0 could not be read by nvml for 1.0 s, from 0.0 s after the start (GPU is lost)",
        "cuda:0 could not be read by nvml for 0.5 s, from 1.5 s after the start (GPU is lost)",
    ]


# --- nodes


def crossed(*borders: tuple[str | None, bool, int, int]) -> NodeMemory:
    memory = NodeMemory()
    memory.boundaries.extend(NodeBoundary(*border, reserved_peak=border[3] + 1) for border in borders)
    memory.take_in()
    return memory


def test_a_nodes_peak_is_its_own_and_the_prompts_is_their_maximum() -> None:
    memory = crossed(
        (None, True, 10, 999),
        ("a", True, 10, 10),
        ("a", False, 30, 80),
        ("b", True, 30, 35),
        ("b", False, 20, 50),
        (None, False, 20, 20),
    )
    assert memory.of("a") == (80, 20)
    assert memory.of("b") == (50, -10)
    assert memory.of("c") is None
    assert (memory.allocated_peak, memory.reserved_peak) == (80, 81)


def test_a_node_that_expands_has_the_peaks_of_those_inside() -> None:
    memory = crossed(
        ("parent", True, 0, 0),
        ("inner", True, 5, 7),
        ("inner", False, 8, 90),
        ("parent", True, 8, 9),
        ("parent", False, 2, 20),
    )
    assert memory.of("inner") == (90, 3)
    assert memory.of("parent") == (90, 2)


def test_a_node_that_never_ends_has_its_peak_up_to_the_prompts_end() -> None:
    assert crossed(("a", True, 5, 5), (None, False, 60, 70)).of("a") == (70, 55)


def test_a_finish_without_a_start_is_a_cached_nodes_and_says_nothing() -> None:
    assert crossed(("a", False, 5, 5)).of("a") is None


# --- the curve


def test_a_curve_that_is_short_keeps_every_reading() -> None:
    curve = Curve()
    for n in range(5):
        curve.add(n * 0.2, {(0, "x"): n, (None, "y"): None if n % 2 else 2**40 + n})
    curve.add(1.0, {(1, "late"): 0.125})
    found = decode(curve.encode())
    assert found.t_seconds == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert found.readings_per_sample == 1
    assert found.columns == {
        (0, "x"): {"mean": [0, 1, 2, 3, 4, None]},
        (None, "y"): {"mean": [2**40, None, 2**40 + 2, None, 2**40 + 4, None]},
        (1, "late"): {"mean": [None] * 5 + [0.125]},
    }


def test_no_prompt_keeps_more_than_2000_samples_and_none_loses_its_extremes() -> None:
    curve, values = Curve(), []
    dice = random.Random(7)
    for n in range(17_001):
        values.append(dice.uniform(0, 100))
        curve.add(n * 0.2, {(0, "x"): values[-1]})
        assert len(curve.times) <= MAX_SAMPLES
    found = decode(curve.encode())
    column = found.columns[0, "x"]
    per = found.readings_per_sample
    assert per == 16
    for number in range(len(found.t_seconds)):
        part = values[number * per : (number + 1) * per]
        assert found.t_seconds[number] == pytest.approx(number * per * 0.2, abs=0.001)
        assert column["low"][number] == pytest.approx(min(part), abs=0.001)
        assert column["high"][number] == pytest.approx(max(part), abs=0.001)
        assert column["mean"][number] == pytest.approx(sum(part) / len(part), abs=0.001)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=1, max_size=60))
def test_thinned_or_not_minimum_and_maximum_are_those_of_the_readings(values: list[float | None]) -> None:
    curve = Curve(most=8)
    for n, value in enumerate(values):
        curve.add(n, {(0, "x"): value})
    assert len(curve.times) <= 8
    known = [value for value in values if value is not None]
    columns = decode(curve.encode()).columns
    if not known:
        assert columns == {}
        return
    ways = columns[0, "x"]
    low = [value for value in ways.get("low", ways["mean"]) if value is not None]
    high = [value for value in ways.get("high", ways["mean"]) if value is not None]
    assert min(low) == pytest.approx(min(known), abs=0.001)
    assert max(high) == pytest.approx(max(known), abs=0.001)


def test_an_empty_curve_is_empty_and_a_broken_one_is_refused() -> None:
    assert decode(Curve().encode()).t_seconds == []
    for broken in (b"", b"x", zlib.compress(b"\x05\0\0\0{"), zlib.compress(b"\x02\0\0\0{}"), zlib.compress(b"")):
        with pytest.raises(ValueError, match=r"no samples|Expecting|delimiter|property"):
            decode(broken)


def test_a_curve_tells_its_version_and_one_from_before_there_was_any_is_read() -> None:
    curve = Curve()
    curve.add(0.5, {(0, "power_watts"): 7.0})
    encoded = curve.encode()
    assert encoded[:1] == VERSION
    assert decode(encoded) == decode(encoded[1:]), "as it was kept before"
    with pytest.raises(ValueError, match="version"):
        decode(b"\x02" + encoded[1:])


def test_a_second_of_one_card_takes_few_bytes() -> None:
    curve, dice = Curve(), random.Random(3)
    names = ["vram_used_bytes", "utilization_percent", "temperature_celsius", "power_watts", "clock_mhz"]
    for n in range(600):
        curve.add(n * 0.2, {(0, name): dice.randrange(100) for name in names} | {(None, "ram_free_bytes"): 2**34 + n})
    assert len(curve.encode()) / 600 < 60
    assert not math.isnan(curve.times[0])
