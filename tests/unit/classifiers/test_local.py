"""The `local` classifier: honest about what it does not know, safe with any text and any bytes."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.classifiers.features import FIELDS, MAX_BODY_CHARS, Extractor
from etl.classifiers.local import LocalClassifier
from etl.classifiers.local_model import FORMAT, read_model
from etl.errors import ConfigurationError
from etl.records import Answer, Text
from etl.tasks import Task, load_tasks
from etl.training.examples import Labelled
from etl.training.train import train
from tests.learnable import make_examples, make_issue


@pytest.fixture(scope="module")
def task() -> Task:
    return load_tasks()["issue_kind"]


@pytest.fixture(scope="module")
def content(task: Task) -> bytes:
    examples = [Labelled(body, frozenset({kind})) for body, kind in make_examples(40)]
    return train(task, examples, 0.9).model.to_bytes()


def ask(task: Task, content: bytes, *bodies: str) -> list[Answer]:
    texts = [Text(number, "", body) for number, body in enumerate(bodies)]
    return list(LocalClassifier({task.name: content}).classify(task, texts))


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_says_who_gave_it_and_why(task: Task, content: bytes) -> None:
    (answer,) = ask(task, content, make_issue("bug", 900))
    assert (answer.outcome, answer.classifier, answer.usage) == ("answered", "local", None)
    assert answer.categories[0][0] == "bug"
    assert 0.5 < answer.categories[0][1] <= 1
    assert answer.model.startswith("local-")
    assert answer.prompt_version.startswith(f"l1.t{task.version}-")
    assert answer.rationale.startswith("weighed most: ")


def test_what_it_is_not_sure_of_it_does_not_answer(task: Task, content: bytes) -> None:
    mixed = make_issue("bug", 1).split("\n")[0] + "\n\n" + make_issue("feature", 2) + make_issue("question", 3)
    (answer,) = ask(task, content, mixed)
    assert (answer.outcome, answer.categories) == ("abstained", ())
    assert answer.rationale.startswith("not sure enough: ")


def test_a_category_without_a_threshold_is_never_answered(task: Task, content: bytes) -> None:
    model = read_model(content, "test")
    model.header = replace(model.header, thresholds={"feature": 0.0})
    bug, feature = ask(task, model.to_bytes(), make_issue("bug", 900), make_issue("feature", 900))
    assert (bug.outcome, feature.outcome) == ("abstained", "answered")
    assert "it never answers that" in bug.rationale


@pytest.mark.parametrize("body", ["", "\n", "   ", "???", "\x00\x01", "日本語だけの本文です\n\nもっと", "\ud800"])
def test_a_text_without_words_that_it_knows_is_left_to_others(task: Task, content: bytes, body: str) -> None:
    (answer,) = ask(task, content, body)
    assert answer.outcome == "abstained"


def test_the_order_of_texts_and_how_many_are_asked_at_once_change_nothing(task: Task, content: bytes) -> None:
    bodies = [make_issue(kind, number) for kind in ("bug", "question") for number in range(300, 450)]
    together = ask(task, content, *bodies)
    assert [answer.text_id for answer in together] == list(range(300))
    alone = [ask(task, content, body)[0] for body in bodies[::50]]
    for answer, twin in zip(together[::50], alone, strict=True):
        assert (answer.outcome, answer.categories, answer.rationale) == (twin.outcome, twin.categories, twin.rationale)


def test_it_is_deterministic(task: Task, content: bytes) -> None:
    bodies = [make_issue("question", number) for number in range(20)]
    assert ask(task, content, *bodies) == ask(task, content, *bodies)


def test_an_answer_tells_how_much_was_not_read(task: Task, content: bytes) -> None:
    (whole, cut) = ask(task, content, "Title\n" + "word " * 100, "Title\n" + "x" * (MAX_BODY_CHARS + 70))
    assert (whole.truncated_chars, cut.truncated_chars) == (0, 70)


def test_without_a_model_it_says_how_to_get_one(task: Task) -> None:
    with pytest.raises(ConfigurationError, match="issuetide train --task issue_kind"):
        list(LocalClassifier({}).classify(task, [Text(1, "", "x")]))


# --- hostile texts ---------------------------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[int], str]] = {
    "one word": lambda size: "a" * size,
    "words": lambda size: "crash how add " * (size // 14),
    "fences": lambda size: "```" * (size // 3),
    "headings": lambda size: "# a\n" * (size // 4),
    "bold": lambda size: "**" * (size // 2),
    "title": lambda size: "how do i " * (size // 9),
    "lines": lambda size: "\n" * size,
    "blanks": lambda size: " " * size,
    "unknown words": lambda size: " ".join(f"w{chr(97 + n % 26)}{n}" for n in range(size // 8)),
    "digits": lambda size: "9" * size,
    "quotes": lambda size: "a'" * (size // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_of_a_megabyte_only_the_beginning_is_read(task: Task, name: str) -> None:
    """So what it costs is bounded: a hundred times the text has the same features, but for the sign of its length."""
    extractor = Extractor(task)
    for title in ("Title\n", ""):
        short, long = (extractor.extract(title + HOSTILE[name](size)) for size in (20_000, 1_000_000))
        for found in (short, long):
            found["signs"] = {sign for sign in found["signs"] if not sign.startswith("length ")}
        assert short == long
        assert sum(map(len, long.values())) < 1_500


def test_a_text_has_features_only_in_the_fields_that_are_known(task: Task) -> None:
    found = Extractor(task).extract(make_issue("bug", 1))
    assert set(found) == set(FIELDS)
    assert all(isinstance(word, str) and "\n" not in word for words in found.values() for word in words)


# --- hostile bytes ---------------------------------------------------------------------------------------------------


def header_of(content: bytes) -> tuple[dict[str, object], bytes]:
    line, _, rest = content[len(FORMAT) :].partition(b"\n")
    return json.loads(line), rest


def with_header(content: bytes, **changes: object) -> bytes:
    header, rest = header_of(content)
    return FORMAT + json.dumps({**header, **changes}).encode() + b"\n" + rest


def test_a_model_survives_being_written_and_read(content: bytes) -> None:
    assert read_model(content, "test").to_bytes() == content


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a pickle": lambda _: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "an archive": lambda _: b"PK\x03\x04" + b"\x00" * 100,
    "no header": lambda content: content[: len(FORMAT)],
    "cut off": lambda content: content[:-1],
    "too long": lambda content: content + b"\x00",
    "header no JSON": lambda content: FORMAT + b"{{\n" + header_of(content)[1],
    "header nested": lambda content: FORMAT + b"[" * 100_000 + b"\n" + header_of(content)[1],
    "header a list": lambda content: FORMAT + b"[]\n" + header_of(content)[1],
    "more features": lambda content: with_header(content, features=10**7),
    "no features": lambda content: with_header(content, features=0),
    "negative": lambda content: with_header(content, features_bytes=-5),
    "huge": lambda content: with_header(content, features=10**30),
    "true": lambda content: with_header(content, features=True),
    "no outcomes": lambda content: with_header(content, outcomes=[]),
    "only other": lambda content: with_header(content, outcomes=["", "", ""]),
    "same outcomes": lambda content: with_header(content, outcomes=["bug", "bug", "bug"]),
    "other first": lambda content: with_header(content, outcomes=["", "bug", "feature"]),
    "outcomes numbers": lambda content: with_header(content, outcomes=[1, 2, 3]),
    "strange thresholds": lambda content: with_header(content, thresholds={"bug": float("nan")}),
    "low thresholds": lambda content: with_header(content, thresholds={"bug": -1}),
    "thresholds of others": lambda content: with_header(content, thresholds={"nobody": 0.5}),
    "another kind": lambda content: with_header(content, answers="all_of"),
    "another release": lambda content: with_header(content, features_version=99),
    "not a number": lambda content: content[:-4] + struct.pack("<f", float("nan")),
    "infinite": lambda content: content[:-4] + struct.pack("<f", float("inf")),
    "immense": lambda content: content[:-4] + struct.pack("<f", 1e30),
    "words no text": lambda content: content.replace(b"title:", b"title\xff", 1),
    "a field unknown": lambda content: content.replace(b"title:", b"tifle:", 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bytes_that_are_no_model_are_refused_in_one_line(task: Task, content: bytes, name: str) -> None:
    with pytest.raises(ConfigurationError, match="issuetide train") as raised:
        ask(task, BROKEN[name](content), "x")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_model_with_a_category_that_the_task_has_no_more_is_refused(task: Task, content: bytes) -> None:
    renamed = with_header(content, outcomes=["bug", "wish", "question"], thresholds={})
    with pytest.raises(ConfigurationError, match="no such category: wish"):
        ask(task, renamed, "x")
