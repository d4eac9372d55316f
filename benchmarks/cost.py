"""What a thousand items cost, by the way of asking, on the full texts of real issues.

    python -m benchmarks.cost FOLDER [--set all] [--sample N] [--pack K] [--batch-pack K] [--hits 0.3 0.7]
                             [--cascade] [--json]

FOLDER holds nlbse24_train1500, nlbse24_devtest900 and nasa_cfs_bug_nonbug (JSON lines, gzip). Each distinct text is
prepared as a run prepares it and asked about through the product's own classifiers (`ClaudeClassifier`,
`ClaudeBatches`), the real SDK and real HTTP, at a Messages API on this machine that keeps a prompt cache as the vendor
does (minimum, lifetime, readable only after the first answer began; in batches a share of hits). The tokens are those
that API reports for each request, the prices those of schemas/prices.toml; requests that had to be repeated are in.

The floor is what nobody can go below without leaving items or parts of them out: the tokens of the texts as they are
shown (secrets replaced, long ones cut), and 25 tokens of answer each; no prompt, no format. Once at the price of single
requests, once at that of batches. `alone` are requests about one text (long or suspicious ones, where texts are
packed), `again` texts that were asked about once more because their answer in a pack did not stand.

How long a model's answers are no local API can know: they are made to have --answer-tokens where a text is asked about
alone (45: a reason of nine words), and as much as the form of a list needs more where it is not.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from etl.classifiers.claude import ClaudeClassifier
from etl.classifiers.claude_batches import ClaudeBatches
from etl.classifiers.prices import ModelFacts, load_prices
from etl.classifiers.requests import show
from etl.dedup import fingerprint, issue_text
from etl.records import Text
from etl.settings import Settings
from etl.tasks import Task, load_tasks, select_tasks
from tests.loopback.anthropic import LoopbackAnthropic, count_tokens
from tests.loopback.anthropic_answers import packed_items, plausible_answer

FILES = {
    "nlbse": ("nlbse24_train1500", "nlbse24_devtest900"),
    "nasa": ("nasa_cfs_bug_nonbug",),
    "all": ("nlbse24_train1500", "nlbse24_devtest900", "nasa_cfs_bug_nonbug"),
}
FLOOR_OUTPUT = 25
_NEVER = 10**9
_WORDS = "its title and the trace below say so and nobody has asked for anything else in there "


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking. executor: sync or batch. cached: whether the prompt is; hits: how often, in a batch."""

    name: str
    executor: str
    pack: int
    cached: bool
    hits: float = 0.0
    goal: float | None = None


@dataclass(slots=True)
class Bill:
    """What the API counted. alone: requests about one text. texts: that were asked about, repeated ones each time."""

    requests: int = 0
    alone: int = 0
    texts: int = 0
    fresh: int = 0
    written: int = 0
    read: int = 0
    output: int = 0
    dollars: float = 0.0

    def add(self, body: Mapping[str, Any], usage: Mapping[str, Any], facts: ModelFacts, *, batch: bool) -> None:
        """One request more, as the API counted it."""
        texts = len(packed_items(body)) or 1
        self.texts += texts
        self.alone += texts == 1
        fresh, written, read, output = (
            int(usage[name])
            for name in (
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "output_tokens",
            )
        )
        self.requests += 1
        self.fresh += fresh
        self.written += written
        self.read += read
        self.output += output
        self.dollars += facts.cost(fresh, written, read, output, batch=batch)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ratio: to the floor at the price of this executor; goal: what it is to be at most."""

    way: str
    dollars_per_thousand: float
    ratio: float
    goal: float | None
    bill: Bill
    texts: int


def ways(pack: int, batch_pack: int, hit_rates: Sequence[float]) -> list[Way]:
    """The lines of the table, in its order."""
    return [
        Way("naive (no cache)", "sync", 1, cached=False),
        Way("cached", "sync", 1, cached=True),
        Way(f"packed ({pack})", "sync", pack, cached=False),
        Way(f"cached + packed ({pack})", "sync", pack, cached=True, goal=1.8),
        Way("batched", "batch", 1, cached=False),
        *(Way(f"batched, cached, {rate:.0%} hits", "batch", 1, cached=True, hits=rate) for rate in hit_rates),
        Way(f"packed + batched ({batch_pack})", "batch", batch_pack, cached=False, goal=1.8),
        *(
            Way(f"packed + batched ({batch_pack}), cached, {rate:.0%} hits", "batch", batch_pack, True, rate, goal=1.8)
            for rate in hit_rates
        ),
    ]


def read_texts(folder: Path, names: Sequence[str]) -> list[Text]:
    """The distinct texts of files, as a run makes them of an issue's title and body."""
    texts: dict[str, Text] = {}
    for name in names:
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                body = issue_text(row["title"] or "", row["body"] or "")
                if body:
                    texts.setdefault(fingerprint(body).text_hash, Text(len(texts) + 1, "", body))
    return list(texts.values())


