"""The floor: the least a program must do to bring GitHub's issues into PostgreSQL (fetch, parse, COPY, merge).

One thread, one connection each way, no framework, no checks, no retries, no hashes, no raw payload. What
`benchmarks/load.py` compares Issuetide with. Run by it as a process of its own:

    python benchmarks/floor.py API_URL OWNER/NAME DATABASE_URL
"""

import http.client
import sys
from urllib.parse import quote, urlsplit

import orjson
import psycopg

COLUMNS = [
    *("number", "title", "body", "state", "author", "labels", "assignees", "comments"),
    *("created_at", "updated_at", "closed_at", "url"),
]
STRUCTURE = """
    CREATE TABLE IF NOT EXISTS floor_issues (
        number bigint PRIMARY KEY, title text, body text, state text, author text, labels text[], assignees text[],
        comments int, created_at timestamptz, updated_at timestamptz, closed_at timestamptz, url text)
"""
MERGE = f"""
    INSERT INTO floor_issues AS i ({", ".join(COLUMNS)}) SELECT {", ".join(COLUMNS)} FROM floor_incoming
    ON CONFLICT (number) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])} WHERE i.updated_at < excluded.updated_at
"""


def main() -> None:
    """Loads what changed since the newest stored change."""
    api_url, repository, database_url = sys.argv[1:]
    parts = urlsplit(api_url)
    client = http.client.HTTPConnection(parts.hostname or "", parts.port)
    with psycopg.connect(database_url) as connection:
        connection.execute(STRUCTURE)
        connection.execute(
            "CREATE TEMPORARY TABLE floor_incoming ON COMMIT DELETE ROWS AS SELECT * FROM floor_issues WITH NO DATA"
        )
        newest = connection.execute("SELECT max(updated_at) - interval '15 min' FROM floor_issues").fetchone()
        path = f"{parts.path}/repos/{repository}/issues?state=all&sort=updated&direction=asc&per_page=100"
        if newest and newest[0]:
            path += f"&since={quote(newest[0].strftime('%Y-%m-%dT%H:%M:%SZ'))}"
        while path:
            path = _load_page(client, connection, path)


def _load_page(client: http.client.HTTPConnection, connection: psycopg.Connection, path: str) -> str:
    client.request("GET", path, headers={"Authorization": "Bearer floor", "User-Agent": "floor"})
    reply = client.getresponse()
    issues = orjson.loads(reply.read())
    with connection.cursor() as cursor, cursor.copy(f"COPY floor_incoming ({', '.join(COLUMNS)}) FROM STDIN") as copy:
        for issue in issues:
            copy.write_row(
                (
                    issue["number"],
                    issue["title"],
                    issue["body"],
                    issue["state"],
                    issue["user"] and issue["user"]["login"],
                    [label["name"] for label in issue["labels"]],
                    [person["login"] for person in issue["assignees"]],
                    issue["comments"],
                    issue["created_at"],
                    issue["updated_at"],
                    issue["closed_at"],
                    issue["html_url"],
                )
            )
    connection.execute(MERGE)
    connection.commit()
    for link in (reply.getheader("Link") or "").split(","):
        if 'rel="next"' in link:
            following = urlsplit(link.split(";")[0].strip(" <>"))
            return f"{following.path}?{following.query}"
    return ""


if __name__ == "__main__":
    main()
