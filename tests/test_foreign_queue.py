"""Other packs on the same queue: they empty it, let nothing into it, or cover its functions with their own."""

from pathlib import Path
from typing import Any

import pytest

from .graphs import saved, slow_then_saved
from .hosts import Host

PACK = '''
import gc
from aiohttp import web
from execution import PromptExecutor, PromptQueue
from server import PromptServer

Q = PromptServer.instance.prompt_queue
EARLY = Q.put


def early(item):
    """There before the recorder in some hosts, after it in others: drops what is only to be checked."""
    if item[3].get("validate_only"):
        return None
    return EARLY(item)


Q.put = early


def emptied():
    with Q.mutex:
        Q.queue = []


def first_out():
    with Q.mutex:
        Q.queue.sort()
        del Q.queue[0]


def numbered_anew():
    with Q.mutex:
        Q.queue = [(item[0] + 1000, *item[1:]) for item in sorted(Q.queue)]


def as_attributes():
    """Functions on the objects themselves, which call those of the class under their own names."""
    for name in ("delete_queue_item", "wipe_queue", "task_done"):
        def function(*args, covered=getattr(Q, name), **kwargs):
            return covered(*args, **kwargs)
        setattr(Q, name, function)


def copied():
    """Functions on the queue that do the same as the class', and call nothing of it."""
    import copy, heapq

    def put(item):
        with Q.mutex:
            heapq.heappush(Q.queue, item)
            Q.server.queue_updated()
            Q.not_empty.notify()

    def wipe_queue():
        with Q.mutex:
            Q.queue = []
            Q.server.queue_updated()

    Q.put, Q.wipe_queue = put, wipe_queue


def own_messages():
    """A function on the executor itself, which does the same as the class' and doesn't call it."""
    (executor,) = [one for one in gc.get_objects() if isinstance(one, PromptExecutor)]

    def add_message(event, data, broadcast):
        executor.status_messages.append((event, {**data, "timestamp": 0}))
        if executor.server.client_id is not None or broadcast:
            executor.server.send_sync(event, data, executor.server.client_id)

    executor.add_message = add_message


def quietly():
    """A function that lets a prompt into the queue and wakes nobody: it waits until something else does."""
    import heapq

    def put(item):
        with Q.mutex:
            heapq.heappush(Q.queue, item)

    Q.put = put


def woken():
    with Q.mutex:
        Q.not_empty.notify()


FUNCTIONS = (emptied, first_out, numbered_anew, as_attributes, copied, own_messages, quietly, woken)
DONE = {one.__name__: one for one in FUNCTIONS}


@PromptServer.instance.routes.post("/aa_queue/{what}")
async def do(request):
    DONE[request.match_info["what"]]()
    return web.json_response({})


NODE_CLASS_MAPPINGS = {}
'''


def host_with(kind: str, folder: Path, name: str) -> Host:
    pack = folder / "packs" / name
    pack.mkdir(parents=True)
    (pack / "__init__.py").write_text(PACK, "utf-8")
    return Host(kind, folder / "host", packs=[pack])


@pytest.fixture(scope="module", params=["aa_queue", "zz_queue"])
def shared(host_kind: str, tmp_path_factory: pytest.TempPathFactory, request: Any):
    """Beside a pack that the embedded host loads before ours, and one that it loads after."""
    host = host_with(host_kind, tmp_path_factory.mktemp(f"{request.param}-{host_kind}"), request.param)
    try:
        yield host.start()
    finally:
        host.stop()


def do(host: Host, what: str) -> None:
    assert host.request("POST", f"/aa_queue/{what}", {}).status == 200


def cancelled(host: Host, prompt_id: str) -> dict[str, Any]:
    return host.until(lambda: host.record(prompt_id)["status"] == "cancelled" and host.record(prompt_id), 20)


