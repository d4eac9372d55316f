"""How well ids tell problems apart: labelled log lines, pairs of texts, failures that recur."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.dedup.recurring import TEMPLATES, renderings
from etl.dedup import fingerprint, text_hash

PAIRS = Path(__file__).with_name("pairs.jsonl")
LABELS = {"template": "original", "corrected": "corrected"}
MEASURES = ("GA", "FGA", "purity", "ids per template")


def grouping(truth: Sequence[str], predicted: Sequence[str]) -> tuple[float, float, float, float]:
    """GA, FGA, purity and ids per template of predicted ids, as docs/dedup.md defines them."""
    lines = len(truth)
    size_of_template, size_of_id = Counter(truth), Counter(predicted)
    ids, templates = defaultdict(set), defaultdict(set)
    for template, id_ in zip(truth, predicted, strict=True):
        ids[template].add(id_)
        templates[id_].add(template)
    exact = 0
    lines_in_exact = 0
    for template, of_template in ids.items():
        (first, *others) = of_template
        if not others and size_of_id[first] == size_of_template[template]:
            exact += 1
            lines_in_exact += size_of_template[template]
    pure = sum(size_of_id[id_] for id_, of_id in templates.items() if len(of_id) == 1)
    harmonic = 2 * exact / (len(size_of_id) + len(size_of_template))
    return lines_in_exact / lines, harmonic, pure / lines, len(size_of_id) / len(size_of_template)


def labelled(folder: Path) -> None:
    """Print the measures of both ids over every set of labelled lines in a folder: their mean, and the sets."""
    results: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    names = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows: list[dict[str, str]] = [json.loads(line) for line in lines]
        names.append(path.name.partition(".")[0])
        prints = [fingerprint(row["text"]) for row in rows]
        for id_name in ("text_hash", "family_hash"):
            predicted = [getattr(one, id_name) for one in prints]
            for label in LABELS:
                results[id_name, label].append(grouping([row[label] for row in rows], predicted))
    if not names:
        print(f"labelled lines: none in {folder}; give --loghub FOLDER (lines of JSON: text, template, corrected)")
        return
    print(f"labelled lines: {', '.join(names)}")
    for (id_name, label), sets in results.items():
        means = [sum(values) / len(sets) for values in zip(*sets, strict=True)]
        shown = "  ".join(f"{name} {value:.4f}" for name, value in zip(MEASURES, means, strict=True))
        print(f"  {id_name:11} {LABELS[label]:9} labels, mean of {len(sets)}: {shown}")
        worst = min(zip(sets, names, strict=True), key=lambda one: one[0][2])
        print(f"  {'':11} least pure set: {worst[1]} {worst[0][2]:.4f}")


def pairs() -> None:
    """Print, per round, how many pairs are apart that must be, and how many meet that must; and which do not."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in PAIRS.read_text("ascii").splitlines()]
    wrong = [row for row in rows if (text_hash(row["one"]) == text_hash(row["other"])) == (row["must"] == "split")]
    for round_ in sorted({row["round"] for row in rows}):
        for must in ("split", "merge"):
            asked = [row for row in rows if (row["round"], row["must"]) == (round_, must)]
            missed = [row["about"] for row in wrong if (row["round"], row["must"]) == (round_, must)]
            right = len(asked) - len(missed)
            print(
                f"pairs of round {round_}, must-{must}: {right} of {len(asked)} ({right / len(asked):.3f})"
                f"{': not ' if missed else ''}{', '.join(missed)}"
            )


def recurring() -> None:
    """Print how many ids a failure gets over its renderings, and how many ids hold more than one failure."""
    ids, failures = defaultdict(set), defaultdict(set)
    for number, text in renderings():
        ids[number].add(text_hash(text))
        failures[text_hash(text)].add(number)
    mean = sum(map(len, ids.values())) / len(TEMPLATES)
    mixed = sum(len(of_id) > 1 for of_id in failures.values())
    print(f"recurring failures: {mean:.3f} ids per failure ({len(TEMPLATES)} failures), {mixed} ids hold several")
    for number, of_failure in ids.items():
        if len(of_failure) > 1:
            print(f"  {len(of_failure)} ids: {TEMPLATES[number]!r}")
