"""A story and its scenes: read from a file with every mistake told at once, or made from templates."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .text_file import TextFileError, read_text
from .windows_paths import located

MOST_BYTES = 16 * 1024 * 1024
MOST_SCENES = 1000
MOST_VALUES = 50 * MOST_SCENES
"""Of a file in YAML, names of fields and what is ignored with them."""
MOST_DIGITS = 100
MOST_TEXT = 100_000
"""Characters of a text: no model reads more, and a prompt of a megabyte is a file in the wrong place."""
MOST_FRAMES = 1_000_000
MOST_SEED = 2**64 - 1
SCENE_ID = re.compile(r"scene-[A-Za-z0-9][A-Za-z0-9_-]{0,58}")


class StoryError(Exception):
    """A story that can't be used. `kind` is a stable word; `mistakes` are all of them, each with where it is."""

    def __init__(self, kind: str, message: str, mistakes: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.mistakes = mistakes or [message]


class Scene(BaseModel):
    """One scene. The names of older files (`negativePrompt`, ...) are read, too."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, str_strip_whitespace=True)

    id: str
    """`scene-` and letters, digits, `-` or `_`; it names a folder."""
    title: str = Field(default="", max_length=MOST_TEXT)
    summary: str = Field(default="", max_length=MOST_TEXT)
    prompt: str = Field(min_length=1, max_length=MOST_TEXT)
    negative_prompt: str = Field(
        default="", max_length=MOST_TEXT, validation_alias=AliasChoices("negative_prompt", "negativePrompt")
    )
    mood: str = Field(default="", max_length=MOST_TEXT)
    camera_movement: str = Field(
        default="", max_length=MOST_TEXT, validation_alias=AliasChoices("camera_movement", "cameraMovement")
    )
    expected_frames: int | None = Field(
        default=None, ge=1, le=MOST_FRAMES, validation_alias=AliasChoices("expected_frames", "expectedFrames")
    )
    """Null where the workflow decides."""
    keyframe: str | None = Field(
        default=None,
        max_length=4096,
        validation_alias=AliasChoices("keyframe", "keyframePath", "keyframe_path"),
    )
    """A picture's path, in a file relative to that file; null where one is to be made."""
    seed: int | None = Field(default=None, ge=0, le=MOST_SEED)
    """Null where one is to be chosen from the story's."""

    @field_validator("id")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not SCENE_ID.fullmatch(value):
            raise ValueError("`scene-` and at most 59 letters, digits, `-` or `_` are accepted, as in scene-001")
        return value


class Story(BaseModel):
    """A story. Only its scenes, with `id` and `prompt`, are required in a file."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, str_strip_whitespace=True)

    id: str = Field(
        default="story", min_length=1, max_length=200, validation_alias=AliasChoices("id", "storyId", "story_id")
    )
    title: str = Field(default="", max_length=MOST_TEXT)
    logline: str = Field(default="", max_length=MOST_TEXT)
    directors_vision: str | None = Field(
        default=None, max_length=MOST_TEXT, validation_alias=AliasChoices("directors_vision", "directorsVision")
    )
    scenes: list[Scene] = Field(min_length=1, max_length=MOST_SCENES)

    @model_validator(mode="after")
    def _each_scene_once(self) -> Story:
        ids = [scene.id.lower() for scene in self.scenes]  # two that differ in case alone share a folder on some disks
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"scenes that are there twice: {', '.join(twice)}")
        return self


def story_of(data: object, where: str) -> Story:
    """A story from plain values. Raises StoryError with every mistake; `where` is named in it."""
    if not isinstance(data, Mapping):
        raise StoryError("invalid_story", f"{where} is no story: an object with `scenes` is accepted")
    try:
        return Story.model_validate(data)
    except ValidationError as error:
        mistakes = [_mistake(one) for one in error.errors(include_url=False)]
        head = f"{where}: {len(mistakes)} mistakes" if len(mistakes) > 1 else f"{where}: one mistake"
        raise StoryError("invalid_story", "\n  ".join([head, *mistakes]), mistakes) from None


def _mistake(error: Any) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    given = error["input"]
    shown = "" if isinstance(given, (Mapping, list)) else f"; given: {str(given)[:80]!r}"
    return f"{place or 'the story'}: {error['msg'].removeprefix('Value error, ')}{shown}"


def read_story(path: Path) -> Story:
    """The story in a JSON or YAML file. Raises StoryError for one that can't be read, or holds no story."""
    try:
        text = read_text(path, MOST_BYTES, "story")
    except TextFileError as error:
        raise StoryError(error.kind, str(error)) from None
    story = story_of(parsed(path, text), str(path))
    for scene in story.scenes:
        if scene.keyframe:
            scene.keyframe = str(located(path.parent.absolute(), scene.keyframe))
    return story


def parsed(path: Path, text: str) -> object:
    """The plain values in a JSON or YAML file's text. Raises StoryError."""
    suffix = path.suffix.lower()
    is_json = suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith(("{", "[")))
    try:
        if is_json:
            return json.loads(text)
        import yaml

        return _bounded(yaml.SafeLoader, path)(text).get_single_data()
    except StoryError:
        raise
    except ImportError:
        raise StoryError("unavailable", f"{path}: to read YAML, pip install 'run-recorder[runner]'") from None
    except Exception as error:  # noqa: BLE001  what a parser of YAML raises is no single class
        what = f"no {'JSON' if is_json else 'YAML'}: {' '.join(str(error).split())[:300]}"
        raise StoryError("invalid_story", f"{path} is {what}") from None


