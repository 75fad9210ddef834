"""Foreign bytes and requests made from our own documentation: a minute of each in CI, seconds elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .fuzz import fuzz
from .graphs import failing, saved
from .hosts import Host

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 4)
"""How long to fuzz the readers; .ci/run asks for a minute."""


def test_whatever_bytes_come_the_readers_of_markers_and_events_answer_as_documented(figures: list[str]) -> None:
    counted = fuzz(SECONDS)
    assert len(counted) == 5
    figures.append(f"fuzzed for {SECONDS:g} s: {', '.join(f'{count} {what}' for what, count in counted.items())}")


def test_requests_made_from_the_openapi_document_are_answered_as_it_says(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    host = Host("embedded", tmp_path).start()
    try:
        for number in range(3):
            host.run(saved(f"shot/a{number}", marker={}))
        host.run(failing("shot/f"))
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{host.url}/telemetry/openapi.json"),
                *("--max-examples", "15", "--seed", "1", "--no-color", "--suppress-health-check", "all"),
                *("--exclude-path", "/telemetry/events"),  # it never ends
            ],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
            cwd=tmp_path,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-6000:]
        assert host.health()["problems"] == []
    finally:
        host.stop()
