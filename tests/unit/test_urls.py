"""What names a server, and that its user and password reach that server and no reader."""

import base64

import pytest
from run_recorder.client.http import Http
from run_recorder.client.urls import address_of, checked_url, has_logon, logon_of, shown_url
from run_recorder.runner.health import check_health
from run_recorder.runner.llm import write_story
from run_recorder.runner.llm_settings import LlmSettings, SettingError


@pytest.mark.parametrize(
    ("given", "url", "logon"),
    [
        ("http://a:S3cret@one.lan:8188/", "http://one.lan:8188", "a:S3cret"),
        ("a:S3cret@two.lan:8188", "http://two.lan:8188", "a:S3cret"),
        ("https://a%40b:p%3A%2Fw@three.lan/comfy/", "https://three.lan/comfy", "a@b:p:/w"),
        ("http://a@four.lan", "http://four.lan", "a:"),
        ("http://a:p%FFw@bytes.lan", "http://bytes.lan", "a:p\udcffw"),
        ("http://a:S3cret@with@at@five.lan", "http://five.lan", "a:S3cret@with@at"),
        ("http://[::1]:8188", "http://[::1]:8188", None),
    ],
)
def test_a_url_is_kept_without_its_password_which_goes_to_its_server_alone(
    given: str, url: str, logon: str | None
) -> None:
    assert checked_url(given) == url
    assert has_logon(given) is (logon is not None)
    sent = (
        {"Authorization": "Basic " + base64.b64encode(logon.encode("utf-8", "surrogateescape")).decode()}
        if logon
        else {}
    )
    assert logon_of(url) == sent
    assert Http(url).headers == sent
    assert Http(given).url == url
    assert logon_of("http://another.lan") == {}
    assert Http(url, {"Authorization": "Bearer token"}).headers == {"Authorization": "Bearer token"}


@pytest.mark.parametrize(
    "given",
    [
        "ftp://a:S3cret@h",
        "http://a:S3cret@h:99999",
        "http://a:S3cret@h:0",
        "http://a:S3cret@",
        "http://a:S3cret@[",
        "a:S3cret@[::1",
        "http://S3cret@h/?x=1",
        "http://a:S3/cret@h",
        "://a:S3cret@",
        "http://h?token=S3cret",
        "http://a:S3?cret@h/?token=S3cret",
    ],
)
def test_what_is_no_url_is_refused_without_its_password(given: str) -> None:
    with pytest.raises(ValueError, match="is no http") as raised:
        checked_url(given)
    assert "cret" not in str(raised.value)
    assert "cret" not in shown_url(given)


@pytest.mark.parametrize("given", ["http://h/?token=x", "http://h?", "http://h/#here", "", "http://"])
def test_a_query_a_fragment_and_nothing_are_no_part_of_a_server(given: str) -> None:
    with pytest.raises(ValueError, match="is no http"):
        checked_url(given)


def test_a_language_models_address_keeps_its_query_and_loses_its_password() -> None:
    assert address_of("http://a:S3cret@h/v1?version=2") == "http://h/v1?version=2"
    settings = LlmSettings.from_environment(
        LOCAL_STORY_PROVIDER_URL="http://a:S3cret@llm.lan", LOCAL_LLM_HEALTHCHECK_URL="b:S3cret@up.lan/x"
    )
    assert (settings.url, settings.healthcheck_url) == ("http://llm.lan/v1/chat/completions", "http://up.lan/x")
    asked = LlmSettings.from_environment(LOCAL_STORY_PROVIDER_URL="http://127.0.0.1:9/v1?api-key=S3cret")
    assert asked.url == "http://127.0.0.1:9/v1/chat/completions?api-key=S3cret"
    assert logon_of("http://llm.lan/v1/models") and logon_of("http://up.lan/x")


async def test_what_stands_in_a_language_models_query_is_told_to_nobody() -> None:
    url = "http://127.0.0.1:9/v1?api-key=S3cret"
    settings = LlmSettings.from_environment(LOCAL_STORY_PROVIDER_URL=url, LOCAL_LLM_HEALTHCHECK_URL=url)
    written = await write_story("a fox", 1, settings)
    health = await check_health(settings)
    assert (health.Status, health.Url) == ("failed", "http://127.0.0.1:9/v1?<key>")
    assert "127.0.0.1:9" in written.warnings[0]
    assert "S3cret" not in "".join(written.warnings) + health.model_dump_json()


@pytest.mark.parametrize("given", ["http://[", "ftp://a:S3cret@h", "http://a:S3cret@h:x"])
@pytest.mark.parametrize("name", ["LOCAL_STORY_PROVIDER_URL", "LOCAL_LLM_HEALTHCHECK_URL"])
def test_a_language_models_address_that_is_none_is_a_setting_error(name: str, given: str) -> None:
    with pytest.raises(SettingError, match=name) as raised:
        LlmSettings.from_environment(**{name: given})
    assert "S3cret" not in str(raised.value)
