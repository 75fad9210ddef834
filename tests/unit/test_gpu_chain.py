"""The chain: which device is which, what is believed before what, and what happens when a source fails."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from run_recorder.telemetry.gpu.chain import Chain
from run_recorder.telemetry.gpu.identity import find, normal_pci, normal_uuid, visible_card
from run_recorder.telemetry.gpu.merging import Snapshot, merge
from run_recorder.telemetry.gpu.numbers import figure, free_of, parsed, size, text
from run_recorder.telemetry.gpu.reading import DeviceReading, SourceReading, SourceUnavailableError, SystemReading
from run_recorder.telemetry.gpu.timed_calls import HungError, TimedCalls
from run_recorder.telemetry.gpu.torch_devices import HostDevice, TorchDevices

GIB = 1024**3
A, B = "GPU-aaaa-1", "GPU-bbbb-2"


def seen(source: str = "nvml", **given: Any) -> DeviceReading:
    return DeviceReading(**{"source": source, "type": "cuda", "index": 0, "name": "Card", **given})


def own(**given: Any) -> DeviceReading:
    return seen("torch", in_use=True, torch_allocated_bytes=5, **given)


def reading(*devices: DeviceReading, **more: Any) -> SourceReading:
    return SourceReading(devices=list(devices), **more)


def host(total: int = 64 * GIB) -> SourceReading:
    return SourceReading(system=SystemReading(ram_total_bytes=total, ram_free_bytes=total // 2))


# --- numbers


@pytest.mark.parametrize("value", [None, "5", b"5", True, float("nan"), float("inf"), 10**400, -1, [], {}])
def test_what_is_no_number_is_null(value: object) -> None:
    assert figure(value) is None
    assert size(value) is None


def test_a_number_in_its_bounds_is_one() -> None:
    assert (figure(5), figure(5.5, 0, 6), figure(7, 0, 6)) == (5, 5.5, None)
    assert (size(3, 1024), size(2**53)) == (3072, None)


def test_total_and_free_contradict_one_another_or_not() -> None:
    assert free_of(10, 4) == (10, 4)
    assert free_of(10, None) == (10, None)
    assert free_of(10, 11) == free_of(0, 0) == free_of(None, 5) == (None, None)


def test_names_come_as_text_or_bytes() -> None:
    assert (text(b"Card\xff"), text(" Card\x00 "), text(""), text(5)) == ("Card\ufffd", "Card", None, None)


@pytest.mark.parametrize(("said", "number"), [("12.5", 12.5), (" 12,5 ", 12.5), ("inf", None), ("[N/A]", None)])
def test_a_tools_number_has_a_point_or_a_comma(said: str, number: float | None) -> None:
    assert parsed(said) == number


# --- identity


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("0000:C1:00.1", "0000:c1:00.1"),
        ("1:0", "0000:01:00.0"),
        ("00010000:0A:00.0", "10000:0a:00.0"),
        ("nonsense", None),
        ("", None),
        (None, None),
    ],
)
def test_an_address_is_written_one_way(given: str | None, normal: str | None) -> None:
    assert normal_pci(given) == normal


def test_a_uuid_is_the_same_with_and_without_what_stands_before_it() -> None:
    assert normal_uuid("GPU-ABC") == normal_uuid("abc") == normal_uuid("MIG-abc") == "abc"
    assert normal_uuid("") is normal_uuid(None) is None


def test_a_uuid_is_believed_before_an_address_and_a_shared_address_proves_nothing() -> None:
    one, other = seen(uuid=A, pci="0000:01:00.0"), seen(uuid=B, pci="0000:02:00.0")
    assert find(own(uuid="bbbb-2", pci="0000:01:00.0"), [one, other]) is other
    assert find(own(pci="0000:01:00.0"), [one, other]) is one
    assert find(own(pci="0000:01:00.0"), [one, one]) is None
    assert find(own(), [one]) is None
    assert find(own(uuid="x", pci="0000:09:00.0"), [one]) is None


def test_cudas_variables_tell_which_card_it_is_where_torch_is_too_old_to() -> None:
    alike = [seen(uuid=A), seen(uuid=B, index=1), seen(uuid="MIG-1")]
    apart = [seen(uuid=A, name="Big"), seen(uuid=B, index=1, name="Small")]
    assert visible_card(0, alike, {}) is alike[0]
    assert visible_card(0, alike, {"CUDA_VISIBLE_DEVICES": "1"}) is alike[1]
    assert visible_card(1, alike, {"CUDA_VISIBLE_DEVICES": "1,0"}) is alike[0]
    assert visible_card(1, alike, {"CUDA_VISIBLE_DEVICES": "1"}) is None
    assert visible_card(0, alike, {"CUDA_VISIBLE_DEVICES": "7"}) is None
    assert visible_card(0, alike, {"CUDA_VISIBLE_DEVICES": ""}) is None
    assert visible_card(0, alike, {"CUDA_VISIBLE_DEVICES": "-1"}) is None
    assert visible_card(0, apart, {}) is None
    assert visible_card(0, apart, {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) is apart[1]
    assert visible_card(0, apart, {"CUDA_VISIBLE_DEVICES": "gpu-bb"}) is apart[1]
    assert visible_card(0, apart, {"CUDA_VISIBLE_DEVICES": "GPU-"}) is None
    assert visible_card(0, alike, {"CUDA_VISIBLE_DEVICES": "MIG-1"}) is alike[2]


# --- merging


def merged(*readings: SourceReading, **settings: str) -> Snapshot:
    return merge(readings, settings)


def test_comfyuis_device_comes_first_with_what_the_same_card_tells_elsewhere() -> None:
    cards = reading(seen(uuid=A, utilization_percent=1), seen(uuid=B, index=1, utilization_percent=2, power_watts=9))
    snapshot = merged(cards, reading(own(uuid="bbbb-2", name="torch's name", vram_free_bytes=3, vram_total_bytes=4)))
    mine, other = snapshot.devices
    assert (mine.in_use, mine.uuid, mine.index, mine.name, mine.source) == (True, B, 0, "Card", "nvml+torch")
    assert (mine.utilization_percent, mine.power_watts, mine.torch_allocated_bytes) == (2, 9, 5)
    assert (mine.vram_free_bytes, mine.vram_total_bytes) == (3, 4)
    assert (other.in_use, other.uuid) == (False, A)
    assert snapshot.notes == []


def test_memory_comes_from_one_source_whole() -> None:
    cards = reading(seen(uuid=A, vram_total_bytes=10, vram_free_bytes=6))
    (mine,) = merged(cards, reading(own(uuid="aaaa-1", vram_total_bytes=9, vram_free_bytes=8))).devices
    assert (mine.vram_total_bytes, mine.vram_free_bytes, mine.vram_used_bytes) == (10, 6, 4)


def test_the_parts_of_a_card_are_not_mixed_up_with_it_or_one_another() -> None:
    whole = seen(uuid=A, pci="0000:01:00.0", vram_total_bytes=80, vram_free_bytes=70)
    parts = [seen(uuid=f"MIG-{n}", vram_total_bytes=10 + n, vram_free_bytes=n) for n in (1, 2)]
    snapshot = merged(reading(whole, *parts), reading(own(uuid="MIG-2", pci="0000:01:00.0")))
    assert [(device.uuid, device.in_use) for device in snapshot.devices] == [
        ("MIG-2", True),
        (A, False),
        ("MIG-1", False),
    ]
    assert snapshot.devices[0].vram_total_bytes == 12


def test_a_card_that_two_sources_see_is_one_device() -> None:
    first = seen("amdsmi", type="rocm", pci="0000:03:00.0", power_watts=5)
    second = seen("sysfs", type="rocm", pci="0000:03:00.0", power_watts=7, utilization_percent=9)
    (device,) = merged(reading(first), reading(second)).devices
    assert (device.power_watts, device.utilization_percent, device.source) == (5, 9, "amdsmi+sysfs")


def test_where_it_cannot_be_told_which_card_it_is_its_figures_are_null_with_a_note() -> None:
    apart = reading(seen(uuid=A, name="Big", utilization_percent=1), seen(uuid=B, name="Small"))
    snapshot = merged(apart, reading(own()))
    assert snapshot.devices[0].utilization_percent is None
    (note,) = snapshot.notes
    assert note.startswith("cuda:0: which of the cards that nvml sees it is can't be told")
    told = merged(apart, reading(own()), CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert (told.devices[0].utilization_percent, told.notes) == (1, [])
    foreign = merged(apart, reading(own(uuid="cccc")))
    assert len(foreign.notes) == 1


def test_unified_memory_is_the_hosts_with_a_note() -> None:
    snapshot = merged(reading(seen(uuid=A, unified=True)), reading(own(uuid="aaaa-1")), host())
    (device,) = snapshot.devices
    assert (device.vram_total_bytes, device.vram_free_bytes) == (64 * GIB, 32 * GIB)
    assert snapshot.notes == ["cuda:0 shares the host's memory: its figures of memory are the host's"]


def test_a_processor_has_no_memory_of_its_own() -> None:
    snapshot = merged(reading(DeviceReading("torch", "cpu", in_use=True)), host())
    assert snapshot.devices[0].vram_total_bytes is None
    assert snapshot.notes == []


# --- the chain


class Scripted:
    """A source that answers as told."""

    may_hang = True
    gives: frozenset[str] = frozenset()

    def __init__(self, name: str, *answers: Any) -> None:
        self.name = name
        self.answers = list(answers)
        self.probes: list[Any] = []
        self.probed = self.reads = self.closed = 0

    def _next(self, answers: list[Any]) -> Any:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def probe(self) -> None:
        self.probed += 1
        if self.probes:
            self._next(self.probes)

    def read(self) -> SourceReading:
        self.reads += 1
        return self._next(self.answers)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.closed += 1


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_sources_are_opened_when_they_are_first_read() -> None:
    source = Scripted("nvml", reading(seen(uuid=A)))
    chain = Chain([source])
    assert source.probed == 0
    snapshot = chain.read()
    assert (snapshot.source, source.probed) == ("nvml", 1)
    assert snapshot.at <= time.perf_counter()
    chain.read()
    assert source.probed == 1
    chain.close()
    assert source.closed == 1


def test_a_source_that_fails_costs_its_own_figures_and_is_opened_anew_with_patience() -> None:
    clock = Clock()
    broken = Scripted("nvml", RuntimeError("driver/library version mismatch"))
    chain = Chain([broken, Scripted("psutil", host())], clock=clock)
    waits = []
    for _ in range(9):
        assert chain.read().source == "psutil"
        began, before = clock.now, broken.probed
        while broken.probed == before:
            clock.now += 0.5
            chain.read()
        waits.append(clock.now - began)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == 60
    assert chain.trouble() == {"nvml": "driver/library version mismatch"}
    broken.answers = [reading(seen(uuid=A))]
    clock.now += 60
    assert chain.read().source == "nvml+psutil"
    assert chain.trouble() == {}


def test_a_source_that_is_absent_is_never_asked_again() -> None:
    clock = Clock()
    absent = Scripted("amdsmi", reading())
    absent.probes = [SourceUnavailableError("amdsmi is not installed", absent=True)]
    chain = Chain([absent], clock=clock)
    for _ in range(3):
        assert chain.read().source is None
        clock.now += 1000
    assert absent.probed == 1
    assert chain.trouble() == {"amdsmi": "amdsmi is not installed"}


def test_a_source_that_has_lost_a_device_goes_on_with_the_others_and_looks_for_it() -> None:
    clock = Clock()
    partly = reading(seen(uuid=B), reopen="Fake_A: GPU is lost")
    source = Scripted("nvml", reading(seen(uuid=A), seen(uuid=B)), partly)
    chain = Chain([source], clock=clock)
    assert len(chain.read().devices) == 2
    for _ in range(3):
        assert len(chain.read().devices) == 1
    assert (source.probed, chain.trouble()) == (1, {"nvml": "Fake_A: GPU is lost"})
    clock.now += 1.1
    chain.read()
    assert source.probed == 2
    chain.read()
    assert source.probed == 2
    source.answers = [reading(seen(uuid=A), seen(uuid=B))]
    clock.now += 2.1
    assert len(chain.read().devices) == 2
    assert chain.trouble() == {}


def test_a_source_that_hangs_is_left_and_the_next_is_used() -> None:
    clock, going = Clock(), threading.Event()
    hanging = Scripted("nvml", lambda: (going.wait(60), reading(seen(uuid=A)))[1])
    chain = Chain([hanging, Scripted("psutil", host())], read_seconds=0.05, clock=clock)
    assert chain.read().source == "psutil"
    assert chain.trouble() == {"nvml": "no answer in 0.05 s"}
    clock.now += 2
    chain.read()
    assert chain.trouble() == {"nvml": "an earlier call has not returned"}
    assert hanging.probed == 1
    going.set()
    deadline = time.monotonic() + 30
    while chain.read().source != "nvml+psutil" and time.monotonic() < deadline:
        clock.now += 5
        time.sleep(0.01)
    assert chain.read().source == "nvml+psutil"
    chain.close()


def test_one_thread_reads_at_a_time_and_another_waits_only_so_long() -> None:
    going, began = threading.Event(), threading.Event()
    slow = Scripted("psutil", lambda: (began.set(), going.wait(60), host())[2])
    slow.may_hang = False
    chain = Chain([slow])
    thread = threading.Thread(target=chain.read)
    thread.start()
    began.wait(60)
    with pytest.raises(HungError):
        chain.read(0.01)
    going.set()
    thread.join(60)
    assert chain.read().system is not None


class Torch:
    """The border's end."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    def devices(self, with_memory: bool) -> list[HostDevice]:
        self.asked.append(with_memory)
        total, free = (8 * GIB, 4 * GIB) if with_memory else (None, None)
        return [HostDevice("cuda", 0, "RTX", "aaaa-1", None, total, free, 1, 2)]

    def loaded_models(self) -> frozenset[int] | None:
        return frozenset({7})


