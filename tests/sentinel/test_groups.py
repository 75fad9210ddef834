"""What decides, alone: news in, a complete group out."""

from pathlib import Path

import pytest
from run_recorder.sentinel.evidence import EndedPrompt, Key, KnownAsOf, NamedFile, running_of
from run_recorder.sentinel.groups import Groups
from run_recorder.sentinel.options import Options
from run_recorder.sentinel.service import Sentinel
from run_recorder.telemetry.markers.folder import FileStamp

from ..unit.support import marker_node, node, saver
from .watching import marker, put

KEY, STAMP = Key("new", "a"), FileStamp(9, 1_000_000_000, "1")
NAME = "a_00001_.png"
ENDED = EndedPrompt("p", "success", (NamedFile("new", NAME, "2"),))


def ended(groups: Groups, at: float) -> object:
    groups.ended(ENDED, {KEY: {NAME: ENDED.files[0]}}, at)
    assert groups.due(at) == [KEY]
    return groups.looked(KEY, {NAME: STAMP}, at)


def test_a_file_that_a_scan_has_met_is_settled_by_its_prompts_record() -> None:
    groups = Groups(3.0)
    groups.found(KEY, {NAME: STAMP}, [NAME], 10.0)
    assert ended(groups, 10.1) is not None


def test_a_file_that_is_known_to_be_open_is_waited_for_whatever_the_record_says() -> None:
    groups = Groups(3.0)
    groups.found(KEY, {NAME: STAMP}, [NAME], 10.0)
    groups.appeared(KEY, NAME, STAMP, 10.05)
    assert ended(groups, 10.1) is None
    groups.closed(KEY, NAME, 10.2)
    assert groups.due(10.2) == [KEY]
    assert groups.looked(KEY, {NAME: STAMP}, 10.2) is not None


IMAGES = ["1", 0]
GRAPHS = {
    "a prefix": (saver("shots/%year%/a", images=IMAGES), "shots/2026"),
    "a prefix without a folder": (saver("a", images=IMAGES), ""),
    "a folder and a prefix": (saver("image", images=IMAGES, folder_name="dataset"), "dataset"),
    "a path and a name": (node("PathSave", images=IMAGES, path="ps", filename="shot"), "ps"),
    "nothing that names a file": (node("Export", images=IMAGES), ""),
    "a prefix that is wired": (node("SaveImage", images=IMAGES, filename_prefix=["1", 1]), "any"),
}


@pytest.mark.parametrize(("output", "folder"), GRAPHS.values(), ids=GRAPHS.keys())
@pytest.mark.parametrize("name", ["a", "quite another name"])
def test_while_a_prompt_runs_nothing_that_is_new_in_its_folders_is_complete(
    output: dict[str, object], folder: str, name: str
) -> None:
    groups, key = Groups(3.0), Key(folder, name)
    groups.prompts.runs(running_of("p", {"1": node("EmptyImage"), "3": output, "9": marker_node()}), 5.0)
    groups.appeared(key, NAME, STAMP, 10.0)
    groups.closed(key, NAME, 10.0)
    assert groups.due(60.0) == []
    groups.ended(EndedPrompt("p", "success"), {}, 61.0)
    groups.asked(KnownAsOf(61.0), 61.0)
    assert groups.due(70.0) == [key]


@pytest.mark.parametrize("key", [Key("elsewhere", "a"), Key("shots/2026/deeper", "a"), Key("shots", "a")])
def test_other_folders_are_not_held(key: Key) -> None:
    groups = Groups(3.0)
    groups.prompts.runs(running_of("p", {"1": node("EmptyImage"), "3": GRAPHS["a prefix"][0]}), 5.0)
    groups.closed(key, NAME, 10.0)
    assert groups.due(14.0) == [key]


def test_what_lay_there_before_the_prompt_began_is_not_held() -> None:
    groups, key = Groups(3.0), Key("ps", "older")
    groups.closed(key, NAME, 4.0)
    groups.prompts.runs(running_of("p", {"1": node("EmptyImage"), "3": GRAPHS["a path and a name"][0]}), 5.0)
    assert groups.due(8.0) == [key]


@pytest.mark.parametrize("folder", ["", "v"])
def test_what_a_name_with_a_number_in_it_stands_for_is_looked_for_on_the_disk(tmp_path: Path, folder: str) -> None:
    """ComfyUI's history has a saver's own words, `AD_00001.%03d.png`."""
    names = {f"AD_00001.{number:03}.png" for number in range(1, 7)}
    put(tmp_path / folder, *names, "other_00001_.png")
    sentinel = Sentinel([tmp_path], Options())
    watch = sentinel.watches[0]
    watch.once()
    watch.feed.put(
        EndedPrompt("p", "success", (NamedFile(folder, "AD_00001.%03d.png", "2", f"{folder}/AD".lstrip("/")),))
    )
    watch.catch_up()
    told = marker(tmp_path / folder, "AD") or {}
    assert (told["PromptId"], {file["Name"] for file in told["Files"]}) == ("p", names)
