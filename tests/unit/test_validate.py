"""The validator, on files made by hand from the contract."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_recorder.cli import main
from run_recorder.runner.summary import read_summary
from run_recorder.runner.validate import Findings, UncheckableError, validate_files, validate_run
from run_recorder.telemetry.models.run_contract import ArtifactMetadata, plain

from .run_files import Run

NOTE = "/system_stats unavailable before execution"


@pytest.fixture
def run() -> Run:
    return Run()


def check(run: Run) -> Findings:
    return validate_files(read_summary(run.summary.splitlines()), json.dumps(run.metadata))


def refused(run: Run, *words: str) -> None:
    """Exactly one finding, and it has all these words."""
    found = check(run)
    assert len(found.errors) == 1, found.errors
    assert all(word in found.errors[0] for word in words), found.errors


def test_a_good_run_passes(run: Run) -> None:
    assert check(run) == Findings()


@pytest.mark.parametrize("name", ["HistoryAttempts", "GPU.VramFreeBefore", "GPU.VramBeforeMB", "DurationSeconds"])
def test_a_number_that_nothing_can_reckon_with_is_a_finding(run: Run, name: str) -> None:
    holder = run.telemetry["GPU"] if name.startswith("GPU.") else run.telemetry
    holder[name.removeprefix("GPU.")] = 10**400
    refused(run, "scene-001", name)


@pytest.mark.parametrize("name", ["Story ready", "Total frames copied"])
def test_a_count_of_too_many_digits_is_no_line_of_the_summary(run: Run, name: str) -> None:
    lines = run.summary.splitlines()
    run.summary = "\n".join(re.sub(r"\d+(?=\)?$)", "9" * 5000, line) if name in line else line for line in lines)
    refused(run, f"no line {name!r}")


def test_times_before_the_lines_are_optional(run: Run) -> None:
    run.summary = "\n".join(line.partition("] ")[2] for line in run.summary.splitlines())
    assert check(run).passed


def test_telemetry_missing_from_the_metadata_is_told(run: Run) -> None:
    del run.scene["Telemetry"]
    refused(run, "scene-001", "Telemetry is missing")


def test_a_telemetry_line_missing_from_the_summary_is_told(run: Run) -> None:
    run.summary = "\n".join(line for line in run.summary.splitlines() if "Telemetry:" not in line)
    refused(run, "scene-001", "no Telemetry line")


MAY_BE_LEFT_OUT = ("pollLimit", "QueueStart", "QueueEnd", "DoneMarkerPath")


@pytest.mark.parametrize("name", sorted(set(Run().telemetry) - set(MAY_BE_LEFT_OUT)))
def test_every_required_field_of_telemetry_is_missed(run: Run, name: str) -> None:
    del run.telemetry[name]
    refused(run, "scene-001", name)


@pytest.mark.parametrize("name", MAY_BE_LEFT_OUT)
def test_some_fields_of_telemetry_may_be_left_out(run: Run, name: str) -> None:
    del run.telemetry[name]
    assert check(run).passed


@pytest.mark.parametrize(
    "line",
    [
        "Story ready",
        "Story logline",
        "Queue policy",
        "Check preflight",
        "Check run",
        "Check contract",
        "## Art",
        "Total",
    ],
)
def test_every_required_line_is_missed(run: Run, line: str) -> None:
    run.summary = "\n".join(text for text in run.summary.splitlines() if f"] {line}" not in text or "sources" in text)
    refused(run, line)


def test_a_poll_limit_that_differs_is_told_with_both_values(run: Run) -> None:
    run.replace("pollLimit=unbounded", "pollLimit=40")
    refused(run, "scene-001", "pollLimit=40", "unbounded")


def test_a_poll_limit_follows_from_the_attempt_limit(run: Run) -> None:
    run.telemetry["pollLimit"] = 40
    refused(run, "scene-001", "pollLimit", "40", "HistoryAttemptLimit 0")


def test_a_limit_of_forty_passes_where_all_say_so(run: Run) -> None:
    run.telemetry.update({"HistoryAttemptLimit": 40, "pollLimit": "40"})
    run.replace("pollLimit=unbounded", "pollLimit=40")
    assert check(run).passed


def test_a_fallback_note_needs_its_warning(run: Run) -> None:
    run.telemetry["System"]["FallbackNotes"] = [NOTE]
    refused(run, "scene-001", NOTE, "no WARNING line")


def test_a_fallback_note_with_its_warning_passes(run: Run) -> None:
    run.telemetry["System"]["FallbackNotes"] = [NOTE]
    run.say(f"WARNING: {NOTE}")
    assert check(run).passed


def test_a_fallback_note_is_compared_word_for_word(run: Run) -> None:
    run.telemetry["System"]["FallbackNotes"] = [NOTE]
    run.say(f"WARNING: {NOTE}; used nvidia-smi fallback")
    assert not check(run).passed


def test_a_note_in_the_summary_only_is_told(run: Run) -> None:
    run.say(f"WARNING: {NOTE}")
    refused(run, NOTE, "metadata lacks")


def test_a_retry_budget_that_differs_is_told(run: Run) -> None:
    run.replace("SceneRetryBudget=1", "SceneRetryBudget=3")
    refused(run, "scene-001", "SceneRetryBudget=3", "1")


def test_a_retry_budget_of_none_is_unbounded_in_the_line(run: Run) -> None:
    run.telemetry["SceneRetryBudget"] = run.scene["SceneRetryBudget"] = 0
    run.metadata["QueueConfig"]["SceneRetryBudget"] = 0
    run.replace("SceneRetryBudget=1", "SceneRetryBudget=unbounded")
    run.replace("sceneRetries=1", "sceneRetries=0")
    assert check(run).passed


def test_vram_missing_from_the_line_is_told(run: Run) -> None:
    run.replace(" | VRAMBeforeMB=24000MB", "")
    refused(run, "scene-001", "VRAMBeforeMB is missing", "24000MB")


def test_vram_may_be_null_and_absent_from_the_line(run: Run) -> None:
    sizes = [name for name in run.telemetry["GPU"] if name.startswith("Vram")]
    run.telemetry["GPU"] |= dict.fromkeys(sizes) | {"Name": "unknown"}
    run.replace("gpu=NVIDIA GeForce RTX 4090", "gpu=unknown")
    run.replace("VRAMBeforeMB=24000MB | VRAMAfterMB=22600MB | VRAMDeltaMB=-1400MB | ", "")
    assert check(run).passed


def test_a_delta_that_does_not_add_up_is_told(run: Run) -> None:
    run.telemetry["GPU"]["VramDeltaMB"] = -1300
    run.replace("VRAMDeltaMB=-1400MB", "VRAMDeltaMB=-1300MB")
    refused(run, "scene-001", "VramDeltaMB is -1300", "-1400")


def test_a_delta_may_be_off_by_a_hundredth(run: Run) -> None:
    run.telemetry["GPU"]["VramDeltaMB"] = -1400.01
    assert check(run).passed


def test_the_policy_line_equals_the_queue_config(run: Run) -> None:
    run.replace("historyMaxWait=600s", "historyMaxWait=500s")
    refused(run, "historyMaxWait=500", "600")


def test_good_fields_of_a_film_pipeline_pass(run: Run) -> None:
    run.telemetry.update(
        {
            "FLF2VEnabled": True,
            "FLF2VSource": "last-frame",
            "FLF2VFallback": False,
            "InterpolationElapsed": 812.5,
            "UpscaleMethod": "lanczos",
            "FinalFPS": 24,
            "FinalResolution": "1920x1080",
        }
    )
    assert check(run).passed


def test_flf2v_without_a_source_is_told(run: Run) -> None:
    run.telemetry["FLF2VEnabled"] = True
    refused(run, "scene-001", "FLF2VSource")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FinalResolution", "1920*1080"),
        ("FinalResolution", "0x1080"),
        ("FinalFPS", 0),
        ("InterpolationElapsed", -1),
        ("FLF2VSource", "middle"),
        ("FLF2VFallback", "yes"),
        ("UpscaleMethod", 4),
        ("HistoryExitReason", "done"),
        ("HistoryAttempts", "3"),
        ("DoneMarkerPath", ""),
    ],
)
def test_a_malformed_field_is_told_with_its_value(run: Run, name: str, value: Any) -> None:
    run.telemetry[name] = value
    refused(run, "scene-001", name, repr(value))


def test_a_success_that_was_seen_has_a_time(run: Run) -> None:
    run.telemetry["ExecutionSuccessAt"] = None
    refused(run, "scene-001", "ExecutionSuccessAt")


def _too_few(run: Run) -> None:
    run.scene.update({"FrameFloor": 30, "MeetsFrameFloor": False})


def test_too_few_frames_need_a_warning(run: Run) -> None:
    _too_few(run)
    refused(run, "scene-001", "25 is below FrameFloor 30", "no WARNING line")


def test_too_few_frames_with_a_warning_pass(run: Run) -> None:
    _too_few(run)
    run.say("WARNING: Frame count below floor (25 < 30)")
    assert check(run).passed


def test_a_failed_scene_needs_an_error_line(run: Run) -> None:
    run.scene["Success"] = False
    refused(run, "scene-001", "ERROR line")
    run.say("ERROR: node 3 failed")
    assert check(run).passed


def test_trouble_with_the_history_needs_a_history_line(run: Run) -> None:
    run.scene["HistoryErrors"] = ["no answer"]
    refused(run, "scene-001", "HISTORY line")
    run.say("HISTORY WARNING: no answer")
    assert check(run).passed


def test_a_scene_of_another_name_answers_for_nothing(run: Run) -> None:
    run.scene["Success"] = False
    run.summary += "[Scene scene-0011] ERROR: node 3 failed\n"
    refused(run, "scene-001", "ERROR line")


VIDEO = {"Path": "scene-001/a.mp4", "DurationSeconds": 2.0, "Status": "complete", "UpdatedAt": None, "Error": None}


def test_a_film_passes(run: Run) -> None:
    run.scene["Video"] = VIDEO
    assert check(run).passed


@pytest.mark.parametrize("name", VIDEO)
def test_a_film_has_all_five_fields(run: Run, name: str) -> None:
    run.scene["Video"] = {key: value for key, value in VIDEO.items() if key != name}
    refused(run, "scene-001", f"Video.{name}")


@pytest.mark.parametrize("change", [{"Path": None}, {"Path": "scene-001\\a.mp4"}, {"Status": "half"}])
def test_a_film_that_is_not_right_is_told(run: Run, change: dict[str, Any]) -> None:
    run.scene["Video"] = VIDEO | change
    refused(run, "scene-001", "Video")


def test_a_missing_film_needs_no_path(run: Run) -> None:
    run.scene["Video"] = VIDEO | {"Path": None, "Status": "missing"}
    assert check(run).passed


def _made_elsewhere(run: Run) -> None:
    del run.metadata["CheckLogs"]
    run.metadata["VitestLogs"] = {"ComfyUI": "a.log", "E2E": "b.log", "Scripts": "c.log"}


def test_logs_of_vitest_take_the_place_of_ours(run: Run) -> None:
    _made_elsewhere(run)
    for ours, theirs in (("preflight", "comfyUI"), ("run", "e2e"), ("contract", "scripts")):
        run.replace(f"Check {ours}", f"Vitest {theirs}")
    assert check(run).passed


def test_logs_of_vitest_need_lines_of_vitest(run: Run) -> None:
    _made_elsewhere(run)
    assert len(check(run).errors) == 3


def test_one_mistake_makes_no_other(run: Run) -> None:
    """A metadata that can't be read as a whole still says whose logs it names."""
    test_logs_of_vitest_take_the_place_of_ours(run)
    del run.telemetry["DoneMarkerDetected"]
    refused(run, "Telemetry.DoneMarkerDetected is missing")