def test_torch_is_asked_for_free_memory_only_while_nobody_else_tells_it() -> None:
    torch, clock = Torch(), Clock()
    nvml = Scripted("nvml", reading(seen(uuid=A, vram_total_bytes=8 * GIB, vram_free_bytes=2 * GIB)))
    chain = Chain([nvml, TorchDevices(torch)], clock=clock)
    snapshot = chain.read()
    assert (snapshot.devices[0].vram_free_bytes, snapshot.loaded_models) == (2 * GIB, {7})
    chain.read()
    assert torch.asked[-1] is False
    nvml.answers = [RuntimeError("gone")]
    chain.read()
    chain.read()
    assert torch.asked[-1] is True
    assert chain.read().devices[0].vram_free_bytes == 4 * GIB


def test_the_chain_knows_the_names_of_its_sources() -> None:
    assert Chain([Scripted("nvml", host()), Scripted("psutil", host())]).names == ("nvml", "psutil")


# --- calls that may hang


def test_a_call_returns_or_raises_what_it_does() -> None:
    calls = TimedCalls("test")
    assert calls.call(lambda: 5, 60) == 5
    with pytest.raises(KeyError):
        calls.call(lambda: {}["x"], 60)
    calls.end()
    assert calls.call(lambda: 6, 60) == 6
    calls.end()
    calls.end()


def test_at_most_one_thread_is_ever_stuck() -> None:
    calls, going = TimedCalls("stuck-test"), threading.Event()

    def threads() -> int:
        return sum(thread.name == "stuck-test" for thread in threading.enumerate())

    for _ in range(5):
        with pytest.raises(HungError):
            calls.call(lambda: going.wait(60), 0.01)
    assert threads() == 1
    going.set()
    deadline = time.monotonic() + 30
    answer: Callable[[], int] = lambda: 7  # noqa: E731
    while time.monotonic() < deadline:
        try:
            assert calls.call(answer, 30) == 7
            break
        except HungError:
            time.sleep(0.01)
    calls.end()
