"""A run's report: one page that opens from disk, and fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..telemetry.models.run_contract import ArtifactMetadata, GpuTelemetry, Scene
from ..telemetry.models.times import parse
from .html import Child, Html, join, link_to, said, tag
from .pictures import PICTURES
from .policy import Policy
from .report_style import STYLE
from .summary import unbounded
from .thumbnails import spread, thumbnail
from .validate import Findings

REPORT = "report.html"
NOTHING_FROM_OUTSIDE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
MOST_FRAMES, MOST_THUMBNAILS = 12, 600
"""Of a scene, and of a run: the rest is named and stays in its folder."""
MOST_TEXT = 20_000
"""Characters of a prompt that are shown; the whole is in the metadata."""


def render(metadata: ArtifactMetadata, policy: Policy, folder: Path, found: Findings | None = None) -> str:
    """The page. `folder` is the run's, whose frames are shown small; `found` is what the validation said."""
    title = f"{metadata.Story.Id} - run {metadata.RunId}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=NOTHING_FROM_OUTSIDE),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    most = max(1, min(MOST_FRAMES, MOST_THUMBNAILS // len(metadata.Scenes)))
    scenes = (_scene(scene, folder, most) for scene in metadata.Scenes)
    parts = (_top(metadata, found), _timeline(metadata.Scenes), scenes, _policy(policy), _files(metadata))
    main = tag("main", parts)
    return f"<!doctype html>\n{tag('html', head, tag('body', main), lang='en')}\n"


# ---------------------------------------------------------------- the run


def _top(metadata: ArtifactMetadata, found: Findings | None) -> Html:
    scenes, story = metadata.Scenes, metadata.Story
    good = sum(bool(scene.Success) for scene in scenes)
    frames = sum(scene.FrameCount or 0 for scene in scenes)
    servers = {str(one["Server"]) for scene in scenes for one in scene.AttemptSummaries if one.get("Server")}
    facts = {
        "Run": metadata.RunId,
        "Written": metadata.Timestamp,
        "Scenes": f"{good} of {len(scenes)} succeeded",
        "Frames": frames,
        "Tries": sum(scene.AttemptsRun or 0 for scene in scenes),
        "Servers": ", ".join(sorted(servers)) or None,
        "Story by": story.Generator,
        "Language model": _health(metadata),
    }
    whole = good == len(scenes)
    badge = tag("span", "complete" if whole else "not complete", class_=f"badge {'good' if whole else 'bad'}")
    return tag(
        "header",
        tag("p", "Run Recorder", class_="dim"),
        tag("div", tag("h1", said(story.Id)), badge, class_="head"),
        tag("p", said(story.Logline)) if story.Logline else None,
        tag("p", said(story.DirectorsVision), class_="dim") if story.DirectorsVision else None,
        _facts(facts),
        _notes("Warnings", story.Warnings, "warn"),
        _validation(found),
    )


def _health(metadata: ArtifactMetadata) -> str | None:
    health = metadata.Story.HealthCheck
    if health is None:
        return None
    if health.Skipped:
        return f"not asked ({health.SkipReason or 'skipped'})"
    return f"{health.Status} at {health.Url}" + (f": {health.Error}" if health.Error else "")


def _validation(found: Findings | None) -> Html | None:
    if found is None:
        return None
    word, kind = ("PASS", "good") if found.passed else ("FAIL", "bad")
    return tag(
        "div",
        tag("p", "run-summary validation: ", tag("strong", word, class_=kind)),
        _notes("", found.errors, "bad"),
        _notes("", found.warnings, "warn"),
    )


def _policy(policy: Policy) -> Html:
    rows = []
    for name, value in policy.values.items():
        shown = unbounded(value) if name == "history_max_attempts" else value
        rows.append((name.replace("_", " "), shown, policy.sources.get(name, "")))
    return tag("section", tag("h2", "Queue policy"), _table(("", "value", "from"), rows))


def _files(metadata: ArtifactMetadata) -> Html:
    logs = metadata.CheckLogs.model_dump() if metadata.CheckLogs else {}
    named = {"Summary": "run-summary.txt", "Metadata": "artifact-metadata.json", "Story": metadata.Story.File}
    named |= {f"Check: {name}": path for name, path in logs.items()} | {"Archive": metadata.Archive}
    items = [tag("li", tag("a", name, href=link_to(path))) for name, path in named.items() if path]
    return tag("section", tag("h2", "Files"), tag("ul", items, class_="notes"))


