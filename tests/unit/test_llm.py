"""A story by a language model: a real server that speaks the protocol, and misbehaves; and its health check."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_recorder.runner.health import check_health, models_url
from run_recorder.runner.llm import write_story
from run_recorder.runner.llm_settings import LlmSettings, SettingError
from run_recorder.runner.story import template_story

from ..hosts import REPO

Start = Callable[[str], str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts the server in a mode, and gives its address."""
    running: list[subprocess.Popen[str]] = []

    def begin(mode: str) -> str:
        command = [sys.executable, str(REPO / "tests" / "fakes" / "chat_server.py"), "0", mode]
        env = {"CHAT_SERVER_LOG": str(tmp_path / "asked.jsonl"), "PATH": ""}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        running.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{process.stdout.readline().strip()}"

    yield begin
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def asked(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]


def settings(url: str, **more: object) -> LlmSettings:
    given = {"LOCAL_STORY_PROVIDER_URL": url, "LOCAL_LLM_TIMEOUT_SECONDS": "20", "LOCAL_LLM_MODEL": "fox-7b"}
    return LlmSettings.from_environment(**{**given, **{name: str(value) for name, value in more.items()}})


async def test_a_story_is_written_under_a_schema(start: Start, tmp_path: Path) -> None:
    written = await write_story("a fox", 3, settings(start("good"), LOCAL_LLM_SEED=7, LOCAL_LLM_TEMPERATURE=0.1))
    assert (written.generator, written.warnings) == ("llm:fox-7b", [])
    assert [scene.id for scene in written.story.scenes] == ["scene-001", "scene-002", "scene-003"]
    assert written.story.scenes[2].prompt == "prompt of 3"
    (body,) = asked(tmp_path)
    assert (body["seed"], body["temperature"], body["model"], body["stream"]) == (7, 0.1, "fox-7b", False)
    assert body["response_format"]["json_schema"]["schema"]["properties"]["scenes"]["maxItems"] == 3
    assert "a fox" in body["messages"][1]["content"]


@pytest.mark.parametrize("mode", ["no schema", "fenced", "stream"])
async def test_other_ways_to_answer_are_understood(start: Start, mode: str) -> None:
    written = await write_story("a fox", 3, settings(start(mode)))
    assert (written.generator, written.warnings) == ("llm:fox-7b", [])


async def test_a_wrong_answer_is_sent_back_once_with_what_is_wrong(start: Start, tmp_path: Path) -> None:
    written = await write_story("a fox", 3, settings(start("repaired")))
    assert written.generator == "llm:fox-7b"
    first, second = asked(tmp_path)
    assert len(second["messages"]) == len(first["messages"]) + 2
    assert "no JSON" in second["messages"][-1]["content"]


async def test_more_scenes_than_asked_for_are_cut_and_it_is_said(start: Start) -> None:
    written = await write_story("a fox", 3, settings(start("twenty")))
    assert len(written.story.scenes) == 3
    assert "20 scenes" in written.warnings[0]


@pytest.mark.parametrize(
    "mode, words",
    [
        ("prose", "no JSON"),
        ("html", "HTML"),
        ("half", "breaks off"),
        ("half stream", "broke off|breaks off"),
        ("one", "3 scenes were asked for, and 1 came"),
        ("empty prompt", "scenes\\[1\\].prompt"),
        ("401", "401"),
        ("503", "503"),
        ("huge", "bytes"),
        ("broken", "can't be reached"),
    ],
)
async def test_what_is_no_story_gives_the_template_and_says_why(start: Start, mode: str, words: str) -> None:
    written = await write_story("a fox", 3, settings(start(mode)), seed=5)
    assert written.generator == "template"
    assert written.story == template_story("a fox", 3, 5)
    (warning,) = written.warnings
    assert re.search(words, warning), warning


async def test_silence_ends_with_the_time_out(start: Start) -> None:
    written = await write_story("a fox", 3, settings(start("silent"), LOCAL_LLM_TIMEOUT_SECONDS=0.5))
    assert written.generator == "template"
    assert "within 0.5 s" in written.warnings[0]


async def test_nobody_there_gives_the_template() -> None:
    there = settings("http://127.0.0.1:9")
    written = await write_story("a fox", 3, there)
    assert "can't be reached (no language model answers at " in written.warnings[0]
    assert (await check_health(there)).Error.startswith("no language model answers at http://127.0.0.1:9")


async def test_no_model_set_is_no_trouble() -> None:
    written = await write_story("a fox", 2, LlmSettings.from_environment())
    assert (written.generator, written.warnings) == ("template", [])


