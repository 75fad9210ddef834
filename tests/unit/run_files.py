"""A run's two files, made by hand from the contract and not by our writer."""

import copy
import json
from pathlib import Path
from typing import Any

SUMMARY = (Path(__file__).parent / "run-summary.txt").read_text("utf-8")
MB = 1048576
TELEMETRY: dict[str, Any] = {
    "DurationSeconds": 45.2,
    "QueueStart": "2026-11-01T10:20:30.000Z",
    "QueueEnd": "2026-11-01T10:21:15.200Z",
    "HistoryAttempts": 3,
    "HistoryAttemptLimit": 0,
    "pollLimit": "unbounded",
    "MaxWaitSeconds": 600,
    "PollIntervalSeconds": 2,
    "HistoryExitReason": "success",
    "ExecutionSuccessDetected": True,
    "ExecutionSuccessAt": "2026-11-01T10:21:14.000Z",
    "PostExecutionTimeoutSeconds": 30,
    "HistoryPostExecutionTimeoutReached": False,
    "SceneRetryBudget": 1,
    "DoneMarkerDetected": True,
    "DoneMarkerWaitSeconds": 0.4,
    "DoneMarkerPath": "scene-001/scene-001.done",
    "ForcedCopyTriggered": False,
    "ForcedCopyDebugPath": None,
    "GPU": {
        "Name": "NVIDIA GeForce RTX 4090",
        "Type": "cuda",
        "Index": 0,
        "VramTotal": 24564 * MB,
        "VramFreeBefore": 24000 * MB,
        "VramFreeAfter": 22600 * MB,
        "VramDelta": -1400 * MB,
        "VramBeforeMB": 24000,
        "VramAfterMB": 22600,
        "VramDeltaMB": -1400,
        "FallbackSource": None,
    },
    "System": {"Before": None, "After": None, "FallbackNotes": []},
}
SCENE: dict[str, Any] = {
    "SceneId": "scene-001",
    "FrameFloor": 25,
    "FrameCount": 25,
    "DurationSeconds": 45.2,
    "HistoryRetrieved": True,
    "HistoryAttempts": 3,
    "HistoryErrors": [],
    "Success": True,
    "MeetsFrameFloor": True,
    "AttemptsRun": 1,
    "SceneRetryBudget": 1,
    "Telemetry": TELEMETRY,
}
METADATA: dict[str, Any] = {
    "RunId": "20261101-102030",
    "Story": {"Id": "story-1", "Logline": "A lighthouse wakes."},
    "QueueConfig": {
        "SceneRetryBudget": 1,
        "HistoryMaxWaitSeconds": 600,
        "HistoryMaxAttempts": 0,
        "HistoryPollIntervalSeconds": 2,
        "PostExecutionTimeoutSeconds": 30,
    },
    "Scenes": [SCENE],
    "HelperSummaries": {
        "MappingPreflight": {"Summary": "test-results/mapping-preflight.json"},
        "ComfyUIStatus": {"Summary": "test-results/comfyui-status.json"},
    },
    "CheckLogs": {
        "Preflight": "test-results/check-preflight.log",
        "Run": "test-results/check-run.log",
        "Contract": "test-results/check-contract.log",
    },
}


class Run:
    """A good run that a test spoils."""

    def __init__(self) -> None:
        self.summary = SUMMARY
        self.metadata = copy.deepcopy(METADATA)

    @property
    def scene(self) -> dict[str, Any]:
        return self.metadata["Scenes"][0]

    @property
    def telemetry(self) -> dict[str, Any]:
        return self.scene["Telemetry"]

    def say(self, *texts: str) -> None:
        """Lines of the scene, before the checks."""
        lines = "".join(f"[10:21:15] [Scene scene-001] {text}\n" for text in texts)
        self.summary = self.summary.replace("[10:21:16] Check preflight", lines + "[10:21:16] Check preflight")

    def replace(self, old: str, new: str) -> None:
        assert old in self.summary
        self.summary = self.summary.replace(old, new)

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run-summary.txt").write_text(self.summary, "utf-8")
        (folder / "artifact-metadata.json").write_text(json.dumps(self.metadata), "utf-8")
        return folder
