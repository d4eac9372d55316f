"""An evaluation as one self-contained page: no network, no script; light, dark and printed as the report."""

from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape

from etl.evaluate.evaluation import Evaluation
from etl.evaluate.thresholds import LEAST_ANSWERS
from etl.report.charts import Frame
from etl.report.quality import authors_words, best_words, category_rows, figure_words, figures
from etl.report.quality_charts import HEAD_HEIGHT, ROW_HEIGHT, calibration_curve, confusion_matrix, coverage_curve
from etl.report.style import STYLE
from etl.report.words import NOTHING, number_words, plain_line, share_words, time_words

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_WIDE, _HALF, _NARROW = 1040.0, 500.0, 330.0
_EXPLAINED = (
    "Precision: the share of a category's answers that are right. Recall: the share of the texts it is right for that"
    " got it. F1: both in one. In brackets the range that a repetition would fall into in 95 of 100 cases."
)


def render_quality(evaluation: Evaluation, title: str, made_at: datetime, version: str) -> str:
    """The page. title: of the task. The same evaluation at the same moment gives the same bytes."""
    name = f"Quality of answers: {plain_line(title, 100)}"
    cards = [_categories_card(evaluation)]
    if evaluation.scores.confusion:
        cards.append(_confusion_card(evaluation))
    cards += [_calibration_card(evaluation), _coverage_card(evaluation), _thresholds_card(evaluation)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(name)}</h1><p class="soft">{_subtitle(evaluation)}</p></header>\n<main>\n'
        f'{_tiles(evaluation)}\n<div class="cards">{"".join(cards)}</div>\n</main>\n'
        f"<footer>Made by issuetide {escape(version)} at {time_words(made_at)}. {_EXPLAINED}</footer>\n"
        "</body>\n</html>\n"
    )


def _line(text: str, limit: int = 300) -> str:
    return escape(plain_line(text, limit))


def _subtitle(evaluation: Evaluation) -> str:
    left_out = ""
    if evaluation.left_out:
        left_out = f"; nobody was asked about {number_words(evaluation.left_out)} more"
    return (
        f"Task {escape(evaluation.task)} version {evaluation.task_version}, golden set {_line(evaluation.golden_set)}"
        f" ({number_words(evaluation.scores.size)} texts{left_out}). Answers: {_line(authors_words(evaluation), 900)}."
    )


def _tiles(evaluation: Evaluation) -> str:
    tiles = []
    for name, words in figures(evaluation):
        value, _, note = words.partition(" ") if words[:1].isdigit() else ("", "", words)
        note = note[1:-1] if note.startswith("(") and note.endswith(")") else note
        shown = f"{escape(value)}<small>{escape(note)}</small>" if value else f"<small>{escape(note)}</small>"
        tiles.append(f'<div class="tile"><dt>{escape(name)}</dt><dd>{shown}</dd></div>')
    return f'<dl class="tiles" style="--columns:5">{"".join(tiles)}</dl>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column names the rows; cells are text."""
    heads = "".join(
        f'<th scope="col"{" class=number" if place else ""}>{escape(cell)}</th>' for place, cell in enumerate(head)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    heads = heads.replace("class=number", 'class="number"')
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _categories_card(evaluation: Evaluation) -> str:
    head = ("Category", "Right for", "Answered", "Precision", "Recall", "F1")
    return f'<div class="card wide-card"><h3>Categories</h3>{_table(head, category_rows(evaluation))}</div>'


def _figure(
    title: str,
    note: str,
    sizes: Sequence[tuple[str, float, float]],
    draw: Callable[[Frame], str],
    table: str,
    name: str,
) -> str:
    wide = " wide-card" if sizes[0][1] == _WIDE else ""
    described = f"{title}. {note} The numbers are in the table below."
    drawn = "".join(
        f'<div class="{size}">{draw(Frame(f"{name}-{size}", title, described, width, height))}</div>'
        for size, width, height in sizes
    )
    return (
        f'<figure class="card{wide}"><figcaption><h3>{escape(title)}</h3>{escape(note)}</figcaption>{drawn}'
        f"<details><summary>Table</summary>{table}</details></figure>"
    )


def _confusion_card(evaluation: Evaluation) -> str:
    matrix = evaluation.scores.confusion
    columns = list(next(iter(matrix.values())))
    height = HEAD_HEIGHT + ROW_HEIGHT * len(matrix) + 4
    table = _table(
        ("Right", *columns),
        [(row, *(number_words(counts[name]) for name in columns)) for row, counts in matrix.items()],
    )
    return _figure(
        "Confusion matrix",
        "Down: right. Across: answered. Green is right, grey not answered; the deeper, the more of the row.",
        (("wide", _WIDE, height), ("narrow", max(_NARROW, 118 + 44.0 * len(columns)), height)),
        lambda frame: confusion_matrix(frame, matrix),
        table,
        "confusion",
    )


def _calibration_card(evaluation: Evaluation) -> str:
    bins = evaluation.reliability.bins
    rows = [
        (
            f"{entry.low:.2f} to {entry.high:.2f}",
            number_words(entry.answers),
            f"{entry.confidence:.3f}",
            figure_words(entry.right, entry.interval),
        )
        for entry in bins
    ]
    return _figure(
        "Calibration",
        "What stated confidences are worth: above the dashed line answers are better than they say, below it worse.",
        (("wide", _HALF, 320.0), ("narrow", _NARROW, 280.0)),
        lambda frame: calibration_curve(frame, bins),
        _table(("Confidence", "Answers", "Mean", "Right"), rows),
        "calibration",
    )


def _coverage_card(evaluation: Evaluation) -> str:
    curve = evaluation.curve
    shown = [point for point in curve if point.answers >= LEAST_ANSWERS]  # the first few swing without meaning
    every = max(1, len(curve) // 40)
    rows = [
        (f"{point.confidence:.2f}", number_words(point.answers), f"{point.coverage:.3f}", f"{point.precision:.3f}")
        for place, point in enumerate(curve)
        if place % every == 0 or place == len(curve) - 1
    ]
    return _figure(
        "Coverage against precision",
        f"If only answers from some confidence on count. {best_words(evaluation)}.",
        (("wide", _HALF, 320.0), ("narrow", _NARROW, 280.0)),
        lambda frame: coverage_curve(frame, shown, evaluation.precision),
        _table(("From confidence", "Answers", "Coverage", "Precision"), rows),
        "coverage",
    )


def _thresholds_card(evaluation: Evaluation) -> str:
    rows = [
        (
            entry.category,
            NOTHING if entry.confidence is None else f"{entry.confidence:.2f}",
            figure_words(entry.precision, entry.interval),
            number_words(entry.answers),
            NOTHING if entry.confidence is None else share_words(entry.kept),
        )
        for entry in evaluation.thresholds
    ]
    head = ("Category", "From confidence", "Precision there", "Answers", "Kept of its answers")
    return (
        f'<div class="card wide-card"><h3>Thresholds for precision {evaluation.precision:g}</h3>'
        f'<p class="soft">A dash: no confidence reaches it with ten answers or more.</p>{_table(head, rows)}</div>'
    )
