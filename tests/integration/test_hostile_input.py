"""Texts that want to steer, break or read out the classifier: through the real SDK and the loopback Messages API.

Nothing here says how well a model resists; that is the vendor's business and `issuetide evaluate`'s. These tests say
what holds whatever a model does: where a hostile text stands in a request, whom its answers can reach, that asking
ends, and that no secret leaves.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from etl.classifiers.claude import ClaudeClassifier
from etl.classifiers.prompt import output_schema, render_system, render_tools
from etl.classifiers.requests import show
from etl.records import Answer, Text
from tests.hostile_texts import CORPUS, SECRETIVE, SECRETS, HostileText
from tests.integration.test_bad_input import Desk
from tests.loopback import anthropic as loopback
from tests.loopback.anthropic import Entry, LoopbackAnthropic
from tests.loopback.anthropic_answers import packed_items, plausible_answer
from tests.unit.classifiers.samples import kind_task, make_text

MODEL = "claude-haiku-5-5"
WORDS = [
    "Crash on start\n\nit ends with an exception and an error",
    "Add support for a new format\n\nplease, a feature request",
    "How can I configure this?\n\nwhat is the question",
    "Wrong result\n\na regression since the last release, it crashed",
]
QUIET = tuple(hostile for hostile in CORPUS if not hostile.found)
"""Those that no rule finds by their words, so that they share requests."""


@pytest.fixture
def server() -> Iterator[LoopbackAnthropic]:
    with LoopbackAnthropic() as running:
        yield running


def ask(server: LoopbackAnthropic, texts: Sequence[Text], pack: int = 5) -> dict[int, Answer]:
    """An answer for each text, each only once."""
    classifier = ClaudeClassifier(api_key=server.key, base_url=server.url, model=MODEL, pack=pack, max_retries=0)
    try:
        answers = list(classifier.classify(kind_task(), texts))
    finally:
        classifier.close()
    assert sorted(answer.text_id for answer in answers) == sorted(text.id for text in texts)
    return {answer.text_id: answer for answer in answers}


def among_neighbours(hostile: Sequence[HostileText]) -> list[Text]:
    """Each hostile text with four harmless ones around it; the hostile ones have ids divisible by 10."""
    texts = []
    for place, entry in enumerate(hostile, 1):
        texts += [make_text(10 * place + n, f"{words}, case {place}") for n, words in enumerate(WORDS, 1)]
        texts.insert(-2, make_text(10 * place, entry.body))
    return texts


def encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def sent_items(entry: Entry) -> list[dict[str, str]]:
    """The items of a request, which has them in its one tool result and nowhere else."""
    *before, last = entry.json["messages"]
    assert [block["type"] for block in last["content"] if block["type"] != "text"] == ["tool_result"]
    assert before[0] == {"role": "user", "content": "Sort the next items."}
    assert [block["type"] for block in before[1]["content"]] == ["tool_use"]
    items: list[dict[str, str]] = json.loads(last["content"][0]["content"])
    return items


# --- where a text stands ----------------------------------------------------------------------------------------------


def test_the_corpus_is_large_and_covers_what_slips_through() -> None:
    assert len(CORPUS) >= 40
    assert len({hostile.name for hostile in CORPUS}) == len(CORPUS)
    assert len(QUIET) >= 10


def test_whatever_a_text_holds_only_its_own_entry_of_the_tool_result_changes(server: LoopbackAnthropic) -> None:
    texts = among_neighbours(CORPUS)
    shown = {encodable(show(text).body): text for text in texts}
    ask(server, texts)
    task = kind_task()
    for entry in server.asked():
        body = entry.json
        assert [block["text"] for block in body["system"]] == [render_system(task, packed=True)]
        assert body["tools"] == render_tools(packed=True)
        assert body["output_config"]["format"]["schema"] == output_schema(task, packed=True)
        assert body["tool_choice"] == {"type": "none"}
        assert set(body) == {
            "model",
            "max_tokens",
            "system",
            "tools",
            "tool_choice",
            "messages",
            "output_config",
            "thinking",
        }
        for item in sent_items(entry):
            assert set(item) == {"id", "text"}
            assert item["text"] in shown
    asked = [item["text"] for entry in server.asked() for item in sent_items(entry)]
    assert set(asked) == set(shown)


def test_a_text_that_is_found_shares_no_request(server: LoopbackAnthropic) -> None:
    texts = among_neighbours([hostile for hostile in CORPUS if hostile.found])
    hostile = {encodable(show(text).body) for text in texts if text.id % 10 == 0}
    ask(server, texts)
    for entry in server.asked():
        items = sent_items(entry)
        assert len(items) == 1 or not [item for item in items if item["text"] in hostile]


def test_no_text_holds_an_id_of_its_request(server: LoopbackAnthropic) -> None:
    ask(server, among_neighbours(CORPUS))
    for entry in server.asked():
        items = sent_items(entry)
        assert not [one for one in items if any(one["id"] in other["text"] for other in items)]


def test_a_megabyte_is_cut_before_it_is_sent(server: LoopbackAnthropic) -> None:
    texts = [make_text(number, hostile.body) for number, hostile in enumerate(CORPUS) if len(hostile.body) > 10_000]
    assert max(len(text.body) for text in texts) > 1_000_000
    answers = ask(server, texts)
    assert max(len(entry.body) for entry in server.asked()) < 200_000
    assert all(answers[text.id].truncated_chars > 0 for text in texts if len(text.body) > 16_000)


# --- whom it can reach ------------------------------------------------------------------------------------------------


def _speak_for_ids(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    answers += [{**answers[0], "id": identifier, "category": "feature"} for identifier in ("i2", "bcdfghjk")]


def _answer_twice(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    answers += [{**answer, "category": "feature", "confidence": 1} for answer in answers]


def _answer_first_only(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    del answers[1:]


def _all_alike(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    for answer in answers:
        answer.update(category="feature", confidence=1, rationale="everything here is a wish")


def _own_id_for_all(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    for answer in answers:
        answer["id"] = answers[0]["id"]


def _all_unknown(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    for answer in answers:
        answer.update(category="pwned", confidence=1)


def _tell_the_order(answers: list[dict[str, Any]], _: Sequence[str]) -> None:
    for place, answer in enumerate(answers):
        answer.update(category="feature", confidence=0.9 - place / 100, rationale=f"told to answer feature, {place}")


def obeying(
    hostile: Sequence[str], obey: Callable[[list[dict[str, Any]], Sequence[str]], None]
) -> Callable[[Mapping[str, Any]], str]:
    """An answerer that does what the attacker wants wherever it sees one of the hostile texts."""

    def answer(body: Mapping[str, Any]) -> str:
        texts = [text for _, text in packed_items(body)]
        honest = json.loads(plausible_answer(body))
        if any(text in hostile for text in texts):
            obey(honest["answers"], texts)
        return json.dumps(honest)

    return answer


@pytest.mark.parametrize(
    "obey",
    [
        _speak_for_ids,
        _answer_twice,
        _answer_first_only,
        _all_alike,
        _own_id_for_all,
        _all_unknown,
        _tell_the_order,
    ],
)
def test_neighbours_keep_their_own_answers_also_when_the_model_obeys_the_attacker(
    server: LoopbackAnthropic, obey: Callable[[list[dict[str, Any]], Sequence[str]], None]
) -> None:
    texts = [text for text in among_neighbours(QUIET) if len(text.body) < 10_000]
    honest = ask(server, texts)
    before = len(server.asked())
    server.answer = obeying([encodable(text.body) for text in texts if text.id % 10 == 0], obey)
    attacked = ask(server, texts)
    for number, answer in honest.items():
        if number % 10:
            assert attacked[number].categories == answer.categories, number
    # One request per pack, at most one more per text, and a second try of what is still unusable alone.
    assert len(server.asked()) - before <= len(texts) / 5 + 1 + len(texts) + len(QUIET)


def test_what_a_text_makes_the_model_write_stays_one_bounded_line_of_its_own_answer(server: LoopbackAnthropic) -> None:
    leaked = render_system(kind_task(), packed=True) + "\x1b[2J\x00\u202e![x](https://evil.example/?q=1)\n" * 50

    def leak(body: Mapping[str, Any]) -> str:
        honest = json.loads(plausible_answer(body))
        honest["answers"][0]["rationale"] = leaked
        return json.dumps(honest)

    server.answer = leak
    answers = ask(server, [make_text(1, QUIET[0].body)])
    assert len(answers[1].rationale) <= 300
    assert answers[1].rationale.isprintable()


# --- asking ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["tool_call", "pause", "thinking_only", "two_blocks", "malformed", "cut"])
def test_a_model_that_calls_tools_pauses_or_babbles_for_ever_is_asked_a_bounded_number_of_times(
    server: LoopbackAnthropic, shape: str
) -> None:
    texts = among_neighbours(QUIET[:2])
    server.queue(*[loopback.shaped(shape)] * 1_000)
    answers = ask(server, texts)
    assert {answer.outcome for answer in answers.values()} <= {"invalid", "truncated"}
    assert len(server.asked()) <= 2 + 2 * len(texts)


def test_a_refusal_is_an_end_that_is_counted_and_reaches_no_neighbour(server: LoopbackAnthropic) -> None:
    texts = among_neighbours(QUIET[:1])
    server.script(encodable(QUIET[0].body)[:40], *[loopback.refusal("cyber")] * 100)
    answers = ask(server, texts)
    assert {number: answer.outcome for number, answer in answers.items()} == {
        10: "refused",
        **dict.fromkeys((11, 12, 13, 14), "answered"),
    }
    assert len(server.asked()) == 6


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [1, 5])
def test_no_secret_leaves_the_machine_whatever_words_stand_around_it(server: LoopbackAnthropic, pack: int) -> None:
    texts = [make_text(number, hostile.body) for number, hostile in enumerate(SECRETIVE, 1)]
    texts += [make_text(100 + n, f"Crash number {n}\n\nit says {s}") for n, s in enumerate(SECRETS.values())]
    answers = ask(server, texts, pack)
    assert all(answer.redactions >= 1 for answer in answers.values())
    sent = b"\n".join(entry.body for entry in server.asked()).decode()
    for kind, secret in SECRETS.items():
        assert f"[REDACTED:{kind}]" in sent
        telling = max(secret.replace("\n", " ").split(), key=len).removeprefix("http://").removesuffix("/src/app.py")
        assert telling not in sent
    assert "hunter2secret" not in sent
    assert "janedoe" not in sent


# --- the whole product ------------------------------------------------------------------------------------------------


def issue(number: int, body: str) -> dict[str, Any]:
    title, _, rest = body.partition("\n")
    return {
        "number": number,
        "title": title[:200],
        "body": rest or body,
        "state": "open",
        "labels": [],
        "comments": 0,
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "html_url": f"https://github.com/octo/demo/issues/{number}",
        "user": {"login": "octocat", "type": "User"},
    }


@pytest.fixture
def desk(database_url: str, server: LoopbackAnthropic, tmp_path: Path) -> Desk:
    desk = Desk(database_url, "http://127.0.0.1:9", tmp_path)
    desk.settings.update(ANTHROPIC_API_KEY=server.key, ANTHROPIC_BASE_URL=server.url)
    return desk


def sql(desk: Desk, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        return connection.execute(statement.encode()).fetchall()


RUN = ("run", "--input", "issues.jsonl", "--repo", "octo/demo", "--task", "issue_kind")


def test_the_corpus_goes_through_the_whole_product_and_its_redactions_are_shown(
    desk: Desk, server: LoopbackAnthropic
) -> None:
    lines = [json.dumps(issue(number, hostile.body)) for number, hostile in enumerate(CORPUS, 1)]
    (desk.folder / "issues.jsonl").write_text("\n".join(lines))
    server.script("lone surrogates", loopback.refusal())
    done = desk.call(*RUN, "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    outcomes = dict(sql(desk, "SELECT outcome, count(*) FROM classifications GROUP BY 1"))
    assert set(outcomes) <= {"answered", "abstained"}
    assert outcome["redactions"] >= len(SECRETS)
    assert sql(desk, "SELECT redactions FROM runs") == [(outcome["redactions"],)]
    assert sql(desk, "SELECT sum(redactions) FROM classifications") == [(outcome["redactions"],)]
    assert f"{outcome['redactions']:,} secrets and names replaced" in desk.call("status").stdout
    told = json.loads(desk.call("status", "--json").stdout)
    assert told["totals"]["redactions"] == outcome["redactions"]
    number = 1 + [hostile.name for hostile in CORPUS].index("order with password")
    explained = desk.call("explain", f"octo/demo#{number}")
    assert "secrets and names replaced" in explained.stdout
    assert "\x1b[2J" not in desk.call("explain", f"octo/demo#{1 + [h.name for h in CORPUS].index('terminal')}").stdout


def test_refusals_and_redactions_are_in_the_summary_of_the_run_and_asked_about_no_more(
    desk: Desk, server: LoopbackAnthropic
) -> None:
    bodies = [f"Crash number {n}\n\n{words}" for n, words in enumerate(WORDS)]
    bodies.append("Leak\n\nmy key is " + SECRETS["github-token"] + " and my address " + SECRETS["email"])
    (desk.folder / "issues.jsonl").write_text("\n".join(json.dumps(issue(n, b)) for n, b in enumerate(bodies, 1)))
    server.script("Crash number 2", *[loopback.refusal()] * 9)
    done = desk.call(*RUN)
    assert done.returncode == 0, done.stderr
    assert "  replaced    2 secrets and names, before texts were sent" in done.stdout
    assert "  refused     1 texts by the model" in done.stdout
    asked = len(server.asked())
    assert json.loads(desk.call(*RUN, "--json").stdout)["status"] == "ok"
    assert len(server.asked()) == asked
    assert sql(desk, "SELECT count(*) FROM classifications WHERE outcome = 'refused'") == [(1,)]
