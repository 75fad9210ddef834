"""The settings of ComfyUI's process: what is accepted, what is told of a wrong one, and what takes its place."""

import pytest
from run_recorder.telemetry.gpu.settings import SamplerSettings
from run_recorder.telemetry.process.settings import (
    DEFAULT_PROMPTS,
    GPU_SOURCES,
    NAMES,
    ServerSettings,
    misspelt,
    server_settings,
)
from run_recorder.telemetry.store.retention import Retention


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("blank", [None, "", "  ", "\t\n"])
def test_what_is_not_set_or_blank_has_its_default(blank: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if blank is not None:
        for name in NAMES:
            monkeypatch.setenv(name, blank)
    settings, wrong = server_settings()
    assert not wrong
    assert settings.model_dump() == {
        "allowed_hosts": (),
        "database_url": None,
        "gpu_sources": GPU_SOURCES,
        "keep_bytes": 0,
        "keep_days": 0,
        "keep_prompts": DEFAULT_PROMPTS,
        "keep_settings": True,
        "sampler_interval_seconds": 0.2,
        "sentinel": False,
        "token": None,
    }
    assert Retention.of(settings) == Retention()
    assert SamplerSettings.of(settings) == SamplerSettings()


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("ALLOWED_HOSTS", " Comfy.lan., *.farm ,", ("comfy.lan", "*.farm")),
        ("DATABASE_URL", " sqlite:///x ", "sqlite:///x"),
        ("GPU_SOURCES", " psutil, NVML ", ("nvml", "psutil")),
        ("GPU_SOURCES", "none", ()),
        ("GPU_SOURCES", ",", GPU_SOURCES),
        ("KEEP_BYTES", "1e18", 10**18),
        ("KEEP_DAYS", "1.5", 1.5),
        ("KEEP_DAYS", "1000000", 1_000_000),
        ("KEEP_PROMPTS", "0", 0),
        ("KEEP_PROMPTS", "1000.0", 1000),
        ("SAMPLER_INTERVAL_SECONDS", "0.05", 0.05),
        ("SAMPLER_INTERVAL_SECONDS", " 60 ", 60),
        ("SENTINEL", "ON", True),
        ("SENTINEL", "yes", True),
        ("SENTINEL", "off", False),
        ("SENTINEL", "0", False),
    ],
)
def test_what_is_accepted_is_taken_from_the_environment(
    name: str, given: str, taken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RUN_RECORDER_{name}", given)
    settings, wrong = server_settings()
    assert (getattr(settings, name.lower()), wrong) == (taken, [])


@pytest.mark.parametrize("token", ["\u00a0", "\u3000", "\x1f", " \u00a0 "])
def test_a_token_of_signs_that_show_nothing_is_none_that_opens_everything(token: str) -> None:
    settings, (wrong,) = server_settings(RUN_RECORDER_TOKEN=token)
    assert wrong.name == "RUN_RECORDER_TOKEN" and settings.token


WRONG = {
    "GPU_SOURCES": (["crystal", "nvml,crystal", "none,nvml"], "nvml, amdsmi, sysfs, torch, psutil"),
    "KEEP_BYTES": (["0.9", "1e19", "-1", "1e999", "9" * 5000], "a whole number, 0 or more; 0 keeps all"),
    "KEEP_DAYS": (["1e18", "1000001", "-1", "nan", "soon"], "a number, 0 to 1,000,000"),
    "KEEP_PROMPTS": (["many", "-1", "nan", "inf", "1e99", "0.5"], "1000000 is used"),
    "SAMPLER_INTERVAL_SECONDS": (["0", "0.01", "61", "-1", "nan", "inf", "often", "0,2"], "from 0.05 to 60"),
    "SENTINEL": (["perhaps", "2", "on off"], "on, 1, true, yes"),
}


@pytest.mark.parametrize(("name", "given"), [(name, one) for name, (many, _) in WRONG.items() for one in many])
def test_a_wrong_one_is_told_with_what_is_accepted_and_has_its_default(name: str, given: str) -> None:
    name, accepted = f"RUN_RECORDER_{name}", WRONG[name][1]
    settings, (wrong,) = server_settings(**{name: given})
    assert settings == ServerSettings()
    assert wrong.name == name and wrong.why.startswith(f"{name}={given[:20]!r}"[:-1])
    assert accepted in wrong.why


def test_all_wrong_ones_are_told_at_once_and_cost_no_other() -> None:
    given = {f"RUN_RECORDER_{name}": many[0] for name, (many, _) in WRONG.items()}
    settings, wrong = server_settings(**given, RUN_RECORDER_DATABASE_URL="sqlite:///kept")
    assert sorted(one.name for one in wrong) == sorted(given)
    assert settings.database_url == "sqlite:///kept"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RUN_RECORDER_KEEP_DAY", "RUN_RECORDER_KEEP_DAYS"),
        ("RUN_RECORDER_DATABASE", "RUN_RECORDER_DATABASE_URL"),
        ("RUN_RECORDER_TOKENS", "RUN_RECORDER_TOKEN"),
        ("run_recorder_token", "RUN_RECORDER_TOKEN"),
        ("RUN_RECORDER_KEEP_DAYS", None),
        ("RUN_RECORDER_TEST_POSTGRESQL_URL", None),
        ("RUN_RECORDER_", None),
        ("RUN_RECORDER_COLOUR", None),
        ("KEEP_DAYS", None),
    ],
)
def test_a_misspelt_setting_is_told_with_the_one_that_was_meant(name: str, meant: str | None) -> None:
    found = list(misspelt({name: "1", "PATH": "x"}))
    assert [(one.name, meant is not None and meant in one.why) for one in found] == ([(name, True)] if meant else [])
