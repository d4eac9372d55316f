"""The one chart renderer: stacked bars, stacked areas, lines and horizontal bars as inline SVG.

A chart takes its colours from CSS classes (`c0`, `c1`, …), so that light, dark and print are the page's business, and
needs no script: what a pointer shows is a `<title>`. All text is escaped here.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from etl.report.data import Series, Timeline
from etl.report.words import MONTHS, number_words, period_words

LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 10.0, 26.0
"""Room around the plot for the axes' labels, in the SVG's own units (CSS pixels at full width)."""

_LABEL_WIDTH = 62.0
_WIDEST_BAR = 90.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a chart is drawn and what it is called. identifier: unique in the page. width, height: CSS pixels."""

    identifier: str
    title: str
    description: str
    width: float
    height: float

    @property
    def plot_width(self) -> float:
        """The width between the axes."""
        return self.width - LEFT - RIGHT

    @property
    def plot_height(self) -> float:
        """The height between the axes."""
        return self.height - TOP - BOTTOM


def nice_ticks(highest: float, wanted: int = 4, *, whole: bool = True) -> list[float]:
    """Round numbers from 0 to at least `highest`, about `wanted` steps; whole numbers only, unless told otherwise."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    return [index * step for index in range(math.ceil(highest / step - 1e-9) + 1)]


def stacked_bars(
    frame: Frame, timeline: Timeline, colours: Mapping[str, str], words: Callable[[float], str] = number_words
) -> str:
    """One bar a period, the series on top of each other in their order."""
    totals = _totals(timeline)
    whole = all(total.is_integer() for total in totals)
    ticks = nice_ticks(max(totals, default=0), whole=whole)
    slot = frame.plot_width / max(len(timeline.starts), 1)
    # A bar that fills the page says nothing that a narrower one does not.
    gap = max(min(slot * 0.22, 6.0), slot - _WIDEST_BAR)
    bottoms = [0.0] * len(timeline.starts)
    shapes = []
    for series in timeline.series:
        path = []
        for place, value in enumerate(series.values):
            if value:
                low, high = _y(frame, bottoms[place], ticks), _y(frame, bottoms[place] + value, ticks)
                x, wide = LEFT + place * slot + gap / 2, slot - gap
                path.append(f"M{x:.1f} {low:.1f}h{wide:.1f}V{high:.1f}h-{wide:.1f}z")
                bottoms[place] += value
        shapes.append(f'<path class="fill seam {colours[series.category]}" d="{"".join(path)}"/>')
    return svg(frame, [_axes(frame, timeline, ticks, words), *shapes, _hits(frame, timeline, words, total=True)])


def stacked_area(
    frame: Frame, timeline: Timeline, colours: Mapping[str, str], words: Callable[[float], str] = number_words
) -> str:
    """Areas on top of each other; a single period is drawn as a bar over the whole width."""
    ticks = nice_ticks(max(_totals(timeline), default=0))
    bottoms = [0.0] * len(timeline.starts)
    shapes = []
    for series in timeline.series:
        tops = [bottom + (value or 0) for bottom, value in zip(bottoms, series.values, strict=True)]
        upper = _points(frame, timeline, tops, ticks)
        lower = _points(frame, timeline, bottoms, ticks)
        outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
        shapes.append(f'<polygon class="fill seam {colours[series.category]}" points="{outline}"/>')
        bottoms = tops
    return svg(frame, [_axes(frame, timeline, ticks, words), *shapes, _hits(frame, timeline, words, total=True)])


def lines(
    frame: Frame,
    timeline: Timeline,
    colours: Mapping[str, str],
    words: Callable[[float], str] = number_words,
    *,
    highest: float | None = None,
) -> str:
    """One line a series, broken where there is no value; each line has dashes of its own.

    The scale goes from 0 to 1, or to a round number over `highest`; what is below 0 is drawn at 0.
    """
    ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if highest is None else nice_ticks(highest, whole=highest > 4)
    shapes = []
    for series in timeline.series:
        colour = colours[series.category]
        for run in _unbroken(series):
            points = [(_x(frame, timeline, place), _y(frame, value, ticks)) for place, value in run]
            if len(points) > 1:
                drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                shapes.append(f'<polyline class="line {colour}" points="{drawn}"/>')
            if len(points) == 1 or len(timeline.starts) <= 36:
                shapes += [f'<circle class="fill {colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for x, y in points]
    return svg(frame, [_axes(frame, timeline, ticks, words), *shapes, _hits(frame, timeline, words, total=False)])


def horizontal_bars(
    frame: Frame, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], colours: Mapping[str, str]
) -> str:
    """One bar a row, its name above it, its parts in their order; the longest fills the width."""
    highest = max((sum(value for _, value in parts) for _, parts in rows), default=0) or 1
    # Room for the number at the end of the longest bar.
    scale = (frame.width - 64) / highest
    shapes = []
    for index, (name, parts) in enumerate(rows):
        y, x = index * 40.0 + 14, 0.0
        shapes.append(f'<text class="name" x="0" y="{y:.1f}">{escape(shortened(name, frame.width))}</text>')
        for category, value in parts:
            if value:
                words = f"{name}: {category} {number_words(value)}"
                shapes.append(
                    f'<rect class="fill seam {colours[category]}" x="{x:.1f}" y="{y + 6:.1f}" '
                    f'width="{value * scale:.1f}" height="15"><title>{escape(words)}</title></rect>'
                )
                x += value * scale
        total = number_words(sum(value for _, value in parts))
        shapes.append(f'<text class="tick" x="{x + 6:.1f}" y="{y + 18:.1f}">{total}</text>')
    return svg(frame, shapes)


def ring(
    frame: Frame,
    parts: Sequence[tuple[str, float]],
    colours: Mapping[str, str],
    words: Callable[[float], str] = number_words,
) -> str:
    """Parts of a whole as a ring, in their order from the top; the whole in its middle, shares where there is room.

    What is not above 0 is no part.
    """
    parts = [(name, value) for name, value in parts if value > 0]
    total = sum(value for _, value in parts)
    x, y, outer = frame.width / 2, frame.height / 2, min(frame.width, frame.height) / 2 - 4
    radius, thick = outer * 0.78, outer * 0.44
    shapes, done = [], 0.0
    for name, value in parts:
        share = value / total
        tip = f"{name}: {words(value)} ({share:.1%})"
        shapes.append(
            f'<path class="arc {colours[name]}" stroke-width="{thick:.1f}" d="{_arc(x, y, radius, done, share)}">'
            f"<title>{escape(tip)}</title></path>"
        )
        if share >= 0.06:
            angle = 2 * math.pi * (done + share / 2)
            across, up = x + radius * math.sin(angle), y - radius * math.cos(angle)
            shapes.append(f'<text class="inside middle" x="{across:.1f}" y="{up + 4:.1f}">{share:.0%}</text>')
        done += share
    shapes.append(f'<text class="whole middle" x="{x:.1f}" y="{y + 6:.1f}">{escape(words(total))}</text>')
    return svg(frame, shapes)


def _arc(x: float, y: float, radius: float, start: float, share: float) -> str:
    """The middle line of a part of a ring; `start` and `share` are parts of a turn, clockwise from the top."""
    points = []
    # A whole turn would begin where it ends, and be drawn as nothing: so it is two halves.
    for turn in (start, start + share / 2, start + share):
        angle = 2 * math.pi * turn
        points.append(f"{x + radius * math.sin(angle):.2f} {y - radius * math.cos(angle):.2f}")
    return f"M{points[0]}" + "".join(f"A{radius:.2f} {radius:.2f} 0 0 1 {point}" for point in points[1:])


def shortened(name: str, width: float) -> str:
    """A name that fits into `width`."""
    fits = int(width / 7.5)
    return name if len(name) <= fits else name[: fits - 1] + "…"


def svg(frame: Frame, shapes: Iterable[str]) -> str:
    """Shapes as a picture with its name and description."""
    name = escape(frame.identifier)
    return (
        f'<svg role="img" aria-labelledby="{name}-t {name}-d" viewBox="0 0 {frame.width:g} {frame.height:g}" '
        f'width="{frame.width:g}" height="{frame.height:g}">'
        f'<title id="{name}-t">{escape(frame.title)}</title><desc id="{name}-d">{escape(frame.description)}</desc>'
        f"{''.join(shapes)}</svg>"
    )


def _totals(timeline: Timeline) -> list[float]:
    return [
        float(sum(series.values[place] or 0 for series in timeline.series)) for place in range(len(timeline.starts))
    ]


def _x(frame: Frame, timeline: Timeline, place: int) -> float:
    """The middle of a period."""
    return LEFT + (place + 0.5) * frame.plot_width / len(timeline.starts)


def _y(frame: Frame, value: float, ticks: Sequence[float]) -> float:
    return TOP + frame.plot_height * (1 - max(value, 0) / ticks[-1])


def _points(
    frame: Frame, timeline: Timeline, values: Sequence[float], ticks: Sequence[float]
) -> list[tuple[float, float]]:
    """An area's edge, drawn out to both ends of the plot."""
    points = [(_x(frame, timeline, place), _y(frame, value, ticks)) for place, value in enumerate(values)]
    return [(LEFT, points[0][1]), *points, (LEFT + frame.plot_width, points[-1][1])] if points else []


