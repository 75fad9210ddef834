"""A scene's graph on a server: its picture there, and the scene put into the workflow."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..client.comfy_client import ComfyClient
from ..telemetry.files.temporaries import temporary_name
from .keyframes import make_keyframe, upload_keyframe
from .patching import KEYFRAME, Mapped, Patched, patch
from .run_folder import RunFolder
from .story import Scene, Story, seed_of

FIELD, NAME = "keyframe", "keyframe"
STANDING_IN = "keyframe.png"
"""The name of a picture while nothing is uploaded yet."""
DEFAULT_SIZE = (512, 512)
_KEYFRAME = re.compile(rf"(?<!\\){KEYFRAME}")
"""One with a backslash before it stands for itself."""


def needs_keyframe(template: Mapping[str, Any], mapping: list[Mapped] | None) -> bool:
    """Whether a template has a place for a picture."""
    return _KEYFRAME.search(str(template)) is not None or any(one.field == FIELD for one in mapping or ())


def on_no_server(
    template: Mapping[str, Any],
    story: Story,
    mapping: list[Mapped] | None,
    *,
    prefix_of: Callable[[Scene], str],
    add_marker: bool = False,
) -> list[Patched]:
    """Every scene's graph as far as it can be made before a picture is uploaded anywhere. Raises PatchError."""
    keyframe = STANDING_IN if needs_keyframe(template, mapping) else None
    return [
        patch(
            template,
            scene,
            prefix=prefix_of(scene),
            seed=seed_of(story, scene),
            keyframe=keyframe,
            mapping=mapping,
            add_marker=add_marker,
        )
        for scene in story.scenes
    ]


def copy_keyframes(folder: RunFolder, story: Story, place: Path) -> None:
    """Bring the pictures that a story names, relative to `place`, into the run's folder. Raises OSError."""
    for scene in story.scenes:
        if scene.keyframe:
            given = place / scene.keyframe
            target = folder.path / scene.id / f"{NAME}{given.suffix.lower()}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(given, target)


@dataclass(slots=True)
class SceneGraph:
    """Makes one scene's graph for a server."""

    template: Mapping[str, Any]
    mapping: list[Mapped] | None
    folder: RunFolder
    seed: int
    prefix: str
    keyframe: str | None = field(default=None, init=False)
    """The picture in the run's folder, once there is one."""

    async def on(self, client: ComfyClient, scene: Scene, *, add_marker: bool) -> Patched:
        """The graph for this server, which has its picture then. Raises ServerError, KeyframeError and OSError."""
        name = None
        if needs_keyframe(self.template, self.mapping):
            picture = await asyncio.to_thread(self._picture, scene)
            name = await upload_keyframe(client, picture, self.folder.run_id, scene.id, self.folder.path)
            self.keyframe = picture.relative_to(self.folder.path).as_posix()
        return patch(
            self.template,
            scene,
            prefix=self.prefix,
            seed=self.seed,
            keyframe=name,
            mapping=self.mapping,
            add_marker=add_marker,
        )

    def _picture(self, scene: Scene) -> Path:
        """The given one, or one that is made; whole, or not there."""
        folder = self.folder.path / scene.id
        given = sorted(folder.glob(f"{NAME}.*"))
        if given:
            return given[0]
        folder.mkdir(parents=True, exist_ok=True)
        temporary, target = folder / temporary_name(), folder / f"{NAME}.png"
        try:
            make_keyframe(scene, _size(self.template), temporary).replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return target


def _size(template: Mapping[str, Any]) -> tuple[int, int]:
    """The workflow's: that of the first node that has a width and a height in pixels."""
    for node in template.values():
        inputs = node.get("inputs") or {}
        width, height = inputs.get("width"), inputs.get("height")
        if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
            return width, height
    return DEFAULT_SIZE
