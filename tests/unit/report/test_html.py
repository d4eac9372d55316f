"""Tests of the HTML report."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from etl.db.report_queries import Totals
from etl.report.html import render_html, task_colours
from etl.report.style import PRINTED_ROWS, STYLE
from tests.unit.report.sample import NOW, issue, report_data, task_report

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """What is in a page: its elements, and whether each is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element and that it is open."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element that is closed at once."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Passes if what is closed is what was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Notes the words."""
        self.words.append(data)

    def attributes(self, name: str) -> list[str]:
        """Every value of one attribute."""
        return [value for _, attrs in self.elements if (value := attrs.get(name)) is not None]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_html(report_data()))


def test_the_page_is_well_formed_and_every_id_is_used_once(page: Page) -> None:
    assert page.open == []
    assert [name for name, count in Counter(page.attributes("id")).items() if count > 1] == []
    targets = [href[1:] for href in page.attributes("href") if href.startswith("#")]
    assert set(targets) <= set(page.attributes("id"))
    assert len(targets) == 3


def test_nothing_is_loaded_and_no_script_can_run(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert page.attributes("src") == []
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    html = render_html(report_data())
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_the_same_data_give_the_same_page() -> None:
    assert render_html(report_data()) == render_html(report_data())


def test_every_chart_is_there_in_both_sizes_and_has_a_table(page: Page) -> None:
    charts = [tag for tag, _ in page.elements if tag == "svg"]
    assert len(charts) == 2 * (2 * 4 + 1)
    assert len([tag for tag, _ in page.elements if tag == "details"]) == 2 * 3 + 1


def test_numbers_of_the_data_are_on_the_page(page: Page) -> None:
    words = " ".join(page.words)
    for count in task_report().categories:
        assert f"{count.issues:,}" in words
    assert "1,675 by claude (claude-haiku-5-5), version 1; 35 by rules (rules-1), version 1; 2 by person" in words
    assert "2026-06-30 12:05 UTC" in words


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m\u0000'


def test_hostile_text_anywhere_stays_text() -> None:
    task = task_report(categories=("bug", "feature"))
    nasty = replace(
        issue(1, ("bug",), 0.2),
        title=HOSTILE,
        rationale=HOSTILE,
        repository=HOSTILE,
        state=HOSTILE,
        url=f"https://host/{HOSTILE}",
    )
    task = replace(
        task,
        title=HOSTILE,
        question=HOSTILE,
        low_confidence=(nasty,),
        uncertain=(nasty,),
        repositories=tuple(replace(count, repository=HOSTILE) for count in task.repositories),
        classifiers=tuple(replace(count, classifier=HOSTILE, model=HOSTILE) for count in task.classifiers),
    )
    data = report_data()
    runs = tuple(replace(run, command=HOSTILE, status=HOSTILE, error=HOSTILE, classifier=HOSTILE) for run in data.runs)
    html = render_html(replace(data, tasks=(task,), runs=runs, repositories=(HOSTILE,)))
    tags = {tag for tag, _ in Page(html).elements}
    assert not tags & {"script", "img"}
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "\x00" not in html


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,<b>", None])
def test_an_issue_without_an_ordinary_address_has_no_link(url: str | None) -> None:
    task = replace(task_report(), low_confidence=(replace(issue(1, ("bug",), 0.2), url=url),), uncertain=())
    page = Page(render_html(replace(report_data(), tasks=(task,))))
    assert all(href.startswith("#") for href in page.attributes("href"))
    assert any(issue(1, ("bug",), 0.2).title in words for words in page.words)


def test_a_title_of_65536_characters_does_not_swell_the_page() -> None:
    task = replace(task_report(), low_confidence=(replace(issue(1, ("bug",), 0.2), title="<" * 65_536),), uncertain=())
    plain = replace(task_report(), low_confidence=(issue(1, ("bug",), 0.2),), uncertain=())
    data = report_data()
    assert len(render_html(replace(data, tasks=(task,)))) - len(render_html(replace(data, tasks=(plain,)))) < 2_000


def test_a_tile_of_every_task_says_how_many_issues_have_a_category() -> None:
    tasks = [
        replace(task, name=f"{task.name}_{place}", title=f"Task {place}")
        for place, task in enumerate([task_report()] * 3)
    ]
    words = Page(render_html(replace(report_data(), tasks=tuple(tasks)))).words
    task = task_report()
    abstained = next(count.issues for count in task.categories if count.category == "abstained")
    waiting = next(count.issues for count in task.categories if count.category == "unclassified")
    tiles = words[words.index("Issues") : words.index("Last complete run")]
    for place in range(3):
        share, note = tiles[tiles.index(f"Task {place}") + 1 :][:2]
        assert share == f"{(task.issues - abstained - waiting) / task.issues:.0%}" != "100%"
        assert note == f"have a category; {abstained} abstained, {waiting} not asked yet"


def test_a_long_table_goes_to_paper_in_part_and_says_so() -> None:
    long = replace(task_report(), low_confidence=tuple(issue(number, ("bug",), 0.2) for number in range(1, 26)))
    words = " ".join(Page(render_html(replace(report_data(), tasks=(long,), runs=()))).words)
    assert f"The first {PRINTED_ROWS} of 25." in words
    assert words.count("The first") == 1, "the other table is short"
    printed = STYLE[STYLE.index("@media print") :]
    assert f".issues tbody tr:nth-child(n+{PRINTED_ROWS + 1})" in printed
    assert ".paper" in STYLE[: STYLE.index("@media print")], "on a screen nothing is said to be left out"


def test_text_in_either_direction_is_kept_apart() -> None:
    arabic = replace(issue(1, ("bug",), 0.2), title="\u0633\u0644\u0627\u0645 world")
    html = render_html(replace(report_data(), tasks=(replace(task_report(), low_confidence=(arabic,)),)))
    assert '<bdi dir="auto"><a href="https://github.com/northwind/site/issues/4199" rel="noopener noreferrer">' in html
    assert "\u0633\u0644\u0627\u0645 world</a></bdi>" in html


def test_an_empty_store_says_what_to_do() -> None:
    data = replace(report_data(), totals=Totals(0, 0, 0, None, None), tasks=(), runs=(), costs=())
    page = Page(render_html(data))
    words = " ".join(page.words)
    assert "issuetide run --repo OWNER/NAME" in words
    assert "No run yet" in words
    assert page.open == []


def test_a_task_nobody_was_asked_says_what_to_do() -> None:
    empty = replace(task_report(), asked=0, unclassified=0, categories=(), repositories=(), classifiers=())
    words = " ".join(Page(render_html(replace(report_data(), tasks=(empty,)))).words)
    assert "issuetide classify --task issue_kind" in words


def test_a_calibrated_confidence_is_called_so_and_another_one_is_not() -> None:
    data = report_data()
    assert "as the classifier gave it, not calibrated" in render_html(data)
    task = data.tasks[0]
    claude, *others = task.classifiers
    low = tuple(replace(issue, calibrated=True) for issue in task.low_confidence)
    changed = replace(task, classifiers=(replace(claude, calibrated=3), *others), low_confidence=low)
    page = render_html(replace(data, tasks=(changed, *data.tasks[1:])))
    assert "confidence of 3 calibrated" in page
    assert "calibrated where a calibration holds" in page
    assert "0.35 calibrated</span>" in page


def test_nothing_uncertain_is_said_and_not_left_out() -> None:
    sure = replace(task_report(), low_confidence=(), uncertain=())
    words = " ".join(Page(render_html(replace(report_data(), tasks=(sure,)))).words)
    assert "No answer had a confidence this low." in words


def test_a_category_keeps_its_colour_when_others_have_no_issues() -> None:
    assert task_colours(task_report())["question"] == "c2"
    assert task_colours(task_report())["abstained"] == "ca"
    many = task_report(categories=tuple(f"c_{place}" for place in range(12)))
    assert task_colours(many)["c_10"] == "c0"


def test_the_last_complete_run_is_the_newest_that_was_ok() -> None:
    data = report_data()
    runs = (replace(data.runs[0], status="failed"), *data.runs[1:])
    words = Page(render_html(replace(data, runs=runs, generated_at=NOW))).words
    assert words[words.index("Last complete run") + 1] == "2 hours ago"
    assert words[words.index("2 hours ago") + 1] == f"at {data.runs[1].ended_at:%Y-%m-%d %H:%M} UTC"


@pytest.mark.parametrize(
    "status",
    ["running", "ok", "partial", "stopped_budget", "stopped_rate_limit", "failed", "interrupted", "locked"],
)
def test_every_status_of_a_run_has_a_colour(status: str) -> None:
    rules = (rule.split("}")[-1] for rule in STYLE.split("{"))
    assert any(f".status-{status}" in re.split(r"[\s,]+", selectors) for selectors in rules)
