"""The `rules` classifier."""

import pytest

from etl.classifiers.rules import MAX_CHARS, MAX_CONFIDENCE, RulesClassifier, prompt_version
from etl.records import Answer
from etl.tasks import Task, parse_task
from tests.unit.classifiers.samples import areas_task, kind_task, make_text, make_texts


def answer_to(task: Task, body: str) -> Answer:
    (answer,) = RulesClassifier().classify(task, [make_text(7, body)])
    return answer


@pytest.mark.parametrize(
    ("body", "categories"),
    [
        ("Export crashes", (("bug", 0.6628),)),
        ("It crashed\nTraceback (most recent call last):", (("bug", 0.7782),)),
        ("Feature request: a dark mode", (("feature", 0.6628),)),
        ("How do I export?", (("question", 0.5689),)),
        ("Why did it crash?\nit crashed", (("bug", 0.2551),)),
        ("crash\nplease add", ()),
        ("Hello\nworld?", ()),
        ("It crashed\nthe template not filled in", ()),
        ("casino", ()),
    ],
)
def test_the_category_with_the_lead_answers_and_without_a_lead_it_abstains(
    body: str, categories: tuple[tuple[str, float], ...]
) -> None:
    answer = answer_to(kind_task(), body)
    assert answer.categories == categories
    assert answer.outcome == ("answered" if categories else "abstained")


def test_a_title_rule_looks_at_the_first_line_only() -> None:
    assert answer_to(kind_task(), "Is it slow?\nnothing").categories[0][0] == "question"
    assert answer_to(kind_task(), "nothing\nIs it slow?").categories == ()


def test_the_rationale_quotes_the_matched_words_and_says_what_they_speak_for() -> None:
    assert answer_to(kind_task(), "It CRASHED").rationale == 'matched "CRASHED" (bug)'
    assert answer_to(kind_task(), "hm").rationale == "no pattern matched"
    assert answer_to(kind_task(), "crash\nplease add").rationale == (
        'undecided: matched "please add" (feature), "crash" (bug)'
    )


def rule_task(pattern: str, weight: float = 1.0) -> Task:
    header = "name='t'\nversion=1\ntitle='t'\nquestion='q'\nanswers='one_of'\ninput='issue'\n"
    rule = f"[[rules]]\ncategory='a'\npattern='{pattern}'\nweight={weight}\n"
    return parse_task(f"{header}[[categories]]\nid='a'\ndefinition='d'\n{rule * 2}".encode(), "t.toml")


@pytest.mark.parametrize(
    ("pattern", "body", "rationale"),
    [
        (r"first\s+line", "the first\n\t line", 'matched "first line" (a)'),
        (r"a.{50,}", "a" + "b" * 60, 'matched "' + "a" + "b" * 38 + '…" (a)'),
        (r"key: \S+", "key: ghp_" + "a1B2" * 9, 'matched "key: [REDACTED:github-token]" (a)'),
        (r"red\S*", "red\u202e\x1b[31m", 'matched "red[31m" (a)'),
        (r"^", "no words are matched", "matched /^/ (a)"),
    ],
)
def test_what_is_quoted_is_one_short_line_without_secrets(pattern: str, body: str, rationale: str) -> None:
    assert answer_to(rule_task(pattern), body).rationale == rationale


def test_words_that_speak_against_a_category_are_marked() -> None:
    assert answer_to(rule_task("wish", -1.0), "I wish").rationale.endswith('matched "wish" (-a)')


def test_only_the_strongest_words_are_quoted_and_the_rest_is_counted() -> None:
    rules = "".join(
        f"[[rules]]\ncategory='a'\npattern='{word}'\nweight={weight}\n"
        for weight, word in enumerate(("one", "two", "three", "four", "five"), 1)
    )
    header = "name='t'\nversion=1\ntitle='t'\nquestion='q'\nanswers='one_of'\ninput='issue'\n"
    task = parse_task(f"{header}[[categories]]\nid='a'\ndefinition='d'\n{rules}".encode(), "t.toml")
    assert answer_to(task, "one two three four five").rationale == (
        'matched "five" (a), "four" (a), "three" (a) and 2 more'
    )


def test_an_answer_of_many_that_is_none_says_why() -> None:
    header = "name='t'\nversion=1\ntitle='t'\nquestion='q'\nanswers='many_of'\nat_most=2\ninput='issue'\n"
    rule = "[[rules]]\ncategory='a'\npattern='docs'\nweight=0.5\n"
    task = parse_task(f"{header}[[categories]]\nid='a'\ndefinition='d'\n{rule}".encode(), "t.toml")
    assert answer_to(task, "docs").rationale == 'too weak: matched "docs" (a)'


def test_many_categories_are_capped_and_ordered_by_their_points() -> None:
    answer = answer_to(areas_task(), "cmake docs are slow")
    assert [category for category, _ in answer.categories] == ["build_ci", "performance"]
    assert answer.categories[0][1] > answer.categories[1][1]


def test_confidence_stays_below_its_ceiling_however_many_rules_match() -> None:
    rules = "".join(f"[[rules]]\ncategory='a'\npattern='x'\nweight={weight}\n" for weight in range(1, 30))
    header = "name='t'\nversion=1\ntitle='t'\nquestion='q'\nanswers='one_of'\ninput='issue'\n"
    task = parse_task(f"{header}[[categories]]\nid='a'\ndefinition='d'\n{rules}".encode(), "t.toml")
    ((_, confidence),) = answer_to(task, "x").categories
    assert confidence <= MAX_CONFIDENCE < 1


def test_what_answered_is_named_with_its_versions() -> None:
    task = kind_task()
    answer = answer_to(task, "it crashed")
    assert (answer.text_id, answer.classifier, answer.model) == (7, "rules", "rules-3")
    assert answer.prompt_version == prompt_version(task) == f"r1.t3-{task.sha256[:8]}"
    assert answer.usage is None
    assert answer.request_id is None


def test_only_the_beginning_of_a_huge_text_is_looked_at_and_the_rest_is_counted() -> None:
    answer = answer_to(kind_task(), "x" * MAX_CHARS + "\nit crashed")
    assert answer.categories == ()
    assert answer.truncated_chars == len("\nit crashed")


def test_texts_are_answered_in_order() -> None:
    assert [answer.text_id for answer in RulesClassifier().classify(kind_task(), make_texts(5))] == [1, 2, 3, 4, 5]
