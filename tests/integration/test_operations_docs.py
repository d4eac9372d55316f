"""docs/operations.md: its SQL runs as written, and the read-only role can read the views and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.integration.test_sql_docs import VIEWS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
QUERIES = [
    statement.strip()
    for block in BLOCKS
    for statement in block.split(";")
    if statement.strip().upper().startswith("SELECT")
]
ROLE_BLOCK = next(block for block in BLOCKS if "GRANT SELECT" in block)


def test_the_queries_of_the_document_are_found() -> None:
    assert len(QUERIES) >= 2  # the alerts have their own document and test


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_a_query_of_the_document_runs(query: str, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        cursor = connection.execute(query.encode())
        assert cursor.description


@pytest.fixture
def reader_url(database_url: str) -> Iterator[str]:
    """A connection as the role that the document makes, by the document's own statements."""
    name = conninfo_to_dict(database_url)["dbname"]
    statements = ROLE_BLOCK.replace("DATABASE issuetide ", f"DATABASE {name} ")
    assert statements != ROLE_BLOCK
    with psycopg.connect(database_url, autocommit=True) as owner:
        for statement in statements.split(";\n"):
            if statement.strip():
                owner.execute(statement.encode())
        try:
            yield make_conninfo(database_url, user="issuetide_reader", password="choose another one")
        finally:
            take_back = re.search(r"`(DROP OWNED BY issuetide_reader; DROP ROLE issuetide_reader;)`", DOCUMENT)
            assert take_back is not None
            for statement in take_back[1].split(";"):
                if statement.strip():
                    owner.execute(statement.strip().encode())
            left = owner.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'issuetide_reader'").fetchone()
            assert left == (0,)


def test_the_read_only_role_reads_every_view(reader_url: str) -> None:
    with psycopg.connect(reader_url) as connection:
        for view in sorted(VIEWS):
            connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(view)))


def test_the_read_only_role_reads_no_table_even_when_it_leaves_read_only_mode(
    reader_url: str, database_url: str
) -> None:
    with psycopg.connect(database_url) as owner:
        tables = [row[0] for row in owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    assert tables
    with psycopg.connect(reader_url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for table in tables:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (n int)")


def test_the_read_only_role_writes_nothing_by_accident(reader_url: str) -> None:
    with psycopg.connect(reader_url) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TEMPORARY TABLE scratch AS SELECT 1")
