"""A comparison of two ways of answering: its figures in words, and as one page."""

from collections import Counter
from collections.abc import Iterator
from html import escape

from etl.evaluate.comparison import Comparison, Said, SideSummary
from etl.report.style import STYLE
from etl.report.words import NOTHING, confidence_words, money_words, number_words, plain_line, share_words

_LONGEST_LINE = 600


def agreement_words(comparison: Comparison) -> str:
    """How alike both are, in one sentence."""
    found = comparison.agreement
    if not found.size:
        return f"none of the {comparison.sampled:,} texts has an answer by both"
    low, high = found.raw_interval
    kappa = "no kappa (both always said the same one thing)"
    if found.kappa is not None:
        kappa = f"kappa {found.kappa:.2f}"
        if found.kappa_interval is not None:
            kappa += f" ({found.kappa_interval[0]:.2f} to {found.kappa_interval[1]:.2f})"
    return (
        f"{found.size:,} of {comparison.sampled:,} texts answered by both: {found.agreed:,} alike, {found.raw:.1%}"
        f" ({low:.1%} to {high:.1%}), {kappa}"
    )


def cost_words(summary: SideSummary) -> str:
    """What a thousand answers cost."""
    return NOTHING if summary.usd_per_thousand is None else money_words(summary.usd_per_thousand)


def shift_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Per category: how often A and B chose it, both, only one of them; and kappa. Not deciding counts as one, too."""
    first, second, both = Counter[str](), Counter[str](), 0
    for one, other, count in comparison.cells:
        first[one] += count
        second[other] += count
        both += count if one == other == "abstained" else 0
    for entry in comparison.agreement.categories:
        kappa = NOTHING if entry.kappa is None else f"{entry.kappa:.2f}"
        yield entry.category, *_counts(entry.first, entry.second, entry.both), kappa
    if first["abstained"] or second["abstained"]:
        yield "abstained", *_counts(first["abstained"], second["abstained"], both), NOTHING


def _counts(first: int, second: int, both: int) -> tuple[str, ...]:
    return tuple(number_words(number) for number in (first, second, both, first - both, second - both))


def render_comparison(comparison: Comparison) -> str:
    """The page: figures, categories, how answers met, and every text that moved with both reasons."""
    first, second = _line(comparison.first.name), _line(comparison.second.name)
    title = f"{_line(comparison.task)}: {first} and {second}"
    parts = [
        f"<header><h1>{title}</h1><p class='soft'>{_line(agreement_words(comparison))}</p></header><main>",
        _tiles(comparison),
        _section("Categories", _shift_table(comparison)),
        _section("How answers met", _matrix(comparison)),
        _section(f"Texts that moved ({len(comparison.moved):,})", _moved(comparison)),
        "</main>",
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _line(text: str) -> str:
    return escape(plain_line(text, _LONGEST_LINE))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><div class='card'><div class='scroll'>{content}</div></div></section>"


def _tiles(comparison: Comparison) -> str:
    found = comparison.agreement
    tiles = [
        ("Answered by both", number_words(found.size), f"of {number_words(comparison.sampled)} sampled"),
        ("Alike", share_words(found.raw) if found.size else NOTHING, f"{number_words(found.agreed)} texts"),
        ("Kappa", NOTHING if found.kappa is None else f"{found.kappa:.2f}", "beyond chance"),
        *(
            (f"{letter} per 1,000 texts", cost_words(side), side.name)
            for letter, side in (("A", comparison.first), ("B", comparison.second))
        ),
    ]
    return (
        "<dl class='tiles' style='--columns:5'>"
        + "".join(
            f"<div class='tile'><dt>{_line(name)}</dt><dd>{_line(value)}<small>{_line(note)}</small></dd></div>"
            for name, value, note in tiles
        )
        + "</dl>"
    )


def _shift_table(comparison: Comparison) -> str:
    head = "".join(f"<th scope='col' class='number'>{name}</th>" for name in ("A", "B", "both", "only A", "only B"))
    rows = "".join(
        f"<tr><th scope='row'>{_line(name)}</th>"
        + "".join(f"<td class='number'>{value}</td>" for value in values)
        + "</tr>"
        for name, *values in shift_rows(comparison)
    )
    return (
        f"<table><thead><tr><th scope='col'>Category</th>{head}<th scope='col' class='number'>kappa</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _matrix(comparison: Comparison) -> str:
    names = sorted({word for one, other, _ in comparison.cells for word in (one, other)})
    counts = {(one, other): count for one, other, count in comparison.cells}
    highest = max(counts.values(), default=1)

    def cell(one: str, other: str) -> str:
        count = counts.get((one, other), 0)
        colour = "var(--c2)" if one == other else "var(--c5)"
        share = round(70 * count / highest) if count else 0
        shade = f" style='background:color-mix(in srgb, {colour} {max(share, 8)}%, transparent)'" if count else ""
        return f"<td class='number'{shade}>{number_words(count) if count else '·'}</td>"

    head = "".join(f"<th scope='col' class='number'>{_line(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope='row'>{_line(one)}</th>{''.join(cell(one, other) for other in names)}</tr>" for one in names
    )
    caption = "<caption>A down, B across</caption>"
    return f"<table>{caption}<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _moved(comparison: Comparison) -> str:
    if not comparison.moved:
        return "<p>None: both said the same of every text.</p>"
    rows = "".join(
        f"<tr><th scope='row'>{_line(', '.join(moved.items) or moved.text_hash)}</th>"
        f"<td>{_answer(moved.first_words, moved.first)}</td><td>{_answer(moved.second_words, moved.second)}</td></tr>"
        for moved in comparison.moved
    )
    return (
        "<table><thead><tr><th scope='col'>Issue</th><th scope='col'>A</th><th scope='col'>B</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _answer(words: str, said: Said) -> str:
    confidence = f" {confidence_words(said.confidences[0])}" if said.confidences else ""
    return f"<b>{_line(words)}</b>{confidence}<div class='reason'>{_line(said.rationale)}</div>"