def _unbroken(series: Series) -> list[list[tuple[int, float]]]:
    """The runs of values without a gap, each value with its place."""
    runs: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(series.values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((place, value))
    return [run for run in runs if run]


def _axes(frame: Frame, timeline: Timeline, ticks: Sequence[float], words: Callable[[float], str]) -> str:
    parts = []
    for tick in ticks:
        y = _y(frame, tick, ticks)
        parts.append(f'<path class="{"axis" if tick == 0 else "grid"}" d="M{LEFT:g} {y:.1f}h{frame.plot_width:.1f}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 6:g}" y="{y + 4:.1f}">{escape(words(tick))}</text>')
    years = len({start.year for start in timeline.starts})
    # A day with its year is wider than a month with its own.
    width = _LABEL_WIDTH + 16 if years > 1 and timeline.step in {"day", "week"} else _LABEL_WIDTH
    for place, label in _period_labels(timeline, int(frame.plot_width // width)):
        x = _x(frame, timeline, place)
        parts.append(f'<path class="axis" d="M{x:.1f} {TOP + frame.plot_height:.1f}v4"/>')
        # The last label may not reach over the edge, where it would be cut off.
        middle = min(x, frame.width - _LABEL_WIDTH / 2 + 2)
        parts.append(f'<text class="tick middle" x="{middle:.1f}" y="{frame.height - 7:.1f}">{label}</text>')
    return "".join(parts)


def _period_labels(timeline: Timeline, room: int) -> list[tuple[int, str]]:
    """Labels for the time axis, evenly spread, at most `room`: month and year, or day and month."""
    count = len(timeline.starts)
    every = max(1, math.ceil(count / max(room, 1)))
    if timeline.step == "month":
        every = next((step for step in (1, 2, 3, 6, 12, 24) if step >= every), every)
    labels = []
    # Over a turn of the year a day alone says too little: the first label of each year has it as well.
    years = {start.year for start in timeline.starts}
    year = min(years) if len(years) == 1 else None
    for place in range(0, count, every):
        start = timeline.starts[place]
        if timeline.step in {"month", "quarter"}:
            label = f"{MONTHS[start.month - 1]} {start.year}"
        elif timeline.step == "year":
            label = str(start.year)
        elif timeline.step == "hour":
            label = f"{start.day} {MONTHS[start.month - 1]} {start:%H:%M}"
        else:
            label = f"{start.day} {MONTHS[start.month - 1]}" + (f" {start.year}" if start.year != year else "")
            year = start.year
        labels.append((place, label))
    return labels


def _hits(frame: Frame, timeline: Timeline, words: Callable[[float], str], *, total: bool) -> str:
    """A see-through bar over every period, which tells its values to a pointer."""
    slot = frame.plot_width / max(len(timeline.starts), 1)
    parts = []
    for place, start in enumerate(timeline.starts):
        told = [f"{series.category}: {words(value)}" for series in timeline.series if (value := series.values[place])]
        if total and len(told) > 1:
            told.append(f"in all: {words(sum(series.values[place] or 0 for series in timeline.series))}")
        tip = "\n".join([period_words(start, timeline.step), *(told or ["nothing"])])
        parts.append(
            f'<rect class="hit" x="{LEFT + place * slot:.1f}" y="{TOP:g}" width="{slot:.1f}" '
            f'height="{frame.plot_height:.1f}"><title>{escape(tip)}</title></rect>'
        )
    return "".join(parts)
