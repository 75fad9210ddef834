"""The report's timeline: a lane a server, a bar a try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..telemetry.models.run_contract import Scene
from ..telemetry.models.times import parse
from .report_links import anchor_of
from .report_texts import kind_of_try, seconds
from .report_view import Bar, Lane, Timeline


def timeline_of(scenes: Sequence[Scene]) -> Timeline | None:
    """The tries of which it is known when they began and ended; null where there is none."""
    tries = list(_bars(scenes))
    if not tries:
        return None
    begin, end = min(one[2] for one in tries), max(one[3] for one in tries)
    whole = max(1, end - begin)
    lanes: dict[str, list[Bar]] = {}
    for server, text, start, stop, kind, scene_id in tries:
        left, width = f"{(start - begin) / whole * 100:.3f}", f"{(stop - start) / whole * 100:.3f}"
        lanes.setdefault(server, []).append(Bar(anchor_of(scene_id), kind, left, width, text))
    return Timeline([Lane(server, lane) for server, lane in sorted(lanes.items())], seconds(whole / 1000))


def _bars(scenes: Sequence[Scene]) -> Iterator[tuple[str, str, int, int, str, str]]:
    for scene in scenes:
        for one in scene.AttemptSummaries:
            try:
                start, stop = parse(str(one["QueueStart"])), parse(str(one["QueueEnd"]))
            except (KeyError, ValueError):
                continue
            told = f"{scene.SceneId}, attempt {one.get('Attempt')}: {one.get('End')}, {seconds((stop - start) / 1000)}"
            yield str(one.get("Server") or "server"), told, start, max(start, stop), kind_of_try(one), scene.SceneId
