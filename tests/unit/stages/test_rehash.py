"""New rules for ids: answers stay with their texts, whatever becomes of these, and nothing is asked twice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries import decisions, rehash
from etl.db.queries.purges import select_items
from etl.db.store import Store
from etl.dedup import RULES_VERSION, Fingerprint, normalize, skeleton
from etl.errors import ConfigurationError, LockedError
from etl.pipeline import Plan
from etl.stages.base import Rehashed, Tally
from etl.stages.decisions import Named, Signed, alias_texts
from etl.stages.fingerprint import fingerprint_stage
from etl.stages.item_texts import Rules
from etl.stages.purge import purge_item
from tests.fakes import REPOSITORY, START, FakeClassifier, SilentProgress, make_item, write_task
from tests.runs import rows, run_with, url_of

NEXT = RULES_VERSION + 1
SAME_TWICE = ("The red worker will crash", "The blue worker will crash")
"""Two texts for the rules of this release, one for `without_colours`."""


def rules(version: int, change: Callable[[str], str] = str) -> Rules:
    """Other rules: those of this release, then `change`."""

    def identify(words: str) -> str:
        return f"{version}:{blake2b(words.encode(), digest_size=16).hexdigest()}"

    def make(body: str) -> Fingerprint:
        normalized = change(normalize(body))
        return Fingerprint(identify(normalized), identify(skeleton(normalized)), normalized)

    return Rules(version, make)


def without_colours(words: str) -> str:
    return words.replace("red ", "").replace("blue ", "")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("test", tasks=(write_task(tmp_path),), classifier=FakeClassifier(), repositories=("octo/demo",))


def apply(store: Store, wanted: Rules, *, dry_run: bool = False) -> Rehashed | None:
    """The fingerprint stage of a release with other rules, as a process of its own."""
    own, tally = Store(url_of(store), dry_run=dry_run), Tally()
    try:
        fingerprint_stage(own, tally, SilentProgress(), wanted)
    finally:
        own.close()
    return tally.rehashed


def execute(store: Store, statement: str) -> None:
    with store.transaction() as connection:
        connection.execute(text(statement))


def make_old(store: Store) -> None:
    """Lets all ids be of version 0 of the rules, which made the same ids."""
    execute(store, "UPDATE texts SET rules_version = 0, text_hash = '0:' || split_part(text_hash, ':', 2)")


LEDGER = "SELECT id, task, classifier, outcome, categories, cost_usd, created_at FROM classifications ORDER BY id"
ANSWERS = "SELECT number, category, classifier FROM issue_categories ORDER BY 1, 2"
ONE_AND_TWO = "FROM item_texts it JOIN items i ON i.id = it.item_id WHERE i.external_id IN (1, 2)"
PENDING = "SELECT item_id FROM item_answers WHERE applies AND answer = 'unclassified' ORDER BY 1"


def test_after_a_change_of_the_version_nobody_is_asked_again_and_every_document_is_new(
    store: Store, plan: Plan
) -> None:
    pages = [make_item(1, "crash"), make_item(2, "Add"), make_item(3, "crash")]
    run_with(store, plan, pages)
    make_old(store)
    before = rows(store, LEDGER), rows(store, ANSWERS)
    versions = dict(rows(store, "SELECT id, row_version FROM items"))
    again = FakeClassifier()
    outcome = run_with(store, plan, pages, classifier=again)
    assert (outcome.status, again.asked) == ("ok", [])
    found = outcome.tally.rehashed
    assert found is not None
    assert (found.from_version, found.kept, found.moved, found.merged, found.split) == (0, 2, 0, 0, 0)
    assert (rows(store, LEDGER), rows(store, ANSWERS)) == before
    assert rows(store, "SELECT DISTINCT rules_version, split_part(text_hash, ':', 1)::int FROM texts") == [
        (RULES_VERSION, RULES_VERSION)
    ]
    assert all(new > versions[key] for key, new in rows(store, "SELECT id, row_version FROM items"))
    assert run_with(store, plan, pages).tally.rehashed is None


def test_a_text_is_found_by_every_id_that_it_had(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    ids = [rows(store, "SELECT text_hash FROM issues")[0][0]]
    for version in (NEXT, NEXT + 1):
        apply(store, rules(version, f"{version} {{}}".format))
        ids.append(rows(store, "SELECT text_hash FROM issues")[0][0])
    assert len(set(ids)) == 3
    found = "SELECT known_as, current_hash, items FROM text_ids WHERE text_hash = '{}'"
    assert [rows(store, found.format(each)) for each in ids] == [
        [("former", ids[-1], 1)],
        [("former", ids[-1], 1)],
        [("current", ids[-1], 1)],
    ]
    with store.transaction() as connection:
        texts = {decisions.select_texts_by_id(connection, each)[0].id for each in ids}
    assert len(texts) == 1


def test_texts_that_become_one_share_the_older_and_the_ledger_loses_nothing(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, SAME_TWICE[0]), make_item(2, SAME_TWICE[1]), make_item(3, "Add")])
    former = dict(rows(store, "SELECT number, text_hash FROM issues"))
    ledger = rows(store, LEDGER)
    oldest = rows(store, f"SELECT min(text_id) {ONE_AND_TWO}")
    found = apply(store, rules(NEXT, without_colours))
    assert found is not None
    assert (found.texts, found.merged, found.split, found.conflicts) == (3, 1, 0, 0)
    assert rows(store, LEDGER) == ledger
    assert rows(store, f"SELECT DISTINCT text_id {ONE_AND_TWO}") == oldest
    assert rows(store, "SELECT count(*) FROM texts") == [(2,)]
    now = dict(rows(store, "SELECT number, text_hash FROM issues"))
    assert now[1] == now[2] != now[3]
    known = dict(rows(store, "SELECT text_hash, current_hash FROM text_ids WHERE known_as = 'former'"))
    assert known == {former[number]: now[number] for number in now}
    assert rows(store, PENDING) == []
    (example,) = [each for each in found.examples if each["what"] == "merge"]
    assert sorted(side["issues"] for side in example["texts"]) == [["octo/demo#1"], ["octo/demo#2"]]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [("rules", "claude", "feature"), ("claude", "rules", "bug"), ("claude", "claude", "feature")],
)
def test_where_answers_of_merged_texts_differ_it_is_flagged_and_the_same_one_counts_everywhere(
    first: str, second: str, kept: str, store: Store, plan: Plan
) -> None:
    run_with(store, plan, [make_item(1, "red crash")])
    run_with(store, plan, [make_item(2, "blue crash")])
    execute(store, f"UPDATE classifications SET classifier = '{first}' WHERE id = 1")
    execute(store, f"UPDATE classifications SET classifier = '{second}', categories = '{{feature}}' WHERE id = 2")
    ledger = rows(store, LEDGER)
    found = apply(store, rules(NEXT, without_colours))
    assert found is not None
    assert found.conflicts == 1
    assert rows(store, LEDGER) == ledger
    assert {answer[1] for answer in rows(store, ANSWERS)} == {kept}
    other = {"bug": "feature", "feature": "bug"}[kept]
    assert rows(store, "SELECT kept, other FROM open_conflicts") == [([kept], [other])]
    with store.transaction() as connection:
        (conflict,) = rehash.select_open_conflicts(connection)
        assert conflict["issues"] == ["octo/demo#1", "octo/demo#2"]
        assert rehash.resolve_conflict(connection, conflict["id"], "ana", "seen")
        assert not rehash.resolve_conflict(connection, conflict["id"], "ana", "seen")
        assert rehash.count_open_conflicts(connection) == 0


def test_what_a_person_said_of_an_issue_counts_whatever_merges(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "red crash"), make_item(2, "blue crash")], classifier=FakeClassifier("claude"))
    execute(
        store,
        "INSERT INTO annotations (item_id, task, annotator, role, categories, reason)"
        " SELECT id, 'kind', 'ana', 'override', '{feature}', 'asked for' FROM items WHERE external_id = 2",
    )
    apply(store, rules(NEXT, without_colours))
    assert rows(store, ANSWERS) == [(1, "bug", "claude"), (2, "feature", "person")]


def test_a_conflict_is_over_when_a_better_answer_comes(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "red crash"), make_item(2, "blue crash")])
    execute(
        store, "UPDATE classifications SET categories = '{feature}' WHERE id = (SELECT max(id) FROM classifications)"
    )
    apply(store, rules(NEXT, without_colours))
    assert len(rows(store, "SELECT FROM open_conflicts")) == 1
    execute(
        store,
        "INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier, model,"
        " outcome, categories, confidences, rationale, run_id) SELECT text_id, task, task_version, task_sha256,"
        " prompt_version, 'claude', model, outcome, categories, confidences, rationale, run_id FROM classifications"
        " LIMIT 1",
    )
    assert rows(store, "SELECT FROM open_conflicts") == []


def test_an_issue_that_shared_its_text_by_mistake_gets_one_without_an_answer(store: Store, plan: Plan) -> None:
    merging = rules(RULES_VERSION, without_colours)
    with_source(store, plan, [make_item(1, SAME_TWICE[0]), make_item(2, SAME_TWICE[1])], merging)
    asked = classify(store, plan, merging)
    assert len(asked) == 1
    found = apply(store, rules(NEXT))
    assert found is not None
    assert (found.texts, found.split, found.asked_anew) == (1, 1, {"kind": 1})
    (example,) = [each for each in found.examples if each["what"] == "split"]
    (pending,) = rows(
        store,
        "SELECT number FROM issues WHERE text_hash NOT IN (SELECT x.text_hash FROM texts x"
        " JOIN classifications c ON c.text_id = x.id)",
    )
    assert example["texts"][0]["issues"] == [f"octo/demo#{pending[0]}"]
    # The one whose words were asked keeps the answer.
    (answered,) = rows(store, ANSWERS)
    assert asked == [SAME_TWICE[answered[0] - 1]]


def with_source(store: Store, plan: Plan, page: list[Any], wanted: Rules) -> None:
    """Stores a page and makes its texts by other rules than this release's; nobody is asked."""
    from etl.db.queries.items import resolve_repository, upsert_items
    from etl.stages.classify import register_tasks

    with store.transaction() as connection:
        key = resolve_repository(connection, REPOSITORY).key
        upsert_items(connection, page, {REPOSITORY.key: key})
    register_tasks(store, plan.tasks)
    execute(store, "INSERT INTO tracked_tasks SELECT key, 'kind' FROM repositories ON CONFLICT DO NOTHING")
    apply(store, wanted)


