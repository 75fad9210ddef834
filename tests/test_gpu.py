"""Figures of GPU and memory, through the whole process: what was sampled is what the fakes said."""

import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .fakes import FAKE_CUDA_PACK, GIB, FakeNvml, Said, build_nvml, card, fake_smi
from .graphs import Graph
from .hosts import CLI, Host, cli

MIB = 1024**2
A, B = (f"GPU-00000000-0000-0000-0000-00000000000{n}" for n in (1, 2))
CPU_NOTE = "device cpu has no memory of its own: its figures are null, and system has the host's"


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path) -> FakeNvml:
    fake = FakeNvml(nvml_library, tmp_path / "nvml")
    fake.says("init 0", card())
    return fake


@pytest.fixture(scope="session")
def card_host(
    host_kind: str, nvml_library: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, FakeNvml]]:
    """A server that has one card, and what it is told by: shared by the tests that leave it idle."""
    base = tmp_path_factory.mktemp(f"card-{host_kind}")
    fake = FakeNvml(nvml_library, base / "nvml")
    fake.says("init 0", card())
    host = Host(host_kind, base / "host", packs=[FAKE_CUDA_PACK], env={**fake.env, "FAKE_CUDA": cuda()})
    try:
        yield until_carded(host.start()), fake
    finally:
        host.stop()


