"""The structure: made by migrations only, up and down, and refused where it does not fit."""

import pytest
from sqlalchemy import inspect, make_url, text

from etl.db.connection import open_engine
from etl.db.migrate import HEAD, check_schema, current_revision, downgrade_engine, upgrade, upgrade_engine
from etl.db.store import Store
from etl.errors import ConfigurationError, UnavailableError
from etl.resources import resource_folder


def test_the_head_constant_is_the_newest_migration() -> None:
    revisions = [path.name.split("_")[0] for path in (resource_folder("migrations") / "versions").glob("*.py")]
    assert max(revisions) == HEAD


def test_going_up_down_and_up_again_leaves_what_the_tables_say(empty_database_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from etl.db.tables import metadata

    engine = open_engine(empty_database_url)
    upgrade_engine(engine)
    downgrade_engine(engine, "base")
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert inspect(connection).get_view_names() == []
    upgrade_engine(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_counts_and_what_is_exported_outlive_going_down_and_up_and_all_is_sent_once_more(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO repositories (key, host, full_name) VALUES (1, 'github.com', 'octo/demo')",
            """
            INSERT INTO daily_counts (repository_key, task, category, day, family_hash, opened, closed, open,
                                      row_version)
            VALUES (1, 'kind', 'bug', '2025-01-01', '', 3, 0, 3, 7), (1, 'kind', 'bug', '2025-01-01', '9:f', 2, 0, 2, 7)
            """,
            "INSERT INTO sinks (identity) VALUES ('c/i-daily-v1/u')",
            "INSERT INTO exports SELECT id, '1-kind-bug-2025-01-01', 7 FROM sinks",
        ):
            connection.execute(text(statement))
    downgrade_engine(engine, "0005")
    upgrade_engine(engine)
    with engine.begin() as connection:
        counts = connection.execute(text("SELECT family_hash, opened, row_version FROM daily_counts")).all()
        assert [tuple(row) for row in counts] == [("", 3, 7)]
        assert connection.execute(text("SELECT row_version FROM exports")).scalars().all() == [0]
        (document,) = connection.execute(text("SELECT source FROM daily_documents")).scalars()
        assert (document["level"], document["reopened"], document["row_version"]) == ("category", 0, 7)
    engine.dispose()


def test_what_runs_did_for_each_task_is_taken_from_the_ledger_when_going_up(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO runs (command, ended_at, tasks) VALUES ('run', now(), '{kind,other}'), ('run', NULL, '{a}')",
            "INSERT INTO texts (text_hash, family_hash, input, rules_version, body) VALUES ('2:x', '2:f', 'i', 2, '')",
            """
            INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier, model,
                                         purpose, outcome, categories, confidences, rationale, cost_usd, run_id)
            SELECT t.id, 'kind', 1, 'x', 'p', v.who, 'm', v.why, 'abstained', '{}', '{}', '', 0.5, r.id
            FROM texts t, runs r, (VALUES ('claude', 'live'), ('claude', 'audit'), ('family', 'live')) AS v (who, why)
            """,
            "INSERT INTO sinks (identity) VALUES ('c/i-runs-v1/u')",
            "INSERT INTO exports SELECT id, unnest(ARRAY['run-1-1', '1-issue-2-kind']), 7 FROM sinks",
        ):
            connection.execute(text(statement))
    downgrade_engine(engine, "0006")
    upgrade_engine(engine)
    with engine.begin() as connection:
        found = connection.execute(
            text(
                "SELECT run_id, task, classifier, answers, cost_usd::float8, cost_audit_usd::float8 FROM run_tasks"
                " ORDER BY run_id, task"
            )
        ).all()
        assert [tuple(row) for row in found] == [(1, "kind", "claude", 2, 1.0, 0.5), (1, "other", "", 0, 0.0, 0.0)]
        versions = connection.execute(text("SELECT row_version FROM exports ORDER BY document_id")).scalars().all()
        assert versions == [7, 0]
    engine.dispose()


def test_dollars_of_golden_sets_are_in_the_view_once_and_go_with_the_migration(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        for statement in (
            """
            INSERT INTO runs (command, started_at, tasks, classifier, model, texts_asked, input_tokens, cost_usd)
            VALUES ('issuetide run', '2026-01-01T23:59:59Z', '{kind}', 'claude', 'm', 1, 10, 0.5),
                   ('issuetide evaluate --task kind', '2026-01-01T23:59:59Z', '{kind}', 'claude', 'm', 3, 30, 0.25),
                   ('issuetide evaluate --task kind', '2026-01-02T00:00:00Z', '{kind}', 'claude', 'm', 2, 20, 0.125),
                   ('issuetide evaluate --task kind', '2026-01-02T12:00:00Z', '{kind}', 'claude', 'm', 4, 40, 1),
                   ('issuetide evaluate --task kind', '2026-01-03T00:00:00Z', '{kind}', 'claude', NULL, 0, 0, 0)
            """,
            "INSERT INTO texts (text_hash, family_hash, input, rules_version, body) VALUES ('2:x', '2:f', 'i', 2, '')",
            """
            INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier, model,
                                         purpose, outcome, categories, confidences, rationale, input_tokens, cost_usd,
                                         run_id, created_at)
            SELECT t.id, 'kind', 1, 'x', 'p', 'claude', 'm', 'live', 'abstained', '{}', '{}', '', 10, 0.5, 1,
                   '2026-01-01T12:00:00Z' FROM texts t
            """,
        ):
            connection.execute(text(statement))
    shown = "SELECT day::text, purpose, answers, input_tokens, cost_usd::float8 FROM spending_daily ORDER BY 1, 2"
    stored = ("2026-01-01", "live", 1, 10, 0.5)
    found = []
    for revision in (None, "0007", None):
        upgrade_engine(engine) if revision is None else downgrade_engine(engine, revision)
        with engine.begin() as connection:
            found.append([tuple(row) for row in connection.execute(text(shown))])
    golden = [("2026-01-01", "golden", 3, 30, 0.25), ("2026-01-02", "golden", 6, 60, 1.125)]
    assert found == [[golden[0], stored, golden[1]], [stored], [golden[0], stored, golden[1]]]
    engine.dispose()


def test_an_upgrade_may_be_repeated(database_url: str) -> None:
    upgrade(database_url)
    store = Store(database_url)
    with store.transaction() as connection:
        assert current_revision(connection) == HEAD
    store.close()


@pytest.mark.parametrize(
    ("revision", "words"),
    [(None, "no Issuetide tables yet"), ("0000", "this release needs"), ("9999", "newer than this release")],
)
def test_a_structure_that_does_not_fit_is_refused_with_the_way_out(
    revision: str | None, words: str, empty_database_url: str
) -> None:
    store = Store(empty_database_url)
    with store.transaction() as connection:
        if revision is not None:
            connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:r)"), {"r": revision})
        with pytest.raises(ConfigurationError, match=words):
            check_schema(connection)
    store.close()


def test_a_database_that_does_not_exist_is_named_without_the_password(database_url: str) -> None:
    missing = database_url.replace(database_url.split("?")[0].rsplit("/", 1)[1], "no_such_database", 1)
    store = Store(missing)
    with pytest.raises(ConfigurationError, match="no_such_database"), store.transaction():
        pass
    store.close()


def test_a_user_that_does_not_exist_is_no_missing_database(database_url: str) -> None:
    store = Store(make_url(database_url).set(username="nobody_here").render_as_string(hide_password=False))
    with pytest.raises(ConfigurationError, match=r"this user may not log in .*nobody_here"), store.transaction():
        pass
    store.close()


def test_a_server_that_is_away_is_named_without_the_password() -> None:
    store = Store("postgres://somebody:hunter2@127.0.0.1:1/there")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1") as caught, store.transaction():
        pass
    assert "hunter2" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "not a url", "http://h"])
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as caught:
        Store(url)
    assert "hunter2" not in str(caught.value)
