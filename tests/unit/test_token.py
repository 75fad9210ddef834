"""The token of our routes, taken from the environment in one place, for the server and for every command."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from run_recorder.cli import main
from run_recorder.server_routes.answering import is_authorized
from run_recorder.telemetry.process.settings import TOKEN as VARIABLE
from run_recorder.telemetry.process.settings import server_settings
from run_recorder.telemetry.process.token import TokenError, bearer_of, token_of

ODD = ["line\nbreak", "t\u00f6ken", "nul\0", "half \udcff"]


@pytest.mark.parametrize("given", ["secret", "secret ", " secret\n", "\tsecret\r\n"])
def test_spaces_around_a_token_do_not_count(given: str) -> None:
    assert token_of(**{VARIABLE: given}) == "secret"
    assert token_of(**{VARIABLE: "open sesame"}) == "open sesame"
    assert bearer_of(**{VARIABLE: given}) == {"Authorization": "Bearer secret"}


@pytest.mark.parametrize("settings", [{}, {VARIABLE: ""}, {VARIABLE: "  "}])
def test_none_is_none(settings: dict[str, str]) -> None:
    assert token_of(**settings) is None
    assert bearer_of(**settings) == {}


@pytest.mark.parametrize("given", ODD)
def test_what_no_header_can_carry_is_named_and_not_shown(given: str) -> None:
    with pytest.raises(TokenError, match=VARIABLE) as raised:
        token_of(**{VARIABLE: given})
    assert given not in str(raised.value)


@pytest.mark.parametrize(
    "arguments",
    [["prompts", "list"], ["gpu"], ["preflight"], ["prompts", "follow"], ["queue", "WORKFLOW"]],
    ids=lambda one: " ".join(one),
)
def test_a_command_names_the_setting(
    arguments: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "t\u00f6ken")
    workflow = tmp_path / "graph.json"
    workflow.write_text(json.dumps({"1": {"class_type": "A", "inputs": {}}}), "utf-8")
    given = [str(workflow) if one == "WORKFLOW" else one for one in arguments]
    assert main([*given, "--comfyui", "http://127.0.0.1:9", "--json"]) == 2
    told = json.loads(capfd.readouterr().out)
    assert told["error"]["type"] == "invalid_parameter"
    assert VARIABLE in told["error"]["message"]


def asked(bearing: str | None = None) -> Any:
    return make_mocked_request("GET", "/", headers={"Authorization": f"Bearer {bearing}"} if bearing else {})


def test_the_server_takes_its_token_as_the_commands_do() -> None:
    settings, wrong = server_settings(**{VARIABLE: "secret "})
    assert not wrong
    assert is_authorized(asked("secret"), settings.token)
    assert not is_authorized(asked(), settings.token)
    assert is_authorized(asked(), server_settings(**{VARIABLE: " "})[0].token)


@pytest.mark.parametrize("given", ODD)
def test_a_token_that_nobody_can_send_opens_nothing_and_is_not_told(given: str) -> None:
    settings, (wrong,) = server_settings(**{VARIABLE: given})
    assert wrong.name == VARIABLE and given not in wrong.why
    assert settings.token
    for bearing in ("t\u00f6ken", None, "None"):
        assert not is_authorized(asked(bearing), settings.token)
    assert settings.token not in repr(settings) + wrong.why
    assert server_settings(**{VARIABLE: given})[0].token != settings.token
