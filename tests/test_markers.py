"""What the done marker says and when it is there, on both hosts."""

import hashlib
import json
import os
import re
import time
from datetime import datetime
from pathlib import Path

import pytest

from .graphs import Graph, failing, saved, slow_then_saved
from .hosts import Host

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FIELDS = {
    "Timestamp",
    "FrameCount",
    "Latest",
    "SchemaVersion",
    "Status",
    "PromptId",
    "Producer",
    "Cached",
    "Files",
    "Notes",
}


def names(marker: dict) -> list[str]:
    return sorted(file["Name"] for file in marker["Files"])


def right(host: Host, record: dict, path: str, files: list[str], status: str = "success", cached: bool = False) -> dict:
    """Check a marker against its record and the disk, and return it."""
    marker = host.marker(path)
    beside = host.path(path).parent
    assert set(marker) == FIELDS
    assert marker["SchemaVersion"] == 1
    assert marker["Producer"] == "node"
    assert marker["PromptId"] == record["prompt_id"]
    assert marker["Status"] == status
    assert marker["Cached"] is cached
    assert names(marker) == sorted(files)
    assert marker["FrameCount"] == len(files)
    assert TIME.fullmatch(marker["Timestamp"])
    assert marker["Latest"] == max((file["Modified"] for file in marker["Files"]), default=None)
    for file in marker["Files"]:
        assert set(file) <= {"Name", "Bytes", "Modified", "NodeId", "Sha256"}
        stat = (beside / file["Name"]).stat()
        assert file["Bytes"] == stat.st_size
        assert abs(datetime.fromisoformat(file["Modified"].replace("Z", "+00:00")).timestamp() - stat.st_mtime) < 0.002
    told = [m for m in record["markers"] if m["path"] == path]
    assert [m["status"] for m in told] == [status]
    assert TIME.fullmatch(told[0]["written_at"])
    return marker


def png(prefix: str, *numbers: int) -> list[str]:
    return [f"{prefix}_{number:05}_.png" for number in numbers or (1,)]


# --- which marker, with which files


