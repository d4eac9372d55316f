"""An evaluation as lines and as a page: whole, harmless, and the same for the same figures."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etl.evaluate.evaluation import Author, Evaluation, Judged, evaluate, metrics_of, thresholds_of
from etl.evaluate.metrics import Example
from etl.report.quality import quality_lines
from etl.report.quality_html import render_quality
from tests.fakes import TASK_FILE, write_task
from tests.unit.report.test_html import Page

AUTHOR = Author("claude", "claude-haiku-5-5", "p2.t1.s2.r1-0123abcd")
WHEN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def judged(author: Author = AUTHOR) -> list[Judged]:
    rights = ["bug"] * 30 + ["feature"] * 20 + [""] * 4
    answers = ["bug"] * 25 + ["feature"] * 3 + [""] * 2 + ["feature"] * 18 + ["bug"] * 2 + [""] * 4
    return [
        Judged(
            Example(
                frozenset({right} if right else ()),
                ((answer, 0.5 + place % 10 / 20),) if answer else (),
            ),
            author,
        )
        for place, (right, answer) in enumerate(zip(rights, answers, strict=True))
    ]


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return evaluate(write_task(tmp_path), judged(), golden_set="known.jsonl 0123456789ab", left_out=3)


@pytest.fixture
def many(tmp_path: Path) -> Evaluation:
    task = write_task(tmp_path, TASK_FILE.replace(b'answers = "one_of"', b'answers = "many_of"\nat_most = 2'))
    return evaluate(task, judged(), golden_set="annotations")


def render(evaluation: Evaluation) -> str:
    return render_quality(evaluation, "Kind", WHEN, "1.0")


def test_the_lines_say_everything_that_was_measured(evaluation: Evaluation) -> None:
    lines = "\n".join(quality_lines(evaluation))
    assert "golden set known.jsonl 0123456789ab: 54 texts; 3 nobody was asked about" in lines
    assert "answers: claude claude-haiku-5-5 prompt p2.t1.s2.r1-0123abcd" in lines
    assert re.search(r"^accuracy +0\.870 \(0\.\d\d to 0\.\d\d\)$", lines, re.MULTILINE)
    assert re.search(r"^bug +30 +27 +0\.926 ", lines, re.MULTILINE)
    assert re.search(r"^abstained +0 +0 +4$", lines, re.MULTILINE)
    assert "always bug: accuracy 0.556" in lines


def test_the_page_is_well_formed_loads_nothing_and_is_the_same_again(evaluation: Evaluation) -> None:
    page = Page(render(evaluation))
    assert page.open == []
    identifiers = page.attributes("id")
    assert len(identifiers) == len(set(identifiers))
    assert {name for value in page.attributes("aria-labelledby") for name in value.split()} <= set(identifiers)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.elements}
    assert render(evaluation) == render(evaluation)
    assert "prefers-color-scheme: dark" in render(evaluation)
    assert "@media print" in render(evaluation)


def test_every_picture_comes_in_two_sizes_with_a_table(evaluation: Evaluation, many: Evaluation) -> None:
    for shown, pictures in ((evaluation, 3), (many, 2)):
        tags = [tag for tag, _ in Page(render(shown)).elements]
        assert (tags.count("svg"), tags.count("figure"), tags.count("details")) == (2 * pictures, pictures, pictures)


def test_the_confusion_matrix_has_every_count_and_says_what_it_is(evaluation: Evaluation) -> None:
    page = render(evaluation)
    assert "right: bug, answered: feature: 3 of 30 (10%)" in page
    assert "right: bug, answered: bug: 25 of 30 (83%)" in page
    right = re.findall(r'<rect class="fill seam c2"[^>]* fill-opacity="([\d.]+)"', page)
    assert len(right) == 2 * 3  # three on the diagonal, in two sizes


def test_hostile_names_stay_text(evaluation: Evaluation) -> None:
    evil = "<script>alert(1)</script>\x1b[2J"
    changed = replace(
        evaluation,
        golden_set=evil,
        authors=((Author("claude", evil, "p"), 3),),
        scores=replace(evaluation.scores, confusion={"<script>": {"<script>": 1}}),
    )
    page = render_quality(changed, evil, WHEN, "1.0")
    assert "<script" not in page
    assert "\x1b" not in page


def test_answers_by_several_are_named_with_their_numbers(tmp_path: Path) -> None:
    both = [*judged(), *judged(Author("rules", "rules-1", "r1"))[:10]]
    found = evaluate(write_task(tmp_path), both, golden_set="annotations")
    assert found.author == Author("several", "several", "several")
    line = next(line for line in quality_lines(found) if line.startswith("answers: "))
    assert line.startswith("answers: 54 by claude claude-haiku-5-5 prompt p2")
    assert line.endswith("; 10 by rules rules-1 prompt r1")


def test_what_is_kept_is_plain_and_small(evaluation: Evaluation) -> None:
    kept = metrics_of(evaluation)
    assert kept["authors"] == [
        {"classifier": "claude", "model": "claude-haiku-5-5", "prompt_version": AUTHOR.prompt_version, "answers": 54}
    ]
    assert "curve" not in kept
    assert set(thresholds_of(evaluation)) == {"bug", "feature"}


def test_an_evaluation_in_which_nothing_was_answered_is_shown_too(tmp_path: Path) -> None:
    silent = [Judged(Example(frozenset({"bug"}), ()), AUTHOR)] * 3
    found = evaluate(write_task(tmp_path), silent, golden_set="annotations")
    assert Page(render(found)).open == []
    assert "no confidence reaches precision 0.9" in "\n".join(quality_lines(found))
