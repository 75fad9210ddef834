"""The settings of graphs: kept once for all prompts that had them, erased with the last of them, served by node."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.comfyui_host import process
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.process.settings import ServerSettings
from run_recorder.telemetry.record.kept_ends import Kept
from run_recorder.telemetry.record.spool import Spool, read_spool
from run_recorder.telemetry.store.changes import Change
from run_recorder.telemetry.store.store import Store
from run_recorder.telemetry.store.tables import settings
from sqlalchemy import select

from .desk import Desk
from .support import node, saver

SETTINGS = {"3": ("Sampler", {"steps": 20, "tiled": True})}
GRAPH = {"1": node("Sampler", steps=20, cfg=7.5, seed=3, text="a cat"), "3": saver("shot/a", images=["1", 0])}


def kept_in(store: Store) -> dict[str, Any]:
    with store.connections.reading() as connection:
        return {row.id: row.data for row in connection.execute(select(settings))}


def record(prompt_id: str, key: str | None = "s", **more: Any) -> PromptRecord:
    given = {"status": "success", "queued_ms": 1, "settings_id": key, "settings": SETTINGS if key else None, **more}
    return PromptRecord(prompt_id, 1, "i", **given)


def test_many_prompts_of_the_same_settings_keep_them_once(desk: Desk) -> None:
    for number in range(3):
        desk.whole(f"p{number}", graph={**GRAPH, "1": node("Sampler", steps=20, cfg=7.5, seed=number)})
    (key,) = {desk.record(f"p{number}").settings_id for number in range(3)}
    assert kept_in(desk.store) == {key: {"1": ["Sampler", {"cfg": 7.5, "steps": 20}]}}
    assert desk.store.prompts.settings(key) == {"1": ["Sampler", {"cfg": 7.5, "steps": 20}]}
    desk.whole("other", graph={**GRAPH, "1": node("Sampler", steps=21)})
    assert len(kept_in(desk.store)) == 2


def test_they_are_kept_before_the_prompt_has_ended(desk: Desk) -> None:
    desk.begin(graph=GRAPH)
    desk.step()
    assert desk.record().settings_id in kept_in(desk.store)


def test_with_the_setting_off_a_fingerprint_alone_is_kept(desk: Desk) -> None:
    off = ServerSettings(RUN_RECORDER_KEEP_SETTINGS="off")
    desk.context.host = dataclasses.replace(desk.context.host, settings=off)
    desk.whole(graph=GRAPH)
    assert (desk.record().settings_id, kept_in(desk.store)) == (None, {})
    assert desk.record().settings_fingerprint


def test_they_are_erased_with_the_last_prompt_that_had_them(store: Store) -> None:
    store.save([Change(record(name)) for name in ("a", "b")])
    store.save([Change(record("c", "t")), Change(record("d", None))])
    assert set(kept_in(store)) == {"s", "t"}
    store.erasing.erase_prompt("a")
    assert set(kept_in(store)) == {"s", "t"}
    store.erasing.erase_prompt("b")
    assert set(kept_in(store)) == {"t"}
    store.save([Change(record("e"))])
    assert set(kept_in(store)) == {"s", "t"}, "they may come again"
    assert store.erasing.delete_oldest(100) == 3
    assert kept_in(store) == {}


def test_they_outlive_a_stay_in_the_spool(tmp_path: Path) -> None:
    from run_recorder.telemetry.models.prompt import Instance

    spool = Spool(tmp_path / "spool", "00000000-0000-0000-0000-000000000001", Instance(id="i"))
    spool.keep([Kept(record("p"), [], True)])
    (found,) = read_spool(spool.file)
    assert (found.record.settings_id, found.record.settings) == ("s", {"3": ["Sampler", {"steps": 20, "tiled": True}]})


# ---------------------------------------------------------------- which inputs are choices


@pytest.fixture
def is_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whether an input that a class declares so is a choice; the input folder holds `cat.png`."""
    roots = {name: tmp_path / name for name in ("output", "temp", "input")}
    for root in roots.values():
        root.mkdir()
    (roots["input"] / "cat.png").write_bytes(b"x")
    monkeypatch.setattr(process, "roots", lambda: roots)

    def asked(declared: Any) -> bool:
        made = SimpleNamespace(INPUT_TYPES=lambda: {"required": {"it": declared}})
        monkeypatch.setitem(sys.modules, "nodes", SimpleNamespace(NODE_CLASS_MAPPINGS={"A": made}))  # type: ignore[arg-type]
        return process.Choices().is_choice("A", "it")

    return asked


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ((["euler", "dpm"],), True),
        ((("euler", "dpm"), {"default": "dpm"}), True),
        (("COMBO", {"options": ["euler", "dpm"]}), True),
        ((["euler"], {"image_upload": False}), True),
        (("COMBO", {}), False),
        (("COMBO", {"options": "euler"}), False),
        (([],), False),
        ("COMBO", False),
        (("STRING", {"options": ["a"]}), False),
        (("INT",), False),
        ((["a.png"], {"image_upload": True}), False),
        ((["a.mp4"], {"video_upload": True}), False),
        (("COMBO", {"options": ["a"], "remote": {"route": "/internal/files/output"}}), False),
        ((["cat.png", "dog.png"],), False),
        ((["none", "cat.png"],), False),
        ((["x\0y", "a" * 5000],), True),
        ((), False),
        (None, False),
    ],
)
def test_a_list_of_files_is_no_choice(is_choice: Any, declared: Any, told: bool) -> None:
    assert is_choice(declared) is told