def test_a_scene_that_the_summary_knows_nothing_of_is_one_mistake(run: Run) -> None:
    run.summary = "\n".join(line for line in run.summary.splitlines() if "[Scene " not in line)
    run.scene["Success"] = False
    run.telemetry["System"]["FallbackNotes"] = ["/system_stats unavailable"]
    refused(run, "scene-001", "no [Scene line")


@pytest.mark.parametrize("short", ["12:00:05", "12:00:06", "12:00:05.4", "14:00:05", "17:30:05"])
def test_a_success_s_time_may_be_without_its_day(run: Run, short: str) -> None:
    whole = {"14": "2025-11-12T14:00:05.400+02:00", "17": "2025-11-12T17:30:05+05:30"}
    whole_time = whole.get(short[:2], "2025-11-12T12:00:05.400Z")
    run.replace(f"ExecutionSuccessAt={run.telemetry['ExecutionSuccessAt']}", f"ExecutionSuccessAt={short}")
    run.telemetry["ExecutionSuccessAt"] = whole_time
    assert check(run).passed, check(run)


@pytest.mark.parametrize("short", ["12:00:07", "12:01:05", "12:00", "noon", "25:00:05", ""])
def test_another_time_than_the_success_s_is_told(run: Run, short: str) -> None:
    run.replace(f"ExecutionSuccessAt={run.telemetry['ExecutionSuccessAt']}", f"ExecutionSuccessAt={short}")
    run.telemetry["ExecutionSuccessAt"] = "2025-11-12T12:00:05.400Z"
    refused(run, "ExecutionSuccessAt")


