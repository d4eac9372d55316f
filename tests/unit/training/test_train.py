"""Training: the same examples give the same model, and what it says of itself holds on texts it has not seen."""

from dataclasses import replace

import pytest

from etl.classifiers.local import LocalClassifier
from etl.errors import ConfigurationError
from etl.records import Text
from etl.tasks import Task, load_tasks
from etl.training.examples import LEAST_PER_CATEGORY, Labelled, prepare_examples
from etl.training.train import Trained, train
from tests.learnable import KINDS, make_examples, make_issue


@pytest.fixture(scope="module")
def task() -> Task:
    return load_tasks()["issue_kind"]


def labelled(each: int, noise: int = 0) -> list[Labelled]:
    return [Labelled(body, frozenset({kind})) for body, kind in make_examples(each, noise)]


@pytest.fixture(scope="module")
def trained(task: Task) -> Trained:
    return train(task, labelled(60, noise=3), 0.9)


def test_it_is_right_about_texts_that_it_has_not_seen(task: Task, trained: Trained) -> None:
    classifier = LocalClassifier({task.name: trained.model.to_bytes()})
    texts = [make_issue(kind, number) for kind in KINDS for number in range(1000, 1040)]
    gold = [kind for kind in KINDS for _ in range(40)]
    answers = list(classifier.classify(task, [Text(place, "", body) for place, body in enumerate(texts)]))
    given = [(answer.categories[0][0], gold[answer.text_id]) for answer in answers if answer.outcome == "answered"]
    assert len(given) > 80
    assert sum(said == right for said, right in given) / len(given) > 0.95


def test_the_same_examples_give_the_same_model_in_any_order(task: Task, trained: Trained) -> None:
    again = train(task, list(reversed(labelled(60, noise=3))), 0.9)
    assert again.model.to_bytes() == trained.model.to_bytes()
    assert again.metrics() == trained.metrics()


def test_its_figures_are_of_texts_that_it_was_not_trained_on(trained: Trained) -> None:
    """Five in a hundred labels are wrong and cannot be learned: whoever finds them all right has looked."""
    assert 0.9 < trained.quality.macro_f1 < 0.97
    assert trained.quality.texts == 180
    assert trained.quality.ece < 0.1
    assert trained.quality.agreement == pytest.approx(0.95, abs=0.04)


def test_a_higher_agreement_answers_less(task: Task, trained: Trained) -> None:
    stricter = train(task, labelled(60, noise=3), 0.999)
    assert stricter.quality.coverage < trained.quality.coverage


def test_a_category_with_too_few_examples_is_not_learned_and_is_named(task: Task) -> None:
    few = [entry for entry in labelled(40) if entry.right != {"question"}] + [
        Labelled(make_issue("question", number), frozenset({"question"})) for number in range(12)
    ]
    training = prepare_examples(task, few)
    assert training.outcomes == ("bug", "feature", "")
    assert training.too_few == {"question": 12}
    model = train(task, few, 0.9).model
    assert "question" not in model.header.thresholds
    assert "" not in model.header.thresholds


def test_too_few_examples_are_refused_and_say_how_many_are_needed(task: Task) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"{LEAST_PER_CATEGORY} texts are needed.*bug 20, feature 20"
    ) as raised:
        train(task, labelled(20), 0.9)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("examples", [[], [Labelled("", frozenset({"bug"}))] * 100])
def test_no_examples_are_refused(task: Task, examples: list[Labelled]) -> None:
    with pytest.raises(ConfigurationError, match="too few examples"):
        train(task, examples, 0.9)


def test_a_text_that_is_named_twice_counts_once_with_its_last_answer(task: Task) -> None:
    twice = [*labelled(35), Labelled(make_issue("bug", 0), frozenset({"question"}))]
    training = prepare_examples(task, twice)
    assert len(training.examples) == 105
    assert training.counts() == {"bug": 34, "feature": 35, "question": 36}


def test_a_many_of_task_answers_with_sets() -> None:
    labels = load_tasks()["labels"]
    names = [category.id for category in labels.live_categories][:3]
    kinds = dict(zip(KINDS, names, strict=True))
    examples = [Labelled(body, frozenset({kinds[kind]})) for body, kind in make_examples(50)]
    pairs = [
        Labelled(make_issue("bug", n) + "\n" + make_issue("question", n + 500), frozenset({names[0], names[2]}))
        for n in range(2000, 2040)
    ]
    trained = train(labels, [*examples, *pairs], 0.8)
    classifier = LocalClassifier({labels.name: trained.model.to_bytes()})
    texts = [Text(n, "", make_issue("bug", n + 100) + "\n" + make_issue("question", n + 900)) for n in range(20)]
    answers = [answer for answer in classifier.classify(labels, texts) if answer.outcome == "answered"]
    assert answers
    assert all(len(answer.categories) <= labels.at_most for answer in answers)
    assert {name for answer in answers for name, _ in answer.categories} <= set(names)
    assert sum({name for name, _ in answer.categories} == {names[0], names[2]} for answer in answers) > len(answers) / 2


def test_examples_of_no_category_are_an_outcome_that_is_never_answered(task: Task) -> None:
    lost = [Labelled(f"zzz {'yyy ' * (n % 7)} xxx {n}\n\nqqq {n * n} www", frozenset()) for n in range(40)]
    trained = train(task, [*labelled(40), *lost], 0.9)
    classifier = LocalClassifier({task.name: trained.model.to_bytes()})
    (answer,) = classifier.classify(task, [Text(1, "", lost[3].body)])
    assert (answer.outcome, answer.categories) == ("abstained", ())


def test_a_model_of_another_task_is_refused(task: Task, trained: Trained) -> None:
    other = replace(task, name="other")
    with pytest.raises(ConfigurationError, match="does not fit"):
        list(LocalClassifier({"other": trained.model.to_bytes()}).classify(other, [Text(1, "", "x")]))
