"""The README's section on what is kept, where, for how long, and how to erase it, done as it says."""

import re
import shutil
import sys
from pathlib import Path

from .graphs import Graph
from .hosts import REPO, Host, cli

SECTION = (REPO / "README.md").read_text("utf-8").partition("## What is kept, and where")[2].partition("\n## ")[0]
WORDS = "a red fox nobody may know of"
SEED = 918273645546372819


def private(host: Host) -> Path:
    named = re.search(r"`(user/__run_recorder)/run-recorder.sqlite3`", SECTION)
    assert named is not None
    return host.base / named[1]


def graph(prefix: str) -> Graph:
    """A graph with somebody's words in it, and a seed."""
    found = Graph()
    found.add("ProbeString", text=WORDS)
    found.save(found.image(), prefix, text=WORDS, seed=SEED)
    found.add("PreviewAny", source=["1", 0])
    found.marker()
    return found


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_the_readme_says_of_what_is_kept_is_so(fresh_host: Host) -> None:
    host = fresh_host
    kept = host.run(graph("kept/a"), extra_data={"note": WORDS, "client_secret": "hunter2hunter2"})
    first = host.run(graph("erased/one"))
    second = host.run(graph("erased/two"))
    folder = private(host)
    assert (folder / "run-recorder.sqlite3").is_file()
    assert sys.platform == "win32" or folder.stat().st_mode & 0o077 == 0, "readable by its user alone"
    stored = everything(folder)
    assert kept["prompt_id"].encode() in stored
    for word in (WORDS, str(SEED), "hunter2"):
        assert word.encode() not in stored

    ours = [line for line in host.log_text().splitlines() if "Run Recorder" in line]
    assert not [line for line in ours if WORDS in line or "hunter2" in line or str(SEED) in line]

    one, until = re.findall(r'curl -X DELETE "localhost:8188(.*?)"', SECTION)
    assert host.delete(one.replace("$id", first["prompt_id"]))[0] == 204
    host.run(graph("later/a"))
    assert host.delete(re.sub(r"until=.*", f"until={second['queued_at']}", until))[0] == 204, "all before the second"
    assert host.get(f"/telemetry/prompts/{second['prompt_id']}")[0] == 200
    stored = everything(folder)
    for gone in (kept, first):
        assert host.get(f"/telemetry/prompts/{gone['prompt_id']}")[0] == 404
        assert gone["prompt_id"].encode() not in stored
    host.stop()

    command = re.search(r"`run-recorder (db prune .*?)`", SECTION)
    assert command is not None
    words = command[1].replace("user/__run_recorder", str(folder)).replace("--days 30", "--prompts 1").split()
    pruned = cli(*words, "--json")
    assert pruned.returncode == 0 and '"kept": 1' in pruned.stdout, pruned.stdout + pruned.stderr

    shutil.rmtree(folder)
    host.start()
    assert host.get("/telemetry/prompts")[1]["items"] == []
    assert host.marker("kept/a.done")["PromptId"] == kept["prompt_id"], "markers stay"


def test_the_readme_s_time_is_the_default() -> None:
    from run_recorder.telemetry.process.settings import DEFAULT_PROMPTS, ServerSettings
    from run_recorder.telemetry.store.retention import Retention

    assert f"{DEFAULT_PROMPTS:,} prompts" in SECTION
    for name, field in (("PROMPTS", "prompts"), ("DAYS", "days"), ("BYTES", "bytes")):
        assert f"`RUN_RECORDER_KEEP_{name}`" in SECTION
        assert getattr(Retention.of(ServerSettings(**{f"RUN_RECORDER_KEEP_{name}": "7"})), field) == 7