def test_logs_that_a_run_has_not_are_not_written_as_null() -> None:
    model = ArtifactMetadata.model_validate_json(json.dumps(Run().metadata))
    assert "VitestLogs" not in plain(model) and "CheckLogs" in plain(model)


def test_no_logs_at_all_are_told(run: Run) -> None:
    del run.metadata["CheckLogs"]
    refused(run, "CheckLogs")


def test_a_run_without_frames_is_told(run: Run) -> None:
    run.scene.update({"FrameCount": 0, "FrameFloor": 0})
    run.replace("Frames=25", "Frames=0")
    run.replace("copied: 25", "copied: 0")
    refused(run, "Total frames copied is 0")


def test_a_named_file_that_is_not_there_is_a_warning(run: Run, tmp_path: Path) -> None:
    found = validate_run(run.write(tmp_path))
    assert found.passed
    assert any("check-preflight.log isn't there" in line for line in found.warnings)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"Scenes": 3}', '{"Scenes": [3]}', "[" * 100_000])
def test_a_metadata_that_is_none_fails(run: Run, text: str) -> None:
    assert not validate_files(read_summary(run.summary.splitlines()), text).passed


def test_no_summary_can_not_be_checked(tmp_path: Path) -> None:
    with pytest.raises(UncheckableError, match=r"run-summary\.txt"):
        validate_run(tmp_path)