# ---------------------------------------------------------------- the timeline


def _timeline(scenes: Sequence[Scene]) -> Html | None:
    """A lane a server, a bar a try."""
    bars = list(_bars(scenes))
    if not bars:
        return None
    begin, end = min(bar[2] for bar in bars), max(bar[3] for bar in bars)
    whole = max(1, end - begin)
    lanes: dict[str, list[Html]] = {}
    for server, told, start, stop, kind, scene_id in bars:
        style = f"left:{(start - begin) / whole * 100:.3f}%;width:{(stop - start) / whole * 100:.3f}%"
        bar = tag("a", href=_anchor(scene_id), class_=kind, style=style, title=told, aria_label=told)
        lanes.setdefault(server, []).append(bar)
    rows = [
        tag("div", tag("p", said(server)), tag("div", lane, class_="track"), class_="lane")
        for server, lane in sorted(lanes.items())
    ]
    axis = tag("div", tag("span", "0 s"), tag("span", _seconds(whole / 1000)), class_="axis")
    legend = tag(
        "p",
        tag("span", "succeeded", class_="good"),
        ", ",
        tag("span", "tried again", class_="warn"),
        ", ",
        tag("span", "failed", class_="bad"),
        class_="dim",
    )
    return tag("section", tag("h2", "Timeline"), rows, axis, legend)


def _bars(scenes: Sequence[Scene]) -> Iterator[tuple[str, str, int, int, str, str]]:
    for scene in scenes:
        for one in scene.AttemptSummaries:
            try:
                start, stop = parse(str(one["QueueStart"])), parse(str(one["QueueEnd"]))
            except (KeyError, ValueError):
                continue
            told = f"{scene.SceneId}, attempt {one.get('Attempt')}: {one.get('End')}, {_seconds((stop - start) / 1000)}"
            yield str(one.get("Server") or "server"), told, start, max(start, stop), _kind(one), scene.SceneId


def _kind(attempt: Mapping[str, Any]) -> str:
    if attempt.get("Success"):
        return "good"
    return "warn" if attempt.get("RequeueReason") else "bad"


def _anchor(scene_id: str) -> str:
    return "#" + link_to(scene_id)[2:]


# ---------------------------------------------------------------- one scene


def _scene(scene: Scene, folder: Path, most: int) -> Html:
    told = scene.Telemetry
    kind = "good" if scene.Success else "bad"
    facts = {
        "Frames": f"{scene.FrameCount or 0} of at least {scene.FrameFloor or 0}",
        "Duration": _seconds(told.DurationSeconds),
        "Ended by": told.HistoryExitReason,
        "Success seen": told.ExecutionSuccessAt,
        "Done marker": f"found after {_seconds(told.DoneMarkerWaitSeconds)}" if told.DoneMarkerDetected else "none",
        "Forced copy": "yes" if told.ForcedCopyTriggered else None,
        "Requests": f"{told.HistoryAttempts} of {unbounded(told.HistoryAttemptLimit)}",
        "Device": told.GPU.Name + (f" (by {told.GPU.FallbackSource})" if told.GPU.FallbackSource else ""),
        "Memory free": _memory(told.GPU),
        "Prefix": scene.FramePrefix,
        "Keyframe": scene.KeyframeSource,
    }
    return tag(
        "section",
        tag(
            "div",
            tag("h2", said(scene.SceneTitle or scene.SceneId)),
            tag("span", scene.SceneId, class_="dim"),
            tag("span", "succeeded" if scene.Success else "failed", class_=f"badge {kind}"),
            class_="head",
        ),
        _notes("", scene.Errors, "bad"),
        _frames(scene, folder, most),
        _film(scene),
        _facts(facts),
        _prompts(scene),
        _notes("Warnings", list(dict.fromkeys([*told.System.FallbackNotes, *scene.Warnings])), "warn"),
        _notes("History", scene.HistoryErrors, "warn"),
        _attempts(scene),
        id=scene.SceneId,
    )


