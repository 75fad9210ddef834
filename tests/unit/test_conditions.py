"""The conditions of a prompt: what the host told at its borders, what came before it, what the sampler saw."""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from run_recorder.comfyui_host.conditions import MOST_MODELS, host_state
from run_recorder.comfyui_host.torch import Torch
from run_recorder.telemetry.gpu.merging import Snapshot
from run_recorder.telemetry.gpu.reading import DeviceReading, SystemReading
from run_recorder.telemetry.gpu.session import Session
from run_recorder.telemetry.gpu.witness import traffic
from run_recorder.telemetry.models.times import Stamp
from run_recorder.telemetry.record.events import (
    HostState,
    ModelState,
    PromptDone,
    PromptOutcome,
    PromptStarted,
    PromptUnqueued,
)

from .desk import GRAPH, Desk, now

Modules = Callable[..., None]
GIB = 2**30


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    """Puts what it is given in the place of ComfyUI's model management and attention, and of torch."""

    def put(management: Any = None, attention: Any = None, torch: Any = None) -> None:
        named = {"comfy.model_management": management, "comfy.ldm.modules.attention": attention, "torch": torch}
        for name, module in named.items():
            monkeypatch.setitem(sys.modules, name, module)

    return put


def attention_pytorch() -> None: ...


def attention_sub_quad() -> None: ...


def loaded(name: str = "Flux", size: int = 10, on_device: int = 4, patches: int = 2) -> SimpleNamespace:
    model = type(name, (), {})()
    patcher = SimpleNamespace(
        model=model, model_size=lambda: size, loaded_size=lambda: on_device, patches=dict.fromkeys(range(patches))
    )
    return SimpleNamespace(model=patcher)


def torch_of(**more: Any) -> ModuleType:
    made: Any = ModuleType("torch")
    made.backends = SimpleNamespace(
        cudnn=SimpleNamespace(benchmark=True), cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False))
    )
    made.are_deterministic_algorithms_enabled = lambda: False
    made.get_float32_matmul_precision = lambda: "highest"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def managing(*models: Any, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        vram_state=SimpleNamespace(name="NORMAL_VRAM"), **{"current_loaded_models": list(models), **more}
    )


# ---------------------------------------------------------------- what the host tells


def test_all_is_told_where_all_is_there(modules: Modules) -> None:
    flux = loaded()
    modules(managing(flux), SimpleNamespace(optimized_attention=attention_pytorch), torch_of())
    assert host_state() == HostState(
        attention="pytorch",
        vram_mode="normal_vram",
        cudnn_benchmark=True,
        allow_tf32=False,
        deterministic=False,
        float32_matmul_precision="highest",
        models=(ModelState(id(flux.model.model), "Flux", 4, 6, 2),),
    )


def test_clones_of_a_model_share_its_weights_and_are_the_same_model(modules: Modules) -> None:
    one, clone = loaded(), loaded()
    clone.model.model = one.model.model
    marks = []
    for entry in (one, clone):
        modules(managing(entry))
        marks.append([model.mark for model in host_state().models or ()])
        assert Torch().loaded_models() == frozenset(marks[-1])
    assert marks[0] == marks[1]


def test_without_torch_and_models_nothing_is_told(modules: Modules) -> None:
    modules()
    assert host_state() == HostState()


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (attention_sub_quad, "sub_quadratic"),
        (attention_pytorch, "pytorch"),
        (len, "len"),
        (SimpleNamespace(), "SimpleNamespace"),
    ],
)
def test_attention_is_called_what_people_call_it(modules: Modules, function: Any, told: str) -> None:
    modules(attention=SimpleNamespace(optimized_attention=function))
    assert host_state().attention == told


def fails(*_: Any) -> Any:
    raise RuntimeError("the driver is gone")


@pytest.mark.parametrize(
    "entry",
    [
        SimpleNamespace(model=None),
        SimpleNamespace(),
        SimpleNamespace(model=SimpleNamespace(model_size=fails, loaded_size=fails)),
        SimpleNamespace(model=SimpleNamespace(model_size=lambda: -1, loaded_size=lambda: "x", patches=None)),
        SimpleNamespace(model=SimpleNamespace(model=None, model_size=lambda: 2**70, loaded_size=lambda: 1.5)),
    ],
)
def test_a_model_of_another_form_costs_nothing(modules: Modules, entry: Any) -> None:
    modules(managing(entry), torch=torch_of(get_float32_matmul_precision=fails, are_deterministic_algorithms_enabled=7))
    found = host_state()
    assert found.vram_mode == "normal_vram"
    assert (found.deterministic, found.float32_matmul_precision) == (None, None)
    for model in found.models or ():
        assert model.patches is None


@pytest.mark.parametrize("models", [None, "x", {}, 5])
def test_a_list_of_models_of_another_form_is_not_known(modules: Modules, models: Any) -> None:
    modules(managing(current_loaded_models=models))
    assert host_state().models is None


def test_of_very_many_models_the_first_are_told(modules: Modules) -> None:
    modules(managing(*(loaded() for _ in range(MOST_MODELS + 5))))
    assert len(host_state().models or ()) == MOST_MODELS


# ---------------------------------------------------------------- what a record says


def state(*marks: int, **more: Any) -> HostState:
    models = tuple(ModelState(mark, f"M{mark}", GIB, 0, 0) for mark in marks)
    return HostState(**{"attention": "sage", "models": models, **more})


