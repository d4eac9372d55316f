"""What goes wrong with a real index while documents are exported: nothing lost, nothing doubled, on both majors."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from benchmarks.export import FILL
from etl.db.store import Store
from etl.records import Document
from etl.servers.java import find_java
from etl.servers.opensearch import opensearch_status, start_opensearch, start_opensearch_219, stop_opensearch
from etl.sinks.opensearch import OpenSearchSink
from etl.stages.base import Tally
from etl.stages.export import claim_sink, export_stage
from tests.fakes import SilentProgress
from tests.integration.test_index_rebuild import check_same, drop_all, first
from tests.integration.world import REPOSITORY, World, fill, make_world
from tests.loopback.port import Port
from tests.loopback.relay import Relay

MAJORS = [
    pytest.param("3", id="3.x", marks=pytest.mark.opensearch),
    pytest.param("2", id="2.19", marks=pytest.mark.opensearch2),
]


@pytest.fixture(params=MAJORS)
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("opensearch_url" if request.param == "3" else "opensearch2_url"))


@pytest.fixture
def world(database_url: str, url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, url, tmp_path) as world:
        yield world
        settings(world, {"index.blocks.write": None, "index.blocks.read_only_allow_delete": None})
        drop_all(world)


def settings(world: World, changes: Mapping[str, Any]) -> None:
    address = f"{world.opensearch_url}/{world.prefix}-{first()}/_settings"
    requests.put(address, json=changes, timeout=120).raise_for_status()


def opened(world: World, way: str) -> None:
    requests.post(f"{world.opensearch_url}/{world.prefix}-{first()}/{way}", timeout=120).raise_for_status()


@pytest.mark.parametrize(
    ("spoil", "mend", "code", "message"),
    [
        (
            lambda world: settings(world, {"index.blocks.write": True}),
            lambda world: settings(world, {"index.blocks.write": None}),
            3,
            "lift its block, and run again",
        ),
        (
            lambda world: settings(world, {"index.blocks.read_only_allow_delete": True}),
            lambda world: settings(world, {"index.blocks.read_only_allow_delete": None}),
            8,
            "free disk space on the server",
        ),
        (lambda world: opened(world, "_close"), lambda world: opened(world, "_open"), 3, "open the index"),
    ],
    ids=["read-only", "a full disk", "closed"],
)
def test_an_index_that_takes_no_writes_in_the_middle_of_an_export_loses_nothing(
    world: World, spoil: Callable[[World], None], mend: Callable[[World], None], code: int, message: str
) -> None:
    fill(world, 40)
    world.run("--classifier", "rules")
    for number in range(1, 31):
        world.github.relabel_issue(REPOSITORY, number, "new")
    world.github.add_issue(REPOSITORY, "It crashes", "It crashes on a full disk.")
    spoilt = threading.Event()

    def after(_method: str, path: str) -> None:
        if "-daily/_bulk" in path and not spoilt.is_set():
            spoilt.set()
            spoil(world)

    with Relay(world.opensearch_url, after=after) as relay:
        # Only a full disk is waited for; the other two end at once.
        minutes = "0.5" if code == 8 else "5"
        stopped = world.run("--classifier", "rules", "--deadline", minutes, code=code, OPENSEARCH_URL=relay.url)
    assert spoilt.is_set()
    assert message in stopped["error"]
    assert stopped["texts_asked"] == 1
    assert world.rows("SELECT count(*) FROM dead_letters") == [(0,)]
    mend(world)
    assert world.run("--classifier", "rules")["documents_written"] == 31
    check_same(world)
    assert world.run("--classifier", "rules").get("documents_written", 0) == 0


@dataclass
class OwnServer:
    """A server of a test's own behind a port that stays, to be overloaded and killed."""

    major: str
    folder: Path
    distributions: Path
    port: Port

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Starts it, with its data where it has some."""
        if self.major == "3":
            url = start_opensearch(
                self.folder, distributions=self.distributions, wait_seconds=240, extra_settings=extra
            )
        else:
            java = find_java(17, 21)
            assert java is not None
            url = start_opensearch_219(
                self.folder, java, distributions=self.distributions, wait_seconds=240, extra_settings=extra
            )
        self.port.target = int(url.rpartition(":")[2])

    def kill(self) -> None:
        """Ends it without a farewell."""
        pid = opensearch_status(self.folder).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(params=MAJORS)
def server(request: pytest.FixtureRequest, server_folder: Path, opensearch_distributions: Path) -> Iterator[OwnServer]:
    # Asked for so that the distribution is there: nothing is downloaded inside a test.
    request.getfixturevalue("opensearch_url" if request.param == "3" else "opensearch2_url")
    port = Port()
    made = OwnServer(request.param, server_folder / f"own{request.param}", opensearch_distributions, port)
    try:
        yield made
    finally:
        stop_opensearch(made.folder)
        port.close()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = Store(database_url)
    yield made
    made.close()


def fill_database(store: Store, count: int) -> None:
    with store.transaction() as connection:
        for statement in FILL.split(";\n"):
            if statement.strip():
                connection.execute(text(statement), {"count": count} if ":count" in statement else {})


@pytest.mark.kill
def test_a_server_that_is_killed_and_back_after_fifteen_seconds_has_every_document_once(
    server: OwnServer, store: Store
) -> None:
    fill_database(store, 20_000)
    server.start()
    pauses: list[float] = []
    back: list[threading.Thread] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    class KillingProgress:
        """Kills the server after a third of the documents."""

        @contextmanager
        def stage(self, title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
            del total
            done = 0

            def advance(steps: int, **_: object) -> None:
                nonlocal done
                done += steps
                if title == "export classifications" and done > 7_000 and not back:
                    server.kill()
                    back.append(threading.Timer(15, server.start))
                    back[0].start()

            yield advance

    # Its patience is three minutes of this clock: four times as long, for a busy machine starts a server slowly.
    sink = OpenSearchSink(
        server.port.url, "killed", chunk_bytes=1 << 20, sleep=sleep, clock=lambda: time.monotonic() / 4
    )
    tally = Tally()
    prepared = claim_sink(store, sink)
    export_stage(store, prepared, 1, tally, KillingProgress())
    back[0].join()
    assert sum(pauses) > 10
    sink.refresh()
    held = dict(sink.held("classifications"))
    with store.transaction() as connection:
        wanted = connection.execute(text("SELECT document_id, row_version FROM document_versions"))
        assert held == {row.document_id: row.row_version for row in wanted}
        believed = connection.execute(
            text("SELECT count(*) FROM exports WHERE sink_id = :id"), {"id": prepared.ids["classifications"]}
        )
        assert believed.scalar_one() == len(held) == sink.count("classifications") == 20_000
    assert tally.counts["dead_letters"] == 0
    again = Tally()
    export_stage(store, prepared, 1, again, SilentProgress())
    assert again.counts["documents_written"] == 0


@pytest.mark.kill
def test_a_server_that_takes_little_at_once_and_less_from_others_gets_every_document(server: OwnServer) -> None:
    server.start(
        {
            "thread_pool.write.size": "1",
            "thread_pool.write.queue_size": "1",
            "indexing_pressure.memory.limit": "1mb",
        }
    )
    stopped = threading.Event()

    def crowd() -> None:
        lines = "".join(f'{{"index":{{}}}}\n{{"n":{number}}}\n' for number in range(200))
        while not stopped.is_set():
            requests.post(
                f"{server.port.url}/crowd/_bulk", lines, headers={"content-type": "application/x-ndjson"}, timeout=240
            )

    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(min(seconds, 1.0))

    sink = OpenSearchSink(server.port.url, "storm", sleep=sleep)
    sink.prepare()
    threads = [threading.Thread(target=crowd) for _ in range(4)]
    # A request beyond the limit is refused whole; one that comes while the queue is full has its items refused.
    big = [Document(f"b{n}", n + 1, json.dumps({"number": n, "title": "x" * 2_000})) for n in range(3_000)]
    try:
        results = [result for chunk in sink.push("classifications", big) for result in chunk]
        whole = len(pauses)
        for thread in threads:
            thread.start()
        number = 0
        while len(pauses) == whole and number < 20_000:
            documents = [Document(f"s{n}", n + 1, json.dumps({"number": n})) for n in range(number, number + 500)]
            results += [result for chunk in sink.push("classifications", documents) for result in chunk]
            number += 500
    finally:
        stopped.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    assert whole > 0
    assert len(pauses) > whole
    assert {result.status for result in results} == {"written"}
    held = dict(sink.held("classifications"))
    assert held == {result.document.id: result.document.version for result in results}
    assert len(results) == len(held) == 3_000 + number