def classify(store: Store, plan: Plan, wanted: Rules) -> list[str]:
    """Asks about what is pending, without the stage before it; gives what was asked."""
    from etl.db.queries.classifications import PendingScope
    from etl.stages.classify import Asking, classify_stage

    assert wanted.version
    classifier = FakeClassifier()
    classify_stage(
        store, plan.tasks, Asking(classifier, PendingScope("rules"), None, float("inf")), 1, Tally(), SilentProgress()
    )
    return classifier.asked


def test_an_issue_that_was_edited_meanwhile_gets_no_answer_of_its_former_words(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")])
    from etl.db.queries.items import upsert_items

    with store.transaction() as connection:
        edited = make_item(1, "Something else <!-- hidden -->", updated_at=START + timedelta(days=9))
        upsert_items(connection, [edited], {REPOSITORY.key: REPOSITORY.key})
    found = apply(store, rules(NEXT))
    assert found is not None
    assert (found.kept, found.split, found.asked_anew) == (2, 0, {})
    assert rows(store, ANSWERS) == [(2, "feature", "rules")]


def test_a_text_keeps_its_answer_where_only_its_cleaning_has_changed(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash", "It stops.\n\n<!-- a comment -->"), make_item(2, "crash", "now")])
    # As a release left it that did not clean HTML comments away.
    execute(store, "UPDATE texts SET body = body || E'\\n\\n<!-- a comment -->' WHERE body LIKE '%stops%'")
    execute(store, "UPDATE texts SET rules_version = 0, text_hash = '0:' || md5(body)")
    again = FakeClassifier()
    outcome = run_with(store, plan, classifier=again)
    assert (outcome.status, again.asked) == ("ok", [])
    assert rows(store, "SELECT number, category FROM issue_categories ORDER BY 1") == [(1, "bug"), (2, "bug")]
    assert rows(store, "SELECT count(*) FROM texts") == [(2,)]


def test_ids_of_newer_rules_are_left_alone_and_the_way_out_is_said(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    apply(store, rules(NEXT))
    before = rows(store, "SELECT * FROM texts")
    outcome = run_with(store, plan, [make_item(2, "Add")])
    assert outcome.exit_code == ConfigurationError.exit_code
    assert f"version {NEXT} of the rules" in (outcome.error or "")
    assert rows(store, "SELECT * FROM texts") == before
    assert rows(store, "SELECT count(*) FROM text_queue") == [(1,)]


def test_two_processes_do_not_make_ids_anew_at_once(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    make_old(store)
    assert store.try_lock("rehash")
    before = rows(store, "SELECT * FROM texts")
    outcome = run_with(store, plan)
    assert (outcome.status, outcome.exit_code) == ("locked", LockedError.exit_code)
    assert rows(store, "SELECT * FROM texts") == before


def test_a_text_that_somebody_is_being_asked_about_is_not_merged_away(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, SAME_TWICE[0]), make_item(2, SAME_TWICE[1])])
    execute(
        store,
        "INSERT INTO claims SELECT max(id), 'kind', 77, now() + interval '1 hour' FROM texts",
    )
    before = rows(store, "SELECT * FROM texts ORDER BY id")
    with pytest.raises(LockedError, match="run 77 is asking"):
        apply(store, rules(NEXT, without_colours))
    assert rows(store, "SELECT * FROM texts ORDER BY id") == before
    execute(store, "DELETE FROM claims")
    found = apply(store, rules(NEXT, without_colours))
    assert found is not None
    assert found.merged == 1


def test_a_plan_computes_the_same_and_writes_nothing(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, SAME_TWICE[0]), make_item(2, SAME_TWICE[1]), make_item(3, "Add")])
    tables = ("items", "texts", "item_texts", "classifications", "text_queue", "text_aliases", "former_texts")
    before = {name: rows(store, f"SELECT xmin, t.* FROM {name} t ORDER BY t") for name in tables}
    planned = apply(store, rules(NEXT, without_colours), dry_run=True)
    assert {name: rows(store, f"SELECT xmin, t.* FROM {name} t ORDER BY t") for name in tables} == before
    assert planned is not None
    assert planned.merged == 1
    assert apply(store, rules(NEXT, without_colours)) == planned