def test_a_byte_order_mark_and_crlf_do_no_harm(run: Run, tmp_path: Path) -> None:
    run.write(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert validate_run(tmp_path).passed


# ---------------------------------------------------------------- the command


def test_the_command_says_pass(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(run.write(tmp_path))]) == 0
    assert capfd.readouterr().out.startswith("run-summary validation: PASS\nWARNING: ")


def test_the_command_says_fail_and_why(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run.replace("SceneRetryBudget=1", "SceneRetryBudget=3")
    assert main(["validate", str(run.write(tmp_path))]) == 1
    assert capfd.readouterr().out.startswith("run-summary validation: FAIL\nERROR: scene-001: SceneRetryBudget=3 ")


def test_the_command_tells_machines_the_same(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run.replace("SceneRetryBudget=1", "SceneRetryBudget=3")
    assert main(["validate", str(run.write(tmp_path)), "--json"]) == 1
    told = json.loads(capfd.readouterr().out)
    assert told["Passed"] is False
    assert "SceneRetryBudget" in told["Errors"][0]


@pytest.mark.parametrize("name", ["nothing", "run-summary.txt"])
def test_the_command_refuses_what_it_can_not_check(run: Run, tmp_path: Path, name: str) -> None:
    folder = run.write(tmp_path)
    assert main(["validate", str(folder / name), "--json"]) == 2


# ---------------------------------------------------------------- mutation

UNTOLD = {
    "Scenes.0.DurationSeconds",  # over all attempts: it stands in no line, and follows from nothing
    "Scenes.0.Telemetry.GPU.Index",  # which card it was stands nowhere else
    "Scenes.0.Telemetry.GPU.VramTotal",  # only bounds the others
}
"""The figures whose change can't be told: they stand in one place and follow from nothing."""


def figures(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers and switches."""
    if isinstance(value, (bool, int, float)):
        yield place
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in pairs:
        yield from figures(one, (*place, name))


def changed(run: Run, place: tuple[Any, ...]) -> bool:
    holder: Any = run.metadata
    for name in place[:-1]:
        holder = holder[name]
    old = holder[place[-1]]
    holder[place[-1]] = (not old) if isinstance(old, bool) else old + 1
    return not check(run).passed


def test_a_change_of_any_figure_is_found_but_for_those_named() -> None:
    untold = {".".join(map(str, place)) for place in figures(Run().metadata) if not changed(Run(), place)}
    assert untold == UNTOLD


def test_a_change_of_any_number_in_the_summary_is_found() -> None:
    untold = []
    for place, line in enumerate(lines := Run().summary.splitlines()):
        head, _, text = line.partition("] ")
        words = text.split("=")
        for number, word in enumerate(words):
            digits = "".join(c for c in word if c.isdigit())
            if not digits or number == 0:
                continue
            run = Run()
            spoilt = "=".join(
                [*words[:number], word.replace(digits[0], str((int(digits[0]) + 1) % 10), 1), *words[number + 1 :]]
            )
            run.summary = "\n".join([*lines[:place], f"{head}] {spoilt}", *lines[place + 1 :]])
            if check(run).passed:
                untold.append(spoilt)
    names = {text.split("=")[0].split(" ")[0] for text in untold}
    assert names <= {"[LLM]", "[Scene", "Check"}, untold
