"""Kills `run-recorder run` with -9 at random moments, and resumes it each time until it is complete.

Prints how often it was killed in which phase, and for every scene whether it was rendered twice although it was whole:
0 is the only good figure. Begins new runs until the kills are spent.

    python benchmarks/kill_run.py [--kills 50] [--scenes 12] [--seconds 0.25]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.hosts import CLI, Host

LONGEST = 2.5
"""A kill comes at most so many seconds after the start; a start of the command takes about half a second."""


def write_inputs(folder: Path, scenes: int, seconds: float) -> tuple[Path, Path]:
    """A story, and a template of three frames that take some time."""
    story = {
        "id": "killed",
        "scenes": [
            {"id": f"scene-{number:03}", "prompt": f"p{number}", "seed": random.randrange(0xFFFFFF)}
            for number in range(1, scenes + 1)
        ],
    }
    graph = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 3, "color": "__SEED__"},
        },
        "2": {"class_type": "DemoSlow", "inputs": {"image": ["1", 0], "seconds": seconds, "steps": 5}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "__SCENE_PREFIX__"}},
    }
    paths = folder / "story.json", folder / "workflow.json"
    for path, document in zip(paths, (story, graph), strict=True):
        path.write_text(json.dumps(document), "utf-8")
    return paths


def killed_after(command: list[str], seconds: float) -> tuple[bool, int]:
    """Start it and kill it after so long; whether it was still there, else its exit code."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return False, process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True, -9


def phase(run: Path | None) -> str:
    """How far it had come."""
    if run is None or not (run / "run.json").exists():
        return "before its plan"
    done = len(list(run.glob("scene-*/result.json")))
    if (run / "run-summary.txt").exists():
        return "while its files were written"
    begun = len(list(run.glob("scene-*/attempts.json")))
    return "during a scene" if begun > done else "between two scenes"


def newest(runs: Path, known: set[Path]) -> Path | None:
    """A folder that is there since then."""
    found = [path for path in runs.glob("*") if path.is_dir() and path not in known] if runs.is_dir() else []
    return found[0] if found else None


def one_run(host: Host, base: Path, options: argparse.Namespace, left: int, phases: Counter[str]) -> Path:
    """One run, killed until it is complete or the kills are spent; its folder."""
    story, workflow = write_inputs(base, options.scenes, options.seconds)
    runs = base / "runs"
    given = ["--story", str(story), "--workflow", str(workflow), "--runs-dir", str(runs), "--comfyui", host.url]
    begin = [*CLI, "run", *given, "--fast-iteration"]
    known: set[Path] = set(runs.glob("*")) if runs.is_dir() else set()
    run: Path | None = None
    while True:
        command = [*CLI, "run", "--resume", str(run)] if run is not None else begin
        wait = random.uniform(0.3, LONGEST) if left > 0 else 600.0
        killed, code = killed_after(command, wait)
        found = run or newest(runs, known)
        if not killed:
            assert found is not None and code == 0, (code, found)
            return found
        left -= 1
        phases[phase(found)] += 1
        if found is not None and not (found / "run.json").exists():
            known.add(found)  # nothing was begun there
            found = None
        run = found


def rendered(host: Host, run: Path) -> Counter[str]:
    """How many prompts of each scene ComfyUI has rendered whole."""
    counts: Counter[str] = Counter()
    query = "/telemetry/prompts?limit=200"
    cursor = ""
    while True:
        status, page = host.get(query + cursor)
        assert status == 200, page
        for prompt in page["items"]:
            batch = prompt["batch"] or {}
            if batch.get("run_id") == run.name and prompt["status"] == "success":
                counts[batch["scene_id"]] += 1
        if not page.get("next_cursor"):
            return counts
        cursor = f"&cursor={page['next_cursor']}"


def check(run: Path, scenes: int) -> dict[str, Any]:
    """What is wrong with a finished run."""
    told = json.loads((run / "artifact-metadata.json").read_text("utf-8"))
    whole = [scene for scene in told["Scenes"] if scene["Success"] and scene["FrameCount"] == 3]
    files = sum(
        len(list((run / scene["GeneratedFramesDir"]).glob("*.png"))) for scene in told["Scenes"] if scene["Success"]
    )
    done = subprocess.run([*CLI, "validate", str(run)], capture_output=True, text=True, check=False)
    left = list(run.rglob(".rr-*"))
    return {
        "complete": len(whole) == scenes,
        "frames": files == 3 * scenes,
        "validates": done.returncode == 0,
        "temporaries": len(left),
    }


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    random.seed(options.seed)
    phases: Counter[str] = Counter()
    bad = twice = total = runs = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        host = Host("embedded", Path(folder) / "host").start()
        try:
            while sum(phases.values()) < options.kills:
                base = Path(folder) / f"run{runs}"
                base.mkdir()
                run = one_run(host, base, options, options.kills - sum(phases.values()), phases)
                runs += 1
                found = check(run, options.scenes)
                counts = rendered(host, run)
                twice += sum(count - 1 for count in counts.values() if count > 1)
                total += sum(counts.values())
                wrong = [name for name, good in found.items() if not good and name != "temporaries"]
                bad += bool(wrong) or len(counts) != options.scenes
                print(f"run {runs}: {run.name}: {found}, rendered {sum(counts.values())} of {options.scenes} scenes")
        finally:
            host.stop()
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s")
    print(f"kills: {sum(phases.values())} ({', '.join(f'{name}: {count}' for name, count in phases.most_common())})")
    print(f"runs: {runs}, not complete or not valid: {bad}")
    print(f"scenes rendered whole: {total} of {runs * options.scenes}, rendered again although whole: {twice}")
    return int(bool(bad or twice))


if __name__ == "__main__":
    sys.exit(main())
