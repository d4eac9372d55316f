"""Export: 100,000 documents from PostgreSQL into OpenSearch, beside `helpers.streaming_bulk` on the same in memory.

    python -m benchmarks.export [--documents 100000] [--repeats 3] [--kill] [--json]

Starts a PostgreSQL and an OpenSearch of its own in a temporary folder. Issuetide's side is the whole export stage:
reading the documents from PostgreSQL, sending them, remembering what the index acknowledged. The other side has its
documents as dicts in memory already and uses the client's default serializer. Both take turns on fresh indices; the
figure is this process's CPU time (user and system), the median over the repeats. Documents a second swing with what
else the machine does and are only shown.

With `--kill` there is one export only, in whose middle the server is killed (-9), to be back 15 seconds later; what it
holds afterwards is compared with PostgreSQL, id by id and version by version.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import platformdirs
from opensearchpy import OpenSearch, helpers
from sqlalchemy import text

from benchmarks.fetch_only import SilentProgress
from etl.db.migrate import upgrade
from etl.db.store import Store
from etl.servers.opensearch import opensearch_status, start_opensearch, stop_opensearch
from etl.servers.postgres import start_postgres, stop_postgres
from etl.sinks.opensearch import OpenSearchSink
from etl.stages.base import Tally
from etl.stages.export import claim_sink, export_stage
from etl.stages.statistics import update_statistics
from tests.loopback.port import Port

DISTRIBUTIONS = Path(platformdirs.user_cache_dir("issuetide", appauthor=False)) / "servers"
FILL = """
    INSERT INTO repositories (key, host, github_id, full_name) VALUES (1, 'github.com', 1, 'octo/bench');
    INSERT INTO tasks (name, version, sha256, content, input, kinds, repositories_like, labels, titles_except_like,
                       states)
    VALUES ('kind', 1, 'x', '', 'issue', '{issue}', '{}', '{}', '{}', '{}');
    INSERT INTO tracked_tasks (repository_key, task) VALUES (1, 'kind');
    INSERT INTO items (repository_key, kind, external_id, title, body, state, author, author_type, author_association,
                       labels, comments, created_at, updated_at, url, payload, content_hash, row_version)
    SELECT 1, 'issue', n, 'torch.compile: graph break in module ' || n || ' when the batch size changes',
           repeat('body ', 80),
           CASE WHEN n % 3 = 0 THEN 'closed' ELSE 'open' END, 'user' || n % 997, 'User', 'NONE',
           ARRAY['module: ' || n % 50, 'oncall: pt2', 'triaged'], n % 20,
           now() - interval '30 days' + n * interval '20 s',
           now(), 'https://github.com/octo/bench/issues/' || n, '{}', 'h' || n, n
    FROM generate_series(1, :count) AS n;
    INSERT INTO texts (input, text_hash, family_hash, body, rules_version)
    SELECT 'issue', '1:' || md5(n::text), '1:' || md5((n % 999)::text), 'body', 1 FROM generate_series(1, :count) AS n;
    INSERT INTO item_texts (item_id, input, text_id)
    SELECT i.id, 'issue', t.id FROM items i JOIN texts t ON t.text_hash = '1:' || md5(i.external_id::text);
    INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier, model, outcome,
                                 categories, confidences, rationale, run_id)
    SELECT id, 'kind', 1, 'x', 'p1', 'claude', 'claude-haiku-5-5', 'answered', ARRAY['bug'],
           ARRAY[0.5 + id % 50 / 100.0],
           'The report shows a wrong result of the compiled module; the eager one is right.', 1 FROM texts;
"""


def export(store: Store, url: str, prefix: str) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and documents of the export stage into fresh indices."""
    sink, tally = OpenSearchSink(url, prefix), Tally()
    cpu, wall = time.process_time(), time.perf_counter()
    export_stage(store, claim_sink(store, sink), 1, tally, SilentProgress())
    return time.process_time() - cpu, time.perf_counter() - wall, tally.counts["documents_written"]