@pytest.fixture
def start_embedded(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """For what has nothing to do with ComfyUI's own: servers of the quick kind alone."""
    started: list[Host] = []

    def start(**options: Any) -> Host:
        started.append(Host("embedded", tmp_path / f"host{len(started)}", **options))
        return started[-1].start()

    yield start
    for host in started:
        host.stop()


def cuda(**given: Any) -> str:
    """One CUDA device, as torch tells of it."""
    return json.dumps([{"name": "Fake A", "total": 8 * GIB, "uuid": A[4:], **given}])


def work(*steps: tuple[int, float], **more: Any) -> Graph:
    """A graph of one node that allocates, sleeps and frees."""
    graph = Graph()
    graph.add("FakeCudaWork", id="work", steps=json.dumps(steps), salt=random.random(), **more)
    return graph


def held(host: Host) -> int:
    """What the fake allocator holds now: it lives as long as its process.

    The first prompt may be too short for a reading, or begin with one that was made before the fake card was put in.
    """

    def told() -> Any:
        record = host.run(work((0, 0.0)))
        return record if [device["type"] for device in record["devices"] if device["in_use"]] == ["cuda"] else None

    return int(own(host.until(told))["torch_allocated_peak_bytes"])


def until_carded(host: Host) -> Host:
    """Wait until the fake card, whose pack is loaded after ours, is what ComfyUI is taken to use."""

    def in_use() -> bool:
        status, body = host.get("/telemetry/gpu")
        return status == 200 and [one["type"] for one in body["devices"] if one["in_use"]] == ["cuda"]

    host.until(in_use)
    return host


def until_quiet(host: Host, nvml: FakeNvml) -> None:
    """Wait until the last prompt's last reading is so old that the next prompt makes its own."""
    host.until(lambda: len(nvml.said()) == (time.sleep(0.1), len(nvml.said()))[1])


def own(record: Any) -> Any:
    """ComfyUI's own device."""
    (device,) = [device for device in record["devices"] if device["in_use"]]
    return device


def samples(host: Host, record: Any) -> Any:
    status, body = host.get(f"/telemetry/prompts/{record['prompt_id']}/samples")
    assert status == 200
    return body


# --- a processor, and nothing else


def test_on_a_processor_the_device_is_cpu_with_the_hosts_memory_and_one_note(host: Host) -> None:
    earlier = len(host.log_text())
    graph = Graph()
    graph.slow(0.6)
    record = host.run(graph)
    (device,) = record["devices"]
    assert (device["type"], device["name"], device["in_use"]) == ("cpu", "cpu", True)
    known = {"type", "name", "in_use", "source"}
    assert {name: value for name, value in device.items() if value is not None and name not in known} == {}
    system = record["system"]
    assert system["ram_total_bytes"] > system["ram_free_bytes"] > 0
    assert system["process_rss_peak_bytes"] >= system["process_rss_bytes"] > MIB
    assert 0 <= system["cpu_percent"] <= 100
    assert record["telemetry_source"] == "psutil"
    assert record["fallback_notes"] == [CPU_NOTE]
    assert record["notes"] == []
    for node in host.nodes(record["prompt_id"]):
        assert (node["vram_used_peak_bytes"], node["vram_delta_bytes"]) == (None, None)
    body = samples(host, record)
    assert set(body["system"]) >= {"ram_free_bytes", "process_rss_bytes", "cpu_percent"}
    assert body["devices"] == {}
    assert 0.6 <= body["t_seconds"][-1] < record["duration_seconds"] + 1
    told = host.log_text()[earlier:]
    assert "Traceback" not in told
    assert not [word for word in ("ERROR", "WARNING", "Run Recorder") if word in told]


def test_live_figures_are_told_while_nothing_runs_and_while_a_prompt_does(host: Host) -> None:
    for _ in range(2):
        status, body = host.get("/telemetry/gpu")
        assert status == 200
        assert body["devices"][0]["type"] == "cpu"
        assert body["system"]["ram_free_bytes"] > 0
        assert body["system"]["cpu_percent"] is not None
        assert body["telemetry_source"] == "psutil"
        assert body["fallback_notes"] == [CPU_NOTE]
        graph = Graph()
        graph.slow(1.0)
        prompt_id = host.queue(graph)
        host.until_running(prompt_id)
    assert host.record(prompt_id)["system"]["ram_total_bytes"] > 0
    assert host.until(lambda: len(samples(host, host.record(prompt_id))["t_seconds"]) >= 2)
    host.wait(prompt_id)


def test_health_says_what_the_sampler_does(host: Host) -> None:
    graph = Graph()
    graph.slow(0.8)
    prompt_id = host.queue(graph)
    host.until_running(prompt_id)
    told = host.health()["sampler"]
    assert (told["source"], told["interval_seconds"], told["state"]) == ("psutil", 0.2, "sampling")
    assert any(note.startswith("sysfs: ") for note in told["notes"])
    host.wait(prompt_id)
    assert host.until(lambda: host.health()["sampler"]["state"] == "idle")


def test_samples_of_a_prompt_that_was_never_seen_are_not_found(host: Host) -> None:
    assert host.get("/telemetry/prompts/nobody/samples")[0] == 404


# --- a card, by the fake NVML


def weighted(answers: list[Said], starts: float) -> float:
    """The mean of readings, each for the time since the one before it: computed anew, from the fake's own log."""
    total = seconds = 0.0
    before = starts
    for said in answers:
        total += float(said.word) * (said.seconds - before)
        seconds += said.seconds - before
        before = said.seconds
    return total / seconds


def between(answers: list[Said], key: str, first: int, last: int, number: int = 0) -> list[Said]:
    return [said for said in answers[first:last] if said.key == key and said.card == number]


def test_a_prompts_figures_are_exactly_what_the_card_said(card_host: tuple[Host, FakeNvml]) -> None:
    host, nvml = card_host
    before = held(host)
    until_quiet(host, nvml)
    used = [GIB, 2 * GIB, 5 * GIB, 3 * GIB, 3 * GIB, 2 * GIB]
    load, power = [0, 50, 100, 70, 30, 20], [50_000, 150_000, 300_000, 250_000, 100_000, 60_000]
    energy = [10_000_000 + 17_000 * n for n in range(100)]
    nvml.says(
        "init 0", card(used=used, util=load, power=power, energy=energy, temp=[40, 50, 61, 55], throttle=[0, 4, 4, 0])
    )
    first = len(nvml.said())
    graph = work((100 * MIB, 0.3), (400 * MIB, 0.3), (-450 * MIB, 0.1))
    graph.add("FakeCudaWork", id="second", source=["work", 0], steps=json.dumps([(20 * MIB, 0.3), (-70 * MIB, 0.0)]))
    record = host.run(graph)
    said = nvml.said()
    device = own(record)

    answers = {key: between(said, key, first, len(said)) for key in ("used", "util", "power", "energy", "temp")}
    assert len(answers["used"]) >= 4
    numbers = {key: [int(answer.word) for answer in found] for key, found in answers.items()}
    assert device["vram_used_peak_bytes"] == max(numbers["used"])
    assert device["vram_free_before_bytes"] == 8 * GIB - numbers["used"][0]
    assert device["vram_free_after_bytes"] == 8 * GIB - numbers["used"][-1]
    assert device["utilization_percent_max"] == max(numbers["util"])
    assert device["temperature_celsius_max"] == max(numbers["temp"])
    assert device["energy_joules"] == (numbers["energy"][-1] - numbers["energy"][0]) / 1000
    starts = answers["util"][0].seconds
    assert device["utilization_percent_mean"] == pytest.approx(weighted(answers["util"], starts), abs=1.0)
    assert device["power_watts_mean"] == pytest.approx(weighted(answers["power"], starts) / 1000, abs=3.0)

    body = samples(host, record)
    assert body["devices"]["0"]["vram_used_bytes"] == numbers["used"]
    assert body["devices"]["0"]["utilization_percent"] == numbers["util"]
    gaps = [0.0, *body["t_seconds"]]
    own_mean = sum(v * (b - a) for v, a, b in zip(numbers["util"], gaps, gaps[1:], strict=False)) / gaps[-1]
    assert device["utilization_percent_mean"] == pytest.approx(own_mean, abs=0.5)

    assert device["torch_allocated_peak_bytes"] == before + 500 * MIB
    assert device["torch_reserved_peak_bytes"] == before + 500 * MIB
    nodes = {node["node_id"]: node for node in host.nodes(record["prompt_id"])}
    assert (nodes["work"]["vram_used_peak_bytes"], nodes["work"]["vram_delta_bytes"]) == (before + 500 * MIB, 50 * MIB)
    assert (nodes["second"]["vram_used_peak_bytes"], nodes["second"]["vram_delta_bytes"]) == (
        before + 70 * MIB,
        -50 * MIB,
    )
    assert record["telemetry_source"] == "nvml+torch+psutil"
    assert (device["uuid"], device["type"], device["index"], device["source"]) == (A, "cuda", 0, "nvml+torch")
    assert record["fallback_notes"] == []
    (note,) = record["notes"]
    assert note.startswith("cuda:0 was held down by its power limit in 2 of ")


def test_a_card_that_is_lost_and_comes_back_leaves_a_gap_a_note_and_figures_after_it(
    card_host: tuple[Host, FakeNvml],
) -> None:
    host, nvml = card_host
    until_quiet(host, nvml)
    nvml.says("init 0", card())
    prompt_id = host.queue(work(*[(MIB, 0.1)] * 100))
    host.until_running(prompt_id)

    def readings() -> list[Any]:
        return samples(host, {"prompt_id": prompt_id})["devices"].get("0", {}).get("utilization_percent", [])

    host.until(lambda: len(readings()) >= 3)
    nvml.says("init 0", card(total="L"))
    host.until(lambda: readings()[-2:] == [None, None])
    nvml.says("init 0", card(util=77))
    host.until(lambda: readings()[-1] == 77, 20)
    host.interrupt()
    record = host.wait(prompt_id)
    device = own(record)
    assert device["utilization_percent_max"] == 77
    (note,) = record["fallback_notes"]
    assert note.startswith("cuda:0 could not be read by nvml for ")
    assert "GPU is lost" in note
    found = samples(host, record)["devices"]["0"]["utilization_percent"]
    assert found[0] == 10
    assert found[-1] == 77
    assert None in found
    assert host.health()["status"] == "ok" or all(p["what"] == "metrics" for p in host.health()["problems"])


def test_with_two_cards_and_cuda_visible_devices_the_record_speaks_of_the_second(
    start_host: Callable[..., Host], nvml: FakeNvml
) -> None:
    nvml.says(
        "init 0",
        card(name="Fake_A", used=GIB, util=11),
        card(name="Fake_B", uuid=B, pci="00000000:02:00.0", used=3 * GIB, util=88),
    )
    seen = {"CUDA_VISIBLE_DEVICES": "1", "FAKE_CUDA": cuda(name="Fake B", uuid=B[4:])}
    host = until_carded(start_host(packs=[FAKE_CUDA_PACK], env={**nvml.env, **seen}))
    record = host.run(work((MIB, 0.3)))
    device, other = record["devices"]
    assert (device["in_use"], device["uuid"], device["index"]) == (True, B, 0)
    assert (device["utilization_percent_max"], device["vram_used_peak_bytes"]) == (88, 3 * GIB)
    assert (other["in_use"], other["uuid"], other["utilization_percent_max"]) == (False, A, 11)
    assert record["fallback_notes"] == []


def test_a_node_that_fails_has_its_peak_and_so_has_the_prompt(card_host: tuple[Host, FakeNvml]) -> None:
    host, _ = card_host
    host.run(work((-held(host), 0.0)))
    record = host.run(work((300 * MIB, 0.05), (-100 * MIB, 0.0), fail=True))
    assert record["status"] == "error"
    assert own(record)["torch_allocated_peak_bytes"] == 300 * MIB
    (node,) = host.nodes(record["prompt_id"])
    assert (node["vram_used_peak_bytes"], node["vram_delta_bytes"]) == (300 * MIB, 200 * MIB)
    again = host.run(work((10 * MIB, 0.0), (-210 * MIB, 0.0)))
    assert own(again)["torch_allocated_peak_bytes"] == 210 * MIB


def test_without_nvml_torch_tells_what_it_can_and_a_note_says_what_is_missing(
    start_embedded: Callable[..., Host],
) -> None:
    env = {"FAKE_CUDA": cuda(), "RUN_RECORDER_GPU_SOURCES": "torch,psutil"}
    host = until_carded(start_embedded(packs=[FAKE_CUDA_PACK], env=env))
    record = host.run(work((GIB, 0.3)))
    device = own(record)
    assert (device["vram_total_bytes"], device["vram_used_peak_bytes"]) == (8 * GIB, GIB)
    assert device["source"] == "torch"
    (note,) = record["fallback_notes"]
    assert note == "cuda:0: no source tells utilization_percent, temperature_celsius, power_watts"


def test_a_wrong_setting_is_refused_with_what_is_accepted_and_the_default_is_used(
    start_embedded: Callable[..., Host],
) -> None:
    env = {"RUN_RECORDER_SAMPLER_INTERVAL_SECONDS": "0", "RUN_RECORDER_GPU_SOURCES": "psutil,crystal"}
    host = start_embedded(env=env)
    health = host.health()
    hints = {problem["what"]: problem["hint"] for problem in health["problems"] if problem["count"] == 1}
    interval, sources = (hints[f"setting {name}"] for name in env)
    assert "RUN_RECORDER_SAMPLER_INTERVAL_SECONDS='0'" in interval
    assert "from 0.05 to 60; 0.2 is used" in interval
    assert "'psutil,crystal': give any of nvml, amdsmi, sysfs, torch, psutil" in sources
    assert health["sampler"]["interval_seconds"] == 0.2
    graph = Graph()
    graph.slow(0.1)
    assert host.run(graph)["system"]["ram_total_bytes"] > 0


def test_sampling_can_be_turned_off(start_embedded: Callable[..., Host]) -> None:
    host = start_embedded(env={"RUN_RECORDER_GPU_SOURCES": "none"})
    graph = Graph()
    graph.slow(0.1)
    record = host.run(graph)
    assert (record["devices"], record["system"], record["telemetry_source"]) == ([], None, None)
    assert record["fallback_notes"] == [
        "no figures of GPU and memory were sampled: RUN_RECORDER_GPU_SOURCES turns it off"
    ]
    assert host.health()["sampler"] == {"source": None, "interval_seconds": None, "state": "off", "notes": []}
    body = host.get("/telemetry/gpu")[1]
    assert body["devices"] == []
    assert body["fallback_notes"]


# --- metrics, the node and the command, over the same card


def test_metrics_have_the_card_and_the_models(card_host: tuple[Host, FakeNvml]) -> None:
    host, nvml = card_host
    reply = host.request("GET", "/telemetry/metrics")
    if reply.status == 503:
        pytest.skip("this ComfyUI has no prometheus-client")
    until_quiet(host, nvml)
    nvml.says("init 0", card(used=3 * GIB, util=25, temp=51, power=120_000, energy=9_000))
    text = host.request("GET", "/telemetry/metrics").body
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("comfyui_gpu"))
    assert {name: float(value) for name, value in figures.items()} == {
        f'comfyui_gpu_memory_used_bytes{{gpu="{A}"}}': 3 * GIB,
        f'comfyui_gpu_memory_total_bytes{{gpu="{A}"}}': 8 * GIB,
        f'comfyui_gpu_utilization_ratio{{gpu="{A}"}}': 0.25,
        f'comfyui_gpu_temperature_celsius{{gpu="{A}"}}': 51,
        f'comfyui_gpu_power_watts{{gpu="{A}"}}': 120,
        f'comfyui_gpu_energy_joules_total{{gpu="{A}"}}': 9,
    }
    assert "comfyui_model_swaps_total 0.0" in text


