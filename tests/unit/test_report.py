"""A run's report: safe whatever is in it, and nothing fetched from outside."""

import copy
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_recorder.runner.policy import resolve
from run_recorder.runner.report import render, view_of
from run_recorder.runner.report_links import link_to
from run_recorder.runner.report_template import ReportTemplate, ReportTemplateError, read_template
from run_recorder.runner.report_view import ReportView, sample
from run_recorder.runner.thumbnails import spread, thumbnail
from run_recorder.runner.validate import Findings
from run_recorder.telemetry.models.run_contract import ArtifactMetadata

from ..browser import browsing
from .run_files import METADATA

HOSTILE = "</title></style></section><script>alert(1)</script><img src=x onerror=alert(2)> \" ' & \u202e\x00 \ud800"


class Page(HTMLParser):
    """A page's elements, its text, and where it leads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(run: Path, **scene: Any) -> str:
    metadata = copy.deepcopy(METADATA)
    metadata["Scenes"][0] |= {
        "SceneTitle": "The lamp",
        "GeneratedFramesDir": "scene-001/generated-frames-attempt-1",
        "AttemptSummaries": [
            {
                "Attempt": 1,
                "PromptId": "p1",
                "Frames": 0,
                "DurationSeconds": 2.0,
                "QueueStart": "2026-11-01T10:20:30.000Z",
                "QueueEnd": "2026-11-01T10:20:32.000Z",
                "Server": "http://127.0.0.1:8188",
                "End": "error",
                "Success": False,
                "RequeueReason": "error: node 3 (KSampler): it broke",
                "Error": "node 3 (KSampler): it broke",
            }
        ],
    }
    metadata["Scenes"][0] |= scene
    model = ArtifactMetadata.model_validate(metadata)
    return render(model, resolve({}), run, Findings(errors=["a finding"]))


def frames(run: Path, *names: str) -> None:
    for name in names:
        path = run / "scene-001" / "generated-frames-attempt-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 200), (200, 90, 20)).save(path, "PNG")


def test_a_hostile_text_is_shown_as_text_wherever_it_stands(tmp_path: Path) -> None:
    frames(tmp_path, "a'\"<b>&_00001_.png")
    everywhere = dict.fromkeys(("SceneTitle", "Prompt", "NegativePrompt", "FramePrefix", "KeyframeSource"), HOSTILE)
    everywhere["KeyframeSource"] = HOSTILE.replace("\x00", "").replace("\ud800", "")
    page = page_of(
        tmp_path,
        **everywhere,
        Warnings=[HOSTILE],
        Errors=[HOSTILE],
        HistoryErrors=[HOSTILE],
        AttemptSummaries=[
            {"Attempt": HOSTILE, "Frames": HOSTILE, "Server": HOSTILE, "End": HOSTILE, "Error": HOSTILE}
            | {"QueueStart": "2026-11-01T10:20:30.000Z", "QueueEnd": "2026-11-01T10:20:32.000Z", "PromptId": HOSTILE}
        ],
    )
    page.encode("utf-8")
    told = Page(page)
    assert told.all("script") == []
    assert all("onerror" not in attributes for _, attributes in told.tags)
    assert all((picture["src"] or "").startswith("data:image/jpeg;base64,") for picture in told.all("img"))
    assert sum("<script>alert(1)</script>" in said for said in told.said) >= 8
    assert "\x00" not in page


def test_nothing_is_fetched_from_outside_and_links_stay_in_the_run(tmp_path: Path) -> None:
    frames(tmp_path, "a_00001_.png", "javascript:alert(1)_00001_.png")
    told = Page(page_of(tmp_path))
    (policy,) = [one["content"] for one in told.all("meta") if one.get("http-equiv")]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    assert not told.all("link") and not told.all("script") and not told.all("iframe")
    for _, attributes in told.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("./", "#", "data:image/jpeg;base64,")), value


def test_it_shows_frames_tries_policy_telemetry_warnings_and_a_timeline(tmp_path: Path) -> None:
    frames(tmp_path, *(f"a_{number:05}_.png" for number in range(1, 31)))
    page = page_of(tmp_path, Warnings=["the prompt reaches no input"])
    told = Page(page)
    assert len(told.all("img")) == 12
    for expected in (
        "and 18 more in ",
        "error: node 3 (KSampler): it broke",
        "max wait seconds",
        "24,000 MB before, 22,600 MB after (-1,400.0 MB)",
        "the prompt reaches no input",
        "a finding",
        "Timeline",
    ):
        assert any(expected in said for said in told.said), expected
    (bar,) = [one for one in told.all("a") if one.get("class") == "warn"]
    assert bar["href"] == "#scene-001" and "attempt 1: error" in (bar["title"] or "")


def test_a_scene_without_frames_or_with_broken_ones_has_its_place(tmp_path: Path) -> None:
    assert "The lamp" in page_of(tmp_path)
    folder = tmp_path / "scene-001" / "generated-frames-attempt-1"
    folder.mkdir(parents=True)
    (folder / "a_00001_.png").write_bytes(b"no picture")
    (folder / "film.mp4").write_bytes(b"x")
    told = Page(page_of(tmp_path))
    assert told.all("img") == []
    assert {"./scene-001/generated-frames-attempt-1/film.mp4"} <= {one.get("href") for one in told.all("a")}


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    frames(tmp_path, "a_00001_.png")
    assert page_of(tmp_path) == page_of(tmp_path)


def test_a_large_prompt_is_cut_and_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path, Prompt="x" * 1_000_000)
    assert len(page) < 100_000
    assert "980000 characters more" in page


def template(folder: Path, text: str) -> ReportTemplate:
    path = folder / "studio.html.j2"
    path.write_text(text, "utf-8")
    return read_template(path)


def report_of(**changes: Any) -> ReportView:
    return dataclasses.replace(sample(), **changes)


def test_a_studio_s_template_has_the_run_and_every_text_is_escaped(tmp_path: Path) -> None:
    ours = template(tmp_path, "<p title='{{ report.title }}'>{{ report.logline }}{{ report.facts[0][1] }}</p>")
    page = ours.page(report_of(title="'\"><script>", logline="<b>&\x00\ud800"))
    assert page == "<p title='&#39;&#34;&gt;&lt;script&gt;'>&lt;b&gt;&amp;\ufffd\ufffd1</p>"


def test_a_studio_s_template_may_extend_ours(tmp_path: Path) -> None:
    text = (
        '{% extends "report.html.j2" %}{% block top %}<h1>Studio {{ report.story_id }}</h1>{{ super() }}{% endblock %}'
    )
    model = ArtifactMetadata.model_validate(METADATA)
    page = render(model, resolve({}), tmp_path, Findings(), template(tmp_path, text))
    assert "<h1>Studio story-1</h1>" in page and "Queue policy" in page and "color-scheme" in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{% for x in %}", "line 1: "),
        ("a\n{{ report.nothing }}", "line 2: "),
        ("{{ nobody }}", "'nobody' is undefined"),
        ("{{ report.title|safe }}", "'safe'"),
        ("{% autoescape false %}{{ report.title }}{% endautoescape %}", "escaped"),
        ("{{ report.title.__class__.__mro__ }}", "unsafe"),
        ("{{ ''['__class__'] }}", "unsafe"),
        ("{{ '{0.__class__}'.format(report) }}", "unsafe"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{{ report.facts.append(1) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "/etc/passwd"),
        ("{% include '../report.py' %}", "report.py"),
        ("{% extends 'another.html' %}", "another.html"),
        ("{{ 1 / 0 }}", "division"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{{ range(10 ** 9) }}", "Range"),
        ("x" * (2**20 + 1), "larger"),
    ],
)
def test_what_is_no_template_or_reaches_too_far_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ReportTemplateError, match=re.escape(words)) as raised:
        template(tmp_path, text)
    assert raised.value.kind == "invalid_template" and "studio.html.j2" in str(raised.value)


def test_a_template_that_is_not_there_or_no_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(ReportTemplateError, match="can't be read") as raised:
        read_template(tmp_path / "nothing")
    assert raised.value.kind == "not_found"
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ReportTemplateError, match="UTF-8"):
        read_template(tmp_path / "binary")


def test_the_sample_has_every_name_that_a_run_has(tmp_path: Path) -> None:
    real = view_of(ArtifactMetadata.model_validate(METADATA), resolve({}), tmp_path, Findings())
    assert dataclasses.asdict(real).keys() == dataclasses.asdict(sample()).keys()


@pytest.mark.parametrize(
    ("path", "link"),
    [("a b/ü#?.png", "./a%20b/%C3%BC%23%3F.png"), ("javascript:alert(1)", "./javascript%3Aalert%281%29")],
)
def test_a_file_s_name_is_never_a_scheme(path: str, link: str) -> None:
    assert link_to(path) == link


def test_pictures_are_spread_from_the_first_to_the_last() -> None:
    names = [str(number) for number in range(100)]
    assert spread(names, 3) == ["0", "50", "99"]
    assert spread(names, 1) == ["0"]
    assert spread(names[:2], 3) == ["0", "1"]


def test_a_bomb_of_a_picture_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    assert thumbnail(tmp_path / "a.png", tmp_path) is None
    assert thumbnail(tmp_path / "b.png", tmp_path) is None


def test_json_of_the_metadata_is_enough_for_a_page(tmp_path: Path) -> None:
    model = ArtifactMetadata.model_validate_json(json.dumps(METADATA))
    assert "story-1" in render(model, resolve({}), tmp_path)


@pytest.mark.host
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_opens_it_from_disk_asks_nobody_and_needs_no_more_than_320_pixels(
    tmp_path: Path, scheme: str
) -> None:
    frames(tmp_path, *(f"{'long' * 20}_{number:05}_.png" for number in range(1, 15)))
    tries = [
        {"Attempt": 1, "PromptId": "p" * 36, "Frames": 0, "Server": f"http://{'host' * 30}:8188", "End": "error"}
        | {"QueueStart": "2026-11-01T10:20:30.000Z", "QueueEnd": "2026-11-01T10:20:32.000Z", "Error": HOSTILE * 5}
    ] * 2
    hostile = {"SceneTitle": HOSTILE, "Prompt": HOSTILE * 50, "Errors": [HOSTILE, "x" * 400], "AttemptSummaries": tries}
    (tmp_path / "report.html").write_text(page_of(tmp_path, **hostile), "utf-8")
    asked: list[str] = []
    wrong: list[str] = []
    with browsing() as browser:
        page = browser.new_page(viewport={"width": 320, "height": 700}, color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto((tmp_path / "report.html").as_uri())
        page.locator("details").first.evaluate("one => one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert page.locator("img").count() == 12
        assert page.locator("img").first.evaluate("one => one.complete && one.naturalWidth") == 240
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    assert wrong == []
    assert (ground == "rgb(246, 247, 249)") == (scheme == "light")
