"""Why a prompt was slower, hungrier, or failed: each reason where it is so, and not where it isn't."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from run_recorder.telemetry.models.conditions import Conditions, LoadedModel
from run_recorder.telemetry.models.environment import Environment
from run_recorder.telemetry.models.gpu import Device, Figures, System
from run_recorder.telemetry.models.node import Node
from run_recorder.telemetry.models.prompt import CurrentNode, Prompt, PromptError
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.settings import settings_list
from run_recorder.telemetry.models.view import prompt_of
from run_recorder.telemetry.models.why import Why
from run_recorder.telemetry.why.comparing import Side
from run_recorder.telemetry.why.explaining import why
from run_recorder.telemetry.why.usual import LEAST_RUNS

GIB = 2**30
NODES = ("1", "2", "3")


def prompt(seconds: float | None = 10.0, *, at: int = 0, peak: int | None = 4 * GIB, **more: Any) -> Prompt:
    """A success of 10 s that ran three nodes on a card."""
    system = System(ram_total_bytes=64 * GIB, ram_free_bytes=32 * GIB, process_rss_peak_bytes=more.pop("rss", 2 * GIB))
    card = Device(name="card", type="cuda", in_use=True, vram_total_bytes=24 * GIB, vram_used_peak_bytes=peak)
    given = {
        "status": "success",
        "queued_ms": 1_000_000 + at,
        "started_ms": 1_000_000 + at,
        "duration_seconds": seconds,
        "queue_wait_seconds": 0.1,
        "workflow_fingerprint": "1:w",
        "settings_fingerprint": "2:s",
        "environment_id": "e",
        "node_total": 3,
        "node_executed": 3,
        "conditions": Conditions(warm=True, loaded=0, models=[], throttled_seconds={}, vram_others_bytes=0),
        "figures": Figures(devices=[card], system=system),
    }
    instance = more.pop("instance", "i")
    return prompt_of(PromptRecord(f"p{at}", 1, instance, **{**given, **more}), {})


def conditions(**more: Any) -> Conditions:
    told = {"warm": True, "loaded": 0, "models": [], "throttled_seconds": {}, "vram_others_bytes": 0}
    return Conditions(**{**told, **more})


def nodes(*seconds: float | None) -> list[Node]:
    """Null for a cached one."""
    empty = dict.fromkeys(Node.model_fields)
    return [
        Node(
            **{
                **empty,
                "node_id": name,
                "class_type": f"N{name}",
                "duration_seconds": took or 0.0,
                "cached": took is None,
            }
        )
        for name, took in zip(NODES, seconds, strict=False)
    ]


class Past:
    """Earlier runs, oldest first, with their nodes, settings and environments."""

    def __init__(self, runs: Sequence[Prompt], ran: Sequence[Node] = (), **sides: Any) -> None:
        self.runs = list(reversed(runs))
        self.ran = list(ran) or nodes(1.0, 8.0, 1.0)
        self.sides = sides

    def side(self, run: Prompt) -> Side:
        settings = self.sides.get("settings")
        return Side(
            run,
            self.ran,
            settings_list("s", settings) if settings is not None else None,
            self.sides.get("environment"),
        )

    def explains(self, run: Prompt, ran: Sequence[Node] = (), **sides: Any) -> Why:
        settings = sides.get("settings")
        now = Side(
            run,
            list(ran) or nodes(1.0, 8.0, 1.0),
            settings_list("t", settings) if settings is not None else None,
            sides.get("environment"),
        )
        return why(now, self.runs, self.side, lambda _run: self.ran)


def steady(count: int = 10, **more: Any) -> list[Prompt]:
    dice = random.Random(1)
    return [prompt(10.0 * dice.gauss(1, 0.01), at=number, **more) for number in range(count)]


def kinds(found: Why) -> list[str]:
    return [one.kind for one in found.reasons]


# ---------------------------------------------------------------- what is usual


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (10.0, "usual"),
        (10.3, "usual"),
        (13.0, "slower"),
        (11.5, "slower"),
        (7.0, "faster"),
        (None, None),
    ],
)
def test_the_verdict_is_by_what_is_usual(seconds: float | None, verdict: str | None) -> None:
    found = Past(steady()).explains(prompt(seconds, at=99))
    assert found.verdict == verdict
    assert found.usual is not None
    assert found.usual.median == pytest.approx(10, rel=0.02)
    assert (found.usual.runs, found.usual.interval[0] <= 10 <= found.usual.interval[1]) == (10, True)
    assert found.ratio == (pytest.approx(seconds / found.usual.median, abs=1e-3) if seconds else None)


@pytest.mark.parametrize(
    ("peak", "verdict"), [(4 * GIB, "usual"), (6 * GIB, "hungrier"), (2 * GIB, "leaner"), (4 * GIB + 2**27, "usual")]
)
def test_memory_counts_where_the_time_is_usual(peak: int, verdict: str) -> None:
    found = Past(steady()).explains(prompt(10.0, at=99, peak=peak))
    assert (found.verdict, found.nodes) == (verdict, [])
    assert found.usual_vram_bytes is not None and found.usual_vram_bytes.median == 4 * GIB


def test_noise_alone_is_hardly_ever_slower() -> None:
    dice = random.Random(7)
    wrong = 0
    for _ in range(400):
        runs = [prompt(10 * dice.lognormvariate(0, 0.05), at=number) for number in range(20)]
        wrong += Past(runs).explains(prompt(10 * dice.lognormvariate(0, 0.05), at=99)).verdict in ("slower", "faster")
    assert wrong <= 8, "2% of 400"


@pytest.mark.parametrize("count", range(LEAST_RUNS))
def test_few_runs_say_nothing_and_say_so(count: int) -> None:
    found = Past(steady(count)).explains(prompt(10.0, at=99))
    assert (found.verdict, found.usual, found.ratio, found.reasons) == ("too few runs", None, None, [])
    runs = "1 comparable run is" if count == 1 else f"{count} comparable runs are"
    times = "1 more time" if count == LEAST_RUNS - 1 else f"{LEAST_RUNS - count} more times"
    assert found.notes == [f"{runs} too few to say what is usual: run it {times}"]


@pytest.mark.parametrize(
    "other",
    [
        {"settings_fingerprint": "2:x"},
        {"settings_fingerprint": None},
        {"conditions": conditions(warm=False)},
        {"conditions": None},
        {"node_executed": 2},
        {"node_cached": 1},
        {"figures": Figures(devices=[Device(name="another card", in_use=True)])},
        {"figures": None},
    ],
)
def test_what_is_not_comparable_is_not_compared(other: dict[str, Any]) -> None:
    found = Past(steady(10, **other)).explains(prompt(30.0, at=99))
    assert (found.verdict, found.usual) == ("too few runs", None)


def test_a_prompt_without_a_fingerprint_has_no_like() -> None:
    found = Past([]).explains(prompt(workflow_fingerprint=None, settings_fingerprint=None))
    assert found.verdict == "too few runs"
    assert found.notes == ["its graph has no fingerprint, so there is nothing to hold it against"]


@pytest.mark.parametrize("status", ["queued", "running", "cancelled"])
def test_what_has_no_end_has_no_verdict(status: Any) -> None:
    found = Past(steady()).explains(prompt(None, at=99, status=status))
    assert (found.verdict, found.reasons, found.ratio) == (None, [], None)


# ---------------------------------------------------------------- reasons


def test_one_node_alone_carries_it() -> None:
    found = Past(steady()).explains(prompt(15.0, at=99), nodes(1.0, 13.0, 1.0))
    assert kinds(found) == ["node"]
    (share,) = found.nodes
    assert (share.node_id, share.usual_seconds, share.seconds, share.share_seconds) == ("2", 8.0, 13.0, 5.0)
    assert found.reasons[0].evidence == {"duration_seconds": (8.0, 13.0)}


def test_where_all_nodes_carry_it_no_one_is_blamed() -> None:
    found = Past(steady()).explains(prompt(15.0, at=99), nodes(2.5, 9.5, 3.0))
    assert kinds(found) == []
    assert {one.node_id for one in found.nodes} == set(NODES)


def test_a_usual_one_has_no_reasons() -> None:
    odd = conditions(vram_others_bytes=9 * GIB, throttled_seconds={"temperature": 9.0})
    assert kinds(Past(steady()).explains(prompt(10.0, at=99, conditions=odd))) == []


def test_a_long_wait_is_told_whatever_the_verdict() -> None:
    for seconds in (10.0, 15.0):
        found = Past(steady()).explains(prompt(seconds, at=99, queue_wait_seconds=80.0), nodes(1.0, 13.0, 1.0))
        assert kinds(found)[0] == "queue"
        assert found.reasons[0].evidence == {"queue_wait_seconds": (0.1, 80.0)}
    assert "queue" not in kinds(Past(steady()).explains(prompt(10.0, at=99, queue_wait_seconds=9.0)))


def test_a_first_run_loads_its_models() -> None:
    cold = conditions(warm=False, loaded=2, models=[LoadedModel(name="Flux")])
    found = Past(steady()).explains(prompt(25.0, at=99, conditions=cold), nodes(15.0, 9.0, 1.0))
    assert (found.verdict, kinds(found)) == ("too few runs", ["cold"])
    assert found.reasons[0].evidence == {"warm": (True, False), "loaded": (0, 2)}
    assert found.reasons[0].share_seconds is None, "how much of it is not measured"
    assert kinds(Past(steady()).explains(prompt(10.0, at=99, conditions=cold))) == [], "it took no longer"


def test_models_that_come_anew_in_each_run_are_a_reload() -> None:
    model = [LoadedModel(name="Flux"), LoadedModel(name="VAE")]
    again = conditions(warm=False, loaded=2, models=model)
    slow = [prompt(25.0, at=100 + number, conditions=again) for number in range(4)]
    found = Past([*steady(), *slow]).explains(prompt(25.0, at=199, conditions=again))
    assert found.verdict == "too few runs"
    assert "reload" in kinds(found) and "cold" not in kinds(found)
    other = conditions(warm=False, loaded=2, models=[LoadedModel(name="Other")])
    assert "reload" not in kinds(Past([*steady(), *slow]).explains(prompt(25.0, at=199, conditions=other)))


def test_what_does_not_fit_on_the_card_spills() -> None:
    def told(offloaded: int) -> Conditions:
        return conditions(models=[LoadedModel(name="Flux", device_bytes=GIB, offloaded_bytes=offloaded)])

    past = Past(steady(conditions=told(0)))
    found = past.explains(prompt(15.0, at=99, conditions=told(3 * GIB)))
    assert kinds(found) == ["spill"]
    assert (found.reasons[0].evidence, found.reasons[0].share_bytes) == ({"offloaded_bytes": (0, 3 * GIB)}, 3 * GIB)
    assert "spill" not in kinds(past.explains(prompt(15.0, at=99, conditions=told(2**20))))


def test_another_process_held_the_card() -> None:
    found = Past(steady()).explains(prompt(15.0, at=99, conditions=conditions(vram_others_bytes=5 * GIB)))
    assert kinds(found) == ["others"]
    assert "5.0 GiB" in found.reasons[0].text
    for unknown in (None, 2**20):
        told = conditions(vram_others_bytes=unknown)
        assert "others" not in kinds(Past(steady()).explains(prompt(15.0, at=99, conditions=told)))


def test_a_clock_that_was_held_down() -> None:
    hot = conditions(throttled_seconds={"temperature": 9.0, "power_limit": 0.5})
    found = Past(steady()).explains(prompt(15.0, at=99, conditions=hot))
    assert kinds(found) == ["throttled"]
    assert "its temperature" in found.reasons[0].text
    always = steady(conditions=hot)
    assert "throttled" not in kinds(Past(always).explains(prompt(15.0, at=99, conditions=hot))), "it always is"


def test_settings_that_ask_for_more() -> None:
    past = Past(steady(), settings={"3": ("Sampler", {"steps": 20, "cfg": 7.0, "tiled": False})})
    more = {"3": ("Sampler", {"steps": 30, "cfg": 8.0, "tiled": True})}
    found = past.explains(prompt(15.0, at=99, settings_fingerprint="2:t"), settings=more)
    assert (found.verdict, kinds(found)) == ("too few runs", ["more_work"])
    assert found.reasons[0].evidence == {"3.steps": (20, 30), "3.cfg": (7.0, 8.0)}
    assert "steps of node 3 (Sampler) 20 to 30" in found.reasons[0].text
    less = {"3": ("Sampler", {"steps": 10, "cfg": 7.0, "tiled": False})}
    assert kinds(past.explains(prompt(15.0, at=99, settings_fingerprint="2:t"), settings=less)) == []


def test_what_its_like_has_too_is_no_reason() -> None:
    other = prompt(5.0, at=50, settings_fingerprint="2:other", environment_id="other")
    past = Past([*steady(), other], settings={"3": ("Sampler", {"steps": 20})}, environment=Environment(id="e"))
    sides = {"settings": {"3": ("Sampler", {"steps": 20})}, "environment": Environment(id="e")}
    asked: list[str] = []
    honest = past.side
    past.side = lambda run: asked.append(run.prompt_id) or honest(run)  # type: ignore[method-assign, func-returns-value]
    found = past.explains(prompt(20.0, at=99), nodes(1.0, 18.0, 1.0), **sides)
    assert (found.verdict, kinds(found)) == ("slower", ["node"])
    assert other.prompt_id not in asked


def test_nodes_that_were_cached_before() -> None:
    past = Past(steady(node_executed=1, node_cached=2), nodes(None, None, 1.0))
    found = past.explains(prompt(19.0, at=99), nodes(1.0, 8.0, 1.0))
    assert (found.verdict, kinds(found)) == ("too few runs", ["cache"])
    assert (found.reasons[0].evidence, found.reasons[0].share_seconds) == ({"cached": (2, 0)}, 9.0)


def test_what_changed_since_is_named_and_not_blamed() -> None:
    before = Environment(id="e", torch_version="2.8", distributions={"numpy": "1"})
    past = Past(steady(), environment=before)
    one = Environment(id="f", torch_version="2.9", distributions={"numpy": "1"})
    found = past.explains(prompt(15.0, at=99, environment_id="f"), environment=one)
    assert kinds(found) == ["environment"]
    assert (found.reasons[0].evidence, found.reasons[0].confidence) == ({"torch_version": ("2.8", "2.9")}, 0.5)
    two = Environment(id="f", torch_version="2.9", distributions={"numpy": "2"})
    found = past.explains(prompt(15.0, at=99, environment_id="f"), environment=two)
    assert (found.reasons[0].confidence, "2 things changed at once" in found.reasons[0].text) == (0.3, True)
    assert kinds(past.explains(prompt(15.0, at=99), environment=before)) == []


def test_a_process_that_grows_from_run_to_run() -> None:
    growing = [prompt(10.0, at=number, rss=(2 + number) * GIB) for number in range(8)]
    found = Past(growing).explains(prompt(15.0, at=99, rss=11 * GIB))
    assert kinds(found) == ["drift"]
    assert found.reasons[0].evidence == {"process_rss_peak_bytes": (2 * GIB, 11 * GIB)}
    assert "drift" not in kinds(Past(growing).explains(prompt(15.0, at=99, rss=GIB)))
    jumped = [prompt(10.0, at=number) for number in range(8)]
    assert "drift" not in kinds(Past(jumped).explains(prompt(15.0, at=99, rss=4 * GIB))), "one jump is no growth"
    mostly = [prompt(10.0, at=number, rss=2 * GIB + number) for number in range(8)]
    assert "drift" not in kinds(Past(mostly).explains(prompt(15.0, at=99, rss=4 * GIB)))
    elsewhere = prompt(15.0, at=99, rss=11 * GIB, instance="another process")
    assert "drift" not in kinds(Past(growing).explains(elsewhere))


def test_the_surest_reason_comes_first() -> None:
    hot = conditions(throttled_seconds={"temperature": 9.0}, vram_others_bytes=5 * GIB)
    before = Environment(id="e", torch_version="2.8")
    past = Past(steady(), environment=before)
    run = prompt(15.0, at=99, conditions=hot, environment_id="f", queue_wait_seconds=99.0)
    found = past.explains(run, environment=Environment(id="f", torch_version="2.9"))
    assert kinds(found) == ["queue", "throttled", "others", "environment"]


# ---------------------------------------------------------------- failures


def failed(kind: str | None, message: str, status: Any = "error", **more: Any) -> Why:
    error = PromptError(node_id="2", class_type="Sampler", exception_type=kind, message=message)
    return Past(steady()).explains(prompt(3.0, at=99, status=status, error=error, **more))


@pytest.mark.parametrize(
    ("kind", "message", "told"),
    [
        ("ValueError", "bad", "node_error"),
        (None, "", "node_error"),
        ("FileNotFoundError", "[Errno 2] No such file or directory: 'x'", "missing_file"),
        ("OSError", "[Errno 28] No space left on device", "disk_full"),
        ("RuntimeError", "CUDA error: an illegal memory access was encountered", "driver"),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "driver"),
        ("torch.OutOfMemoryError", "Allocation on device", "out_of_memory"),
        ("MemoryError", "", "host_out_of_memory"),
    ],
)
def test_an_error_has_a_kind(kind: str | None, message: str, told: str) -> None:
    found = failed(kind, message)
    assert (found.verdict, kinds(found), found.ratio) == ("failed", [told], None)
    assert found.usual is not None, "what it usually takes is known all the same"
    assert "node 2 (Sampler)" in found.reasons[0].text
    assert found.reasons[0].confidence == 1


def test_a_class_that_is_not_installed() -> None:
    assert kinds(failed("missing_node_type", "Node 'X' not found", status="refused")) == ["missing_node"]


OOM = (
    "CUDA out of memory. Tried to allocate {asked}. GPU 0 has a total capacity of 24.00 GiB of which 1.00 GiB is free."
)


@pytest.mark.parametrize(
    ("message", "others", "advice"),
    [
        (OOM.format(asked="30.00 GiB"), None, "more than the card's 24.0 GiB"),
        (OOM.format(asked="4.00 GiB"), 5 * GIB, "Other processes held 5.0 GiB"),
        (OOM.format(asked="4.00 GiB"), None, None),
        (OOM.format(asked="9.00 GiB"), 5 * GIB, None),
        (
            OOM.format(asked="2.00 GiB")
            + " Of the allocated memory 18.00 GiB is allocated by PyTorch, and 3.00 GiB is reserved by PyTorch but"
            " unallocated.",
            None,
            "torch kept 3.0 GiB in pieces",
        ),
    ],
)
def test_advice_follows_from_the_figures_or_is_not_given(message: str, others: int | None, advice: str | None) -> None:
    found = failed("torch.OutOfMemoryError", message, conditions=conditions(vram_others_bytes=others))
    (reason,) = found.reasons
    assert "it asked for" in reason.text and "1.0 GiB was free" in reason.text
    assert (reason.text.count(". ") > 0) == (advice is not None)
    assert advice is None or advice in reason.text
    assert reason.evidence["total_bytes"] == (None, 24 * GIB)


@pytest.mark.parametrize(("free", "told"), [(32 * GIB, ["killed"]), (GIB, ["host_out_of_memory", "killed"])])
def test_a_process_that_ended_says_in_which_node_and_what_memory_was(free: int, told: list[str]) -> None:
    figures = Figures(devices=[], system=System(ram_total_bytes=64 * GIB, ram_free_bytes=free))
    node = CurrentNode(node_id="2", class_type="Sampler", title=None)
    run = prompt(None, at=99, status="abandoned", figures=figures, current_node=node, seen_ms=5)
    found = Past(steady()).explains(run)
    assert (found.verdict, kinds(found)) == ("failed", told)
    assert all("while node 2 (Sampler) ran" in one.text for one in found.reasons)


def test_an_interrupted_one_was_interrupted() -> None:
    found = Past(steady()).explains(prompt(3.0, at=99, status="interrupted"))
    assert (found.verdict, kinds(found)) == (None, ["interrupted"])
