"""A scene's film from its frames, where ffmpeg is there; else a word why there is none."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

from ..telemetry.files.temporaries import temporary_name
from ..telemetry.models.run_contract import Scene, SceneVideo
from ..telemetry.models.times import iso, milliseconds

FRAMES_PER_SECOND = 24
SECONDS = 600.0
FRAME = re.compile(r"^(?P<head>.*?)(?P<number>\d{5,})(?P<tail>_?\.(?:png|jpg|jpeg|webp))$", re.IGNORECASE)


def missing(why: str | None) -> SceneVideo:
    """No film, and the reason."""
    return SceneVideo(Path=None, DurationSeconds=None, Status="missing", UpdatedAt=None, Error=why)


def make(run: Path, scene: Scene) -> SceneVideo:
    """Make `<scene>/<scene>.mp4` of the scene's frames. Raises nothing: what goes wrong is told."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return missing("ffmpeg is not there")
    folder = run / (scene.GeneratedFramesDir or "")
    first, count = _sequence(folder)
    if first is None:
        return missing("fewer than two numbered pictures")
    match = FRAME.match(first)
    assert match is not None
    head, digits = match["head"].replace("%", "%%"), len(match["number"])
    pattern = f"{head}%0{digits}d{match['tail'].replace('%', '%%')}"
    target = run / scene.SceneId / f"{scene.SceneId}.mp4"
    if _is_newer(target, run / scene.SceneId / "result.json"):
        return _complete(run, target, count)
    temporary = target.parent / temporary_name()
    command = [ffmpeg, "-nostdin", "-loglevel", "error", "-y", "-framerate", str(FRAMES_PER_SECOND)]
    command += ["-start_number", match["number"], "-i", str(folder / pattern), "-frames:v", str(count)]
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-bitexact", "-f", "mp4", str(temporary)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
        if done.returncode != 0:
            return missing(f"ffmpeg: {' '.join(done.stderr.split())[-300:] or done.returncode}")
        temporary.replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        return missing(f"ffmpeg: {error}")
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return _complete(run, target, count)


def _complete(run: Path, target: Path, count: int) -> SceneVideo:
    return SceneVideo(
        Path=target.relative_to(run).as_posix(),
        DurationSeconds=round(count / FRAMES_PER_SECOND, 3),
        Status="complete",
        UpdatedAt=iso(milliseconds(target.stat().st_mtime)),
        Error=None,
    )


def _is_newer(film: Path, result: Path) -> bool:
    """Whether there is a film of just this result: a resumed run makes it once."""
    try:
        return film.stat().st_mtime_ns >= result.stat().st_mtime_ns
    except OSError:
        return False


def _sequence(folder: Path) -> tuple[str | None, int]:
    """The first of the pictures that count on without a gap, and how many they are; null for fewer than two."""
    names = sorted(path.name for path in folder.iterdir() if FRAME.match(path.name)) if folder.is_dir() else []
    if not names:
        return None, 0
    start = FRAME.match(names[0])
    assert start is not None
    count = 0
    while f"{start['head']}{int(start['number']) + count:0{len(start['number'])}d}{start['tail']}" in names:
        count += 1
    return (names[0], count) if count > 1 else (None, 0)