def node_texts(host: Host, record: Any) -> dict[str, list[str]]:
    outputs = host.get(f"/history/{record['prompt_id']}")[1][record["prompt_id"]]["outputs"]
    return {node_id: shown["text"] for node_id, shown in outputs.items() if "text" in shown}


def test_the_node_tells_what_is_free_between_two_nodes_and_passes_on_what_comes_in(
    card_host: tuple[Host, FakeNvml], folder: str
) -> None:
    host, nvml = card_host
    nvml.says("init 0", card(used=2 * GIB, util=25, temp=51, power=120_000))
    graph = Graph()
    told = graph.add("GPUTelemetry", id="told", after=graph.image())
    graph.save(told, f"{folder}/a")
    for place in (1, 2, 3):
        graph.add("PreviewAny", id=f"out{place}", source=["told", place])
    graph.add("GPUTelemetry", id="alone")
    first = host.run(graph)
    assert first["status"] == "success"
    assert [file["filename"] for file in first["outputs"]] == ["a_00001_.png"]
    shown = node_texts(host, first)
    line = "Fake_A: 6.0 GiB of 8.0 GiB free, 25% busy, 51 \N{DEGREE SIGN}C, 120 W"
    assert shown["told"] == shown["alone"] == [line]
    assert [int(shown[name][0]) for name in ("out1", "out2")] == [6 * GIB, 2 * GIB]
    snapshot = json.loads(shown["out3"][0])
    assert snapshot["devices"][0]["uuid"] == A
    assert snapshot["telemetry_source"] == "nvml+torch+psutil"
    nvml.says("init 0", card(used=7 * GIB))
    again = host.run(graph)
    assert node_texts(host, again)["told"][0].startswith("Fake_A: 1.0 GiB of 8.0 GiB free")
    assert (told[0], again["node_counts"]["executed"] >= 2) == ("told", True)