@pytest.mark.parametrize("how", ["emptied", "first_out"])
def test_what_is_taken_out_of_the_queue_is_cancelled(shared: Host, how: str) -> None:
    running = shared.queue(slow_then_saved(f"{how}/a", 6.0, filename_prefix=""))
    shared.until_running(running)
    waiting = [shared.queue(saved(f"{how}/{name}", marker={})) for name in ("b", "c")]
    do(shared, how)
    record = cancelled(shared, waiting[0])
    assert "ComfyUI's queue does not have this prompt" in record["notes"][-1]
    assert record["ended_at"] is not None and record["started_at"] is None
    assert shared.wait(running, 60)["status"] == "success"
    if how == "emptied":
        cancelled(shared, waiting[1])
    else:
        assert shared.wait(waiting[1], 60)["status"] == "success"
    assert [name for name in shared.markers_in(how) if name != "a.done"] == ([] if how == "emptied" else ["c.done"])
    assert shared.run(saved(f"{how}/after", marker={}))["status"] == "success"


def test_what_is_not_let_in_is_cancelled_whether_or_not_anything_runs(shared: Host) -> None:
    prompt_id = shared.queue(saved("checked/a", marker={}), extra_data={"validate_only": True})
    assert "let it in" in cancelled(shared, prompt_id)["notes"][-1]
    assert shared.markers_in("checked") == []
    assert shared.health()["status"] == "ok"


def test_what_gets_another_number_is_run_and_nothing_else(shared: Host) -> None:
    running = shared.queue(slow_then_saved("number/a", 5.0, filename_prefix=""))
    shared.until_running(running)
    waiting = [shared.queue(saved(f"number/{name}", marker={})) for name in ("b", "c")]
    do(shared, "numbered_anew")
    for prompt_id in waiting:
        record = shared.wait(prompt_id, 60)
        assert (record["status"], record["run_number"]) == ("success", 1)
        assert "does not have" not in " ".join(record["notes"])


@pytest.mark.parametrize("how", ["as_attributes", "copied", "own_messages"])
def test_functions_on_the_objects_themselves(host_kind: str, tmp_path: Path, how: str) -> None:
    host = host_with(host_kind, tmp_path, "zz_queue")
    try:
        host.start()
        do(host, how)
        first = host.run(saved("x/first", marker={}))
        assert (first["status"], len(first["outputs"]), first["run_number"]) == ("success", 1, 1)
        running = host.queue(slow_then_saved("x/a", 4.0, filename_prefix=""))
        host.until_running(running)
        waiting = [host.queue(saved(f"x/{name}", marker={})) for name in ("b", "c", "d")]
        assert host.record(waiting[0])["status"] == "queued"
        host.delete_queued(waiting[0])
        assert host.wait(waiting[0], 5)["status"] == "cancelled"
        host.clear_queue()
        assert [host.wait(one, 5)["status"] for one in waiting] == ["cancelled"] * 3
        assert host.record(waiting[1])["notes"] == [], "seen as it was cleared, not missed later"
        record = host.wait(running, 60)
        assert (record["status"], record["run_number"], record["notes"]) == ("success", 1, [])
    finally:
        host.stop()


def test_what_waits_and_was_not_told_is_known_as_soon_as_it_is_asked_for_or_anything_runs(
    host_kind: str, tmp_path: Path
) -> None:
    host = host_with(host_kind, tmp_path, "zz_queue")
    try:
        host.start()
        running = host.queue(slow_then_saved("quiet/slow", 60.0, filename_prefix=""))
        host.until_running(running)
        do(host, "quietly")
        names = [host.queue(saved(f"quiet/{name}", marker={})) for name in "abc"]
        assert host.get(f"/telemetry/prompts/{names[1]}/nodes") == (200, {"items": []})
        assert host.get(f"/telemetry/prompts/{names[1]}/wait?timeout=0.2")[0] == 202
        waits = host.record(names[0])
        assert (waits["status"], waits["queued_at"], waits["run_number"]) == ("queued", None, 1)
        assert "did not tell when this prompt was queued" in waits["notes"][0]
        assert host.get("/telemetry/prompts/none-of-these")[0] == 404
        do(host, "woken")
        host.interrupt()
        assert host.wait(running, 30)["status"] == "interrupted"
        for name in names:
            record = host.wait(name)
            assert (record["status"], record["run_number"], len(record["notes"])) == ("success", 1, 1), record
            assert record["queue_wait_seconds"] is None
        assert host.get("/telemetry/prompts")[1]["items"][4:] == []
        assert [name for name in host.markers_in("quiet") if name != "slow.failed"] == ["a.done", "b.done", "c.done"]
    finally:
        host.stop()