def _bounded(loader: Any, path: Path) -> Any:
    """A loader of YAML that ends where there are more values than a story has: each takes it some 30 microseconds."""

    class Bounded(loader):  # type: ignore[misc]
        left = MOST_VALUES

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                told = f"{path} has more than {MOST_VALUES} values; a story has at most {MOST_SCENES} scenes"
                raise StoryError("invalid_story", told)
            return super().compose_node(parent, index)

        def whole_number(self, node: Any) -> Any:
            if len(node.value) > MOST_DIGITS:  # in hex Python reads more than it can write
                raise StoryError("invalid_story", f"{path} has a whole number of {len(node.value)} digits")
            return self.construct_yaml_int(node)

    Bounded.add_constructor("tag:yaml.org,2002:int", Bounded.whole_number)
    return Bounded


def seed_of(story: Story, scene: Scene) -> int:
    """A scene's seed: its own, else one that follows from story and scene, the same each time.

    Of 24 bits, which every input takes that has a seed put into it, a colour too.
    """
    if scene.seed is not None:
        return scene.seed
    return int.from_bytes(hashlib.sha256(f"{story.id}\n{scene.id}".encode()).digest()[:3], "big")


# ---------------------------------------------------------------- templates

_BEATS = (
    ("Before it begins", "the place is shown, and nothing moves yet", "calm", "slow push in"),
    ("A small change", "something is not as it was, and it is noticed", "curious", "pan from left to right"),
    ("The first step", "a decision is made and followed at once", "determined", "tracking shot at walking pace"),
    ("Against it", "what stands in the way shows its full size", "tense", "low angle, tilting up"),
    ("Alone with it", "the noise falls away, and only the question is left", "quiet", "locked-off close shot"),
    ("The turn", "what was a hindrance turns out to be the way", "hopeful", "slow orbit"),
    ("All at once", "everything that was set up happens in one movement", "bright", "crane up and back"),
    ("What stays", "the place is shown again, and it is another one", "serene", "slow pull out"),
)
_LIGHTS = (
    "first light, long soft shadows",
    "overcast noon, even light",
    "low golden sun, warm rim light",
    "blue hour, a few lit windows",
    "rain, reflections on every surface",
    "clear night, one practical lamp",
    "fog, light from nowhere in particular",
    "snow light, pale and without shadows",
)
_LENSES = (
    "wide lens, deep focus",
    "normal lens, natural perspective",
    "long lens, shallow focus",
    "macro detail in the foreground",
)
NEGATIVE = "blurry, low resolution, distorted anatomy, text, watermark, flicker"
DEFAULT_IDEA = "a lighthouse keeper finds that the sea has gone out and does not return"


def template_story(idea: str, scenes: int, seed: int = 0) -> Story:
    """A story of so many scenes from an idea and templates of our own; the same seed gives the same story.

    Raises StoryError where `scenes` is not from 1 to 1000.
    """
    if not 1 <= scenes <= MOST_SCENES:
        raise StoryError("invalid_parameter", f"scenes is {scenes}: 1 to {MOST_SCENES} are accepted")
    idea = " ".join(idea.split())[: MOST_TEXT // 4] or DEFAULT_IDEA
    chance = random.Random(f"{seed}\n{idea}\n{scenes}")  # noqa: S311  words for a scene, the same for a seed
    lights = chance.sample(_LIGHTS, len(_LIGHTS))
    made = []
    for number in range(scenes):
        beat = _BEATS[round(number * (len(_BEATS) - 1) / max(1, scenes - 1))]
        title, what, mood, camera = beat
        light, lens = lights[number % len(lights)], chance.choice(_LENSES)
        made.append(
            Scene(
                id=f"scene-{number + 1:03}",
                title=title,
                summary=f"{title}: {what}.",
                prompt=f"{idea}. {what}. {light}, {lens}, {mood} mood, {camera}, cinematic still",
                negative_prompt=NEGATIVE,
                mood=mood,
                camera_movement=camera,
                seed=chance.randrange(2**32),
            )
        )
    name = hashlib.sha256(f"{seed}\n{idea}\n{scenes}".encode()).hexdigest()[:8]
    words = idea.split()
    return Story(
        id=f"story-{name}",
        title=" ".join(words[:8]),
        logline=idea if idea.endswith((".", "!", "?")) else f"{idea}.",
        directors_vision=f"One idea in {scenes} pictures: {made[0].mood} at first, {made[-1].mood} at the end.",
        scenes=made,
    )
