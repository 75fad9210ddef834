"""What nvidia-smi says, and what it says when something is wrong."""

import time
from pathlib import Path

import pytest
from run_recorder.telemetry.gpu.nvidia_smi import FIELDS, NvidiaSmi, parse
from run_recorder.telemetry.gpu.reading import SourceUnavailableError

from ..fakes import fake_smi

MEBIBYTE = 1024 * 1024
ONE = "0, GPU-7f0c, 00000000:01:00.0, NVIDIA GeForce RTX 4090, 24564, 22000, 37, 61, 312.45"


def use(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{fake_smi(folder, script)}:/usr/bin:/bin")


def test_one_card_is_read_and_its_megabytes_become_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, f'echo "{ONE}"; echo "$@" > {tmp_path}/asked; echo "$LC_ALL" >> {tmp_path}/asked', monkeypatch)
    smi = NvidiaSmi()
    smi.probe()
    (card,) = smi.read().devices
    assert (card.index, card.uuid, card.pci) == (0, "GPU-7f0c", "0000:01:00.0")
    assert card.name == "NVIDIA GeForce RTX 4090"
    assert (card.vram_total_bytes, card.vram_free_bytes) == (24564 * MEBIBYTE, 22000 * MEBIBYTE)
    assert (card.utilization_percent, card.temperature_celsius, card.power_watts) == (37, 61, 312.45)
    assert not card.in_use
    asked, locale = (tmp_path / "asked").read_text().splitlines()
    assert asked == f"--query-gpu={','.join(FIELDS)} --format=csv,noheader,nounits"
    assert locale == "C"
    smi.close()


def test_eight_cards_are_eight_devices() -> None:
    lines = [ONE.replace("0, GPU-7f0c", f"{n}, GPU-{n}").replace(":01:", f":0{n}:") for n in range(8)]
    assert [card.uuid for card in parse("\n".join(lines))] == [f"GPU-{n}" for n in range(8)]


@pytest.mark.parametrize("nothing", ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "ERR!", "", "nan", "-5"])
def test_what_a_card_does_not_tell_is_null(nothing: str) -> None:
    words = ["0", "GPU-1", "00000000:01:00.0", "Quadro", nothing, nothing, nothing, nothing, nothing]
    (card,) = parse(", ".join(words))
    temperature = -5 if nothing == "-5" else None
    assert card.temperature_celsius == temperature
    figures = (card.vram_total_bytes, card.vram_free_bytes, card.utilization_percent, card.power_watts)
    assert figures == (None, None, None, None)


def test_a_locale_with_commas_tears_no_column() -> None:
    (card,) = parse(ONE.replace("312.45", "312,45"))
    assert (card.power_watts, card.temperature_celsius) == (312.45, 61)


@pytest.mark.parametrize(
    "garbage",
    ["", "No devices were found", "\x00\xff\x01", "a, b, c", ", ".join(["x"] * 9), "Unable to determine: GPU is lost"],
)
def test_garbage_is_no_device(garbage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(garbage) == []
    use(tmp_path, "printf 'no, cards'", monkeypatch)
    with pytest.raises(SourceUnavailableError, match="nothing that can be understood"):
        NvidiaSmi().read()


def test_a_hang_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, "exec sleep 60", monkeypatch)
    began = time.monotonic()
    with pytest.raises(SourceUnavailableError, match=r"did not answer in 0\.2 s"):
        NvidiaSmi(seconds=0.2).read()
    assert time.monotonic() - began < 30


def test_exit_9_is_a_driver_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tmp_path, f'echo "{ONE}"; exit 9', monkeypatch)
    with pytest.raises(SourceUnavailableError, match="exit code 9"):
        NvidiaSmi().read()


def test_without_the_program_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailableError) as raised:
        NvidiaSmi().probe()
    assert raised.value.absent
    with pytest.raises(SourceUnavailableError, match="can't be run"):
        NvidiaSmi().read()