def test_what_was_purged_stays_purged(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")])
    with store.transaction() as connection:
        (item,) = select_items(connection, "octo/demo", 1)
    purge_item(store, item, "asked for")
    found = apply(store, rules(NEXT))
    assert found is not None
    assert found.texts == 1
    assert rows(store, "SELECT text_hash LIKE 'purged %', body, rules_version FROM texts ORDER BY 1 DESC LIMIT 1") == [
        (True, "", NEXT)
    ]


class KilledError(Exception):
    """As if the process had ended here."""


class Mortal(Store):
    """A store whose process ends in its n-th transaction: right before it is committed, or right after."""

    def __init__(self, url: str, last: int, *, committed: bool) -> None:
        super().__init__(url)
        self.left = last
        self.committed = committed

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """As the store's, until the end."""
        self.left -= 1
        with super().transaction() as connection:
            yield connection
            if self.left == 0 and not self.committed:
                raise KilledError
        if self.left == 0:
            raise KilledError


def content(store: Store) -> list[list[Any]]:
    """Everything that matters, without what counts up."""
    return [
        rows(
            store,
            "SELECT i.external_id, it.input, x.text_hash, x.family_hash, x.body, x.rules_version FROM items i"
            " JOIN item_texts it ON it.item_id = i.id JOIN texts x ON x.id = it.text_id ORDER BY 1, 2",
        ),
        rows(store, LEDGER),
        rows(store, ANSWERS),
        rows(
            store,
            "SELECT former_hash, a.input, text_hash FROM text_aliases a JOIN texts x ON x.id = a.text_id ORDER BY 1, 2",
        ),
        rows(store, "SELECT kept_id, other_id FROM answer_conflicts ORDER BY 1, 2"),
        rows(store, "SELECT count(*) FROM text_queue"),
    ]


def test_a_kill_at_any_transaction_changes_nothing_in_the_end(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.stages.rehash._PORTION", 3)
    monkeypatch.setattr("etl.stages.fingerprint._PORTION", 4)
    colours = ("red ", "blue ", "")
    page = [make_item(n, f"The {colours[n % 3]}worker of part {'abcdef'[n // 3]} will crash") for n in range(1, 13)]
    run_with(store, plan, page)
    execute(store, "UPDATE classifications SET categories = '{feature}' WHERE id % 5 = 0")
    wanted = rules(NEXT, without_colours)
    snapshot = {name: rows(store, f"SELECT * FROM {name}") for name in ("texts",)}
    assert len(snapshot["texts"]) == 12
    deaths = 0
    while True:
        mortal = Mortal(url_of(store), 2 + deaths // 2 % 3, committed=bool(deaths % 2))
        try:
            fingerprint_stage(mortal, Tally(), SilentProgress(), wanted)
            break
        except KilledError:
            deaths += 1
            assert deaths < 60
        finally:
            mortal.close()
    assert deaths >= 4
    killed = content(store)
    assert killed[-1] == [(0,)]
    assert rows(store, "SELECT count(*) FROM texts") == [(5,)]
    assert len(rows(store, LEDGER)) == 12
    assert len(killed[3]) == 12
    assert {row[2] for row in killed[3]} == {row[2] for row in killed[0]}
    assert apply(store, wanted) is None
    assert content(store) == killed


def test_an_alias_between_texts_that_the_new_rules_merge_ends(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, SAME_TWICE[0]), make_item(2, SAME_TWICE[1])])
    ids = dict(rows(store, "SELECT number, text_hash FROM issues"))
    alias_texts(store, Named(ids[1]), Named(ids[2]), None, Signed("ana", "one bug"))
    found = apply(store, rules(NEXT, without_colours))
    assert found is not None
    assert (found.merged, found.aliases_ended) == (1, 1)
    ((by, why),) = rows(store, "SELECT withdrawn_by, withdrawn_reason FROM text_decisions")
    assert (by, why) == ("rehash", f"void since version {NEXT} of the rules made these texts one")


def test_aliases_that_merged_texts_would_close_to_a_circle_end_but_for_the_newest(store: Store, plan: Plan) -> None:
    titles = ("The red worker", "The blue wheel", "The red wheel", "The blue worker")
    run_with(store, plan, [make_item(number, title) for number, title in enumerate(titles, 1)])
    ids = dict(rows(store, "SELECT number, text_hash FROM issues"))
    for first, second in ((1, 2), (3, 4)):  # a worker is a wheel, and a wheel is a worker: of different colours
        alias_texts(store, Named(ids[first]), Named(ids[second]), None, Signed("ana", "one bug"))
    found = apply(store, rules(NEXT, without_colours))
    assert found is not None
    assert (found.merged, found.aliases_ended) == (2, 1)
    assert rows(store, "SELECT id FROM text_decisions WHERE withdrawn_at IS NULL") == [(2,)]
    ((everything,),) = rows(store, "SELECT DISTINCT text_hash FROM issues")
    assert rows(store, f"SELECT title FROM issues WHERE number = 4 AND text_hash = '{everything}'") == [(titles[3],)]
    assert rows(store, "SELECT count(DISTINCT current_hash) FROM text_ids") == [(1,)]