def test_an_unwired_marker_marks_what_the_saver_wrote(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/shot/a", frames=3, marker={}))
    marker = right(host, record, f"{folder}/shot/a.done", png("a", 1, 2, 3))
    assert {file["NodeId"] for file in marker["Files"]} == {"2"}
    assert marker["Notes"] == []
    assert "Sha256" not in marker["Files"][0] or marker["Files"][0]["Sha256"] is None
    assert host.markers_in(f"{folder}/shot") == ["a.done"]


def test_a_marker_in_the_output_folder_itself(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}root", marker={}))
    right(host, record, f"{folder}root.done", png(f"{folder}root"))


@pytest.mark.parametrize("marker_id", ["0", "zz"])
@pytest.mark.parametrize("first", [True, False])
def test_neither_ids_nor_the_order_of_nodes_matter(host: Host, folder: str, marker_id: str, first: bool) -> None:
    graph = Graph()
    if first:
        graph.add("WriteDoneMarker", id=marker_id, after=["image", 0])
    graph.add("EmptyImage", id="image", width=16, height=16, batch_size=2, color=hash(folder) % 9999)
    graph.add("SaveImage", id="save", images=["image", 0], filename_prefix=f"{folder}/a")
    graph.add("ProbeSlow", id="slow", source=["image", 0], seconds=0.2, steps=2)
    graph.add("SaveImage", id="later", images=["slow", 0], filename_prefix=f"{folder}/b")
    if not first:
        graph.add("WriteDoneMarker", id=marker_id, after=["image", 0])
    record = host.run(graph)
    right(host, record, f"{folder}/a.done", png("a", 1, 2))
    right(host, record, f"{folder}/b.done", png("b", 1, 2))
    assert host.markers_in(folder) == ["a.done", "b.done"]


def test_an_explicit_prefix_marks_that_prefix_only(host: Host, folder: str) -> None:
    graph = Graph()
    image = graph.image()
    graph.save(image, f"{folder}/a")
    graph.save(image, f"{folder}/b")
    graph.marker(filename_prefix=f"{folder}/b")
    right(host, host.run(graph), f"{folder}/b.done", png("b"))
    assert host.markers_in(folder) == ["b.done"]


@pytest.mark.parametrize("saver", ["SaveImage", "ProbeSilentSaver"])
def test_prefixes_that_begin_alike_are_kept_apart(host: Host, folder: str, saver: str) -> None:
    graph = Graph()
    image = graph.image()
    prefixes = ["a", "a_b", "a_7", "a_b_00001", "render_1080"]
    for prefix in prefixes:
        if saver == "SaveImage":
            graph.save(image, f"{folder}/{prefix}")
        else:
            graph.add(saver, source=image, filename_prefix=f"{folder}/{prefix}", count=1)
    graph.marker()
    record = host.run(graph)
    marked = [host.marker(f"{folder}/{name}") for name in host.markers_in(folder)]
    assert host.markers_in(folder) == sorted(f"{prefix}.done" for prefix in prefixes)
    assert all(marker["PromptId"] == record["prompt_id"] and marker["FrameCount"] == 1 for marker in marked)
    for prefix in prefixes:
        (name,) = names(host.marker(f"{folder}/{prefix}.done"))
        assert re.fullmatch(rf"{prefix}_\d{{5}}_\.png", name)


@pytest.mark.parametrize("marker", [{}, "explicit"])
def test_a_saver_that_reports_nothing_is_listed(host: Host, folder: str, marker: object) -> None:
    graph = Graph()
    graph.add("ProbeSilentSaver", filename_prefix=f"{folder}/a", count=3, extension=".exr")
    graph.marker(**({} if marker == {} else {"filename_prefix": f"{folder}/a"}))
    record = host.run(graph)
    found = right(host, record, f"{folder}/a.done", [f"a_{n:05}_.exr" for n in (1, 2, 3)])
    assert all(file["NodeId"] in (None, "1") for file in found["Files"])
    assert {o["filename"] for o in record["outputs"]} == set(names(found))


def test_a_silent_saver_that_counts_on_lists_only_the_new_files(host: Host, folder: str) -> None:
    for first in (1, 3):
        graph = Graph()
        graph.add("ProbeSilentSaver", filename_prefix=f"{folder}/a", count=2, salt=first / 10)
        graph.marker(filename_prefix=f"{folder}/a")
        right(host, host.run(graph), f"{folder}/a.done", png("a", first, first + 1))


def test_files_that_were_there_before_are_not_listed(host: Host, folder: str) -> None:
    host.path(folder).mkdir()
    for name in ("a_00001_.png", "a_00007_.png", "a_x_00002_.png", ".a_00003_.png", "a_00009_.txt.tmp"):
        host.path(f"{folder}/{name}").write_bytes(b"old")
        os.utime(host.path(f"{folder}/{name}"), (time.time() - 60,) * 2)
    time.sleep(0.1)  # a listing that comes after a quick prompt's first node goes by the files' times
    record = host.run(saved(f"{folder}/a", marker={}))
    (new,) = [output["filename"] for output in record["outputs"]]
    right(host, record, f"{folder}/a.done", [new])


def test_a_file_that_is_written_again_is_listed(host: Host, folder: str) -> None:
    for content in ("one", "two"):
        graph = Graph()
        graph.add("ProbeFileSaver", filename="a_00001.gif", subfolder=folder, key="gifs", content=content)
        graph.marker()
        right(host, host.run(graph), f"{folder}/a.done", ["a_00001.gif"])


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("a_00001_.png", "a"),
        ("a_00001.flac", "a"),
        ("a_100000_.png", "a"),
        ("a_00001-audio.mp4", "a"),
        ("a-00001.png", "a"),
        ("a00001.png", "a"),
        ("a.0001.exr", "a"),
        ("a_b_00001_.png", "a_b"),
        ("render_1080.png", "render_1080"),
    ],
)
def test_the_prefix_of_a_files_name(host: Host, folder: str, name: str, prefix: str) -> None:
    graph = Graph()
    graph.add("ProbeFileSaver", filename=name, subfolder=folder, key="files")
    graph.marker()
    right(host, host.run(graph), f"{folder}/{prefix}.done", [name])
    assert host.markers_in(folder) == [f"{prefix}.done"]


