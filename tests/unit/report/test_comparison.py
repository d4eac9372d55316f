"""A comparison in words and as a page."""

from html.parser import HTMLParser

import pytest

from etl.evaluate.comparison import AskedText, Comparison, Said, compare_answers
from etl.report.comparison import agreement_words, render_comparison, shift_rows
from etl.tasks import parse_task
from tests.fakes import TASK_FILE

TASK = parse_task(TASK_FILE, "kind.toml")
HOSTILE = "</td><script>alert(1)</script>\x1b[31m"


def said(category: str | None, rationale: str = "because") -> Said:
    given = (category,) if category else ()
    return Said("answered" if category else "abstained", given, (0.9,) * len(given), rationale, "model-1 (p1)", 0.001)


def comparison(*pairs: tuple[Said | None, Said | None], names: tuple[str, str] = ("current", "b")) -> Comparison:
    texts = [AskedText(f"h{n}", (f"octo/demo#{n}",), one, other) for n, (one, other) in enumerate(pairs, 1)]
    return compare_answers([TASK], names, texts)


def test_the_words_name_the_texts_the_share_with_its_interval_and_kappa() -> None:
    found = comparison(*[(said("bug"), said("bug"))] * 9, (said("feature"), said("bug")), (said("bug"), None))
    words = agreement_words(found)
    assert words.startswith("10 of 11 texts answered by both: 9 alike, 90.0% (")
    assert "kappa 0.00" in words


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(said("bug"), None)], "none of the 1 texts has an answer by both"),
        ([(said("bug"), said("bug"))], "no kappa (both always said the same one thing)"),
    ],
)
def test_where_there_is_no_figure_the_words_say_why(pairs: list[tuple[Said, Said | None]], expected: str) -> None:
    assert expected in agreement_words(comparison(*pairs))


def test_the_rows_say_what_only_one_of_them_chose_and_count_not_deciding_too() -> None:
    found = comparison((said("bug"), said("bug")), (said("bug"), said(None)), (said(None), said(None)))
    rows = {row[0]: row[1:6] for row in shift_rows(found)}
    assert rows == {"bug": ("2", "1", "1", "1", "0"), "abstained": ("1", "2", "1", "0", "1")}


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_what_strangers_wrote_is_text_in_it() -> None:
    found = comparison((said("bug", HOSTILE), said("feature")), (said("bug"), said("bug")), names=("current", HOSTILE))
    page = render_comparison(found)
    reader = _Tags()
    reader.feed(page)
    assert reader.open == []
    assert "script" not in reader.seen
    assert "\x1b" not in page
    assert "octo/demo#1" in page
    assert "octo/demo#2" not in page
    assert "&lt;script&gt;" in page


def test_a_page_without_anything_that_moved_says_so() -> None:
    assert "None: both said the same of every text." in render_comparison(comparison((said("bug"), said("bug"))))
