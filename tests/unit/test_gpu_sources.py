"""Each source of the process by itself: NVML over the fake library, the kernel's files, amdsmi, torch, the host."""

import ctypes
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
from run_recorder.telemetry.gpu.amd_smi import AmdSmi
from run_recorder.telemetry.gpu.chain import Chain
from run_recorder.telemetry.gpu.host_memory import HostMemory
from run_recorder.telemetry.gpu.nvml import Nvml
from run_recorder.telemetry.gpu.reading import Source, SourceUnavailableError
from run_recorder.telemetry.gpu.sysfs import Sysfs
from run_recorder.telemetry.gpu.torch_devices import HostDevice, TorchDevices

from ..fakes import GIB, build_nvml, card, fake_sysfs, part, write_whole

A, B = "GPU-00000000-0000-0000-0000-000000000001", "GPU-00000000-0000-0000-0000-000000000002"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def says(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A library of this test's own in this process, and a function that scripts it."""
    pynvml = pytest.importorskip("pynvml")
    library = shutil.copy(built, tmp_path / "libnvidia-ml.so.1")
    script = tmp_path / "script.txt"
    monkeypatch.setenv("FAKE_NVML", str(script))
    monkeypatch.delenv("FAKE_NVML_LOG", raising=False)
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def say(*lines: str) -> None:
        write_whole(script, "\n".join(lines) + "\n")

    yield say


def opened(source: Source) -> Source:
    source.probe()
    return source


def refused(ask: Callable[[], object]) -> SourceUnavailableError:
    with pytest.raises(SourceUnavailableError) as raised:
        ask()
    return raised.value


# --- NVML


def test_a_card_tells_everything(says: Callable[..., None]) -> None:
    says("init 0", card(used=3 * GIB, util=37, temp=61, power=312_450, energy=5_500, clock=2100, throttle=0x24))
    (found,) = opened(Nvml()).read().devices
    assert (found.uuid, found.pci, found.name, found.type, found.index) == (A, "0000:01:00.0", "Fake_A", "cuda", 0)
    assert (found.vram_total_bytes, found.vram_free_bytes, found.vram_used_bytes) == (8 * GIB, 5 * GIB, 3 * GIB)
    assert (found.utilization_percent, found.temperature_celsius) == (37, 61)
    assert (found.power_watts, found.energy_joules, found.clock_mhz) == (312.45, 5.5, 2100)
    assert found.throttled == ("power_limit", "temperature")
    assert not found.in_use
    assert not found.unified


@pytest.mark.parametrize(
    ("own", "others", "told"),
    [(5, 7, 7), (5, None, 0), (5, 2**64 - 1, None), (2**64 - 1, 7, None), (None, 7, None), ("N", 7, None)],
)
def test_what_others_hold_is_told_where_the_driver_names_this_process(
    says: Callable[..., None], own: Any, others: Any, told: int | None
) -> None:
    given = {name: value for name, value in (("own", own), ("others", others)) if value is not None}
    says("init 0", card(**given))
    source = opened(Nvml())
    for _ in range(2):
        (found,) = source.read().devices
        assert found.vram_others_bytes == told
    assert found.vram_total_bytes == 8 * GIB


def test_what_a_card_does_not_support_is_null_and_not_asked_again(says: Callable[..., None]) -> None:
    says("init 0", card(util="N", power="N,100000", energy="N", clock="N", throttle="N", temp="N"))
    source = opened(Nvml())
    for _ in range(2):
        (found,) = source.read().devices
        assert (found.utilization_percent, found.power_watts, found.energy_joules) == (None, None, None)
        assert (found.temperature_celsius, found.clock_mhz, found.throttled) == (None, None, None)
        assert found.vram_total_bytes == 8 * GIB


@pytest.mark.parametrize(("name", "value"), [("util", 250), ("temp", 60_000), ("power", 10**9), ("used", 9 * GIB)])
def test_what_cannot_be_is_null(says: Callable[..., None], name: str, value: int) -> None:
    says("init 0", card(**{name: value}))
    (found,) = opened(Nvml()).read().devices
    figures = {
        "util": found.utilization_percent,
        "temp": found.temperature_celsius,
        "power": found.power_watts,
        "used": found.vram_free_bytes,
    }
    assert figures[name] is None


def test_unified_memory_is_not_supported_and_is_said_to_be_shared(says: Callable[..., None]) -> None:
    says("init 0", card(total="N", used="N"))
    (found,) = opened(Nvml()).read().devices
    assert found.unified
    assert found.vram_total_bytes is None


def test_memory_that_one_may_not_see_is_null_and_not_taken_for_the_hosts(says: Callable[..., None]) -> None:
    says("init 0", card(total="E4"))
    (found,) = opened(Nvml()).read().devices
    assert (found.unified, found.vram_total_bytes) == (False, None)


def test_the_parts_of_a_card_are_devices_of_their_own(says: Callable[..., None]) -> None:
    first = part(uuid="MIG-1", name="Fake_1g", total=GIB, used=GIB // 4)
    second = part(uuid="MIG-2", name="Fake_1g", total=GIB, used=GIB // 2)
    says("init 0", card(util="N", temp=50), first, second, card(uuid=B, pci="00000000:02:00.0", name="Fake_B"))
    whole, one, two, other = opened(Nvml()).read().devices
    assert (whole.uuid, one.uuid, two.uuid, other.uuid) == (A, "MIG-1", "MIG-2", B)
    assert (one.vram_free_bytes, two.vram_free_bytes) == (GIB - GIB // 4, GIB // 2)
    assert (one.temperature_celsius, one.utilization_percent, one.power_watts) == (50, None, None)
    assert (one.index, other.index, one.pci) == (0, 1, None)


def test_a_lost_card_costs_the_others_nothing(says: Callable[..., None]) -> None:
    second = card(uuid=B, pci="00000000:02:00.0", name="Fake_B")
    says("init 0", card(), second)
    source = opened(Nvml())
    says("init 0", card(total="L"), second)
    reading = source.read()
    assert [device.uuid for device in reading.devices] == [B]
    assert reading.reopen == "Fake_A: GPU is lost"
    source.probe()
    assert source.read().reopen == "card 0: GPU is lost"
    says("init 0", card(), second)
    source.probe()
    reading = source.read()
    assert [device.uuid for device in reading.devices] == [A, B]
    assert reading.reopen is None


def test_where_all_are_lost_there_is_nothing_to_read(says: Callable[..., None]) -> None:
    says("init 0", card())
    source = opened(Nvml())
    says("init 0", card(total="L"))
    assert "GPU is lost" in str(refused(source.read))


def test_after_a_driver_has_restarted_the_library_is_to_be_opened_anew(says: Callable[..., None]) -> None:
    says("init 0", "driver 1", card())
    source = opened(Nvml())
    says("init 0", "driver 2", card())
    assert "Uninitialized" in str(refused(source.read))
    source.probe()
    assert len(source.read().devices) == 1


def test_a_driver_that_is_not_loaded_may_come(says: Callable[..., None]) -> None:
    says("init 9", card())
    error = refused(Nvml().probe)
    assert (str(error), error.absent) == ("Driver Not Loaded", False)


def test_without_the_library_or_its_binding_nvml_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = pytest.importorskip("pynvml")
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    assert refused(Nvml().probe).absent
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert str(refused(Nvml().probe)) == "nvidia-ml-py is not installed"


def test_a_closed_source_reads_nothing_and_can_be_closed_again(says: Callable[..., None]) -> None:
    says("init 0", card())
    source = opened(Nvml())
    source.close()
    source.close()
    assert "not open" in str(refused(source.read))


def test_names_may_come_as_bytes(says: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """As older versions of the binding gave them."""
    import pynvml

    says("init 0", card())
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: b"Fake bytes")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: A.encode())
    (found,) = opened(Nvml()).read().devices
    assert (found.name, found.uuid) == ("Fake bytes", A)


def test_a_slow_call_is_left_and_taken_up_again_once_it_has_returned(says: Callable[..., None]) -> None:
    says("init 0", card(util="10,S400,20"))
    clock = [0.0]
    chain = Chain([Nvml(), HostMemory()], read_seconds=0.1, clock=lambda: clock[0])
    assert chain.read().source == "nvml+psutil"
    assert chain.read().source == "psutil"
    assert chain.trouble() == {"nvml": "no answer in 0.1 s"}
    deadline = time.monotonic() + 60
    while chain.read().source != "nvml+psutil":
        assert time.monotonic() < deadline
        clock[0] += 2
        time.sleep(0.02)
    assert chain.read().devices[0].utilization_percent == 20
    chain.close()


# --- the kernel's files

AMD: dict[str, object] = {
    "vendor": "0x1002",
    "device": "0x744c",
    "unique_id": "abcdef0123456789",
    "uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0",
    "gpu_busy_percent": 42,
    "mem_info_vram_total": 16 * GIB,
    "mem_info_vram_used": 5 * GIB,
    "hwmon/hwmon3/temp1_input": 61000,
    "hwmon/hwmon3/power1_average": 187_000_000,
}
INTEL: dict[str, object] = {
    "vendor": "0x8086",
    "device": "0x56a0",
    "uevent": "PCI_SLOT_NAME=0000:04:00.0",
    "hwmon/hwmon4/energy1_input": 7_500_000,
    "hwmon/hwmon4/power1_input": 55_000_000,
}


def test_amds_and_intels_cards_are_read_from_the_kernels_files(tmp_path: Path) -> None:
    other = {"vendor": "0x10de", "device": "0x2684"}
    root = fake_sysfs(tmp_path, card0=other, card1=AMD, card10=INTEL)
    amd, intel = opened(Sysfs(root)).read().devices
    assert (amd.type, amd.index, amd.uuid, amd.pci, amd.name) == (
        "rocm",
        0,
        "abcdef0123456789",
        "0000:03:00.0",
        "AMD 0x744c",
    )
    assert (amd.vram_total_bytes, amd.vram_free_bytes) == (16 * GIB, 11 * GIB)
    assert (amd.utilization_percent, amd.temperature_celsius, amd.power_watts) == (42, 61, 187)
    assert amd.energy_joules is None
    assert (intel.type, intel.pci, intel.name) == ("xpu", "0000:04:00.0", "Intel 0x56a0")
    assert (intel.vram_total_bytes, intel.utilization_percent) == (None, None)
    assert (intel.power_watts, intel.energy_joules) == (55, 7.5)


@pytest.mark.parametrize("broken", ["", "garbage", "-3", "nan", "4e30"])
def test_a_broken_file_is_null(tmp_path: Path, broken: str) -> None:
    names = ("gpu_busy_percent", "mem_info_vram_used", "hwmon/hwmon3/temp1_input", "hwmon/hwmon3/power1_average")
    root = fake_sysfs(tmp_path, card0={**AMD, **dict.fromkeys(names, broken)})
    (found,) = opened(Sysfs(root)).read().devices
    assert (found.utilization_percent, found.vram_free_bytes, found.power_watts) == (None, None, None)


def test_a_card_that_goes_is_told_and_costs_the_other_nothing(tmp_path: Path) -> None:
    root = fake_sysfs(tmp_path, card0=AMD, card1=INTEL)
    source = opened(Sysfs(root))
    shutil.rmtree(root / "class" / "drm" / "card0")
    reading = source.read()
    assert [device.type for device in reading.devices] == ["xpu"]
    assert reading.reopen == "card0: gone from sysfs"
    shutil.rmtree(root / "class" / "drm" / "card1")
    assert "gone" in str(refused(source.read))
    source.close()


def test_a_machine_without_such_cards_has_no_sysfs_source(tmp_path: Path) -> None:
    assert refused(Sysfs(tmp_path / "nowhere").probe).absent
    assert refused(Sysfs(fake_sysfs(tmp_path, card0={"vendor": "0x10de"})).probe).absent


# --- amdsmi


class SmiError(Exception):
    """What the library raises."""


def amd_library(**answers: Any) -> ModuleType:
    """A module that answers as amdsmi does; an answer that is an exception is raised."""
    made: Any = ModuleType("amdsmi")
    made.AmdSmiException = SmiError
    made.AmdSmiTemperatureType = SimpleNamespace(EDGE=0)
    made.AmdSmiTemperatureMetric = SimpleNamespace(CURRENT=0)
    default = {
        "init": None,
        "shut_down": None,
        "get_processor_handles": ["handle"],
        "get_gpu_asic_info": {"market_name": "Radeon Test"},
        "get_gpu_device_uuid": "1ef7-abc",
        "get_gpu_device_bdf": "0000:03:00.0",
        "get_gpu_vram_usage": {"vram_total": 16384, "vram_used": 4096},
        "get_gpu_activity": {"gfx_activity": 42},
        "get_power_info": {"average_socket_power": "N/A", "current_socket_power": 150},
        "get_temp_metric": 63,
        "get_energy_count": {"energy_accumulator": 1_000_000, "counter_resolution": 15.3},
    }

    def answering(answer: Any) -> Callable[..., Any]:
        def ask(*args: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask

    for name, answer in {**default, **answers}.items():
        setattr(made, f"amdsmi_{name}", answering(answer))
    return made  # type: ignore[no-any-return]


def test_amdsmi_tells_everything_of_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", amd_library())
    source = opened(AmdSmi())
    (found,) = source.read().devices
    assert (found.type, found.name, found.uuid, found.pci) == ("rocm", "Radeon Test", "1ef7-abc", "0000:03:00.0")
    assert (found.vram_total_bytes, found.vram_free_bytes) == (16 * GIB, 12 * GIB)
    assert (found.utilization_percent, found.temperature_celsius, found.power_watts) == (42, 63, 150)
    assert found.energy_joules == pytest.approx(15.3)
    source.close()
    source.close()


def test_amdsmis_na_and_errors_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {
        "get_gpu_activity": {"gfx_activity": "N/A"},
        "get_gpu_vram_usage": SmiError(),
        "get_power_info": {},
        "get_temp_metric": SmiError(),
        "get_energy_count": SmiError(),
        "get_gpu_asic_info": SmiError(),
        "shut_down": SmiError(),
    }
    monkeypatch.setitem(sys.modules, "amdsmi", amd_library(**nothing))
    source = opened(AmdSmi())
    (found,) = source.read().devices
    assert (found.utilization_percent, found.vram_total_bytes, found.power_watts) == (None, None, None)
    assert (found.temperature_celsius, found.energy_joules, found.name) == (None, None, None)
    source.close()


def test_a_card_that_tells_amdsmi_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = dict.fromkeys(("get_gpu_vram_usage", "get_gpu_activity", "get_power_info"), SmiError())
    monkeypatch.setitem(sys.modules, "amdsmi", amd_library(**silent))
    assert "Radeon Test tells nothing" in str(refused(opened(AmdSmi()).read))


def test_without_amdsmi_or_a_card_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", amd_library(get_processor_handles=[]))
    assert refused(AmdSmi().probe).absent
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert refused(AmdSmi().probe).absent


# --- torch, as the border tells of it


class Torch:
    """The border's end."""

    def __init__(self, *devices: HostDevice, models: frozenset[int] | None = None) -> None:
        self.told, self.models = list(devices), models
        self.asked: list[bool] = []

    def devices(self, with_memory: bool) -> list[HostDevice]:
        self.asked.append(with_memory)
        return self.told

    def loaded_models(self) -> frozenset[int] | None:
        return self.models


def test_torchs_devices_are_those_in_use_with_what_is_allocated() -> None:
    about = HostDevice("cuda", 0, "RTX", "7f0c", "0:1:0", 8 * GIB, 6 * GIB, 100, 200)
    source = opened(TorchDevices(Torch(about, models=frozenset({1, 2}))))
    reading = source.read()
    (found,) = reading.devices
    assert found.in_use
    assert (found.uuid, found.pci, found.label, found.key) == ("7f0c", "0000:01:00.0", "cuda:0", "7f0c")
    assert (found.vram_total_bytes, found.vram_free_bytes) == (8 * GIB, 6 * GIB)
    assert (found.torch_allocated_bytes, found.torch_reserved_bytes) == (100, 200)
    assert reading.loaded_models == {1, 2}
    assert source.may_hang
    source.close()


def test_a_processor_is_no_driver_and_apples_memory_is_shared() -> None:
    source = opened(TorchDevices(Torch(HostDevice("cpu", None, "cpu"))))
    assert not source.may_hang
    (found,) = source.read().devices
    assert (found.label, found.key, found.unified) == ("cpu", "cpu", False)
    (apple,) = opened(TorchDevices(Torch(HostDevice("mps", None, "Apple GPU", allocated=5)))).read().devices
    assert (apple.unified, apple.torch_allocated_bytes) == (True, 5)


# --- the host


def test_the_hosts_memory_is_what_psutil_says_and_its_processor_takes_two_readings() -> None:
    source = HostMemory()
    source.probe()
    first, second = source.read().system, None
    assert first is not None
    assert first.ram_total_bytes == psutil.virtual_memory().total
    assert first.process_rss_bytes is not None
    assert first.cpu_percent is None
    while second is None or second.cpu_percent is None:
        second = source.read().system
    assert 0 <= second.cpu_percent <= 100
    source.close()


def test_a_processors_share_since_long_ago_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    source = HostMemory()
    source.read()
    moment = [1e9]
    monkeypatch.setattr("run_recorder.telemetry.gpu.host_memory.time.monotonic", lambda: moment[0])
    reading = source.read().system
    assert reading is not None
    assert reading.cpu_percent is None
