"""The story in what a language model said: found between prose, fences and thoughts, read as it was meant.

Models forget commas and quotes, wrap the object, or give a list or bare texts where objects were asked for. What can
be read in one way alone is read so; what can't is an AnswerError, in words that the model may be told.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from ..client.limits import MOST_DEPTH
from ..client.parsing import depth_of
from ..telemetry.models.text import clean
from .story import Story, StoryError, story_of
from .thoughts import without_thoughts

TEXTS = ("title", "summary", "prompt", "negative_prompt", "mood", "camera_movement")
MOST_BRACES = 2000
"""So many places are tried as the beginning of an object."""
MOST_NESTED = 3
"""So deep an object with scenes may be wrapped in others."""
MOST_LOOSE = 500_000
"""Characters of a text that is read by looser rules than JSON's."""
_KNOWN = ("title", "logline", "directors_vision", "scenes", *TEXTS)
_ALIASES = {
    "imageprompt": "prompt",
    "visualprompt": "prompt",
    "negative": "negative_prompt",
    "camera": "camera_movement",
    "vision": "directors_vision",
    "directorvision": "directors_vision",
}
_NAMES = {re.sub(r"[^a-z]", "", name): name for name in _KNOWN} | _ALIASES
_STRING = r'"(?:[^"\\]|\\.)*"'
_NOISE = re.compile(rf"({_STRING})|/\*.*?\*/|//[^\n]*", re.DOTALL)
_COMMA = re.compile(rf"({_STRING})|,(?=\s*[}}\]])", re.DOTALL)
_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00ab": '"', "\u00bb": '"'})


class AnswerError(Exception):
    """What the model, or its server, gave is not what was asked for; the message says what came."""


def story_in(said: str, idea: str, scenes: int) -> tuple[Story, list[str]]:
    """The story, and warnings. Raises AnswerError."""
    text = without_thoughts(said)
    if said.strip() and not text.strip():
        raise AnswerError("it has thoughts alone, and no answer after them")
    data = object_in(text)
    given = data["scenes"]
    if not given:
        raise AnswerError("its list `scenes` is empty")
    if len(given) < scenes:
        raise AnswerError(f"{scenes} scenes were asked for, and {len(given)} came")
    warnings = []
    if len(given) > scenes:
        warnings.append(f"the language model wrote {len(given)} scenes; the first {scenes} are used")
    made = [{**_scene(one), "id": f"scene-{number:03}"} for number, one in enumerate(given[:scenes], 1)]
    title = _text(data.get("title"))
    whole = {
        "id": "story-" + (re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "llm"),
        "title": title,
        "logline": _text(data.get("logline")) or idea,
        "directors_vision": _text(data.get("directors_vision")) or None,
        "scenes": made,
    }
    try:
        return story_of(whole, "the answer"), warnings
    except StoryError as error:
        raise AnswerError("; ".join(error.mistakes[:10])) from None


def is_story_alone(text: str) -> bool:
    """Whether a text is one JSON object with scenes and nothing else, but for a fence around it."""
    rest = re.sub(r"\A\s*```\w*|```\s*\Z", "", without_thoughts(text)).strip()
    try:
        return _story(json.loads(rest, strict=False)) is not None
    except (ValueError, RecursionError):
        return False


def _scene(given: Any) -> dict[str, Any]:
    """One scene; a bare text is its prompt."""
    if not isinstance(given, dict):
        return {"prompt": _text(given)}
    named = _named(given)
    return {name: _text(named.get(name)) for name in TEXTS}


def _text(value: Any) -> str:
    """A text, a number as one, several as one after the other; empty for what is none."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _named(given: dict[Any, Any]) -> dict[str, Any]:
    """An object's fields under our names, whatever their case and signs between words; the first of each."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        known = _NAMES.get(re.sub(r"[^a-z]", "", str(name).lower()), str(name))
        found.setdefault(known, value)
    return found


# ---------------------------------------------------------------- the object


def object_in(text: str) -> dict[str, Any]:
    """The last object that has scenes, under our names. Raises AnswerError."""
    text = clean(text)
    for way in (text, *_looser(text)):
        found = list(filter(None, map(_story, _values(way))))
        if found:
            return found[-1]
    if "{" not in text and "[" not in text:
        raise AnswerError(f"it is no JSON, but {kind_of(text)}")
    if any(isinstance(value, dict) for value in _values(text)) and not re.search(r"[\"']scenes[\"']", text, re.I):
        raise AnswerError("the object has no list `scenes`")
    raise AnswerError("the JSON in it is broken or breaks off")


def _looser(text: str) -> Iterator[str]:
    """The text by looser rules: JSON in a JSON string, no comments and last commas, straight quotes, Python's."""
    if text.lstrip().startswith('"'):
        try:
            inner, _ = json.JSONDecoder(strict=False).raw_decode(text.lstrip())
            yield str(inner)
        except (ValueError, RecursionError):
            pass
    if len(text) > MOST_LOOSE:
        return
    yield _tidy(text)
    if any(quote in text for quote in map(chr, _QUOTES)):
        yield _tidy(text.translate(_QUOTES))
    start, end = text.find("{"), text.rfind("}")
    if 0 <= start < end and "'" in text:
        try:
            value = ast.literal_eval(text[start : end + 1])
            yield json.dumps(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            pass


def _tidy(text: str) -> str:
    plain = _NOISE.sub(lambda found: found[1] or "", text)
    return _COMMA.sub(lambda found: found[1] or "", plain)


def _values(text: str) -> Iterator[Any]:
    """The JSON objects of a text, and a list where the text's JSON begins with one; in their order."""
    decoder = json.JSONDecoder(strict=False)
    end = tried = 0
    for found in re.finditer(r"[{\[]", text):
        place = found.start()
        if place < end or (found[0] == "[" and tried):
            continue
        tried += found[0] == "{"
        if tried > MOST_BRACES:
            return
        try:
            value, after = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        if depth_of(value) <= MOST_DEPTH:
            end = after
            yield value


def _story(value: Any, depth: int = 0) -> dict[str, Any] | None:
    """The value, or what it wraps, where that has scenes; null where nothing has."""
    if isinstance(value, list):
        good = bool(value) and all(isinstance(one, dict) and "prompt" in _named(one) for one in value)
        return {"scenes": value} if good and depth == 0 else None
    if not isinstance(value, dict):
        return None
    named = _named(value)
    scenes = named.get("scenes")
    if isinstance(scenes, dict):
        scenes = named["scenes"] = list(scenes.values())
    if isinstance(scenes, list):
        return named
    if depth >= MOST_NESTED:
        return None
    inner = [_story(one, depth + 1) for one in value.values() if isinstance(one, dict)]
    return next((one for one in reversed(inner) if one is not None), None)


def kind_of(text: str) -> str:
    """What a text is, in short."""
    head = text.lstrip()[:200].lower()
    if not head:
        return "nothing"
    if head.startswith(("<!doctype", "<html", "<")):
        return "HTML"
    return f"{' '.join(text.split())[:80]!r}"
