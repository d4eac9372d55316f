"""The client CPU of the OpenSearch sink beside opensearch-py's `helpers.streaming_bulk`, on the same documents.

    python benchmarks/sink_push.py http://127.0.0.1:9200 [--documents 100000] [--repeats 3]

Both write the same documents, held in memory, into the same index of a real server: the sink from JSON text, as the
database gives it; streaming_bulk from dicts with its default serializer, in chunks of as many documents. They take
turns, the index is made anew between them, and the figure is this process's CPU time (user and system), median over
the repeats: documents a second depend on what else the server's machine does and are only shown. The last line is the
ratio, and the exit code is 1 where it is above --at-most.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any

from opensearchpy import OpenSearch, helpers

from etl.records import Document
from etl.sinks.opensearch import CHUNK_DOCUMENTS, OpenSearchSink

_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def make_source(number: int) -> dict[str, Any]:
    """A document of `classifications` with all its fields but the optional ones; some 860 bytes of JSON."""
    created = _FIRST_DAY + timedelta(minutes=7 * number)
    return {
        "repository_id": 65600975,
        "repository": "pytorch/pytorch",
        "kind": "issue",
        "number": number,
        "title": f"torch.compile: graph break in module {number} when the batch size changes between two calls",
        "url": f"https://github.com/pytorch/pytorch/issues/{number}",
        "state": "open" if number % 3 else "closed",
        "author": f"user{number % 997}",
        "author_association": "NONE",
        "labels": ["triaged", "oncall: pt2", f"module: {number % 50}"],
        "comments": number % 20,
        "created_at": created.isoformat(),
        "updated_at": (created + timedelta(days=2)).isoformat(),
        "task": "user_error",
        "task_version": 1,
        "answer": "answered",
        "categories": ["false"],
        "primary_category": "false",
        "confidence": round(0.5 + number % 50 / 100, 2),
        "rationale": "The report shows a wrong result of the compiled module; the eager one is right.",
        "classifier": "rules",
        "model": "rules-1",
        "text_hash": f"{number:032x}",
        "overridden": False,
        "vanished": False,
        "row_version": number + 1,
    }


def measure(push: Callable[[], int]) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and documents written of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    written = push()
    return time.process_time() - cpu, time.perf_counter() - wall, written


def push_with_sink(sink: OpenSearchSink, documents: list[Document]) -> int:
    return sum(result.status == "written" for results in sink.push("classifications", documents) for result in results)


def push_with_helpers(client: OpenSearch, index: str, sources: list[dict[str, Any]]) -> int:
    def actions() -> Iterator[dict[str, Any]]:
        for source in sources:
            yield {
                "_op_type": "index",
                "_index": index,
                "_id": f"i-{source['number']}",
                "version": source["row_version"],
                "version_type": "external_gte",
                "_source": source,
            }

    return sum(ok for ok, _ in helpers.streaming_bulk(client, actions(), chunk_size=CHUNK_DOCUMENTS))


def report(name: str, figures: list[tuple[float, float, int]]) -> float:
    cpu = statistics.median(figure[0] for figure in figures)
    rate = statistics.median(figure[2] / figure[1] for figure in figures)
    each = ", ".join(f"{figure[0]:.2f}" for figure in figures)
    print(
        f"{name:<16} client CPU {1e6 * cpu / figures[0][2]:6.2f} ms per 1,000 (runs: {each} s), {rate:,.0f} documents/s"
    )
    return cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="an OpenSearch that may be written to; the index is deleted afterwards")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-most", type=float, default=2.0, help="the ratio that is still good (2.0)")
    options = parser.parse_args()

    sources = [make_source(number) for number in range(options.documents)]
    texts = [json.dumps(source, ensure_ascii=False) for source in sources]
    documents = [
        Document(f"i-{source['number']}", source["row_version"], text)
        for source, text in zip(sources, texts, strict=True)
    ]
    size = sum(len(text.encode()) for text in texts) / len(texts)
    sink = OpenSearchSink(options.url, f"bench{token_hex(4)}")
    client = OpenSearch([options.url], timeout=120)
    index = sink.aliases["classifications"]
    ways: dict[str, Callable[[], int]] = {
        "sink": lambda: push_with_sink(sink, documents),
        "streaming_bulk": lambda: push_with_helpers(client, index, sources),
    }
    figures: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ways}
    try:
        for _ in range(options.repeats):
            for name, push in ways.items():
                sink.prepare()
                figures[name].append(measure(push))
                client.indices.delete(index=f"{index}-v*")
    finally:
        client.indices.delete(index=f"{sink.aliases['runs'].removesuffix('-runs')}-*")
    print(f"{len(documents):,} documents of {size:.0f} bytes, {options.repeats} runs each, taking turns")
    if any(figure[2] != len(documents) for runs in figures.values() for figure in runs):
        print("not every document was written: no comparison")
        return 1
    ratio = report("sink", figures["sink"]) / report("streaming_bulk", figures["streaming_bulk"])
    print(f"sink / streaming_bulk: {ratio:.3f}")
    return int(ratio > options.at_most)


if __name__ == "__main__":
    sys.exit(main())
