"""Tests of the terminal report."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from etl.db.report_queries import Totals
from etl.report.data import ReportData
from etl.report.terminal import print_report, sparkline
from tests.unit.report.sample import issue, report_data, task_report


def printed(data: ReportData, *, width: int = 80, encoding: str = "utf-8", lists: bool = True) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    print_report(data, Console(file=stream, width=width, no_color=True, legacy_windows=False), lists=lists)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_everything_fits_into_80_columns_without_escapes() -> None:
    text = printed(report_data())
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_an_issue_that_could_not_be_told_is_not_said_to_have_a_category() -> None:
    task = task_report()
    text = printed(report_data(many=False), lists=False)
    told = task.issues - sum(count.issues for count in task.categories if count.confidence is None)
    assert 0 < told < task.asked
    assert f"{told / task.issues:.0%} of {task.issues:,} issues have a category, {task.unclassified} not" in text


def test_counts_shares_and_the_chart_are_in_one_row() -> None:
    row = next(line for line in printed(report_data(many=False)).splitlines() if line.startswith("bug "))
    assert row.split()[:5] == ["bug", "849", "44%", "215", "0.91"]
    assert row.split()[5].endswith("█")


def test_the_summary_alone_leaves_the_lists_out() -> None:
    text = printed(report_data(), lists=False)
    assert "Kind of issue" in text
    assert "Newest" not in text
    assert "Runs" not in text


def test_which_classifier_answered_is_never_left_out() -> None:
    assert "35 by rules (rules-1)" in printed(report_data(), lists=False)


def test_links_stay_whole() -> None:
    text = printed(report_data())
    for found in task_report().low_confidence:
        assert found.url is not None
        assert found.url in text


def test_a_terminal_of_ascii_gets_ascii_for_what_is_ours() -> None:
    text = printed(report_data(), encoding="ascii", lists=False)
    assert "bug" in text
    assert "#" in text


def test_markup_and_escapes_in_titles_are_not_obeyed() -> None:
    nasty = replace(issue(1, ("bug",), 0.2), title="[bold red]x[/] \x1b]0;owned\x07\u202e", url="javascript:alert(1)")
    text = printed(replace(report_data(), tasks=(replace(task_report(), low_confidence=(nasty,), uncertain=()),)))
    assert "[bold red]x[/] ]0;owned" in text
    assert "\x1b" not in text
    assert "javascript" not in text


def test_an_empty_store_says_what_to_do() -> None:
    data = replace(report_data(), totals=Totals(0, 0, 0, None, None), tasks=(), runs=())
    assert printed(data) == "No issues are stored yet. Load some: issuetide run --repo OWNER/NAME\n"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ((), ""),
        ((0, 0), "  "),
        ((1, 2, 4, 8), "▁▂▄█"),
        ((1, 1_000), "▁█"),
        ((None, 5), " █"),
        (tuple(range(30)), "▃▃▃▄▄▄▄▅▅▅▆▆▆▆▇▇▇▇██"),
    ],
)
def test_sparklines_show_the_newest_values_and_never_hide_something(
    values: tuple[float | None, ...], line: str
) -> None:
    assert sparkline(values) == line


def test_a_sparkline_can_do_without_unicode() -> None:
    assert sparkline((0, 1, 8), ascii_only=True) == " .@"
