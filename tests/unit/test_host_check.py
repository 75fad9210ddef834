"""Under which names the routes may be asked: a page that was made to mean this machine may not."""

import socket
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from run_recorder.comfyui_host.process import loopback_only
from run_recorder.server_routes.host_check import PROBLEM, VARIABLE, HostCheck, name_of
from run_recorder.server_routes.route import ApiError
from run_recorder.telemetry.process.problems import Problems
from run_recorder.telemetry.process.settings import server_settings


def refused(
    host: str, *, loopback: bool | None, method: str = "GET", problems: Problems | None = None, allowed: str = ""
) -> bool:
    request: Any = make_mocked_request(method, "/telemetry/health", headers={"Host": host})
    try:
        names = server_settings(**{VARIABLE: allowed})[0].allowed_hosts
        HostCheck(lambda: loopback, problems or Problems(), names).check(request)
    except ApiError as error:
        assert (error.status, error.answer.error.type) == (403, "forbidden")
        return True
    return False


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:8188", "127.8.9.1", "[::1]:80"])
def test_this_machine_s_own_names_are_accepted(name: str) -> None:
    assert not refused(name, loopback=True)


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "evil.example:8188",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example.",
        "192.168.1.7",
        "0.0.0.0",
        "[::2]",
        "localhost@evil.example",
        "2130706433",
        "",
        "[",
        ":",
    ],
)
def test_any_other_name_is_refused_where_only_this_machine_can_ask(name: str) -> None:
    assert refused(name, loopback=True)


def test_other_names_can_be_allowed() -> None:
    allowed = " Comfy.studio.lan., *.farm.lan ,"
    assert not refused("comfy.studio.lan:443", loopback=True, allowed=allowed)
    assert not refused("Node7.farm.lan", loopback=True, allowed=allowed)
    assert refused("farm.lan.evil.example", loopback=True, allowed=allowed)
    assert refused("xfarm.lan", loopback=True, allowed=allowed)
    assert not refused("localhost", loopback=True, allowed=allowed)


@pytest.mark.parametrize("loopback", [False, None])
def test_a_server_that_others_can_reach_checks_names_only_when_told_to(loopback: bool | None) -> None:
    assert not refused("comfy.studio.lan", loopback=loopback)
    assert not refused("comfy.studio.lan", loopback=loopback, allowed="comfy.studio.lan")
    assert refused("evil.example", loopback=loopback, allowed="comfy.studio.lan")


@pytest.mark.parametrize(
    ("method", "name", "told"),
    [
        ("DELETE", "evil.example", True),
        ("GET", "evil.example", False),
        ("DELETE", "192.168.1.7:8188", False),
        ("POST", "[fe80::1]", False),
        ("DELETE", socket.gethostname(), False),
    ],
)
def test_health_hints_at_a_change_under_a_strange_name(method: str, name: str, told: bool) -> None:
    problems = Problems()
    assert not refused(name, loopback=False, method=method, problems=problems)
    assert bool(problems.counts().get(PROBLEM)) is told


def test_a_request_without_a_host_comes_from_no_browser() -> None:
    request: Any = make_mocked_request("GET", "/telemetry/health", headers={})
    HostCheck(lambda: True, Problems()).check(request)


def test_what_a_host_header_names() -> None:
    assert [name_of(one) for one in ("A.b:80", "[::1]:80", "::1", "a.")] == ["a.b", "::1", "::1", "a"]


def test_who_can_reach_this_process_is_asked_of_the_system() -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        assert loopback_only(here.getsockname()[1]) is True
        assert loopback_only(here.getsockname()[1] + 1 if here.getsockname()[1] < 65535 else 1) in (None, True, False)
    assert loopback_only(None) is None


@pytest.mark.parametrize(
    "setting", ["*.", "*", "*..", ".", "http://evil.example", "evil.example:8188", "a b", "*.*", "-"]
)
def test_what_is_no_name_accepts_nothing_and_is_a_wrong_setting(setting: str) -> None:
    problems = Problems()
    assert refused("evil.example", loopback=False, problems=problems, allowed=setting), "and the check is on"
    assert refused("evil.example", loopback=True, problems=problems, allowed=setting)
    assert not refused("127.0.0.1", loopback=False, problems=problems, allowed=setting)
    assert [problem.what for problem in problems.all()] == [f"setting {VARIABLE}"]


@pytest.mark.parametrize(
    "setting", ["comfy", "a_b.lan", "[2001:db8::1]", "2001:db8::1", "192.0.2.7", "xn--mnchen-3ya.de"]
)
def test_names_and_addresses_are_accepted(setting: str) -> None:
    problems = Problems()
    host = f"[{setting.strip('[]')}]:8188" if ":" in setting else f"{setting}:8188"
    assert not refused(host, loopback=True, problems=problems, allowed=setting)
    assert refused("evil.example", loopback=True, problems=problems, allowed=setting)
    assert problems.all() == []
