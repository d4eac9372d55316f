"""The pictures of an evaluation: a confusion matrix, a calibration curve, coverage against precision."""

from collections.abc import Mapping, Sequence
from html import escape

from etl.evaluate.calibration import Bin
from etl.evaluate.thresholds import CurvePoint
from etl.report.charts import BOTTOM, LEFT, TOP, Frame, shortened, svg
from etl.report.words import number_words, share_words
from etl.tasks import ABSTAINED

NAMES_WIDTH = 118.0
ROW_HEIGHT = 38.0
HEAD_HEIGHT = 66.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def confusion_matrix(frame: Frame, matrix: Mapping[str, Mapping[str, int]]) -> str:
    """Right categories down, answered ones across; the darker, the larger the part of the row."""
    columns = list(next(iter(matrix.values()))) if matrix else []
    slot = (frame.width - NAMES_WIDTH) / max(len(columns), 1)
    shapes = [
        f'<text class="tick middle" x="{NAMES_WIDTH + (frame.width - NAMES_WIDTH) / 2:.1f}" y="14">answered</text>'
    ]
    for place, name in enumerate(columns):
        is_last = place == len(columns) - 1 and slot < 80
        x, anchor = (frame.width, "end") if is_last else (NAMES_WIDTH + (place + 0.5) * slot, "middle")
        lift = 18 if place % 2 and slot < 80 else 0  # every other name higher up, where they would meet
        shapes.append(
            f'<text class="tick {anchor}" x="{x:.1f}" y="{HEAD_HEIGHT - 8 - lift:.1f}">'
            f"{escape(shortened(name, slot * (1.9 if slot < 80 else 1)))}<title>{escape(name)}</title></text>"
        )
    for index, (row, counts) in enumerate(matrix.items()):
        y, total = HEAD_HEIGHT + index * ROW_HEIGHT, sum(counts.values())
        middle = y + ROW_HEIGHT / 2 + 4
        shapes.append(f'<text class="name" x="0" y="{middle:.1f}">{escape(shortened(row, NAMES_WIDTH))}</text>')
        for place, name in enumerate(columns):
            shapes.append(_cell(NAMES_WIDTH + place * slot, y, slot, (row, name), (counts[name], total)))
    return svg(frame, shapes)


def _cell(x: float, y: float, width: float, names: tuple[str, str], counts: tuple[int, int]) -> str:
    """One cell: its colour says whether it is right, wrong or nothing was said, its depth the part of the row."""
    (row, column), (count, total) = names, counts
    part = count / total if total else 0.0
    colour = "c2" if row == column else "ca" if column == ABSTAINED else "c5"
    words = f"right: {row}, answered: {column}: {number_words(count)} of {number_words(total)} ({share_words(part)})"
    depth = f' fill-opacity="{0.08 + 0.72 * part:.2f}"' if count else ' fill-opacity="0.03"'
    return (
        f'<rect class="fill seam {colour}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{ROW_HEIGHT:g}"{depth}/>'
        f'<text class="name middle" x="{x + width / 2:.1f}" y="{y + ROW_HEIGHT / 2 + 4:.1f}">'
        f"{number_words(count)}</text>"
        f'<rect class="hit" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{ROW_HEIGHT:g}">'
        f"<title>{escape(words)}</title></rect>"
    )


def calibration_curve(frame: Frame, bins: Sequence[Bin]) -> str:
    """What answers with like confidences are worth, with intervals; on the dashed line they say what they are worth."""
    shapes = [_frame_axes(frame, "confidence as stated", "share that is right")]
    ideal = f"M{_across(frame, 0):.1f} {_up(frame, 0):.1f}L{_across(frame, 1):.1f} {_up(frame, 1):.1f}"
    shapes.append(f'<path class="axis" stroke-dasharray="4 4" d="{ideal}"/>')
    points = [(_across(frame, entry.confidence), _up(frame, entry.right)) for entry in bins]
    if len(points) > 1:
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        shapes.append(f'<polyline class="line c0" points="{drawn}"/>')
    for entry, (x, y) in zip(bins, points, strict=True):
        low, high = _up(frame, entry.interval[0]), _up(frame, entry.interval[1])
        words = (
            f"confidence {entry.low:.2f} to {entry.high:.2f}: {entry.right:.2f} of {number_words(entry.answers)}"
            f" answers are right (95 %: {entry.interval[0]:.2f} to {entry.interval[1]:.2f})"
        )
        shapes.append(f'<path class="line c0" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        shapes.append(
            f'<circle class="fill c0" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(words)}</title></circle>'
        )
    return svg(frame, shapes)


def coverage_curve(frame: Frame, curve: Sequence[CurvePoint], wanted: float) -> str:
    """How precise answers are, against how many texts still get one, as the lowest confidence that counts goes down."""
    shapes = [_frame_axes(frame, "share of texts that get an answer", "precision")]
    y = _up(frame, wanted)
    shapes.append(f'<path class="axis" stroke-dasharray="4 4" d="M{LEFT:g} {y:.1f}h{frame.plot_width:.1f}"/>')
    points = [(_across(frame, point.coverage), _up(frame, point.precision)) for point in curve]
    if len(points) > 1:
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        shapes.append(f'<polyline class="line c0" points="{drawn}"/>')
    every = max(1, len(points) // 60)
    for place, (point, (x, height)) in enumerate(zip(curve, points, strict=True)):
        if place % every == 0 or place == len(points) - 1:
            words = (
                f"from confidence {point.confidence:.2f} on: {share_words(point.coverage)} of texts, precision"
                f" {point.precision:.3f}"
            )
            shapes.append(
                f'<circle class="fill c0" cx="{x:.1f}" cy="{height:.1f}" r="2.4"><title>{escape(words)}</title>'
                "</circle>"
            )
    return svg(frame, shapes)


def _across(frame: Frame, share: float) -> float:
    return LEFT + share * frame.plot_width


def _up(frame: Frame, share: float) -> float:
    return TOP + (1 - share) * (frame.plot_height - 14)


def _frame_axes(frame: Frame, across: str, up: str) -> str:
    bottom = _up(frame, 0)
    parts = []
    for tick in _TICKS:
        x, y = _across(frame, tick), _up(frame, tick)
        parts.append(f'<path class="{"axis" if tick == 0 else "grid"}" d="M{LEFT:g} {y:.1f}h{frame.plot_width:.1f}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 6:g}" y="{y + 4:.1f}">{tick:g}</text>')
        parts.append(f'<path class="axis" d="M{x:.1f} {bottom:.1f}v4"/>')
        anchor = "end" if tick == 1 else "middle"
        parts.append(f'<text class="tick {anchor}" x="{x:.1f}" y="{bottom + 17:.1f}">{tick:g}</text>')
    middle = LEFT + frame.plot_width / 2
    parts.append(
        f'<text class="tick middle" x="{middle:.1f}" y="{frame.height - BOTTOM + 20:.1f}">{escape(across)}</text>'
    )
    parts.append(f'<text class="tick" x="{LEFT + 6:g}" y="{TOP + 12:g}">{escape(up)}</text>')
    return "".join(parts)
