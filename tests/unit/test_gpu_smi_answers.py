"""What nvidia-smi answers on machines in trouble, by its own documented exit codes and words: a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_recorder.client.outside import NO_DIRECTML_MEMORY, Outside, system_stats
from run_recorder.commands.gpu import gpu
from run_recorder.commands.output import CommandError
from run_recorder.telemetry.gpu.nvidia_smi import NvidiaSmi
from run_recorder.telemetry.gpu.reading import SourceUnavailableError
from run_recorder.telemetry.gpu.torch_devices import HostDevice, TorchDevices

from ..fakes import fake_smi

GIB = 2**30
GOOD = "0, GPU-1, 00000000:01:00.0, NVIDIA RTX A6000, 49140, 48000, 0, 40, 20.00"
SECOND = "1, GPU-2, 00000000:02:00.0, NVIDIA RTX A6000, 49140, 47000, 5, 41, 21.50"
HANDLE = "Unable to determine the device handle for GPU1: 0000:02:00.0: Unknown Error"
INFOROM = "WARNING: infoROM is corrupted at gpu 0000:01:00.0"
Use = Callable[[str, str, int], NvidiaSmi]


def without(reason: str, index: int = 1) -> str:
    figures = ", ".join([f"[{reason}]"] * 5)
    return f"{index}, GPU-2, 00000000:02:00.0, NVIDIA RTX A6000, {figures}"


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """An nvidia-smi that says this on standard output and standard error, and ends so."""

    def given(out: str, err: str, code: int) -> NvidiaSmi:
        (tmp_path / "out").write_text(out, "utf-8")
        (tmp_path / "err").write_text(err, "utf-8")
        script = f"cat {tmp_path}/out; cat {tmp_path}/err >&2; exit {code}"
        monkeypatch.setenv("PATH", f"{fake_smi(tmp_path / 'bin', script)}:/usr/bin:/bin")
        return NvidiaSmi()

    return given


CODES = {
    3: "operation unavailable",
    4: "Insufficient permissions",
    6: "No devices were found",
    8: "a device's external power cables are not properly attached",
    10: "an interrupt issue with a GPU",
    15: "Unable to determine the device handle for GPU 0000:01:00.0: GPU is lost.  Reboot the system",
    18: "Failed to initialize NVML: Driver/library version mismatch",
    255: "Unable to determine the device handle for GPU: Unknown Error",
}
NO_DRIVER = {
    2: 'Field "power.draw" is not a valid field to query.',
    9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
    12: "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.",
    13: "Function Not Found",
}


@pytest.mark.parametrize("on", ["stdout", "stderr"])
@pytest.mark.parametrize("code", [*CODES, *NO_DRIVER])
def test_its_own_reason_is_told_where_it_tells_no_card(use: Use, code: int, on: str) -> None:
    words = {**CODES, **NO_DRIVER}[code]
    with pytest.raises(SourceUnavailableError) as raised:
        use(words if on == "stdout" else "", words if on == "stderr" else "", code).read()
    assert str(raised.value) == f"nvidia-smi ended with exit code {code}: {' '.join(words.split(chr(10)))}"


@pytest.mark.parametrize("code", [1, *CODES])
def test_an_exit_code_without_a_word_is_told(use: Use, code: int) -> None:
    with pytest.raises(SourceUnavailableError, match=f"exit code {code}$"):
        use("", "", code).read()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("order", ["card first", "reason first"])
def test_the_cards_of_a_partial_answer_are_kept_with_the_reason(use: Use, code: int, order: str) -> None:
    lines = [GOOD, HANDLE] if order == "card first" else [HANDLE, GOOD]
    read = use("\n".join(lines), "", code).read()
    assert [card.vram_free_bytes for card in read.devices] == [48000 * 2**20]
    assert read.notes == [f"nvidia-smi ended with exit code {code}: {HANDLE}"]


@pytest.mark.parametrize("code", NO_DRIVER)
def test_nothing_is_believed_where_there_is_no_driver(use: Use, code: int) -> None:
    with pytest.raises(SourceUnavailableError, match=f"exit code {code}"):
        use(GOOD, "", code).read()


@pytest.mark.parametrize("on", ["stdout", "stderr", "nowhere"])
@pytest.mark.parametrize("cards", [1, 2])
def test_exit_14_with_a_whole_answer_is_an_answer(use: Use, on: str, cards: int) -> None:
    out = "\n".join([GOOD, SECOND][:cards] + ([INFOROM] if on == "stdout" else []))
    read = use(out, INFOROM if on == "stderr" else "", 14).read()
    assert len(read.devices) == cards
    (note,) = read.notes
    assert "14" in note and "infoROM is corrupted" in note


@pytest.mark.parametrize(
    "reason",
    ["GPU is lost", "GPU requires reset", "Unknown Error: reset", "GPU access blocked by the system"],
)
@pytest.mark.parametrize("beside", [True, False])
def test_a_card_that_is_lost_says_so_and_costs_the_others_nothing(use: Use, reason: str, beside: bool) -> None:
    read = use("\n".join([*([GOOD] if beside else []), without(reason)]), "", 0).read()
    assert [card.vram_free_bytes for card in read.devices] == [*([48000 * 2**20] if beside else []), None]
    assert read.notes == [f"nvidia-smi: GPU 1 (NVIDIA RTX A6000): {reason}"]


@pytest.mark.parametrize("reason", ["N/A", "Not Supported", "Unknown Error", "Insufficient Permissions"])
def test_what_a_card_never_has_is_no_trouble(use: Use, reason: str) -> None:
    read = use(GOOD.replace("0, 40, 20.00", f"[{reason}], [{reason}], [{reason}]"), "", 0).read()
    (card,) = read.devices
    assert (card.vram_total_bytes, card.utilization_percent, card.power_watts) == (49140 * 2**20, None, None)
    assert read.notes == []


@pytest.mark.parametrize(
    "line",
    [
        "0, GPU-1, 00000000:01:00.0, NVIDIA RTX A6000, 49140 MiB, 48000 MiB, 7 %, 40, 22.15 W",
        "0, GPU-1, 00000000:01:00.0, NVIDIA RTX A6000, 49140 MiB, 48000 MiB, 7%, 40 C, 22.15W",
        "0, GPU-1, 00000000:01:00.0, NVIDIA RTX A6000, 49140, 48000, 7, 40, 22,15",
        "0,GPU-1,00000000:01:00.0,NVIDIA RTX A6000,49140,48000,7,40,22.15",
        "  0, GPU-1, 00000000:01:00.0, NVIDIA RTX A6000, 49140, 48000, 7, 40, 22.15  ",
        "0, GPU-1, 00000000:01:00.0, NVIDIA RTX A6000, 49140, 48000, 7, 40, 22.15\r",
    ],
)
def test_units_and_locales_do_no_harm(use: Use, line: str) -> None:
    read = use(f"{line}\n", "", 0).read()
    (card,) = read.devices
    assert (card.vram_total_bytes, card.vram_free_bytes) == (49140 * 2**20, 48000 * 2**20)
    assert (card.utilization_percent, card.temperature_celsius, card.power_watts) == (7, 40, 22.15)
    assert read.notes == []


@pytest.mark.parametrize("noise", ["x" * 5000, "\x1b[31mred\x1b[0m", "a\x00b", "\ufffd", "line\n" * 200])
def test_its_words_are_bounded_and_printable(use: Use, noise: str) -> None:
    with pytest.raises(SourceUnavailableError) as raised:
        use(noise, "", 255).read()
    assert len(str(raised.value)) < 400 and str(raised.value).isprintable()


def test_who_looks_from_outside_is_told_the_reason(use: Use) -> None:
    smi = use(CODES[18], "", 18)
    seen = Outside("http://127.0.0.1:9", smi=smi, sleep=lambda _seconds: None).look("before")
    assert seen.notes == [
        "/system_stats unavailable before execution",
        f"nvidia-smi ended with exit code 18: {CODES[18]}",
    ]
    with pytest.raises(CommandError, match="Driver/library version mismatch"):
        gpu("http://127.0.0.1:9", watch=False, as_json=True)


def test_who_looks_from_outside_keeps_a_partial_answer(
    use: Use, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(f"{GOOD}\n{without('GPU is lost')}", "", 15)
    assert gpu("http://127.0.0.1:9", watch=False, as_json=True) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [device["vram_free_bytes"] for device in told["devices"]] == [48000 * 2**20]
    assert "nvidia-smi: GPU 1 (NVIDIA RTX A6000): GPU is lost" in told["fallback_notes"]


@pytest.mark.parametrize("total, known", [(GIB, None), (8 * GIB, 8 * GIB)])
def test_directml_s_fixed_gibibyte_is_no_figure(total: int, known: int | None) -> None:
    device = {"name": "privateuseone", "type": "privateuseone", "index": 0, "vram_total": total, "vram_free": total}
    seen = system_stats({"system": {}, "devices": [device]})
    assert (seen.devices[0].vram_total_bytes, seen.devices[0].vram_free_bytes) == (known, known)
    assert (NO_DIRECTML_MEMORY in seen.notes) == (known is None)


def test_a_small_card_of_another_kind_keeps_its_gibibyte() -> None:
    device = {"name": "GT 210", "type": "cuda", "index": 0, "vram_total": GIB, "vram_free": GIB // 2}
    assert system_stats({"devices": [device]}).devices[0].vram_total_bytes == GIB


def test_directml_s_memory_is_unknown_in_the_recorder_too() -> None:
    class Host:
        def devices(self, with_memory: bool) -> list[HostDevice]:
            return [HostDevice("privateuseone", 0, "privateuseone", vram_total=GIB, vram_free=GIB)]

        def loaded_models(self) -> frozenset[int] | None:
            return None

    (device,) = TorchDevices(Host()).read().devices
    assert (device.vram_total_bytes, device.vram_free_bytes) == (None, None)
