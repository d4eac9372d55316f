"""How good, how fast and how small the `local` classifier is, and what a cascade with it would cost.

    python -m benchmarks.local_quality FOLDER [--claude-usd 0.125] [--html FILE] [--json]

FOLDER holds nlbse24_train1500, nlbse24_devtest900 with the answers of a fine-tuned GPT-3.5, nasa_cfs_bug_nonbug and
gha_workflow_failures (JSON lines, gzip). Texts are prepared as a run prepares them; the model is trained, stored as
bytes, read again and asked through the product's own functions.

Everything about features and weights was chosen by cross-validation on the training sets; nlbse24_devtest900 is looked
at once, at the end. One caveat is known: the task's rules, whose patterns are features, were written with
nlbse24_train1500 and half of the NASA set in view, so cross-validation on these two flatters; the test set does not.

`agreement` is with the label of the data set, at one confidence for all categories. `cascade_accuracy` puts the
fine-tuned GPT-3.5 where Claude would be asked: no answers of Claude to these texts are stored. The dollars are
(1 - coverage + audits) times what 1,000 texts cost with Claude (--claude-usd, by benchmarks/cost.py).
"""

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from etl.classifiers.features import Extractor
from etl.classifiers.local import LocalClassifier, judge
from etl.classifiers.local_model import LocalModel, read_model
from etl.dedup import issue_text
from etl.evaluate.calibration import reliability
from etl.evaluate.metrics import Example, Scores, measure
from etl.evaluate.thresholds import CurvePoint
from etl.records import Text
from etl.settings import Settings
from etl.tasks import Task, load_tasks, parse_task
from etl.training.examples import Labelled, TrainingSet, prepare_examples
from etl.training.fit import FOLDS
from etl.training.train import Trained, cross_validate, train

AUDIT = float(Settings.model_fields["issuetide_cascade_audit"].default)
OTHER = "other"
_SPEED_ROUNDS = 5
_CURVE_STEPS = 20

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What was reached on one set. macro_f1: of all texts, also those that are below every threshold."""

    name: str
    texts: int
    macro_f1: float
    interval: tuple[float, float]
    accuracy: float
    ece: float
    f1: dict[str, float]


@dataclass(frozen=True, slots=True)
class CascadePoint:
    """A point of the curve: from which confidence on the model answers, and what comes of it."""

    confidence: float
    coverage: float
    agreement: float
    cascade_accuracy: float
    usd_per_1000: float


def read_rows(folder: Path, name: str) -> list[Row]:
    """The objects of one file."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def issue_bodies(rows: Sequence[Row]) -> list[str]:
    """The texts of issues, as a run would ask about them."""
    return [issue_text(row["title"] or "", row["body"] or "") for row in rows]


def narrow(task: Task, categories: Sequence[str]) -> Task:
    """The task with these categories only: of a data set that knows no others."""
    kept = tuple(category for category in task.categories if category.id in categories)
    return replace(task, categories=kept)


def failure_task(categories: Sequence[str]) -> Task:
    """A task for the failed workflow runs, whose categories are its own."""
    parts = "".join(f'[[categories]]\nid = "{name}"\ndefinition = "{name}"\n' for name in categories)
    head = 'name = "failure"\nversion = 1\ntitle = "Failure"\nquestion = "Why did it fail?"\nanswers = "one_of"\n'
    return parse_task(f'{head}input = "issue"\n{parts}'.encode(), "failure.toml")


def figures_of(name: str, examples: Sequence[Example], confidences: Sequence[float]) -> Figures:
    """The figures of answers to every text; where some have no right category, these are a category of their own."""
    has_other = any(not example.right for example in examples)
    nothing = ((OTHER, 1.0),) if has_other else ()
    named = [Example(entry.right or frozenset({OTHER}), entry.answered or nothing) for entry in examples]
    scores: Scores = measure(named, sorted({category for example in named for category in example.right}))
    stated = [(confidence, entry.chosen == entry.right) for entry, confidence in zip(named, confidences, strict=True)]
    return Figures(
        name=name,
        texts=len(named),
        macro_f1=scores.macro.f1,
        interval=scores.macro.f1_interval,
        accuracy=scores.accuracy,
        ece=reliability(stated).ece,
        f1={entry.category: round(entry.f1, 3) for entry in scores.categories},
    )


