"""The settings of graphs: kept once for all prompts that had them, erased with the last of them, served by node."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_recorder.comfyui_host import choices as choices_module
from run_recorder.telemetry.models.record import PromptRecord
from run_recorder.telemetry.models.settings import settings_list
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


@pytest.mark.parametrize("data", ["text", 5, [], {"1": 5}, {"1": ["X", None]}, {"1": ["X"]}, {"1": ["X", {"a": [1]}]}])
def test_a_damaged_row_of_settings_costs_what_can_t_be_read(store: Store, data: Any) -> None:
    store.save([Change(record("p"))])
    with store.connections.writing() as connection:
        connection.execute(settings.update().values(data=data))
    kept = store.prompts.settings("s")
    assert kept is None or settings_list("s", kept).items == []


# ---------------------------------------------------------------- which inputs are choices


class Class:
    """A class of nodes with one input, declared as a test says, in a ComfyUI whose input folder holds `cat.png`."""

    def __init__(self, folder: Path) -> None:
        self.declared: Any = None
        self.asked = 0
        self.now = 0.0
        self.roots = {name: folder / name for name in ("output", "temp", "input")}
        for root in self.roots.values():
            root.mkdir()
        self.add("cat.png")
        self.choices = choices_module.Choices(clock=lambda: self.now)

    def add(self, name: str) -> None:
        (self.roots["input"] / name).write_bytes(b"x")

    def INPUT_TYPES(self) -> Any:
        self.asked += 1
        return {"required": {"it": self.declared}}

    def takes(self, value: str, declared: Any = None) -> bool:
        self.declared = self.declared if declared is None else declared
        return self.choices.is_choice("A", "it", value)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Class:
    found = Class(tmp_path)
    monkeypatch.setattr(choices_module, "roots", lambda: found.roots)
    monkeypatch.setitem(sys.modules, "nodes", SimpleNamespace(NODE_CLASS_MAPPINGS={"A": found}))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ((["euler", "dpm"],), True),
        ((("euler", "dpm"), {"default": "dpm"}), True),
        (("COMBO", {"options": ["euler", "dpm"]}), True),
        ((["euler"], {"image_upload": False}), True),
        ((["dpm"],), False),
        (("COMBO", {}), False),
        (("COMBO", {"options": "euler"}), False),
        (([],), False),
        ("COMBO", False),
        (("STRING", {"options": ["euler"]}), False),
        (("INT",), False),
        ((["euler"], {"image_upload": True}), False),
        ((["euler"], {"video_upload": True}), False),
        (("COMBO", {"options": ["euler"], "remote": {"route": "/internal/files/output"}}), False),
        ((["euler", "cat.png"],), False),
        ((["x\0y", "a" * 5000, 5, None, "euler"],), True),
        ((), False),
        (None, False),
    ],
)
def test_a_value_of_a_list_is_a_choice_and_a_list_of_files_is_none(made: Class, declared: Any, told: bool) -> None:
    assert made.takes("euler", declared) is told


def test_what_is_not_in_the_list_is_somebody_s_words(made: Class) -> None:
    assert not made.takes("my private words", (["euler"],))
    assert not made.takes("x\0y" * 5000, (["euler"],))


def test_a_file_is_no_choice_however_far_back_in_the_list_and_whenever_it_came(made: Class) -> None:
    assert not made.takes("cat.png", ([*(f"model-{number}" for number in range(50)), "cat.png"],))
    made.now += 60
    assert made.takes("None", (["None", "passport.png"],))
    made.add("passport.png")
    assert not made.takes("passport.png")


def test_a_list_that_has_grown_is_asked_for_again_and_not_each_time(made: Class) -> None:
    assert not made.takes("new.safetensors", (["old.safetensors"],))
    made.declared = (["old.safetensors", "new.safetensors"],)
    assert not made.takes("new.safetensors"), "not so soon"
    assert made.asked == 1
    made.now += 60
    assert made.takes("new.safetensors") and made.takes("old.safetensors")
    assert made.asked == 2


def test_a_class_that_raises_has_no_choices(made: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "INPUT_TYPES", lambda: 1 / 0)
    assert not made.takes("euler", (["euler"],))
