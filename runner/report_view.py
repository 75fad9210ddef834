"""What a template of a run's report is given: plain texts and numbers, in the order in which they are shown.

The names here are what a studio's own template may use, as `docs/run.md` says.
"""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[str, object]
"""What something is called, and the thing itself."""


@dataclass(frozen=True, slots=True)
class Link:
    """A file or folder of the run."""

    name: str
    href: str
    """Relative to the page; never a scheme."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What the validation of the run's files found."""

    passed: bool
    errors: list[str]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Bar:
    """One try on the timeline."""

    href: str
    """Its scene on the page."""
    kind: str
    """`good`, `warn` where it was tried again, or `bad`."""
    left: str
    width: str
    """Percent of the timeline's length, with three decimals."""
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What one server did, in the order of the tries."""

    server: str
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All tries, a lane a server."""

    lanes: list[Lane]
    length: str
    """In seconds, with the unit."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One file of a scene."""

    name: str
    """Without what all names of the scene begin with."""
    href: str
    is_picture: bool
    thumbnail: str | None
    """The picture itself, small, as a `data:` address; null where it can't be read."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The files of a scene."""

    shown: list[Frame]
    more: int
    """How many are not shown."""
    folder: Link


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a scene; null where something of it isn't known."""

    number: str | None
    kind: str
    """`good`, `warn` where it was tried again, or `bad`."""
    end: str
    frames: str | None
    took: str
    """In seconds, with the unit; `unknown` where it isn't known."""
    server: str | None
    why: str | None
    prompt_id: str | None


@dataclass(frozen=True, slots=True)
class SceneView:
    """One scene."""

    id: str
    title: str
    succeeded: bool
    errors: list[str]
    frames: Frames | None
    """Null where the scene has no folder of frames."""
    film: Link | None
    facts: list[Pair]
    prompts: list[tuple[str, str]]
    warnings: list[str]
    history_errors: list[str]
    tries: list[Try]


@dataclass(frozen=True, slots=True)
class ReportView:
    """A whole run, which a template has as `report`."""

    title: str
    content_security_policy: str
    """What keeps the page from fetching anything."""
    story_id: str
    logline: str | None
    vision: str | None
    complete: bool
    """Whether every scene has succeeded."""
    facts: list[Pair]
    warnings: list[str]
    validation: Validation | None
    """Null where the run was not validated yet."""
    timeline: Timeline | None
    """Null where no try is known."""
    scenes: list[SceneView]
    policy: list[tuple[str, object, str]]
    """Name, value, and where the value is from."""
    files: list[Link]


def sample() -> ReportView:
    """A run with one of everything, to try a template on."""
    link = Link("a", "./a")
    frames = Frames([Frame("a", "./a", True, "data:image/jpeg;base64,"), Frame("b", "./b", False, None)], 1, link)
    tries = [
        Try("1", "good", "success", "1", "1 s", "a", "b", "c"),
        Try(None, "bad", "", None, "1 s", None, None, None),
    ]
    pairs: list[Pair] = [("a", 1)]
    full = SceneView("a", "a", True, ["a"], frames, link, pairs, [("a", "b")], ["a"], ["a"], tries)
    empty = SceneView("b", "b", False, [], None, None, [], [], [], [], [])
    return ReportView(
        title="a",
        content_security_policy="a",
        story_id="a",
        logline="a",
        vision="a",
        complete=True,
        facts=pairs,
        warnings=["a"],
        validation=Validation(True, ["a"], ["a"]),
        timeline=Timeline([Lane("a", [Bar("#a", "good", "0", "1", "a")])], "1 s"),
        scenes=[full, empty],
        policy=[("a", 1, "default")],
        files=[link],
    )
