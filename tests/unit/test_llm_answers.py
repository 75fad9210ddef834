"""What local language models really answer: the story that is meant, or one sentence why not; never a draft."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from run_recorder.runner.health import check_health
from run_recorder.runner.llm import Written, write_story
from run_recorder.runner.llm_settings import LlmSettings

Reply = tuple[int, Any]
Script = Callable[[dict[str, Any], int], Reply]
"""From what was posted and which post it is: status and body; a text is sent as a stream of events."""


def story(tag: str, count: int = 2) -> dict[str, Any]:
    scenes = [
        {
            "title": f"T{number}",
            "summary": "s",
            "prompt": f"{tag} {number}",
            "negative_prompt": "",
            "mood": "m",
            "camera_movement": "c",
        }
        for number in range(1, count + 1)
    ]
    return {"title": tag.title(), "logline": "l", "directors_vision": "v", "scenes": scenes}


GOOD, FINAL = story("final"), json.dumps(story("final"))
DRAFT = json.dumps(story("draft"))


def message(content: Any, finish: str = "stop", **more: Any) -> Reply:
    return 200, {"choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}]}


def says(content: Any, **more: Any) -> Script:
    return lambda _body, _number: message(content, **more)


def then(first: Reply, second: Reply) -> Script:
    return lambda _body, number: first if number == 1 else second


def pieces(*deltas: Any, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(delta)}\n\n" for delta in deltas) + end


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"delta": fields}]}


HALVES = (delta(content=FINAL[:50]), delta(content=FINAL[50:]))
USAGE: dict[str, Any] = {"choices": [], "usage": {"total_tokens": 5}}
MARKINGS = {
    "think": ("<think>", "</think>"),
    "think in capitals": ("<THINK>", "</THINK>"),
    "thinking": ("<thinking>", "</thinking>"),
    "thought": ("<thought>", "</thought>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "reflection": ("<reflection>", "</reflection>"),
    "scratchpad": ("<scratchpad>", "</scratchpad>"),
    "magistral": ("[THINK]", "[/THINK]"),
    "seed": ("<seed:think>", "</seed:think>"),
    "kimi": ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    "begin of thought": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "start thinking": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "bars": ("<|think|>", "<|/think|>"),
    "harmony": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "medgemma": ("<unused94>thought\n", "<unused95>"),
    "granite": ("Here is my thought process: ", "\n\nHere is my response: "),
    "spaces in it": ("< think >", "</ think >"),
    "with attributes": ('<think lang="en">', "</think>"),
    "details": ('<details type="reasoning" done="true">', "</details>"),
}

UNDERSTOOD: dict[str, Script] = {
    "plain": says(FINAL),
    "fence": says(f"Sure!\n```json\n{FINAL}\n```\nHope this helps"),
    "indented": says(json.dumps(GOOD, indent=4)),
    "prose before and after": says(f"Here you are: {FINAL} Enjoy!"),
    "byte order mark": says("\ufeff" + FINAL),
    "line breaks in texts": says(FINAL.replace("final 1", "final 1\nand\tmore")),
    **{f"{name}, with a draft": says(f"{a}maybe {DRAFT} hm{b}\n{FINAL}") for name, (a, b) in MARKINGS.items()},
    "only the closing mark": says(f"First idea: {DRAFT} but better:\n</think>\n\n{FINAL}"),
    "thoughts twice": says(f"<think>{DRAFT}</think> or {DRAFT} <think>no</think>{FINAL}"),
    "thoughts in thoughts": says(f"<think>a <think>b</think> {DRAFT} </think>{FINAL}"),
    "a thought after the answer that nothing closes": says(f"{FINAL}<think>or {DRAFT}"),
    "a draft in prose, then the answer": says(f"First idea: {DRAFT}\nBetter:\n{FINAL}"),
    "another object before it": says(f'{{"note": "x"}} {FINAL}'),
    "another object behind it": says(f'{FINAL} {{"note": "x"}}'),
    "braces in prose": says(f"I use {{braces}} and [brackets]. {FINAL}"),
    "a comma too much": says(FINAL[:-2] + ",]}"),
    "commas too much everywhere": says(FINAL.replace('"}', '",}').replace("]}", ",],}")),
    "comments": says(FINAL.replace('"logline"', '/* what it is */ "logline"').replace('"scenes"', '// all\n"scenes"')),
    "Python's quotes": says(str(GOOD)),
    "curly quotes": says(FINAL.replace('"', "\u201c")),
    "a list of scenes": says(json.dumps(GOOD["scenes"])),
    "wrapped": says(json.dumps({"story": GOOD})),
    "wrapped twice": says(json.dumps({"result": {"story": GOOD}})),
    "JSON in a JSON text": says(json.dumps(FINAL)),
    "scenes by name": says(json.dumps({**GOOD, "scenes": {"one": GOOD["scenes"][0], "two": GOOD["scenes"][1]}})),
    "scenes as texts": says(json.dumps({**GOOD, "scenes": ["final 1", "final 2"]})),
    "names in camel case": says(FINAL.replace("negative_prompt", "negativePrompt").replace("camera_m", "cameraM")),
    "names in capitals": says(FINAL.replace('"scenes"', '"Scenes"').replace('"prompt"', '"Prompt"')),
    "image_prompt": says(FINAL.replace('"prompt"', '"image_prompt"')),
    "numbers and lists for texts": says(json.dumps({**GOOD, "title": 5, "logline": ["a", "b"]})),
    "null for texts": says(FINAL.replace('"negative_prompt": ""', '"negative_prompt": null')),
    "content in parts": says([{"type": "text", "text": FINAL[:40]}, {"type": "text", "text": FINAL[40:]}]),
    "thoughts in parts": says(
        [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": FINAL}]
    ),
    "a tool call": says(None, tool_calls=[{"type": "function", "function": {"name": "story", "arguments": FINAL}}]),
    "all in the field for thoughts": says("", reasoning_content=FINAL),
    "fenced in the field for thoughts": says(None, reasoning=f"```json\n{FINAL}\n```"),
    "Ollama's field for thoughts": says(" \n", thinking=FINAL),
    "thoughts beside the answer": says(FINAL, reasoning_content=f"maybe {DRAFT}"),
    "thoughts alone under a schema": lambda body, _n: (
        message("", reasoning_content=f"maybe {DRAFT}") if "response_format" in body else message(FINAL)
    ),
    "null, then good": then(message(None), message(FINAL)),
    "an empty text, then good": then(message(""), message(FINAL)),
    "several tool calls, then good": then(
        message(None, tool_calls=[{"function": {"arguments": DRAFT}}, {"function": {"arguments": DRAFT}}]),
        message(FINAL),
    ),
    "a refusal, then good": then(message(None, refusal="I can't."), message(FINAL)),
    "broken, then good": then(message(FINAL[:100]), message(FINAL)),
    "too few, then good": then(message(json.dumps(story("draft", 1))), message(FINAL)),
    "no prompt, then good": then(message(FINAL.replace('"prompt": "final 2"', '"prompt": ""')), message(FINAL)),
    "no schema taken": lambda body, _n: (
        (400, {"error": "'response_format.type' must be 'text'"}) if "response_format" in body else message(FINAL)
    ),
    "no system role": lambda body, _n: (
        (400, {"error": "Only user and assistant roles are supported!"})
        if any(one["role"] == "system" for one in body["messages"])
        else message(FINAL)
    ),
    "no system role by a template": lambda body, _n: (
        (500, {"error": {"message": "Jinja Exception: System role not supported"}})
        if any(one["role"] == "system" for one in body["messages"])
        else message(FINAL)
    ),
    "neither system role nor schema": lambda body, _n: (
        (400, {"error": {"message": "Conversation roles must alternate user/assistant"}})
        if any(one["role"] == "system" for one in body["messages"])
        else ((422, {"detail": "response_format"}) if "response_format" in body else message(FINAL))
    ),
    "loading": lambda _body, number: (
        (503, {"error": {"code": 503, "message": "Loading model"}}) if number < 4 else message(FINAL)
    ),
    "a stream": lambda _b, _n: (200, pieces(*HALVES)),
    "a stream with figures": lambda _b, _n: (200, pieces(*HALVES, USAGE)),
    "a stream that begins with a role": lambda _b, _n: (200, pieces(delta(role="assistant", content=None), *HALVES)),
    "a stream with comments": lambda _b, _n: (200, ": ping\n\n" + pieces(*HALVES)),
    "a stream without an end": lambda _b, _n: (200, pieces(*HALVES, end="")),
    "a stream of thoughts, then the answer": lambda _b, _n: (200, pieces(delta(reasoning_content=DRAFT), *HALVES)),
    "a stream of the answer as thoughts": lambda _b, _n: (200, pieces(delta(content="", reasoning=FINAL))),
    "a completion's text": lambda _b, _n: (200, {"choices": [{"text": FINAL}]}),
}

NOT_UNDERSTOOD: dict[str, tuple[Script, str]] = {
    **{
        f"{name}, unclosed": (says(f"{a}I will write {DRAFT} and then stop"), "thoughts alone")
        for name, (a, b) in MARKINGS.items()
    },
    "a draft in the field for thoughts": (says("", reasoning_content=f"maybe {DRAFT}"), "no text"),
    "a draft before thoughts": (says(f"{DRAFT}<think>that is bad</think>"), "thoughts alone"),
    "null": (says(None), "no text"),
    "nothing of the key": (lambda _b, _n: (200, {"choices": [{"message": {"role": "assistant"}}]}), "no text"),
    "a refusal": (says(None, refusal="I can't help with that."), "it refused: \"I can't help"),
    "prose": (says("Once upon a time"), "no JSON"),
    "an object without scenes": (says('{"title": "x"}'), "no list `scenes`"),
    "no scenes": (says(json.dumps({**GOOD, "scenes": []})), "empty"),
    "too few": (says(json.dumps(story("final", 1))), "2 scenes were asked for, and 1 came"),
    "cut": (says(FINAL[:150], finish="length"), "limit of tokens"),
    "cut while it thinks": (says("", reasoning_content="hm", finish="length"), "limit of tokens"),
    "no choices": (lambda _b, _n: (200, {"choices": []}), "empty list of choices"),
    "an error with 200": (lambda _b, _n: (200, {"error": "Unexpected endpoint"}), "'Unexpected endpoint'"),
    "an error in the stream": (lambda _b, _n: (200, pieces({"error": {"message": "out of memory"}})), "out of memory"),
    "unloaded": (lambda _b, _n: (400, {"error": "Model unloaded."}), "Model unloaded."),
    "busy": (lambda _b, _n: (429, {"error": "busy"}), "429"),
    "a key is needed": (lambda _b, _n: (401, {"error": {"message": "Invalid API key"}}), "Invalid API key"),
    "no such model": (lambda _b, _n: (404, {"error": {"message": "try pulling it first"}}), "try pulling it first"),
    "unavailable for good": (lambda _b, _n: (503, {"error": "go away"}), "503"),
}


class Fake:
    """A chat server that follows a script."""

    def __init__(self) -> None:
        self.script: Script = says(FINAL)
        self.models: Any = {"data": [{"id": "m"}]}
        self.asked: list[dict[str, Any]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                fake.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body = fake.script(fake.asked[-1], len(fake.asked))
                kind = "text/event-stream" if isinstance(body, str) else "application/json"
                self.answer(status, body if isinstance(body, str) else json.dumps(body), kind)

            def do_GET(self) -> None:
                self.answer(200, json.dumps(fake.models), "application/json")

            def answer(self, status: int, text: str, kind: str) -> None:
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *given: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def settings(self) -> LlmSettings:
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return LlmSettings.from_environment(LOCAL_STORY_PROVIDER_URL=url, LOCAL_LLM_TIMEOUT_SECONDS="20")


@pytest.fixture(scope="module")
def server() -> Iterator[Fake]:
    fake = Fake()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()
    fake.thread.join(10)


async def written_by(server: Fake, script: Script) -> tuple[Written, list[float]]:
    server.script, server.asked = script, []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return await write_story("a cat", 2, server.settings, sleep=sleep), slept


@pytest.mark.parametrize("name", UNDERSTOOD)
async def test_the_story_that_is_meant_is_taken(server: Fake, name: str) -> None:
    written, _ = await written_by(server, UNDERSTOOD[name])
    assert written.generator == "llm:local-model", written.warnings
    assert [scene.prompt[:7] for scene in written.story.scenes] == ["final 1", "final 2"]
    assert len(server.asked) <= 4


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
async def test_what_is_no_story_says_why_in_one_sentence_and_no_draft_is_taken(server: Fake, name: str) -> None:
    script, words = NOT_UNDERSTOOD[name]
    written, _ = await written_by(server, script)
    assert written.generator == "template"
    assert not any("draft" in scene.prompt for scene in written.story.scenes)
    (warning,) = written.warnings
    assert words in warning and "\n" not in warning
    assert len(server.asked) <= 3, "a wrong answer is sent back once"


async def test_a_model_that_is_loaded_is_waited_for(server: Fake) -> None:
    written, slept = await written_by(server, UNDERSTOOD["loading"])
    assert (written.generator, len(slept), len(server.asked)) == ("llm:local-model", 3, 4)


async def test_the_system_s_words_are_kept_where_its_role_is_refused(server: Fake) -> None:
    await written_by(server, UNDERSTOOD["no system role"])
    first, second = server.asked
    (only,) = second["messages"]
    assert only["role"] == "user" and only["content"].startswith(first["messages"][0]["content"])
    assert only["content"].endswith("a cat") and "response_format" in second


async def test_an_empty_answer_is_asked_for_again_without_the_schema(server: Fake) -> None:
    await written_by(server, UNDERSTOOD["thoughts alone under a schema"])
    first, second = server.asked
    assert "response_format" in first and "response_format" not in second


@pytest.mark.parametrize(
    "models, count",
    [
        ({"data": [{"id": "m"}]}, 1),
        ({"data": None}, 0),
        ({"data": []}, 0),
        ({"models": []}, 0),
        ([], 0),
        ([{"id": "m"}, {"id": "n"}], 2),
        ({"models": [{"name": "x"}], "data": [{"id": "x"}]}, 1),
        ({"models": [{"name": "x"}], "data": []}, 1),
    ],
)
async def test_a_server_without_a_model_is_not_healthy(server: Fake, models: Any, count: int) -> None:
    server.models = models
    found = await check_health(server.settings)
    assert (found.Status, found.Models) == (("success", count) if count else ("failed", None))
    assert count or "no model" in str(found.Error)