def cross_validated(name: str, training: TrainingSet, folds: Sequence[int] | None = None) -> Figures:
    """What models reach on texts that they were not trained on."""
    held = cross_validate(training, folds=folds).held
    examples = [Example(entry.right, entry.verdict.categories) for entry in held]
    return figures_of(name, examples, [entry.verdict.confidence for entry in held])


def by_group(training: TrainingSet, groups: dict[str, str]) -> list[int]:
    """Folds that keep the texts of a group together: the larger groups are dealt first, each to the emptiest fold."""
    members: dict[str, list[int]] = {}
    for place, entry in enumerate(training.examples):
        members.setdefault(groups[entry.body], []).append(place)
    folds, sizes = [0] * len(training.examples), [0] * FOLDS
    for name in sorted(members, key=lambda name: (-len(members[name]), name)):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(members[name])
        for place in members[name]:
            folds[place] = fold
    return folds


def weigh_all(task: Task, model: LocalModel, bodies: Sequence[str]) -> tuple[list[Example], list[float]]:
    """What a model says of texts, whatever its thresholds; without the right answers."""
    extractor = Extractor(task)
    weighed = model.weigh([extractor.extract(body) for body in bodies])
    verdicts = [judge(model.header, entry.probabilities, task.at_most) for entry in weighed]
    return [Example(frozenset(), verdict.categories) for verdict in verdicts], [entry.confidence for entry in verdicts]


def measure_speed(task: Task, content: bytes, bodies: Sequence[str]) -> dict[str, float]:
    """Texts per second of `classify` on a warm model in one process, by the clock and by the processor."""
    classifier = LocalClassifier({task.name: content})
    texts = [Text(place, "", body) for place, body in enumerate(bodies)]
    list(classifier.classify(task, texts))
    clock, processor = [], []
    for _ in range(_SPEED_ROUNDS):
        begun, used = perf_counter(), process_time()
        list(classifier.classify(task, texts))
        clock.append(perf_counter() - begun)
        processor.append(process_time() - used)
    return {"per_second": len(texts) / min(clock), "per_cpu_second": len(texts) / min(processor)}


def draw_cascade(
    examples: Sequence[Example], confidences: Sequence[float], others: Sequence[bool], claude_usd: float
) -> list[CascadePoint]:
    """The curve, from the surest answer on. others: by text, whether whoever is asked instead is right."""
    order = sorted(range(len(examples)), key=lambda place: -confidences[place])
    right = [examples[place].chosen == examples[place].right for place in order]
    points = []
    for step in range(1, _CURVE_STEPS + 1):
        count = round(step / _CURVE_STEPS * len(order))
        agreed, rest = sum(right[:count]), sum(others[place] for place in order[count:])
        coverage = count / len(order)
        points.append(
            CascadePoint(
                confidence=confidences[order[count - 1]],
                coverage=coverage,
                agreement=agreed / count,
                cascade_accuracy=(agreed + rest) / len(order),
                usd_per_1000=claude_usd * (1 - coverage + AUDIT * coverage),
            )
        )
    return points