def stream(sources: list[tuple[str, int, dict[str, Any]]], url: str, prefix: str) -> tuple[float, float, int]:
    """The same with `helpers.streaming_bulk` and documents that are in memory as dicts."""
    OpenSearchSink(url, prefix).prepare()
    client = OpenSearch(url, timeout=60)
    index = f"{prefix}-classifications"
    actions = (
        {"_op_type": "index", "_index": index, "_id": key, "version": version, "version_type": "external_gte",
         "_source": source}
        for key, version, source in sources
    )  # fmt: skip
    cpu, wall = time.process_time(), time.perf_counter()
    written = sum(ok for ok, _ in helpers.streaming_bulk(client, actions, chunk_size=2000))
    return time.process_time() - cpu, time.perf_counter() - wall, written


class KillingProgress:
    """Kills the server once a third of the documents is written, and starts it again 15 seconds later."""

    def __init__(self, folder: Path, port: Port, total: int) -> None:
        self.folder, self.port, self.total = folder, port, total
        self.back: Timer | None = None

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Any]:
        """One stage."""
        del total
        done = 0

        def advance(steps: int, **_: object) -> None:
            nonlocal done
            done += steps
            if title == "export classifications" and done > self.total // 3 and self.back is None:
                pid = opensearch_status(self.folder).pid
                if pid is None:
                    raise RuntimeError("the server ended by itself")
                os.kill(pid, signal.SIGKILL)
                self.back = Timer(15, self._start)
                self.back.start()

        yield advance

    def _start(self) -> None:
        url = start_opensearch(self.folder, distributions=DISTRIBUTIONS, heap_mb=1024)
        self.port.target = int(url.rpartition(":")[2])


def survive(store: Store, url: str, folder: Path, total: int) -> str:
    """Exports while the server is killed and comes back; says what was held afterwards."""
    port = Port()
    port.target = int(url.rpartition(":")[2])
    sink, progress, wall = OpenSearchSink(port.url, "killed"), KillingProgress(folder, port, total), time.perf_counter()
    export_stage(store, claim_sink(store, sink), 1, Tally(), progress)
    if progress.back is None:
        raise RuntimeError("the export ended before the server was killed")
    progress.back.join()
    held = list(sink.held("classifications"))
    with store.transaction() as connection:
        rows = connection.execute(text("SELECT document_id, row_version FROM document_versions"))
        wanted = {row.document_id: row.row_version for row in rows}
    right = sum(wanted.get(document) == version for document, version in held)
    port.close()
    return f"killed and back: {right:,} of {len(wanted):,}, {len(held):,} held, {time.perf_counter() - wall:.0f} s"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="issuetide-bench-"))
    try:
        database = start_postgres(folder)
        upgrade(database)
        store = Store(database)
        url = start_opensearch(folder, distributions=DISTRIBUTIONS, heap_mb=1024)
        with store.transaction() as connection:
            for statement in FILL.split(";\n"):
                if statement.strip():
                    connection.execute(text(statement), {"count": options.documents} if ":count" in statement else {})
        update_statistics(store, Tally())
        if options.kill:
            print(survive(store, url, folder, options.documents))
            store.close()
            return
        with store.reading() as connection:
            rows = connection.execute(text("SELECT document_id, row_version, source FROM classification_documents"))
            sources = [(row[0], row[1], row[2]) for row in rows]
        ours, theirs = [], []
        for repeat in range(options.repeats):
            theirs.append(stream(sources, url, f"theirs{repeat}"))
            ours.append(export(store, url, f"ours{repeat}"))
            OpenSearch(url).indices.delete(index=f"ours{repeat}-*,theirs{repeat}-*")
        store.close()
    finally:
        stop_opensearch(folder)
        stop_postgres(folder)
        shutil.rmtree(folder, ignore_errors=True)
    cpu = {name: statistics.median(run[0] for run in runs) for name, runs in (("ours", ours), ("theirs", theirs))}
    ratio = cpu["ours"] / cpu["theirs"]
    if options.json:
        print(json.dumps({"cpu_seconds": cpu, "ratio": ratio, "documents": options.documents}))
        return
    for name, runs in (("Issuetide, from PostgreSQL", ours), ("helpers.streaming_bulk, from memory", theirs)):
        seconds, wall, written = (statistics.median(run[place] for run in runs) for place in range(3))
        print(f"{name:<36} client CPU {seconds:6.2f} s   {written / wall:8,.0f} documents/s   {written:,.0f} written")
    print(f"ratio of client CPU (goal <= 1): {ratio:.2f}")


if __name__ == "__main__":
    main()