def test_files_reported_as_temporary_are_not_marked(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a", marker={})
    graph.add("ProbeFileSaver", filename=f"{folder}_00001.png", subfolder="", key="images", type="temp")
    right(host, host.run(graph), f"{folder}/a.done", png("a"))
    assert not host.path(f"{folder}.done").exists()


def test_two_markers_for_one_prefix_make_one_file(host: Host, folder: str) -> None:
    graph = Graph()
    image = graph.image()
    graph.save(image, f"{folder}/a")
    graph.add("ProbeSilentSaver", source=image, filename_prefix=f"{folder}/a", count=1, extension=".exr")
    graph.marker()
    graph.marker(filename_prefix=f"{folder}/a")
    record = host.run(graph)
    files = [p.name for p in host.path(folder).iterdir() if p.suffix in (".png", ".exr")]
    assert len(files) == 2
    marker = host.marker(f"{folder}/a.done")
    assert names(marker) == sorted(files)
    assert "success" in [m["status"] for m in record["markers"] if m["path"] == f"{folder}/a.done"]


def test_the_hashes_are_right_where_asked_for(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/a", frames=2, marker={"hash_files": True}))
    for file in right(host, record, f"{folder}/a.done", png("a", 1, 2))["Files"]:
        content = host.path(f"{folder}/{file['Name']}").read_bytes()
        assert file["Sha256"] == hashlib.sha256(content).hexdigest()


# --- the cache


def test_a_fully_cached_run_says_so_and_lists_the_earlier_files(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a", frames=2, marker={})
    right(host, host.run(graph), f"{folder}/a.done", png("a", 1, 2))
    for _ in range(2):
        record = host.run(graph)
        right(host, record, f"{folder}/a.done", png("a", 1, 2), cached=True)
        (marker,) = [n for n in host.nodes(record["prompt_id"]) if n["class_type"] == "WriteDoneMarker"]
        assert marker["cached"] is False, "the marker always runs"


def test_what_is_cached_and_what_is_new_are_told_apart(host: Host, folder: str) -> None:
    graph = Graph()
    graph.save(graph.image(), f"{folder}/same")
    graph.marker(filename_prefix=f"{folder}/same")
    graph.marker(filename_prefix=f"{folder}/new")
    graph.save(graph.image(), f"{folder}/new")
    host.run(graph)
    again = Graph(graph)
    again["5"] = {"class_type": "EmptyImage", "inputs": {**graph["5"]["inputs"], "batch_size": 2}}
    record = host.run(again)
    right(host, record, f"{folder}/same.done", png("same"), cached=True)
    right(host, record, f"{folder}/new.done", png("new", 2, 3))


def test_a_cached_silent_saver_lists_its_earlier_files(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeSilentSaver", filename_prefix=f"{folder}/a", count=2)
    graph.marker(filename_prefix=f"{folder}/a")
    host.run(graph)
    right(host, host.run(graph), f"{folder}/a.done", png("a", 1, 2), cached=True)


# --- ends that are no success


@pytest.mark.parametrize("marker", [{}, "explicit"])
def test_an_error_before_any_file_leaves_a_failed_marker(host: Host, folder: str, marker: object) -> None:
    inputs = {} if marker == {} else {"filename_prefix": f"{folder}/a"}
    record = host.run(failing(f"{folder}/a", **inputs))
    failed = right(host, record, f"{folder}/a.failed", [], status="error")
    assert any("it broke" in note for note in failed["Notes"]) or record["error"]["message"]
    assert host.markers_in(folder) == ["a.failed"]


def test_an_error_after_a_file_lists_the_file(host: Host, folder: str) -> None:
    record = host.run(failing(f"{folder}/a", after_saving=True))
    files = [p.name for p in host.path(folder).glob("*.png")]
    right(host, record, f"{folder}/a.failed", files, status="error")


def test_an_error_inside_an_expanded_graph_leaves_a_failed_marker(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/a", marker={"filename_prefix": f"{folder}/a"})
    graph.add("ProbeExpand", source=["1", 0], filename_prefix=f"{folder}/in", seconds=0.1, fail=True)
    record = host.run(graph)
    marker = host.marker(f"{folder}/a.failed")
    assert (marker["Status"], marker["PromptId"]) == ("error", record["prompt_id"])
    assert host.markers_in(folder) == ["a.failed"]


def test_on_failure_nothing_leaves_nothing(host: Host, folder: str) -> None:
    host.run(saved(f"{folder}/a", marker={}))
    record = host.run(failing(f"{folder}/a", on_failure="nothing"))
    assert host.markers_in(folder) == []
    assert {m["status"] for m in record["markers"]} == {"not written"}


def test_an_interrupt_leaves_a_failed_marker(host: Host, folder: str) -> None:
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 20))
    host.until_running(prompt_id, "slow")
    host.interrupt()
    right(host, host.wait(prompt_id, 10), f"{folder}/a.failed", [], status="interrupted")


# --- markers of earlier prompts


def test_a_stale_marker_is_gone_soon_after_the_start(host: Host, folder: str, figures: list[str]) -> None:
    path = host.path(f"{folder}/a.done")
    first = host.run(saved(f"{folder}/a", marker={}))
    assert path.exists()
    prompt_id = host.queue(slow_then_saved(f"{folder}/a", 1))
    deadline = time.monotonic() + 5
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    gone = time.time()
    record = host.wait(prompt_id)
    started = datetime.fromisoformat(record["started_at"].replace("Z", "+00:00")).timestamp()
    figures.append(f"{host.kind}: a stale marker went {(gone - started) * 1000:.0f} ms after the start")
    assert gone - started < 0.2
    assert first["prompt_id"] != host.marker(f"{folder}/a.done")["PromptId"] == prompt_id


def test_each_kind_of_marker_replaces_the_other(host: Host, folder: str) -> None:
    for graph, left in (
        (saved(f"{folder}/a", marker={}), "a.done"),
        (failing(f"{folder}/a"), "a.failed"),
        (saved(f"{folder}/a", marker={"filename_prefix": f"{folder}/a"}), "a.done"),
        (failing(f"{folder}/a", filename_prefix=f"{folder}/a"), "a.failed"),
    ):
        record = host.run(graph)
        assert host.markers_in(folder) == [left]
        assert host.marker(f"{folder}/{left}")["PromptId"] == record["prompt_id"]


def test_a_cancelled_prompt_leaves_the_earlier_marker_alone(host: Host, folder: str) -> None:
    first = host.run(saved(f"{folder}/a", marker={}))
    running = host.queue(slow_then_saved(f"{folder}/other", 20))
    cancelled = host.queue(saved(f"{folder}/a", marker={}))
    host.delete_queued(cancelled)
    assert host.wait(cancelled, 5)["status"] == "cancelled"
    host.interrupt()
    host.wait(running, 10)
    assert host.marker(f"{folder}/a.done")["PromptId"] == first["prompt_id"]


# --- files that come late, or never


def test_a_late_file_is_waited_for_and_a_missing_one_is_noted(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/good", marker={})
    graph.add("ProbeLateSaver", filename_prefix=f"{folder}/late", delay=0.8)
    record = host.run(graph)
    assert right(host, record, f"{folder}/late.done", png("late"))["Notes"] == []

    graph = saved(f"{folder}/fine", marker={})
    graph.add("ProbeLateSaver", filename_prefix=f"{folder}/never", delay=-1)
    began = time.monotonic()
    record = host.run(graph)
    took = time.monotonic() - began
    assert record["status"] == "success"
    assert 4 < took < 8, "5 s are allowed for a file to appear"
    marker = right(host, record, f"{folder}/never.done", [])
    assert any("never_00001_.png" in note for note in marker["Notes"])
    right(host, record, f"{folder}/fine.done", png("fine"))


def test_other_prompts_run_on_while_a_marker_waits_for_its_file(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeLateSaver", filename_prefix=f"{folder}/late", delay=2.5)
    graph.marker()
    waiting = host.queue(graph)
    began = time.monotonic()
    right(host, host.run(saved(f"{folder}/a", marker={})), f"{folder}/a.done", png("a"))
    assert time.monotonic() - began < 2, "one prompt's late file held up another prompt"
    right(host, host.wait(waiting), f"{folder}/late.done", png("late"))


# --- when the inputs are ready


def test_inputs_ready_writes_before_the_next_node_runs(host: Host, folder: str) -> None:
    graph = Graph()
    silent = graph.add("ProbeSilentSaver", source=graph.image(), filename_prefix=f"{folder}/a", count=2)
    marker = graph.marker(after=silent, when="inputs ready", filename_prefix=f"{folder}/a")
    graph.add("ProbeFileExists", source=marker, look_for=f"{folder}/a.done", filename=f"{folder}.json")
    record = host.run(graph)
    seen = json.loads(host.path(f"{folder}.json").read_text("utf-8"))
    assert (seen["Status"], seen["PromptId"], seen["FrameCount"]) == ("running", record["prompt_id"], 2)
    assert names(seen) == png("a", 1, 2)
    assert host.marker(f"{folder}/a.done") == seen
    assert [m["status"] for m in record["markers"]] == ["running"]


def test_inputs_ready_with_an_empty_prefix_marks_what_is_there(host: Host, folder: str) -> None:
    if not (host.node_class("SaveImage") or {}).get("output"):
        pytest.skip("this version's SaveImage has no output to hang a marker on")
    graph = Graph()
    image = graph.save(graph.image(), f"{folder}/a")
    marker = graph.marker(after=image, when="inputs ready")
    graph.add("ProbeFileExists", source=marker, look_for=f"{folder}/a.done", filename=f"{folder}.json")
    host.run(graph)
    seen = json.loads(host.path(f"{folder}.json").read_text("utf-8"))
    assert (seen["Status"], names(seen)) == ("running", png("a"))


# --- tokens


def test_time_tokens_are_the_servers(host: Host, folder: str) -> None:
    prefix = f"{folder}/%year%%month%%day%/a"
    today = time.strftime("%Y%m%d")
    record = host.run(saved(prefix, marker={"filename_prefix": prefix}))
    right(host, record, f"{folder}/{today}/a.done", png("a"))


def test_a_marker_stands_beside_the_files_though_the_second_has_changed(host: Host, folder: str) -> None:
    prefix = f"{folder}/%second%/a"
    record = host.run(slow_then_saved(prefix, 1.3, filename_prefix=prefix))
    (output,) = record["outputs"]
    right(host, record, f"{output['subfolder']}/a.done", png("a"))


def test_the_prompts_id_is_a_token(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/a", marker={"filename_prefix": f"{folder}/x-%prompt_id%"}))
    assert host.markers_in(folder) == [f"x-{record['prompt_id']}.done"]


def test_the_front_ends_date_token_stays_as_it_is(host: Host, folder: str) -> None:
    prefix = f"{folder}/%date:yyyy%"
    if os.name == "nt":
        pytest.skip("no colons in names here")
    record = host.run(saved(prefix, marker={"filename_prefix": prefix}))
    right(host, record, f"{prefix}.done", png("%date:yyyy%"))


def test_width_is_known_from_the_saver_with_the_same_literal_only(host: Host, folder: str) -> None:
    graph = saved(f"{folder}/w%width%x%height%", marker={"filename_prefix": f"{folder}/w%width%x%height%"})
    graph.marker(filename_prefix=f"{folder}/other%width%")
    record = host.run(graph)
    right(host, record, f"{folder}/w16x16.done", png("w16x16"))
    assert host.markers_in(folder) == ["w16x16.done"]
    assert sorted(m["status"] for m in record["markers"]) == ["not written", "success"]
    assert any("%width%" in note for note in record["notes"])


def test_every_batch_number_is_marked(host: Host, folder: str) -> None:
    record = host.run(saved(f"{folder}/b%batch_num%", frames=2, marker={}))
    files = sorted(output["filename"] for output in record["outputs"])
    assert len(files) == 2
    marked = sorted(name for marker in host.markers_in(folder) for name in names(host.marker(f"{folder}/{marker}")))
    assert marked == files


# --- wires


def test_a_wired_prefix_is_obeyed(host: Host, folder: str) -> None:
    graph = Graph()
    prefix = graph.add("ProbeString", text=f"{folder}/a")
    graph.save(graph.image(), prefix)
    graph.marker(filename_prefix=prefix)
    right(host, host.run(graph), f"{folder}/a.done", png("a"))


def test_an_unwired_marker_marks_a_saver_with_a_wired_prefix(host: Host, folder: str) -> None:
    graph = Graph()
    graph.save(graph.image(), graph.add("ProbeString", text=f"{folder}/a"))
    graph.marker()
    right(host, host.run(graph), f"{folder}/a.done", png("a"))


@pytest.mark.parametrize("bad", ["../x", "/etc/x", "con", "a\0b", "x" * 300, "C:\\x"])
def test_a_wired_prefix_that_is_bad_never_fails_the_prompt(host: Host, folder: str, bad: str) -> None:
    graph = saved(f"{folder}/a")
    graph.marker(filename_prefix=graph.add("ProbeString", text=bad))
    before = sorted(p.name for p in host.output.iterdir())
    record = host.run(graph)
    assert record["status"] == "success"
    assert [m["status"] for m in record["markers"]] == ["not written"]
    assert any("prefix" in note for note in record["notes"])
    assert host.markers_in(folder) == []
    assert sorted(p.name for p in host.output.iterdir() if p.name != folder) == [n for n in before if n != folder]
    assert not (host.base / "x.done").exists()


@pytest.mark.parametrize("marker_prefix", ["", "{folder}/in"])
def test_a_marker_inside_an_expanded_graph_marks(host: Host, folder: str, marker_prefix: str) -> None:
    graph = Graph()
    graph.add(
        "ProbeExpand",
        source=graph.image(),
        filename_prefix=f"{folder}/in",
        seconds=0.05,
        marker=True,
        marker_prefix=marker_prefix.format(folder=folder),
    )
    marker = right(host, host.run(graph), f"{folder}/in.done", png("in"))
    assert marker["Files"][0]["NodeId"]


def test_an_outer_marker_marks_what_an_expanded_graph_saved_cached_or_not(host: Host, folder: str) -> None:
    graph = Graph()
    graph.add("ProbeExpand", source=graph.image(), filename_prefix=f"{folder}/in", seconds=0.05)
    graph.marker()
    right(host, host.run(graph), f"{folder}/in.done", png("in"))
    record = host.run(graph)
    assert names(host.marker(f"{folder}/in.done")) == png("in")
    assert host.marker(f"{folder}/in.done")["PromptId"] == record["prompt_id"]


def test_what_comes_after_the_marker_gets_the_same_value_and_type(host: Host, folder: str) -> None:
    graph = Graph()
    number = graph.marker(after=graph.add("ProbeNumber", number=42), filename_prefix=f"{folder}/a")
    graph.add("ProbeTypeName", filename=f"{folder}.txt", value=number)
    image = graph.marker(after=graph.image(), filename_prefix=f"{folder}/b")
    graph.save(image, f"{folder}/b")
    record = host.run(graph)
    assert host.path(f"{folder}.txt").read_text() == "int 42"
    right(host, record, f"{folder}/b.done", png("b"))


@pytest.mark.parametrize(("prefix", "told"), [("{folder}/a", "{folder}/a.done"), ("", "")])
def test_the_markers_path_comes_out_of_the_node(host: Host, folder: str, prefix: str, told: str) -> None:
    graph = saved(f"{folder}/a")
    marker = graph.marker(filename_prefix=prefix.format(folder=folder))
    graph.add("ProbeTextSaver", filename=f"{folder}.txt", text=[marker[0], 1])
    right(host, host.run(graph), f"{folder}/a.done", png("a"))
    assert host.path(f"{folder}.txt").read_text() == told.format(folder=folder)


# --- confinement


HOSTILE = [
    "../x",
    "a/../../x",
    "/etc/x",
    "//server/share/x",
    "C:\\x",
    "C:x",
    "..\\x",
    "\\\\server\\share",
    "con",
    "a/NUL.txt",
    "com1",
    "a\0b",
    "a.",
    "a ",
    "a/ /b",
    "x" * 300,
    "é" * 150,
    "a/" + "x" * 256 + "/b",
]


@pytest.mark.parametrize("prefix", [*HOSTILE, "symlink"], ids=lambda prefix: ascii(prefix)[:20])
def test_a_hostile_prefix_is_refused_while_the_rest_runs(host: Host, folder: str, prefix: str, tmp_path: Path) -> None:
    graph = saved(f"{folder}/a")
    if prefix == "symlink":
        host.path(folder).mkdir()
        try:
            host.path(f"{folder}/out").symlink_to(tmp_path, target_is_directory=True)
        except OSError:
            pytest.skip("no symlinks for this user")
        prefix = f"{folder}/out/x"
    marker = graph.marker(filename_prefix=prefix)
    status, body = host.post(graph)
    assert status == 200
    assert list(body["node_errors"]) == [marker[0]]
    refused = json.dumps(body["node_errors"], ensure_ascii=False)
    assert "filename_prefix" in refused
    assert prefix.split("\0")[0][:20].replace("\\", "\\\\") in refused.replace("\\\\\\\\", "\\\\"), (
        "the prefix is named"
    )
    record = host.wait(body["prompt_id"])
    assert record["status"] == "success"
    assert [m["status"] for m in record["markers"]] == ["refused"]
    assert any("refused" in note for note in record["notes"])
    assert host.markers_in(folder) == []
    assert not list(tmp_path.iterdir())
    assert not list(host.base.glob("*.done"))


def test_a_hostile_prefix_alone_is_an_error_of_the_request(host: Host) -> None:
    graph = Graph()
    graph.marker(filename_prefix="../x")
    status, body = host.post(graph)
    assert status == 400
    assert "../x" in json.dumps(body["node_errors"])


def test_nothing_but_outputs_and_markers_is_left_in_the_output_folder(host: Host) -> None:
    """Runs last in this file, over what all the tests above left."""
    odd = [p for p in host.output.rglob("*") if p.is_file() and (p.name.startswith(".") or "tmp" in p.name.lower())]
    planted = {".a_00003_.png", "a_00009_.txt.tmp"}
    assert [p for p in odd if p.name not in planted] == []
