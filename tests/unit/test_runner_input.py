"""What the runner refuses before it queues anything, and the policy's knobs."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_recorder.cli import main
from run_recorder.runner.policy import KNOBS, PolicyError, resolve
from run_recorder.runner.workflow import WorkflowError, read_workflow, unknown_classes


def test_the_defaults_are_the_contracts() -> None:
    policy = resolve({})
    assert [policy[knob.name] for knob in KNOBS[:5]] == [600, 2, 0, 30, 1]
    assert set(policy.sources.values()) == {"default"}


def test_fast_iteration_makes_the_waits_short_and_leaves_the_rest() -> None:
    policy = resolve({}, fast_iteration=True)
    assert [policy[knob.name] for knob in KNOBS[:5]] == [30, 1, 0, 15, 1]
    assert policy.sources["max_wait_seconds"] == "fast-iteration"
    assert policy.sources["scene_retry_budget"] == "default"


def test_what_is_given_beats_fast_iteration_and_keeps_its_source() -> None:
    policy = resolve({"max_wait_seconds": ("90", "environment")}, fast_iteration=True)
    assert (policy["max_wait_seconds"], policy.sources["max_wait_seconds"]) == (90, "environment")


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", "", "1e3", "1" * 12, "\u0661"])
def test_a_value_that_is_not_accepted_is_named_with_its_source(value: str) -> None:
    with pytest.raises(PolicyError, match=r"SceneMaxWaitSeconds is .* from option: a whole number of at least 1"):
        resolve({"max_wait_seconds": (value, "option")})


def test_the_command_names_a_bad_value_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCENE_RETRY_BUDGET", "-1")
    assert main(["queue", str(tmp_path / "a.json"), "--json"]) == 2
    told = json.loads(capfd.readouterr().out)["error"]
    assert told["type"] == "invalid_parameter"
    assert "SceneRetryBudget is '-1', from environment" in told["message"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "invalid_workflow"),
        ("{", "invalid_workflow"),
        ("[" * 100_000, "invalid_workflow"),
        ("{}", "empty_workflow"),
        ("[]", "empty_workflow"),
        ('{"nodes": [], "links": []}', "editor_format"),
        ('{"1": {"inputs": {}}}', "invalid_workflow"),
    ],
)
def test_a_file_that_holds_no_graph_is_refused_by_kind(
    text: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, "utf-8")
    assert main(["queue", str(path), "--json", "--output", str(tmp_path / "out")]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["type"] == kind
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="can't be read"):
        read_workflow(tmp_path / "a.json")


def test_a_body_of_a_request_is_read_as_its_graph(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"prompt": {"1": {"class_type": "A", "inputs": {}}}}', "utf-8")
    assert list(read_workflow(path)) == ["1"]


def test_a_class_that_the_server_lacks_is_named_with_its_neighbours() -> None:
    (said,) = unknown_classes({"7": {"class_type": "SaveImagee"}}, ["SaveImage", "KSampler"])
    assert said == "node 7: the server has no class 'SaveImagee'; near it: SaveImage"


def test_nobody_at_the_address_is_an_error_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"1": {"class_type": "A", "inputs": {}}}', "utf-8")
    assert main(["queue", str(path), "--json", "--comfyui", "http://127.0.0.1:9", "--output", str(tmp_path / "o")]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["type"] == "unavailable"
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


# ---------------------------------------------------------------- the editor's format, where comfy-cli is installed

EDITOR = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": []}


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs a comfy-cli whose converter has this body."""

    def install(body: str) -> None:
        package = tmp_path / "packages" / "comfy_cli"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "workflow_to_api.py").write_text(f"def convert_ui_to_api(workflow, object_info):\n    {body}\n")
        monkeypatch.syspath_prepend(str(package.parent))
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return install


def editor_file(tmp_path: Path) -> Path:
    path = tmp_path / "editor.json"
    path.write_text(json.dumps(EDITOR))
    return path


def test_an_editors_graph_is_converted_by_what_the_server_says(
    tmp_path: Path, converter: Callable[[str], None]
) -> None:
    converter("print('noise'); return {'1': {'class_type': workflow['nodes'][0]['type'], 'inputs': object_info}}")
    graph = read_workflow(editor_file(tmp_path), lambda: {"said": 1})
    assert graph == {"1": {"class_type": "EmptyImage", "inputs": {"said": 1}}}


@pytest.mark.parametrize(
    "body", ["raise ValueError('no such class')", "return None", "return {}", "import os; os._exit(3)"]
)
def test_a_converter_that_fails_is_said_with_how_to_export(
    tmp_path: Path, converter: Callable[[str], None], body: str
) -> None:
    converter(body)
    with pytest.raises(WorkflowError) as caught:
        read_workflow(editor_file(tmp_path), dict)
    assert caught.value.kind in ("editor_format", "empty_workflow")


def test_without_comfy_cli_it_is_said_how_to_export(tmp_path: Path) -> None:
    if importlib.util.find_spec("comfy_cli") is not None:
        pytest.skip("comfy-cli is installed here")
    with pytest.raises(WorkflowError, match=r"Export \(API\).*comfy-cli") as caught:
        read_workflow(editor_file(tmp_path), dict)
    assert caught.value.kind == "editor_format"