# ---------------------------------------------------------------- where it is


@pytest.mark.parametrize(
    "given, chat, models",
    [
        ("http://h:1/v1/chat/completions", "http://h:1/v1/chat/completions", "http://h:1/v1/models"),
        ("http://h:1", "http://h:1/v1/chat/completions", "http://h:1/v1/models"),
        ("h:1/", "http://h:1/v1/chat/completions", "http://h:1/v1/models"),
        ("https://h/openai/v1", "https://h/openai/v1/chat/completions", "https://h/openai/v1/models"),
        ("http://h/proxy/v1/chat/completions/", "http://h/proxy/v1/chat/completions", "http://h/proxy/v1/models"),
        ("http://[::1]:1234/v1/", "http://[::1]:1234/v1/chat/completions", "http://[::1]:1234/v1/models"),
    ],
)
def test_routes_are_derived(given: str, chat: str, models: str) -> None:
    assert LlmSettings.from_environment(LOCAL_STORY_PROVIDER_URL=given).url == chat
    assert models_url(chat) == models


@pytest.mark.parametrize("mode, count", [("good", 2), ("ollama", 2)])
async def test_a_healthy_server_lists_its_models(start: Start, mode: str, count: int) -> None:
    url = start(mode)
    found = await check_health(settings(url))
    assert (found.Status, found.Models, found.Url, found.Override, found.Skipped) == (
        "success",
        count,
        f"{url}/v1/models",
        None,
        False,
    )
    assert found.Timestamp is not None


@pytest.mark.parametrize("mode, words", [("sick", "HTTP 500"), ("no list", "neither"), ("html list", "no JSON")])
async def test_a_sick_server_is_said(start: Start, mode: str, words: str) -> None:
    found = await check_health(settings(start(mode)))
    assert found.Status == "failed"
    assert words in (found.Error or "")


async def test_an_override_is_asked_and_told(start: Start) -> None:
    url = start("good")
    found = await check_health(settings("http://127.0.0.1:9", LOCAL_LLM_HEALTHCHECK_URL=f"{url}/other/models"))
    assert (found.Status, found.Override) == ("success", f"{url}/other/models")


async def test_skipping_is_told_with_its_reason() -> None:
    by_setting = await check_health(settings("http://127.0.0.1:9", LOCAL_LLM_SKIP_HEALTHCHECK=1))
    assert (by_setting.Status, by_setting.Skipped) == ("skipped", True)
    assert "LOCAL_LLM_SKIP_HEALTHCHECK" in (by_setting.SkipReason or "")
    none = await check_health(LlmSettings.from_environment())
    assert none.Skipped and "LOCAL_STORY_PROVIDER_URL" in (none.SkipReason or "")
    option = await check_health(settings("http://127.0.0.1:9"), skip=True, skip_reason="--skip-llm-healthcheck")
    assert option.SkipReason == "--skip-llm-healthcheck"


@pytest.mark.parametrize(
    "name, value",
    [
        ("LOCAL_LLM_TIMEOUT_SECONDS", "0"),
        ("LOCAL_LLM_TIMEOUT_SECONDS", "soon"),
        ("LOCAL_LLM_SEED", "-1"),
        ("LOCAL_LLM_SEED", "1.5"),
        ("LOCAL_LLM_SEED", "9223372036854775808"),
        ("LOCAL_LLM_SKIP_HEALTHCHECK", "banana"),
        ("LOCAL_LLM_TEMPERATURE", "nan"),
        ("LOCAL_STORY_PROVIDER_URL", "ftp://h"),
        ("LOCAL_LLM_HEALTHCHECK_URL", "http://"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        LlmSettings.from_environment(**{name: value})


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(SettingError) as raised:
        LlmSettings.from_environment(
            LOCAL_LLM_SEED="-1", LOCAL_LLM_TEMPERATURE="hot", LOCAL_STORY_PROVIDER_URL="ftp://a:S3@h"
        )
    for name in ("LOCAL_LLM_SEED is '-1'", "LOCAL_LLM_TEMPERATURE is 'hot'", "LOCAL_STORY_PROVIDER_URL is"):
        assert name in str(raised.value)
    assert "S3" not in str(raised.value)


def test_a_large_seed_is_kept_to_the_last_digit() -> None:
    assert LlmSettings.from_environment(LOCAL_LLM_SEED="9007199254740993").seed == 9007199254740993
    assert LlmSettings.from_environment(LOCAL_LLM_SKIP_HEALTHCHECK="off").skip_healthcheck is False