def measure_nlbse(folder: Path, task: Task, claude_usd: float) -> dict[str, Any]:
    """Trains on the training set only; everything that is measured on the test set."""
    rows, tests = read_rows(folder, "nlbse24_train1500"), read_rows(folder, "nlbse24_devtest900")
    bodies, test_bodies = issue_bodies(rows), issue_bodies(tests)
    labelled = [Labelled(body, frozenset({row["label"]})) for body, row in zip(bodies, rows, strict=True)]
    begun = perf_counter()
    trained = train(task, labelled, 0.95)
    seconds = perf_counter() - begun
    content = trained.model.to_bytes()
    model = read_model(content, "the benchmark")
    said, confidences = weigh_all(task, model, test_bodies)
    examples = [Example(frozenset({row["label"]}), entry.answered) for row, entry in zip(tests, said, strict=True)]
    known = set(bodies)
    unseen = [place for place, body in enumerate(test_bodies) if body not in known]
    published = {row["id"]: row for row in read_rows(folder, "nlbse24_devtest900_gpt35ft_predictions")}
    other = [published[row["id"]]["gpt35ft_clean1"] for row in tests]
    kinds = {row["label"] for row in rows}
    other_examples = [
        Example(entry.right, ((word, 1.0),) if word in kinds else ())
        for entry, word in zip(examples, other, strict=True)
    ]
    groups = {body: row["repo"] for body, row in zip(bodies, rows, strict=True)}
    return {
        "sets": [
            cross_validated("nlbse24_train1500, 5 folds", trained.training),
            cross_validated(
                "nlbse24_train1500, each repository held out", trained.training, by_group(trained.training, groups)
            ),
            figures_of("nlbse24_devtest900", examples, confidences),
            figures_of(
                f"nlbse24_devtest900 without {len(tests) - len(unseen)} whose text is in train",
                [examples[place] for place in unseen],
                [confidences[place] for place in unseen],
            ),
            figures_of("  there, a GPT-3.5 fine-tuned per repository", other_examples, [1.0] * len(tests)),
        ],
        "train_seconds": seconds,
        "model_mb": len(content) / 1e6,
        "features": len(model.features),
        "speed": measure_speed(task, content, test_bodies),
        "thresholds": _at_thresholds(trained, content, task, tests, test_bodies),
        "curve": draw_cascade(
            examples, confidences, [entry.chosen == entry.right for entry in other_examples], claude_usd
        ),
    }


def _at_thresholds(
    trained: Trained, content: bytes, task: Task, tests: Sequence[Row], bodies: Sequence[str]
) -> dict[str, float]:
    """What the thresholds that were chosen on the training set come to on the test set."""
    texts = [Text(place, "", body) for place, body in enumerate(bodies)]
    answers = [answer for answer in LocalClassifier({task.name: content}).classify(task, texts) if answer.categories]
    agreed = sum(answer.categories[0][0] == tests[answer.text_id]["label"] for answer in answers)
    return {
        "wanted": trained.quality.wanted,
        "promised_coverage": trained.quality.coverage,
        "promised_agreement": trained.quality.agreement,
        "coverage": len(answers) / len(texts),
        "agreement": agreed / max(1, len(answers)),
    }


def measure_nasa(folder: Path, task: Task) -> list[Figures]:
    """Bug or not, of 24 repositories; also with whole repositories held out."""
    rows = read_rows(folder, "nasa_cfs_bug_nonbug")
    bodies = issue_bodies(rows)
    labelled = [
        Labelled(body, frozenset({"bug"}) if row["label"] == "bug" else frozenset())
        for body, row in zip(bodies, rows, strict=True)
    ]
    training = prepare_examples(narrow(task, ["bug"]), labelled)
    groups = {body: "/".join(row["url"].split("/")[:5]) for body, row in zip(bodies, rows, strict=True)}
    return [
        cross_validated("nasa_cfs_bug_nonbug, 5 folds", training),
        cross_validated("nasa_cfs_bug_nonbug, repositories held out", training, by_group(training, groups)),
    ]


