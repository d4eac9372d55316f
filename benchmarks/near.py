"""Near-duplicates: what comparing costs, and how many planted ones are found.

    python -m benchmarks.near                          20,000 made-up bodies of about 2 KB, and copies of some
    python -m benchmarks.near --input FILE FILE ...    bodies of JSON lines (.gz) with `title` and `body`, and copies
    python -m benchmarks.near --json

The stage of a run is measured, on a PostgreSQL of its own in a temporary folder. Every twentieth body gets one edited
copy: one word, 1 % and 5 % of its words replaced, an introduction of 300 characters, in turn. Pairs that are no
original and its copy are counted apart: among made-up bodies they are wrong, among real ones a person must look.
"""

import argparse
import gzip
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from etl.db.migrate import upgrade
from etl.db.store import Store
from etl.dedup import issue_text
from etl.near import check_installed
from etl.servers.postgres import start_postgres, stop_postgres
from etl.stages.base import Tally
from etl.stages.near import near_stage

EDITS = ("one word", "1 % of the words", "5 % of the words", "introduction of 300 characters")
_SYLLABLES = [first + last for first in "bdfgklmnprstvw" for last in ("a", "en", "ix", "or", "um", "ist")]


class _Silent:
    """Progress that nobody looks at."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Any]:  # noqa: ARG002  (as the promise names them)
        """A stage whose steps are dropped."""
        yield lambda *_, **__: None


def made_up(picker: random.Random, words: Sequence[str]) -> str:
    """A body of about 2 KB: prose, and a trace of frames."""
    prose = [" ".join(picker.choices(words, k=14)) for _ in range(14)]
    frames = [f'  File "/srv/{picker.choice(words)}/{picker.choice(words)}.py", line {place}' for place in range(12)]
    return "\n".join([*prose[:7], *frames, *prose[7:]])


def read_bodies(paths: Sequence[str], texts: int) -> list[str]:
    """The distinct bodies to compare."""
    if not paths:
        picker = random.Random(7)
        words = ["".join(picker.choices(_SYLLABLES, k=picker.randint(1, 3))) for _ in range(8000)]
        return [made_up(picker, words) for _ in range(texts)]
    bodies: dict[str, None] = {}
    for path in paths:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.endswith(".gz")
            else Path(path).open(encoding="utf-8") as file
        ):
            for line in file:
                row = json.loads(line)
                bodies[issue_text(row.get("title"), row.get("body")).replace("\0", "\ufffd")] = None
    return list(bodies)[:texts]


def edited(body: str, kind: str, other: str, picker: random.Random) -> str:
    """A copy of a body with one of the edits; other: a body that the introduction is taken from."""
    if kind.startswith("intro"):
        return other[:300] + "\n" + body
    words = body.split(" ")
    share = {"one word": 0.0, "1 % of the words": 0.01, "5 % of the words": 0.05}[kind]
    for place in picker.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = picker.choice(_SYLLABLES)
    return " ".join(words)


def store_texts(url: str, bodies: Sequence[str], first: int) -> None:
    """An issue and a text for every body, numbered from `first` on."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        numbers = range(first, first + len(bodies))
        cursor.execute("INSERT INTO repositories (key, host, full_name) VALUES (1, 'h', 'o/r') ON CONFLICT DO NOTHING")
        with cursor.copy(
            "COPY items (id, repository_key, kind, external_id, created_at, updated_at, payload, content_hash,"
            " row_version) FROM STDIN"
        ) as copy:
            for number in numbers:
                copy.write_row((number, 1, "issue", number, "2026-01-01Z", "2026-01-01Z", "{}", "c", 1))
        with cursor.copy("COPY texts (id, input, text_hash, family_hash, body, rules_version) FROM STDIN") as copy:
            for number, body in zip(numbers, bodies, strict=True):
                copy.write_row((number, "issue", f"h{number}", "f", body, 1))
        with cursor.copy("COPY item_texts (item_id, input, text_id) FROM STDIN") as copy:
            for number in numbers:
                copy.write_row((number, "issue", number))
        cursor.execute("ANALYZE")


def run_stage(url: str) -> dict[str, float]:
    """The stage once: wall and CPU seconds of the client, texts, pairs."""
    store, tally = Store(url), Tally()
    wall, cpu = time.perf_counter(), time.process_time()
    near_stage(store, tally, _Silent())
    cost = {"wall_s": time.perf_counter() - wall, "client_cpu_s": time.process_time() - cpu}
    store.close()
    return {**cost, "texts": tally.counts["texts_compared"], "pairs": tally.counts["near_pairs"]}


def measure(url: str, bodies: Sequence[str]) -> dict[str, Any]:
    """The originals, then their copies, then an hour without anything new."""
    picker = random.Random(3)
    store_texts(url, bodies, 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = run_stage(url)
    with psycopg.connect(url) as connection:
        signed = [
            row[0]
            for row in connection.execute(
                "SELECT text_id FROM near_signatures WHERE signature IS NOT NULL ORDER BY text_id"
            )
        ]
    chosen = signed[::20]
    kinds = [EDITS[place % len(EDITS)] for place in range(len(chosen))]
    copies = [
        edited(bodies[number - 1], kind, bodies[other - 1], picker)
        for number, other, kind in zip(chosen, chosen[1:] + chosen[:1], kinds, strict=True)
    ]
    store_texts(url, copies, len(bodies) + 1)
    second = run_stage(url)
    quiet = run_stage(url)
    planted = {(len(bodies) + 1 + place, number): kinds[place] for place, number in enumerate(chosen)}
    with psycopg.connect(url) as connection:
        found = {(row[0], row[1]) for row in connection.execute("SELECT text_id, other_text_id FROM near_texts")}
        sizes = connection.execute(
            "SELECT pg_total_relation_size('near_signatures'), pg_total_relation_size('near_bands')"
        ).fetchone()
    total, hit = Counter(planted.values()), Counter(kind for pair, kind in planted.items() if pair in found)
    return {
        "texts": len(bodies),
        "signed": len(signed),
        "mean_characters": round(sum(map(len, bodies)) / len(bodies)),
        "first": first,
        "wall_s_per_1000": 1000 * first["wall_s"] / max(1, first["texts"]),
        "copies": second,
        "quiet": quiet,
        "recall": {kind: hit[kind] / total[kind] for kind in EDITS if total[kind]},
        "pairs_of_originals": sum(pair[0] <= len(bodies) for pair in found),
        "memory_mb_before": before / 1024,
        "memory_mb_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "tables_mb": {"near_signatures": sizes[0] / 1e6, "near_bands": sizes[1] / 1e6} if sizes else {},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--input", nargs="*", default=())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    check_installed()
    bodies = read_bodies(options.input, options.texts)
    folder = Path(tempfile.mkdtemp(prefix="issuetide-near-"))
    try:
        url = start_postgres(folder)
        upgrade(url)
        found = measure(url, bodies)
    finally:
        stop_postgres(folder)
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(found))
        return 0
    for name, value in found.items():
        shown = {key: round(entry, 3) for key, entry in value.items()} if isinstance(value, dict) else round(value, 3)
        print(f"{name:20} {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
