"""A whole server with its records in PostgreSQL: prompts recorded, markers written, and nothing hangs when it does."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy.engine import URL, make_url

from .fakes.stalling_proxy import StallingProxy
from .graphs import Graph, saved
from .hosts import PROBE_PACK, Host

pytest.importorskip("psycopg")
CJK = "".join(chr(0x4E00 + number * 37 % 20000) for number in range(1000))
LONG = "".join(chr(33 + number * 7919 % 90) for number in range(3000))


@pytest.fixture
def proxy(postgresql_server: URL) -> Iterator[StallingProxy]:
    assert postgresql_server.port is not None
    made = StallingProxy(postgresql_server.port)
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: Path, postgresql_url: str, proxy: StallingProxy) -> Iterator[Host]:
    """An embedded host whose database can fall silent; it gives up a statement after a second."""
    limits = {"statement_timeout": "1000", "connect_timeout": "2", "pool_timeout": "1"}
    url = make_url(postgresql_url).set(host="127.0.0.1", port=proxy.port).update_query_dict(limits)
    env = {"RUN_RECORDER_DATABASE_URL": url.render_as_string(hide_password=False)}
    made = Host("embedded", tmp_path / "host", packs=[PROBE_PACK], env=env)
    yield made.start()
    made.stop()


def hostile() -> Graph:
    """Names that no index row of PostgreSQL takes, and one that it takes in no text."""
    graph = Graph()
    image = graph.image()
    for name in (CJK, LONG[1:], "nul\0name"):
        graph.add("ProbeSlow", id=name, title=name, source=image, seconds=0.0, steps=1)
    graph.add("SaveImage", id=f"{LONG}\0", title=CJK, images=image, filename_prefix="shot/hostile")
    graph.marker(filename_prefix="shot/hostile")
    return graph


def test_prompts_are_recorded_and_marked_and_a_hostile_one_costs_the_others_nothing(host: Host) -> None:
    before = host.run(saved("shot/a", marker={}))
    odd = host.run(hostile(), extra_data={"extra_pnginfo": {"workflow": {"name": f"{CJK}\0"}}})
    after = host.run(saved("shot/b", marker={}))
    assert [record["status"] for record in (before, odd, after)] == ["success"] * 3
    for name, record in (("a", before), ("hostile", odd), ("b", after)):
        assert host.marker(f"shot/{name}.done")["PromptId"] == record["prompt_id"]
    health = host.health()
    assert (health["status"], health["store"]["backend"], health["store"]["dropped"]) == ("ok", "postgresql", 0)
    named = host.get(f"/telemetry/prompts?q={quote(CJK[:100])}")[1]["items"]
    assert [item["prompt_id"] for item in named] == [odd["prompt_id"]]
    host.restart()
    kept = host.get("/telemetry/prompts")[1]["items"]
    assert [item["prompt_id"] for item in kept] == [record["prompt_id"] for record in (after, odd, before)]
    assert len(host.nodes(odd["prompt_id"])) == len(hostile())


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/telemetry/prompts/%00", {404}),
        ("/telemetry/prompts/a%00b/nodes", {404}),
        ("/telemetry/prompts/a%00b/wait?timeout=0", {404}),
        ("/telemetry/prompts/" + "x" * 201, {400}),
        ("/telemetry/prompts/x?run=99999999999999999999", {400}),
        ("/telemetry/prompts?q=a%00b", {400}),
        ("/telemetry/prompts?class_type=%00", {400}),
        ("/telemetry/prompts?output=%00", {400}),
        ("/telemetry/prompts?output=%ED%A0%80", {200}),
        ("/telemetry/prompts?cursor=999999999999999-999999999999999999", {200}),
        ("/telemetry/prompts?since=9999-12-31T23:59:59Z", {200}),
        ("/telemetry/environments/%00", {404}),
        ("/telemetry/events?prompt_id=%00", {400}),
    ],
)
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_both_databases_answer_an_odd_question_alike(
    shared: dict[str, Host], kind: str, path: str, statuses: set[int]
) -> None:
    host = shared[kind]
    status, _ = host.get(path)
    assert status in statuses
    assert "store" not in {problem["what"] for problem in host.health()["problems"]}


@pytest.fixture(scope="module")
def shared(postgresql_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Host]]:
    """A host on each database."""
    from .postgres import fresh_database

    with fresh_database(postgresql_server) as url:
        hosts = {
            "postgresql": Host("embedded", tmp_path_factory.mktemp("pg"), env={"RUN_RECORDER_DATABASE_URL": url}),
            "sqlite": Host("embedded", tmp_path_factory.mktemp("lite")),
        }
        for host in hosts.values():
            host.start()
        yield hosts
        for host in hosts.values():
            host.stop()


def test_a_database_that_falls_silent_hangs_neither_health_nor_the_recorder(host: Host, proxy: StallingProxy) -> None:
    first = host.run(saved("shot/a", marker={}))
    proxy.stall()
    began = time.monotonic()
    prompt_id = host.queue(saved("shot/b", marker={}))
    host.wait_history(prompt_id)
    health = host.health()
    assert time.monotonic() - began < 12
    assert health["store"]["backend"] == "postgresql"
    host.until(lambda: host.health()["store"]["prompts"] is None, 20)
    host.until(lambda: "store" in {problem["what"] for problem in host.health()["problems"]}, 20)
    proxy.flow()
    assert host.wait(prompt_id, 30)["status"] == "success"
    assert host.marker("shot/b.done")["PromptId"] == prompt_id
    kept = host.get("/telemetry/prompts")[1]["items"]
    assert [item["prompt_id"] for item in kept] == [prompt_id, first["prompt_id"]]
    assert len(host.nodes(prompt_id)) == 3
