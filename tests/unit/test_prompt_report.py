"""The report for a bug tracker: complete, short, and nothing private in it."""

import re
from typing import Any

import pytest
from run_recorder.telemetry.models.conditions import Conditions, LoadedModel
from run_recorder.telemetry.models.environment import Environment, Machine, NodePack
from run_recorder.telemetry.models.node import Node
from run_recorder.telemetry.models.prompt import PromptError
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.settings import settings_list
from run_recorder.telemetry.models.view import prompt_of
from run_recorder.telemetry.models.why import Why
from run_recorder.telemetry.why.comparing import Side
from run_recorder.telemetry.why.explaining import why
from run_recorder.telemetry.why.report import MOST_NODES, report

GIB = 2**30
SECRET = "Alice-holiday-in-Spain"


def environment(**more: Any) -> Environment:
    given = {
        "id": "e",
        "comfyui_version": "0.33.0",
        "comfyui_commit": "0123456789abcdef",
        "torch_version": "2.14.1",
        "torch_build": "cuda 13.0",
        "machine": Machine(cpu="A Fine CPU", cpu_count=8, ram_total_bytes=64 * GIB),
        "launch_options": ["--lowvram", "--listen 192.168.7.7", "--port 8188"],
        "attention_packages": {"sageattention": "2.2"},
        "distributions": {"numpy": "2"},
        "node_packs": [NodePack(name="kj", version="1.2", commit="feedfacefeedface"), NodePack(name="other")],
    }
    return Environment(**{**given, **more})


def node(number: int, **more: Any) -> Node:
    given = {"node_id": str(number), "class_type": "Sampler", "duration_seconds": 0.1 * number, "cached": False}
    return Node(**{**dict.fromkeys(Node.model_fields), **given, "title": SECRET, **more})


def side(at: int = 2, nodes: int = 3, settings: Any = None, **more: Any) -> Side:
    told = environment() if "environment" not in more else more.pop("environment")
    given = {
        "status": "error",
        "queued_ms": at * 1000,
        "started_ms": at * 1000,
        "ended_ms": at * 1000 + 500,
        "duration_seconds": 0.5,
        "workflow_fingerprint": "1:w",
        "settings_fingerprint": "2:s",
        "workflow_name": SECRET,
        "called": SECRET,
        "client_id": SECRET,
        "environment_id": "e",
        "node_total": nodes,
        "error": PromptError(node_id="3", class_type="Sampler", exception_type="ValueError", message="it broke"),
        "conditions": Conditions(attention="sage", models=[LoadedModel(name="Flux", device_bytes=GIB, patches=2)]),
    }
    prompt = prompt_of(PromptRecord(f"p{at}", 1, SECRET, **{**given, **more}), {})
    kept = settings_list("s", settings) if settings is not None else None
    return Side(prompt, [node(number) for number in range(1, nodes + 1)], kept, told)


def made(now: Side, last: Side | None = None, *, names: bool = False, pack: str | None = "kj") -> str:
    told: Why = why(now, [last.prompt] if last is not None else [], lambda _run: last or now, lambda _run: [])
    return report(now, told, last, lambda _class: pack, with_names=names)


def test_it_has_all_that_a_maintainer_asks_for() -> None:
    last = side(1, status="success", error=None, environment=environment(id="f", torch_version="2.13"))
    text = made(side(settings={"3": ("Sampler", {"steps": 20})}), last)
    for words in (
        "error after 0.50 s",
        "node_error",
        "`ValueError` in node `3` (`Sampler`), of `kj 1.2 (feedfacefe)`",
        "it broke",
        "ComfyUI: `0.33.0, 0123456789`",
        "torch: `2.14.1, cuda 13.0`",
        "launch options: `--lowvram`",
        "`sageattention 2.2`",
        "`kj 1.2 (feedfacefe), other`",
        "attention sage",
        "model `Flux`: 1.0 GiB on the device",
        "| `3` | `Sampler` | 0.30 s | - |",
        "`torch_version`: `2.13` → `2.14.1`",
    ):
        assert words in text, words


def test_nothing_private_is_in_it() -> None:
    text = made(side(), side(1, status="success", error=None))
    for word in (SECRET, "192.168.7.7", "8188", "p1", "p2"):
        assert word not in text, word


def test_models_have_names_only_where_that_is_asked_for() -> None:
    before = {"1": ("Load", {"ckpt": "alice-secret.safetensors", "kind": "euler"})}
    after = {"1": ("Load", {"ckpt": "bob.gguf", "kind": "dpm"})}
    last = side(1, status="success", error=None, settings=before)
    text = made(side(settings=after), last)
    assert "`Load.ckpt (node 1)`: `<model 1>` → `<model 2>`" in text
    assert "`Load.kind (node 1)`: `<choice 1>` → `<choice 2>`" in text
    assert not re.search("alice|bob|euler", text)
    told = made(side(settings=after), last, names=True)
    assert "`alice-secret.safetensors` → `bob.gguf`" in told and "`euler` → `dpm`" in told


def test_it_is_short_however_large_the_graph() -> None:
    assert len(made(side(nodes=30)).splitlines()) < 60
    text = made(side(nodes=500))
    assert len(text.splitlines()) < 60
    assert f"{500 - MOST_NODES} more took less." in text


@pytest.mark.parametrize(
    "evil",
    [
        "![x](http://evil.example/?leak)",
        "@everyone",
        "<script>alert(1)</script>",
        "a | b",
        "``` \n# heading",
        "x`y`z",
        "\x1b[31mred\x07",
    ],
)
def test_what_others_wrote_is_code_and_no_markdown(evil: str) -> None:
    error = PromptError(node_id=evil, class_type=evil, exception_type=evil, message=f"{evil}\n```\n# mine\n````")
    packs = [NodePack(name=evil, version=evil)]
    now = side(error=error, environment=environment(node_packs=packs, devices=[evil]))
    now.nodes[0].class_type = evil
    text = made(now, pack=evil)
    outside, fence = [], None
    for line in text.splitlines():
        marks = re.match("`{3,}", line)
        if marks and (fence is None or line == fence):
            fence = None if fence is not None else marks[0]
            continue
        if fence is None:
            outside.append(re.sub("`[^`]*`", "", line))
    assert fence is None
    said = "\n".join(outside)
    assert not re.search(r"evil|everyone|script|mine|\x1b", said), said
    assert all(line.count("|") in (0, 5) for line in outside)


@pytest.mark.parametrize("given", [{"environment": None}, {"conditions": None}, {"error": None}, {"nodes": 0}])
def test_what_is_not_known_is_said_or_left_out(given: dict[str, Any]) -> None:
    text = made(side(**given))
    assert "No earlier success of this workflow is recorded." in text
    assert ("Not known." in text) == ("environment" in given)
    assert ("Not recorded." in text) == ("conditions" in given)
    assert ("## Error" in text) == ("error" not in given)
    assert ("## Nodes" in text) == ("nodes" not in given)


def test_where_nothing_changed_it_says_so() -> None:
    assert "Nothing that is recorded." in made(side(), side(1, status="success", error=None))
