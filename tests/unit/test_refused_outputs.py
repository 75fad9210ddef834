"""A prompt of which ComfyUI refused some outputs: its record, its markers, and what is told of its end."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from run_recorder.telemetry.markers.requests import INPUTS_READY, PROMPT_COMPLETES, WRITE_FAILED, WRITE_NOTHING
from run_recorder.telemetry.record.queueing import MAX_EXPLAINED
from run_recorder.telemetry.record.refusals import MAX_NODES

from .desk import Desk
from .support import image, marker_node, node, saver, tree, write

WHY = "node 5 (Scale), method: no-such-method is not in the list"


def fault(class_type: str, outputs: list[str], details: str = "no-such-method is not in the list") -> dict[str, Any]:
    error = {"type": "value_not_in_list", "message": "Value not in list", "details": details, "extra_info": {}}
    error["extra_info"] = {"input_name": "method"}
    return {"class_type": class_type, "dependent_outputs": outputs, "errors": [error]}


def graph_of(others: dict[str, dict[str, Any]], **marker: Any) -> dict[str, Any]:
    """A faulty node 5, a saver 6 that hangs on it, a marker 9, and what is good."""
    bad = node("SaveImage", images=["5", 0], filename_prefix="shot/bad")
    return {"1": node("EmptyImage"), "5": node("Scale", image=["1", 0]), "6": bad, "9": marker_node(**marker), **others}


def begin(desk: Desk, graph: dict[str, Any], refused: tuple[str, ...] = ("6",), **more: Any) -> None:
    accepted = frozenset(set(graph) - {"1", "5", *refused})
    desk.begin(graph=graph, accepted=accepted, node_errors={"5": fault("Scale", list(refused))}, **more)


def finish(desk: Desk, saved: dict[str, list[str]], status: str = "success") -> None:
    outputs = {}
    for node_id, names in saved.items():
        for name in names:
            write(desk.output / name)
        outputs[node_id] = {"images": [image(Path(one).name, str(Path(one).parent))["images"][0] for one in names]}
    desk.end(status=status, outputs=outputs)


def expected(
    prefix: str, others: dict[str, Any], files: int, status: str, when: str, on_failure: str
) -> dict[str, tuple[str, int, bool]]:
    """By path: the Status, how many files, and whether the refusal is in the Notes."""
    suffix = {"success": "done"}.get(status, "failed")
    shared = any(one["inputs"]["filename_prefix"] == "shot/bad" for one in others.values())
    found = {}
    if on_failure == WRITE_FAILED or (status == "success" and shared):
        found["shot/bad"] = (status, files, True) if shared else (status if status != "success" else "error", 0, True)
    if prefix == "" and others and not shared and (status == "success" or on_failure == WRITE_FAILED):
        found["shot/good"] = (status, files, False)
    return {f"{path}.{suffix if told[0] == status else 'failed'}": told for path, told in found.items()}


OTHERS: dict[str, dict[str, Any]] = {
    "none": {},
    "the same": {"3": saver("shot/bad", images=["1", 0])},
    "another": {"3": saver("shot/good", images=["1", 0])},
}
SHAPES = [
    (prefix, which, files, status, on_failure)
    for prefix, which, files, status, on_failure in itertools.product(
        ("shot/bad", ""), OTHERS, (0, 1, 3), ("success", "error", "interrupted"), (WRITE_FAILED, WRITE_NOTHING)
    )
    # nothing is saved where nobody saves, and a saver that succeeds and reports nothing has no prefix to be found by
    if (files == 0) is (which == "none") or (files == 0 and prefix == "shot/bad")
]


def test_there_are_shapes_enough() -> None:
    assert len(SHAPES) >= 60


@pytest.mark.parametrize(("prefix", "which", "files", "status", "on_failure"), SHAPES)
def test_a_marker_is_never_a_success_of_what_was_refused(
    desk: Desk, prefix: str, which: str, files: int, status: str, on_failure: str
) -> None:
    others = OTHERS[which]
    begin(desk, graph_of(others, filename_prefix=prefix, on_failure=on_failure))
    where = next((one["inputs"]["filename_prefix"] for one in others.values()), "")
    saved = {node_id: [f"{where}_{number:05}_.png" for number in range(1, files + 1)] for node_id in others if files}
    finish(desk, saved, status)
    wanted = expected(
        prefix, others, files if where in ("shot/bad", "shot/good") else 0, status, PROMPT_COMPLETES, on_failure
    )
    if prefix == "shot/bad" and which == "another":
        wanted = {path: (told[0], 0, True) for path, told in wanted.items() if path.startswith("shot/bad")}
    markers = {path: desk.marker(path) for path in tree(desk.output) if not path.endswith(".png")}
    found = {
        path: (one.Status, one.FrameCount if one.Files else 0, any("no-such-method" in note for note in one.Notes))
        for path, one in markers.items()
    }
    assert found == wanted
    record = desk.record()
    assert record.status == status
    assert [(one.node_id, one.class_type) for one in record.refused] == [("6", "SaveImage")]
    assert "no-such-method" in record.refused[0].reasons[0]
    assert {one.path: one.status for one in record.markers if one.path} == {
        path: told[0] for path, told in wanted.items()
    }
    if on_failure == WRITE_NOTHING and prefix == "shot/bad" and not wanted and status == "success":
        assert (
            "no marker shot/bad: what would have saved there was refused, and none was wanted for that" in record.notes
        )


def test_the_record_says_what_was_refused_and_so_does_its_end(desk: Desk) -> None:
    begin(desk, graph_of(OTHERS["another"]))
    finish(desk, {"3": ["shot/good_00001_.png"]})
    (ended,) = [event for event in desk.store.events.newest() if event.kind == "prompt.finished"]
    assert ended.data == {"status": "success", "refused": 1}
    record = desk.record()
    assert "ComfyUI refused 1 output and ran the others: 6 (SaveImage)" in record.notes


def test_a_marker_with_inputs_of_its_own_that_are_bad_is_refused_as_before(desk: Desk) -> None:
    graph = {"1": node("EmptyImage"), "3": saver("shot/a"), "9": marker_node(filename_prefix="../x")}
    desk.begin(graph=graph, accepted=frozenset({"3"}), node_errors={"9": fault("WriteDoneMarker", ["9"])})
    finish(desk, {"3": ["shot/a_00001_.png"]})
    assert [one.status for one in desk.record().markers] == ["refused"]
    assert tree(desk.output) == ["shot/a_00001_.png"]


@pytest.mark.parametrize("prefix", ["shot/a", ""])
@pytest.mark.parametrize("when", [PROMPT_COMPLETES, INPUTS_READY])
def test_a_marker_that_is_wired_to_what_was_refused_asks_all_the_same(desk: Desk, prefix: str, when: str) -> None:
    graph = graph_of({"3": saver("shot/a", images=["1", 0])}, filename_prefix=prefix, trigger=["5", 0], when=when)
    begin(desk, graph, ("6", "9"))
    finish(desk, {"3": ["shot/a_00001_.png"]})
    made = [path for path in tree(desk.output) if not path.endswith(".png")]
    assert made == (["shot/a.done"] if prefix else ["shot/a.done", "shot/bad.failed"])
    marker = desk.marker("shot/a.done")
    assert (marker.Status, [one.Name for one in marker.Files]) == ("success", ["a_00001_.png"])
    assert any("ComfyUI refused node 9 (WriteDoneMarker)" in note for note in marker.Notes)


def test_a_marker_of_a_restricted_request_that_was_refused_is_noted(desk: Desk) -> None:
    graph = graph_of(OTHERS["another"], trigger=["5", 0])
    begin(desk, graph, ("6", "9"), restricted=True)
    finish(desk, {"3": ["shot/good_00001_.png"]})
    assert "shot/bad.failed" in tree(desk.output)


def test_of_many_refused_outputs_the_first_are_explained(desk: Desk) -> None:
    many = {
        f"s{number}": node("SaveImage", images=["5", 0], filename_prefix=f"m/{number}") for number in range(MAX_NODES)
    }
    graph = {"1": node("EmptyImage"), "5": node("Scale", image=["1", 0]), "9": marker_node(), **many}
    begin(desk, graph, tuple(many))
    finish(desk, {})
    record = desk.record()
    assert len(record.refused) == MAX_NODES
    assert [bool(one.reasons) for one in record.refused] == [True] * MAX_EXPLAINED + [False] * (
        MAX_NODES - MAX_EXPLAINED
    )
    assert record.refused[1].node_id == "s1", "in the order of the ids, numbers as numbers"
    assert f"ComfyUI refused {MAX_NODES} outputs and ran the others: s0 (SaveImage), " in next(
        note for note in record.notes if "refused" in note
    )
    assert len(tree(desk.output)) == MAX_NODES
    assert all(path.endswith(".failed") for path in tree(desk.output))


def test_what_was_refused_outlives_a_restart(desk: Desk, tmp_path: Path) -> None:
    begin(desk, graph_of(OTHERS["another"]))
    desk.database.close()
    after = Desk(tmp_path, "me-again")
    after.adopt_dead()
    after.writer.step()
    record = after.record()
    assert (record.status, [one.node_id for one in record.refused]) == ("abandoned", ["6"])
    assert "shot/bad.failed" in tree(after.output)
    assert any("no-such-method" in note for note in after.marker("shot/bad.failed").Notes)
    after.database.close()


@pytest.mark.parametrize(
    "errors",
    [
        {},
        {"5": None},
        {"5": []},
        {"5": {"class_type": 7, "dependent_outputs": "6", "errors": "x"}},
        {"5": {"dependent_outputs": [["6"], None, 6.5], "errors": [None, {"message": ["x"]}]}},
        {None: {"dependent_outputs": ["6"], "errors": []}},
    ],
)
def test_an_answer_of_another_form_costs_nothing(desk: Desk, errors: Any) -> None:
    graph = graph_of(OTHERS["another"])
    desk.begin(graph=graph, accepted=frozenset({"3", "9"}), node_errors=errors)
    finish(desk, {"3": ["shot/good_00001_.png"]})
    assert desk.record().status == "success"
    assert desk.marker("shot/good.done").Status == "success"


def test_what_a_refusal_says_is_redacted(desk: Desk) -> None:
    graph = graph_of(OTHERS["another"])
    errors = {"5": fault("Scale", ["6"], "Authorization: Bearer abcdef0123456789")}
    desk.begin(graph=graph, accepted=frozenset({"3", "9"}), node_errors=errors)
    finish(desk, {"3": ["shot/good_00001_.png"]})
    assert "abcdef0123456789" not in repr(desk.record())
    assert "abcdef0123456789" not in (desk.output / "shot/bad.failed").read_text("utf-8")