def measure_failures(folder: Path, *, with_cause: bool) -> list[Figures]:
    """The category of a failed workflow run by its job, workflow and step; also with whole projects held out.

    with_cause: also by the sentence that the labellers wrote about the cause, which says more than a run's names do.
    """
    rows = read_rows(folder, "gha_workflow_failures")
    slugs = {row["category"]: "".join(c if c.isalpha() else "_" for c in row["category"].lower()) for row in rows}
    shown = ("job_name", "workflow_name", *(("root_cause",) if with_cause else ()))
    bodies = [f"{row['step']}\n\n" + "\n".join(row[name] or "" for name in shown) for row in rows]
    labelled = [Labelled(body, frozenset({slugs[row["category"]]})) for body, row in zip(bodies, rows, strict=True)]
    training = prepare_examples(failure_task(sorted(slugs.values())), labelled, least=FOLDS)
    groups = {body: row["project_name"] for body, row in zip(bodies, rows, strict=True)}
    what = "gha_workflow_failures, with cause" if with_cause else "gha_workflow_failures"
    return [
        cross_validated(f"{what}, 5 folds", training),
        cross_validated(f"{what}, projects held out", training, by_group(training, groups)),
    ]


def render(found: dict[str, Any]) -> str:
    """The figures as lines for a terminal."""
    speed, limits = found["speed"], found["thresholds"]
    lines = [f"{'set':<62} {'texts':>5} {'macro-F1':>8} {'95 %':>13} {'accuracy':>8} {'ECE':>6}"]
    for entry in found["sets"]:
        low, high = entry.interval
        lines.append(
            f"{entry.name:<62} {entry.texts:>5} {entry.macro_f1:>8.3f} {low:>6.3f}-{high:.3f} {entry.accuracy:>8.3f}"
            f" {entry.ece:>6.3f}"
        )
    made = (
        f"trained in {found['train_seconds']:.1f} s; {found['model_mb']:.2f} MB, {found['features']:,} features;"
        f" classify {speed['per_second']:,.0f} texts/s by the clock, {speed['per_cpu_second']:,.0f} per CPU second"
    )
    kept = (
        f"at the thresholds for {limits['wanted']:.0%}: promised {limits['promised_coverage']:.1%} of texts at"
        f" {limits['promised_agreement']:.1%}, on the test set {limits['coverage']:.1%} at {limits['agreement']:.1%}"
    )
    head = f"{'confidence':>10} {'coverage':>8} {'agreement':>9} {'cascade accuracy':>16} {'$/1,000 texts':>13}"
    lines += ["", made, kept, "", head]
    lines += [
        f"{point.confidence:>10.3f} {point.coverage:>8.0%} {point.agreement:>9.3f} {point.cascade_accuracy:>16.3f}"
        f" {point.usd_per_1000:>13.4f}"
        for point in found["curve"]
    ]
    return "\n".join(lines)


def write_picture(path: Path, points: Sequence[CascadePoint], texts: int) -> None:
    """The curve as a page with one picture, drawn by the report's own renderer."""
    from etl.report.charts import Frame
    from etl.report.quality_charts import coverage_curve
    from etl.report.style import STYLE

    curve = [
        CurvePoint(point.confidence, point.coverage, point.agreement, round(point.coverage * texts)) for point in points
    ]
    frame = Frame(
        "cascade", "Coverage against agreement", "What the local model answers, and how much agrees", 640, 320
    )
    page = f"<!doctype html><meta charset=utf-8><title>Cascade</title><style>{STYLE}</style>"
    path.write_text(f"{page}{coverage_curve(frame, curve, 0.95)}", encoding="utf-8")


def main(write: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description="Quality, speed and size of the local classifier.")
    parser.add_argument("folder", type=Path, help="the data sets")
    parser.add_argument("--claude-usd", type=float, default=0.125, help="what 1,000 texts cost with Claude")
    parser.add_argument("--html", type=Path, help="write the curve as a page")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    task = narrow(load_tasks()["issue_kind"], ["bug", "feature", "question"])
    found = measure_nlbse(options.folder, task, options.claude_usd)
    found["sets"] += [*measure_nasa(options.folder, task), *measure_failures(options.folder, with_cause=False)]
    found["sets"] += measure_failures(options.folder, with_cause=True)
    if options.html is not None:
        write_picture(options.html, found["curve"], 900)
    write(json.dumps(found, default=asdict, indent=2) if options.json else render(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