def _frames(scene: Scene, folder: Path, most: int) -> Html | None:
    below = scene.GeneratedFramesDir
    if not below or not (folder / below).is_dir():
        return None
    names = sorted(
        path.relative_to(folder / below).as_posix()
        for path in (folder / below).rglob("*")
        if path.is_file() and path.suffix.lower() != ".done"
    )
    pictures = [name for name in names if name.lower().endswith(PICTURES)]
    others = [name for name in names if name not in pictures]
    items = [_frame(folder, f"{below}/{name}", _short_name(name, scene)) for name in spread(pictures, most)]
    items += [tag("li", tag("a", name, href=link_to(f"{below}/{name}"))) for name in others[:most]]
    more = len(names) - len(items)
    return join(
        (
            tag("ul", items, class_="frames"),
            tag("p", f"and {more} more in ", tag("a", below, href=link_to(below)), class_="dim") if more > 0 else None,
        )
    )


def _short_name(name: str, scene: Scene) -> str:
    """A frame's name without what all of them begin with."""
    rest = name.removeprefix(scene.FramePrefix) if scene.FramePrefix else name
    return rest.lstrip("_") or name


def _frame(folder: Path, path: str, name: str) -> Html:
    small = thumbnail(folder / path, folder)
    picture = tag("img", src=small, alt="", loading="lazy") if small else None
    return tag("li", tag("a", picture, tag("span", name), href=link_to(path)))


def _film(scene: Scene) -> Html | None:
    if scene.Video is None or scene.Video.Path is None:
        return None
    return tag("p", tag("a", f"film, {_seconds(scene.Video.DurationSeconds)}", href=link_to(scene.Video.Path)))


def _memory(gpu: GpuTelemetry) -> str | None:
    if gpu.VramBeforeMB is None and gpu.VramAfterMB is None:
        return None
    shown = ["unknown" if one is None else f"{one:,.0f} MB" for one in (gpu.VramBeforeMB, gpu.VramAfterMB)]
    delta = "" if gpu.VramDeltaMB is None else f" ({gpu.VramDeltaMB:+,.1f} MB)"
    return f"{shown[0]} before, {shown[1]} after{delta}"


def _prompts(scene: Scene) -> Html | None:
    told = [("Prompt", scene.Prompt), ("Negative prompt", scene.NegativePrompt)]
    blocks = [join((tag("h3", name), tag("pre", said(_short(value))))) for name, value in told if value]
    return tag("details", tag("summary", "Prompt"), blocks) if blocks else None


def _short(value: str) -> str:
    cut = len(value) - MOST_TEXT
    return value if cut <= 0 else f"{value[:MOST_TEXT]} ... and {cut} characters more, in artifact-metadata.json"


def _attempts(scene: Scene) -> Html | None:
    rows = [
        (
            one.get("Attempt"),
            tag("span", one.get("End"), class_=_kind(one)),
            one.get("Frames"),
            _seconds(one.get("DurationSeconds")),
            one.get("Server"),
            one.get("RequeueReason") or one.get("Error"),
            one.get("PromptId"),
        )
        for one in scene.AttemptSummaries
    ]
    heads = ("try", "end", "frames", "took", "server", "why", "prompt")
    if not rows:
        return None
    opened = "" if len(rows) > 1 else None
    return tag("details", tag("summary", f"Tries: {len(rows)}"), _table(heads, rows), open=opened)


# ---------------------------------------------------------------- pieces


def _facts(facts: Mapping[str, object]) -> Html:
    pairs = [(name, value) for name, value in facts.items() if value is not None]
    return tag("dl", [tag("div", tag("dt", name), tag("dd", said(value))) for name, value in pairs])


def _notes(title: str, notes: Sequence[str], kind: str) -> Html | None:
    if not notes:
        return None
    items = tag("ul", [tag("li", said(_short(note))) for note in notes], class_=f"notes {kind}")
    return join((tag("h3", title) if title else None, items))


def _table(heads: Sequence[str], rows: Sequence[Sequence[Child]]) -> Html:
    head = tag("tr", [tag("th", name, scope="col") for name in heads])
    body = [tag("tr", [tag("td", _cell(value)) for value in row]) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="wide")


def _cell(value: Child) -> Child:
    return value if value is None or isinstance(value, Html) else tag("bdi", _short(str(value)))


def _seconds(value: object) -> str:
    if not isinstance(value, (int, float)):
        return "unknown"
    return f"{value:.2f}\u00a0s" if value < 10 else f"{value:.1f}\u00a0s"
