"""What is kept: by count, age and size, in small batches, and never an open prompt."""

import json
import time
from pathlib import Path

import pytest
from run_recorder.cli import main
from run_recorder.telemetry.markers.outputs import ReportedFile
from run_recorder.telemetry.models.record import NodeRecord, PromptRecord
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.store.batches import BATCH_SECONDS, LARGEST_BATCH, next_batch_size
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.retention import Retention, prune
from run_recorder.telemetry.store.store import Store

from .conftest import ON_SQLITE

DAY_MS = 86_400_000


def fill(
    store: Store, count: int, *, newest_ms: int | None = None, step_ms: int = 1000, status: str = "success"
) -> None:
    newest = round(time.time() * 1000) if newest_ms is None else newest_ms
    changes = []
    for number in range(count):
        record = PromptRecord(f"{status}-{number}", 1, "i", status, queued_ms=newest - number * step_ms)  # type: ignore[arg-type]
        record.outputs = [ReportedFile("1", f"{status}_{number}.png", "", "output")]
        changes.append(Change(record, [NodeRecord(0, "1", "SaveImage")], outputs=True))
    store.save(changes)


def test_the_newest_are_kept(store: Store) -> None:
    fill(store, 350)
    pauses: list[float] = []
    assert prune(store, Retention(prompts=20), pauses.append) == 330
    assert len(pauses) >= 4, "in batches"
    assert {record.prompt_id for record, _nodes in store.prompts.export()} == {f"success-{n}" for n in range(20)}


def test_a_batch_is_as_large_as_the_last_ones_time_allows() -> None:
    assert next_batch_size(4, 0.001) == 8, "up slowly"
    assert next_batch_size(98, 0.001) == LARGEST_BATCH
    assert next_batch_size(80, 0.04) == 20, "down at once"
    assert next_batch_size(1, 5.0) == 1
    assert next_batch_size(50, BATCH_SECONDS) == 50
    assert next_batch_size(4, 0.0) == 8


def test_by_age(store: Store) -> None:
    fill(store, 10, step_ms=DAY_MS)
    assert prune(store, Retention(prompts=None, days=3.5)) == 6
    assert store.count() == 4


@ON_SQLITE
def test_by_size_and_nodes_and_outputs_go_too(store: Store) -> None:
    fill(store, 3000)
    before = store.used_bytes()
    gone = prune(store, Retention(prompts=None, bytes=before // 2), lambda _s: None)
    assert 0 < gone < 3000
    assert store.used_bytes() <= before // 2
    assert store.prompts.record("success-2999") is None
    assert store.history.listed("", ["success_2999.png"]) == set()


@pytest.mark.parametrize("status", ["queued", "running"])
def test_open_prompts_are_kept_whatever_their_age(store: Store, status: str) -> None:
    fill(store, 5, newest_ms=0, status=status)
    fill(store, 5)
    prune(store, Retention(prompts=1, days=1))
    assert store.count() >= 5
    assert all(store.prompts.record(f"{status}-{number}") for number in range(5))


def test_the_longest_time_keeps_all(store: Store) -> None:
    fill(store, 3)
    longest = ServerSettings(RUN_RECORDER_KEEP_DAYS="1000000", RUN_RECORDER_KEEP_BYTES="1e18")
    assert prune(store, Retention.of(longest)) == 0


@pytest.mark.parametrize("days", ["inf", "nan", "1e18", "-1"])
def test_days_that_no_calendar_has_are_bad_use(days: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "prune", "--database", str(tmp_path), "--days", days, "--json"]) == 2
    assert "--days" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_the_command_prunes_and_exports(store: Store, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(store, 12)
    where = ["--database", database_url]
    assert main(["db", "upgrade", *where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["applied"] == []
    assert main(["db", "prune", *where, "--prompts", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 7, "kept": 5}
    assert main(["db", "export", *where]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["prompt_id"] for line in lines} == {f"success-{number}" for number in range(5)}
    assert all(line["nodes"][0]["class_type"] == "SaveImage" and line["outputs"] for line in lines)


def test_bad_use_of_the_command_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "prune", "--database", str(tmp_path / "none"), "--prompts", "1", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "not_found"
    assert main(["db", "upgrade", "--database", "nonsense://", "--json"]) in (1, 2)
    capsys.readouterr()
    (tmp_path / "run-recorder.sqlite3").write_bytes(b"no database" * 1000)
    assert main(["db", "export", "--database", str(tmp_path)]) == 2
    assert main(["db", "prune", "--database", str(tmp_path)]) == 2