def ran(
    desk: Desk, prompt_id: str, before: HostState | None, after: HostState | None, at: float, until: float, **more: Any
) -> Any:
    wall = now().wall
    start, end = Stamp(wall, at), Stamp(wall, until)
    desk.queue(prompt_id, **more)
    desk.step(PromptStarted(prompt_id, start, state=before, session=more.get("session")))
    desk.step(PromptOutcome(prompt_id, end, "success", state=after), PromptDone(prompt_id, end, {}, True))
    return desk.record(prompt_id).conditions


def test_what_comes_before_a_prompt_is_counted(desk: Desk) -> None:
    first = ran(desk, "a", state(), state(), 100.0, 101.0)
    desk.queue("cancelled")
    desk.step(PromptUnqueued("cancelled", now(), GRAPH))
    second = ran(desk, "b", state(), state(), 104.5, 105.0)
    assert (first.run_since_start, first.idle_before_seconds) == (1, None)
    assert (second.run_since_start, second.idle_before_seconds) == (2, 3.5)
    assert second.attention == "sage"
    assert desk.record("cancelled").conditions is None


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (state(1, 2), state(1, 2), (0, 0, True)),
        (state(), state(1, 2), (2, 0, False)),
        (state(1), state(2), (1, 1, False)),
        (state(1, 2), state(), (0, 2, True)),
        (None, state(1), (None, None, None)),
        (state(1), None, (None, None, None)),
        (state(1), HostState(), (None, None, None)),
        (HostState(), state(1), (None, None, None)),
    ],
)
def test_what_was_loaded_while_it_ran(
    desk: Desk, before: HostState | None, after: HostState | None, told: tuple[Any, ...]
) -> None:
    found = ran(desk, "p", before, after, 1.0, 2.0)
    assert (found.loaded, found.unloaded, found.warm) == told
    names = None if before is None or before.models is None else [one.name for one in before.models]
    assert (None if found.models_before is None else [one.name for one in found.models_before]) == names
    if after is not None and after.models is not None:
        assert [one.name for one in found.models] == [one.name for one in after.models]


def test_while_it_runs_its_models_are_those_of_its_start(desk: Desk) -> None:
    desk.queue()
    desk.step(PromptStarted("p", now(), state=state(1)))
    found = desk.record().conditions
    assert [one.name for one in found.models] == ["M1"] and found.warm is None


def test_traffic_is_what_came_and_went() -> None:
    assert traffic([]) == traffic([frozenset({1})]) == (0, 0)
    assert traffic([frozenset({1}), frozenset({1, 2}), frozenset({2}), frozenset()]) == (1, 2)


# ---------------------------------------------------------------- what the sampler saw


def reading(at: float, loaded_models: frozenset[int] | None = None, **device: Any) -> Snapshot:
    card = DeviceReading("nvml", "cuda", 0, uuid="A", in_use=True, **device)
    system = SystemReading(ram_total_bytes=64 * GIB, ram_free_bytes=32 * GIB, swap_used_bytes=5)
    return Snapshot([card], system, loaded_models, ("nvml",), at=at)


def test_the_first_reading_tells_what_was_free_and_all_what_held_it_down(desk: Desk) -> None:
    session = Session("p", 10.0)
    session.add(reading(10.0, vram_total_bytes=8, vram_free_bytes=6, vram_others_bytes=2, throttled=()), {})
    session.add(reading(10.5, vram_total_bytes=8, vram_free_bytes=1, throttled=("power_limit",)), {})
    session.add(reading(11.0, throttled=("power_limit", "temperature")), {})
    session.ended = 11.0
    session.complete.set()
    desk.queue()
    desk.step(PromptStarted("p", Stamp(now().wall, 10.0), session=session, state=state()))
    end = Stamp(now().wall, 11.0)
    desk.step(PromptOutcome("p", end, "success", state=state()), PromptDone("p", end, {}, True))
    found = desk.record().conditions
    assert (found.vram_free_before_bytes, found.vram_others_bytes) == (6, 2)
    assert (found.ram_free_before_bytes, found.swap_used_before_bytes) == (32 * GIB, 5)
    assert found.throttled_seconds == {"power_limit": 1.0, "temperature": 0.5}
    assert found.run_since_start == 1


def test_a_model_that_came_and_went_between_was_seen(desk: Desk) -> None:
    session = Session("p", 10.0)
    for at, marks in ((10.0, {1}), (10.2, {1, 2}), (10.4, {1, 2}), (10.6, {1})):
        session.add(reading(at, frozenset(marks)), {})
    found = ran(desk, "p", state(1), state(1), 10.0, 11.0)
    assert found.warm is True
    desk.queue("q")
    desk.step(PromptStarted("q", Stamp(now().wall, 10.0), session=session, state=state(1)))
    end = Stamp(now().wall, 11.0)
    desk.step(PromptOutcome("q", end, "success", state=state(1)), PromptDone("q", end, {}, True))
    found = desk.record("q").conditions
    assert (found.loaded, found.unloaded, found.warm) == (1, 1, False)
    assert found.throttled_seconds is None, "no source tells"


def test_a_first_reading_that_comes_after_the_end_tells_nothing_of_before() -> None:
    session = Session("p", 10.0)
    session.ended = 10.1
    session.add(reading(10.2, vram_total_bytes=8, vram_free_bytes=6), {})
    assert session.witness().vram_free_before_bytes is None
