"""An evaluation in lines for a terminal, and the words that the page shares with them."""

from collections.abc import Sequence

from etl.evaluate.evaluation import MIXED, Evaluation
from etl.evaluate.metrics import Interval
from etl.report.words import NOTHING, number_words, share_words
from etl.tasks import ABSTAINED

_WIDEST = 22


def figure_words(value: float | None, interval: Interval | None = None) -> str:
    """0.8 and its interval as '0.800 (0.75 to 0.85)'; a dash where there is none."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval is not None else "")


def authors_words(evaluation: Evaluation) -> str:
    """Who gave the answers."""
    author = evaluation.author
    if MIXED not in {author.classifier, author.model, author.prompt_version}:
        return f"{author.classifier} {author.model} prompt {author.prompt_version}"
    return "; ".join(
        f"{number_words(count)} by {author.classifier} {author.model} prompt {author.prompt_version}"
        for author, count in evaluation.authors
    )


def baseline_words(evaluation: Evaluation) -> str:
    """What answering the same to everything would reach."""
    baseline = evaluation.scores.baseline
    always = ", ".join(baseline.categories) or ABSTAINED
    return f"always {always}: accuracy {baseline.accuracy:.3f}, macro-F1 {baseline.macro_f1:.3f}"


def best_words(evaluation: Evaluation) -> str:
    """How many texts can be answered with the wanted precision."""
    if evaluation.best is None:
        return f"no confidence reaches precision {evaluation.precision:g}"
    best = evaluation.best
    return (
        f"{share_words(best.coverage)} of texts at precision {evaluation.precision:g} (from confidence"
        f" {best.confidence:.2f} on: {best.precision:.3f})"
    )


def figures(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The figures of the whole, by name."""
    scores, reliability = evaluation.scores, evaluation.reliability
    return [
        ("coverage", f"{scores.coverage:.3f} ({number_words(scores.answered)} of {number_words(scores.size)} texts)"),
        ("accuracy", figure_words(scores.accuracy, scores.accuracy_interval)),
        ("accuracy of answers", figure_words(scores.accuracy_answered, scores.accuracy_answered_interval)),
        ("macro-F1", figure_words(scores.macro.f1, scores.macro.f1_interval)),
        ("micro-F1", figure_words(scores.micro.f1, scores.micro.f1_interval)),
        ("kappa", figure_words(scores.kappa, scores.kappa_interval)),
        ("baseline", baseline_words(evaluation)),
        ("calibration error", f"{reliability.ece:.3f} (ECE), Brier score {reliability.brier:.4f}"),
        ("coverage at precision", best_words(evaluation)),
    ]


def quality_lines(evaluation: Evaluation) -> list[str]:
    """Everything measured, as lines."""
    left_out = f"; {number_words(evaluation.left_out)} nobody was asked about" if evaluation.left_out else ""
    title = f"task {evaluation.task} version {evaluation.task_version}, golden set {evaluation.golden_set}"
    lines = [
        f"{title}: {number_words(evaluation.scores.size)} texts{left_out}",
        f"answers: {authors_words(evaluation)}",
        "",
        *(f"{name:<{_WIDEST}} {words}" for name, words in figures(evaluation)),
        "",
        *_category_lines(evaluation),
    ]
    if evaluation.scores.confusion:
        lines += ["", "right category down, answered one across:", *_confusion_lines(evaluation.scores.confusion)]
    lines += ["", f"confidence from which on a category reaches precision {evaluation.precision:g}:"]
    return [*lines, *_threshold_lines(evaluation)]


def _category_lines(evaluation: Evaluation) -> list[str]:
    return _aligned([("category", "right", "answered", "precision", "recall", "F1"), *category_rows(evaluation)])


def category_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Per category: for how many texts it is right, how many got it, precision, recall and F1."""
    return [
        (
            score.category,
            number_words(score.support),
            number_words(score.given),
            figure_words(score.precision, score.precision_interval),
            figure_words(score.recall, score.recall_interval),
            figure_words(score.f1, score.f1_interval),
        )
        for score in evaluation.scores.categories
    ]


def _confusion_lines(confusion: dict[str, dict[str, int]]) -> list[str]:
    columns = list(next(iter(confusion.values())))
    rows = [("", *columns)]
    rows += [(row, *(number_words(counts[column]) for column in columns)) for row, counts in confusion.items()]
    return _aligned(rows)


def _threshold_lines(evaluation: Evaluation) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for entry in evaluation.thresholds:
        shown = figure_words(entry.precision, entry.interval)
        if entry.confidence is None:
            rows.append((entry.category, NOTHING, f"not reached: {shown} of {number_words(entry.answers)} answers"))
        else:
            words = f"{shown} of {number_words(entry.answers)} answers, {share_words(entry.kept)} of the category's"
            rows.append((entry.category, f"{entry.confidence:.2f}", words))
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns stand below each other."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