def test_on_a_processor_the_node_tells_the_hosts_memory(host: Host) -> None:
    graph = Graph()
    graph.add("GPUTelemetry", id="alone")
    ((line,),) = node_texts(host, host.run(graph)).values()
    assert line.startswith("cpu: ")
    assert line.endswith(" of the host's memory free")


def test_the_command_shows_what_the_server_sees(card_host: tuple[Host, FakeNvml]) -> None:
    host, nvml = card_host
    nvml.says("init 0", card(used=2 * GIB, util=25, temp=51, power=120_000))
    shown = cli("gpu", "--comfyui", host.url)
    assert shown.returncode == 0
    for word in ("GPU, by /telemetry/gpu", "cuda:0", "Fake_A", "6.0", "8.0", "25", "51", "120", "nvml+torch", "Host: "):
        assert word in shown.stdout
    body = json.loads(cli("gpu", "--comfyui", host.url, "--json").stdout)
    assert body["devices"][0]["vram_free_bytes"] == 6 * GIB
    assert body["telemetry_source"] == "nvml+torch+psutil"


def test_the_command_watches_until_it_is_interrupted(card_host: tuple[Host, FakeNvml]) -> None:
    host, _ = card_host
    command = [*CLI, "gpu", "--comfyui", host.url, "--watch", "--interval", "0.2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130
    assert [line["devices"][0]["type"] for line in lines] == ["cuda", "cuda"]


def test_without_a_server_the_command_asks_nvidia_smi_and_says_so(tmp_path: Path) -> None:
    smi = fake_smi(tmp_path, 'echo "0, GPU-1, 00000000:01:00.0, RTX Test, 8192, 4096, 3, 41, 21.52"')
    env = {"PATH": f"{smi}:/usr/bin:/bin"}
    shown = cli("gpu", "--comfyui", "http://127.0.0.1:9", env=env)
    assert shown.returncode == 0
    assert "RTX Test" in shown.stdout
    assert "Note: /system_stats unavailable; used nvidia-smi fallback" in shown.stdout


def test_with_nothing_to_ask_the_command_ends_with_2(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path)}
    done = cli("gpu", "--comfyui", "http://127.0.0.1:9", "--json", env=env)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["type"] == "unavailable"