def spread(texts: Sequence[Text], size: int | None) -> list[Text]:
    """`size` of the texts, from beginning to end at equal distances; None: all."""
    if size is None or size >= len(texts):
        return list(texts)
    return [texts[place * len(texts) // size] for place in range(size)]


def floor_dollars(texts: Sequence[Text], facts: ModelFacts, *, batch: bool) -> float:
    """What the texts and 25 tokens of answer each cost, and nothing else."""
    return sum(facts.cost(count_tokens(show(text).body), 0, 0, FLOOR_OUTPUT, batch=batch) for text in texts)


class _Answers:
    """Answers as the loopback model does, with reasons of a length that makes a lone answer `tokens` long."""

    def __init__(self, task: Task, tokens: int) -> None:
        category = max((category.id for category in task.live_categories), key=len)
        bare = {"rationale": "", "category": category, "confidence": 0.73}
        self._chars = max(0, int(tokens * 2.5) - len(json.dumps(bare)) - 8)

    def __call__(self, body: Mapping[str, Any]) -> str:
        answer = json.loads(plausible_answer(body))
        for entry in answer.get("answers", [answer]):
            entry["rationale"] = f"{entry['rationale']}, {_WORDS * 3}"[: self._chars].strip()
        return json.dumps(answer, ensure_ascii=False)


def measure(way: Way, task: Task, texts: Sequence[Text], model: str, answer_tokens: int) -> Bill:
    """Asks about every text in this way; what the API counted for it.

    Raises:
        RuntimeError: a text got no answer, or the product's own sum differs from the API's.
    """
    facts = load_prices().facts(model)
    with LoopbackAnthropic(answer=_Answers(task, answer_tokens)) as server:
        if not way.cached:
            server.models[model] = replace(server.models[model], cache_minimum=_NEVER)
        ask = _ask_batch if way.executor == "batch" else _ask_sync
        answered, dollars = ask(server, way, task, texts, model)
        bill = Bill()
        for entry in server.asked():
            bill.add(entry.json, entry.usage, facts, batch=False)
        for batch in server.batches.all():
            bodies = {request["custom_id"]: request["params"] for request in batch.requests}
            for row in batch.rows:
                bill.add(bodies[row["custom_id"]], row["result"]["message"]["usage"], facts, batch=True)
    if answered != len(texts) or abs(dollars - bill.dollars) > 1e-6 * len(texts):
        raise RuntimeError(
            f"{way.name}: {answered} of {len(texts)} answered, ${dollars} counted, ${bill.dollars} billed"
        )
    return bill


def _classifier(server: LoopbackAnthropic, pack: int, model: str) -> ClaudeClassifier:
    return ClaudeClassifier(api_key=server.key, base_url=server.url, model=model, pack=pack, threads=4)


def _ask_sync(server: LoopbackAnthropic, way: Way, task: Task, texts: Sequence[Text], model: str) -> tuple[int, float]:
    classifier = _classifier(server, way.pack, model)
    try:
        answers = list(classifier.classify(task, texts))
    finally:
        classifier.close()
    return len({answer.text_id for answer in answers}), sum(answer.usage.cost_usd for answer in answers if answer.usage)


def _ask_batch(server: LoopbackAnthropic, way: Way, task: Task, texts: Sequence[Text], model: str) -> tuple[int, float]:
    """One batch for all, then what did not stand is asked about alone, in a second one."""
    server.batches.hit_rate = way.hits
    answered: set[int] = set()
    dollars = 0.0
    waiting = list(texts)
    for pack in (way.pack, 1):
        batches = ClaudeBatches(
            api_key=server.key,
            base_url=server.url,
            model=model,
            pack=pack,
            cache_ttl="5m" if way.cached else None,
        )
        again: set[int] = set()
        try:
            for prepared in batches.prepare(task, waiting):
                made = batches.submit(prepared.requests)
                server.batches.end()
                found = batches.find(made.id) if made else None
                if found is None:
                    raise RuntimeError("the batch is not there")
                sent = [text for request in prepared.requests for text in request.texts]
                for result in batches.collect(found, task, model, sent):
                    dollars += sum(answer.usage.cost_usd for answer in result.answers if answer.usage)
                    answered |= {answer.text_id for answer in result.answers} - result.again
                    again |= result.again
        finally:
            batches.close()
        waiting = [text for text in waiting if text.id in again]
        if not waiting:
            break
    return len(answered), dollars


def make_table(
    task: Task, texts: Sequence[Text], model: str, wanted: Sequence[Way], answer_tokens: int
) -> Iterator[Row]:
    """The lines of the table, as they are measured."""
    facts = load_prices().facts(model)
    floors = {batch: floor_dollars(texts, facts, batch=batch) for batch in (False, True)}
    for way in wanted:
        began = monotonic()
        bill = measure(way, task, texts, model, answer_tokens)
        print(f"{way.name}: {monotonic() - began:.0f} s", file=sys.stderr)
        ratio = bill.dollars / floors[way.executor == "batch"]
        yield Row(way.name, 1000 * bill.dollars / len(texts), ratio, way.goal, bill, len(texts))


def print_table(name: str, texts: Sequence[Text], rows: Sequence[Row], facts: ModelFacts) -> bool:
    """Prints the table; whether every goal is reached."""
    tokens = sum(count_tokens(show(text).body) for text in texts) / len(texts)
    sync, batch = (1000 * floor_dollars(texts, facts, batch=kind) / len(texts) for kind in (False, True))
    print(f"\n{name}: {len(texts):,} distinct texts, {tokens:,.0f} tokens each as shown; {facts.id}")
    print(f"floor per 1,000: ${sync:.4f} by single requests, ${batch:.4f} in batches\n")
    print("| way | $ per 1,000 | to its floor | goal | requests | alone | again | input | written | read | output |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        per = [1000 * count / row.texts for count in (row.bill.fresh, row.bill.written, row.bill.read, row.bill.output)]
        goal = "" if row.goal is None else f"<= {row.goal}"
        print(
            f"| {row.way} | {row.dollars_per_thousand:.4f} | {row.ratio:.2f} | {goal} | {row.bill.requests:,}"
            f" | {row.bill.alone:,} | {row.bill.texts - row.texts:,} | "
            + " | ".join(f"{number / 1000:,.0f} k" for number in per)
            + " |"
        )
    return all(row.goal is None or row.ratio <= row.goal for row in rows)


def print_cascade(folder: Path, rows: Sequence[Row]) -> None:
    """What a trained model saves at which agreement with the gold labels, and what the rest then costs, by way.

    The model is trained on nlbse24_train1500 and looked at on nlbse24_devtest900; see `benchmarks.local_quality`.
    Audits, which Claude is asked for although the model has answered, are in.
    """
    from benchmarks.local_quality import measure_nlbse, narrow

    task = narrow(load_tasks()["issue_kind"], ["bug", "feature", "question"])
    shown = [row for row in rows if row.goal is not None]
    print("\nwith the cascade, on nlbse24_devtest900, dollars per 1,000 texts:\n")
    print(f"| coverage | agreement with gold | {' | '.join(row.way for row in shown)} |")
    print("|" + "---|" * (2 + len(shown)))
    print(f"| 0 % | | {' | '.join(f'{row.dollars_per_thousand:.4f}' for row in shown)} |")
    for point in measure_nlbse(folder, task, 1.0)["curve"]:
        dollars = " | ".join(f"{point.usd_per_1000 * row.dollars_per_thousand:.4f}" for row in shown)
        print(f"| {point.coverage:.0%} | {point.agreement:.1%} | {dollars} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", choices=sorted(FILES), action="append", dest="sets", help="default: all")
    parser.add_argument("--sample", type=int, default=None, help="texts per set; default: all")
    parser.add_argument("--task", default="issue_kind")
    parser.add_argument("--model", default="claude-haiku-5-5")
    parser.add_argument("--pack", type=int, default=Settings.model_fields["issuetide_pack"].default)
    parser.add_argument("--batch-pack", type=int, default=Settings.model_fields["issuetide_batch_pack"].default)
    parser.add_argument("--hits", type=float, nargs="*", default=[0.3, 0.7, 0.98], help="cache hits in batches, 0 to 1")
    parser.add_argument("--answer-tokens", type=int, default=45)
    parser.add_argument("--only", help="only ways whose name contains this")
    parser.add_argument(
        "--cascade", action="store_true", help="also what a cascade would cost, on nlbse; takes minutes"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    (task,) = select_tasks(load_tasks(), [given.task])
    wanted = [
        way for way in ways(given.pack, given.batch_pack, given.hits) if given.only is None or given.only in way.name
    ]
    reached, collected = True, {}
    for name in given.sets or FILES:
        texts = spread(read_texts(given.folder, FILES[name]), given.sample)
        rows = list(make_table(task, texts, given.model, wanted, given.answer_tokens))
        collected[name] = [asdict(row) for row in rows]
        if given.json:
            continue
        reached &= print_table(name, texts, rows, load_prices().facts(given.model))
        if given.cascade and name == "nlbse":
            print_cascade(given.folder, rows)
    if given.json:
        print(json.dumps(collected, indent=2))
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
