"""The sentinel as a thread inside ComfyUI: one setting, and graphs without the node get their markers."""

import signal

from ..graphs import saved
from ..hosts import Host, cli
from .test_comfyui import halves
from .watching import frames, listed, marker, put


def begun(start_host, **options) -> Host:
    return start_host(env={"RUN_RECORDER_SENTINEL": "on"}, **options)


def until_marked(host: Host, folder: str, name: str, seconds: float = 20) -> dict:
    host.until(lambda: marker(host.output / folder, name) is not None, seconds)
    return marker(host.output / folder, name) or {}


def test_graphs_with_and_without_the_node_get_one_marker_each(start_host) -> None:
    host = begun(start_host)
    prompt_id = host.queue(halves("in/shot"))
    told = until_marked(host, "in", "shot")
    assert (told["PromptId"], told["Producer"], told["FrameCount"]) == (prompt_id, "sentinel", 30)
    assert listed(told) == set(frames("shot", 30))
    assert None not in {file["NodeId"] for file in told["Files"]}, "by the record, not by the window"

    record = host.run(saved("in/own", 3, marker={}))
    own = marker(host.output / "in", "own") or {}
    assert (own["Producer"], own["PromptId"]) == ("node", record["prompt_id"])

    put(host.output / "in", *frames("by hand", 2))
    assert until_marked(host, "in", "by hand")["PromptId"] is None
    told = cli("sentinel", "watch", host.output, "--once")
    assert told.returncode == 2 and "already watched" in told.stderr
    assert host.request("GET", "/telemetry/health").body["status"] == "ok"
    host.process.send_signal(signal.SIGINT)
    host.process.wait(20)
    assert not [path.name for path in host.output.glob(".run-recorder*")], "the lock is given back at the exit"


def test_without_the_setting_nothing_is_watched(host: Host) -> None:
    assert not list(host.output.glob(".run-recorder*"))
