"""Compares what PostgreSQL holds of a repository with what is so at the loopback GitHub."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from etl.dedup import issue_text, text_hash
from tests.loopback.github import LoopbackGitHub

_ISSUE_FIELDS = (
    "title",
    "body",
    "state",
    "state_reason",
    "author",
    "comments",
    "created_at",
    "updated_at",
    "closed_at",
    "labels",
    "assignees",
    "is_pull",
    "merged_at",
)
_MOST_DIFFERENCES = 30


def differences(connection: Connection, github: LoopbackGitHub, name: str, label: str | None = None) -> list[str]:
    """A line for everything in which the mirror of a repository differs from the truth.

    name: of the repository, or one that it had.
    label: what the mirror is narrowed to. An item that lost it stays, as it is now; one that never had it is not there.
    """
    truth = github.truth(name)
    if label is not None:
        truth = _narrowed(connection, truth, label)
    found = [
        *_repository(connection, truth),
        *_issues(connection, truth),
        *_comments(connection, truth),
        *_gone(connection, truth, github),
        *_texts(connection, truth),
        *_open_count(connection, truth),
        *_histories(connection, truth),
    ]
    return found[:_MOST_DIFFERENCES]


def _narrowed(connection: Connection, truth: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The truth about the items that have the label, or had it once and so are stored."""
    rows = _rows(
        connection,
        truth,
        """
        SELECT i.external_id FROM items i JOIN repositories r ON r.key = i.repository_key
        WHERE r.github_id = :id AND i.kind <> 'comment'
        """,
    )
    stored = {row.external_id for row in rows}
    kept = {
        number: issue
        for number, issue in truth["issues"].items()
        if number in stored or label.lower() in {name.lower() for name in issue["labels"]}
    }
    comments = {identity: row for identity, row in truth["comments"].items() if row["number"] in kept}
    events = {number: row for number, row in truth["events"].items() if number in kept}
    return {**truth, "issues": kept, "comments": comments, "events": events}


def _repository(connection: Connection, truth: Mapping[str, Any]) -> Iterator[str]:
    name = connection.execute(
        text("SELECT full_name FROM repositories WHERE github_id = :id"), {"id": truth["github_id"]}
    ).scalar_one_or_none()
    if name != truth["full_name"]:
        yield f"repository {truth['full_name']} is called {name}"


def _rows(connection: Connection, truth: Mapping[str, Any], statement: str) -> list[Any]:
    return list(connection.execute(text(statement), {"id": truth["github_id"]}))


def _issues(connection: Connection, truth: Mapping[str, Any]) -> Iterator[str]:
    rows = _rows(
        connection,
        truth,
        """
        SELECT i.*, i.kind = 'pull_request' AS is_pull FROM items i JOIN repositories r ON r.key = i.repository_key
        WHERE r.github_id = :id AND i.kind <> 'comment' AND i.tombstone IS NULL
        """,
    )
    stored = {row.external_id: row._mapping for row in rows}
    name = truth["full_name"]
    for number, expected in truth["issues"].items():
        row = stored.pop(number, None)
        if row is None:
            yield f"{name}#{number} is missing"
            continue
        for field in _ISSUE_FIELDS:
            if _plain(row[field]) != _plain(expected[field]):
                yield f"{name}#{number} {field}: {_plain(row[field])!r}, truth {_plain(expected[field])!r}"
    yield from (f"{name}#{number} is stored as if it were there" for number in stored)


def _comments(connection: Connection, truth: Mapping[str, Any]) -> Iterator[str]:
    rows = _rows(
        connection,
        truth,
        """
        SELECT c.external_id, c.parent_number AS number, c.body, c.author, c.created_at, c.updated_at
        FROM items c JOIN repositories r ON r.key = c.repository_key
        JOIN items p ON p.repository_key = c.repository_key AND p.external_id = c.parent_number
                        AND p.kind <> 'comment' AND p.tombstone IS NULL
        WHERE r.github_id = :id AND c.kind = 'comment' AND c.tombstone IS NULL
        """,
    )
    stored = {row.external_id: row._mapping for row in rows}
    name = truth["full_name"]
    for identity, expected in truth["comments"].items():
        row = stored.pop(identity, None)
        if row is None:
            yield f"{name}#{expected['number']} lacks comment {identity}"
            continue
        for field, value in expected.items():
            if _plain(row[field]) != _plain(value):
                yield f"{name} comment {identity} {field}: {_plain(row[field])!r}, truth {_plain(value)!r}"
    yield from (f"{name}#{row['number']} still has comment {identity}" for identity, row in stored.items())


def _gone(connection: Connection, truth: Mapping[str, Any], github: LoopbackGitHub) -> Iterator[str]:
    rows = _rows(
        connection,
        truth,
        """
        SELECT i.external_id AS number, i.tombstone, l.repository, l.number AS target
        FROM items i JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN item_links l ON l.item_id = i.id AND l.kind = 'transferred_to'
        WHERE r.github_id = :id AND i.kind <> 'comment' AND i.tombstone IS NOT NULL
        """,
    )
    name = truth["full_name"]
    for row in rows:
        expected = truth["gone"].get(row.number)
        if expected is None:
            yield f"{name}#{row.number} has the tombstone {row.tombstone!r} and is not gone"
        elif row.tombstone != expected["reason"]:
            yield f"{name}#{row.number} has the tombstone {row.tombstone!r}, truth {expected['reason']!r}"
        elif row.repository is not None and _place(github, row.repository, row.target) not in map(
            tuple, expected["path"]
        ):
            yield f"{name}#{row.number} moved to {row.repository}#{row.target}, truth {expected['path']}"


def _place(github: LoopbackGitHub, name: str, number: int) -> tuple[str, int]:
    """A place by the repository's name of today."""
    return github.repository(name).full_name, number


def _texts(connection: Connection, truth: Mapping[str, Any]) -> Iterator[str]:
    rows = _rows(
        connection,
        truth,
        """
        SELECT i.external_id AS number, i.title, i.body, x.text_hash, x.body AS text
        FROM items i JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN item_texts t ON t.item_id = i.id AND t.input = 'issue'
        LEFT JOIN texts x ON x.id = t.text_id
        WHERE r.github_id = :id AND i.kind <> 'comment' AND i.tombstone IS NULL
        """,
    )
    for row in rows:
        if row.text_hash is None or row.text_hash != text_hash(issue_text(row.title, row.body)):
            yield f"{truth['full_name']}#{row.number} has the text {row.text!r} for {row.title!r}"


def _open_count(connection: Connection, truth: Mapping[str, Any]) -> Iterator[str]:
    rows = connection.execute(
        text("SELECT open FROM open_daily WHERE repository = :name ORDER BY day DESC LIMIT 1"),
        {"name": truth["full_name"]},
    ).scalars()
    counted = next(iter(rows), 0)
    expected = sum(issue["state"] == "open" and not issue["is_pull"] for issue in truth["issues"].values())
    if counted != expected:
        yield f"{truth['full_name']} has {counted} open issues by its history, truth {expected}"


def _histories(connection: Connection, truth: Mapping[str, Any]) -> Iterator[str]:
    rows = _rows(
        connection,
        truth,
        """
        SELECT i.external_id AS number, c.kind, c.at FROM state_changes c
        JOIN items i ON i.id = c.item_id JOIN repositories r ON r.key = i.repository_key
        WHERE r.github_id = :id AND i.tombstone IS NULL ORDER BY c.at, c.id
        """,
    )
    stored: dict[int, list[tuple[str, int]]] = {}
    for row in rows:
        stored.setdefault(row.number, []).append((row.kind, int(row.at.timestamp())))
    for number, events in truth["events"].items():
        expected = [(event["kind"], event["at"]) for event in events if event["kind"] in {"closed", "reopened"}]
        if stored.get(number, []) != expected:
            yield f"{truth['full_name']}#{number} changed state {stored.get(number, [])}, truth {expected}"


def _plain(value: Any) -> Any:
    """Times as whole seconds, lists as lists, and texts as PostgreSQL can hold them."""
    if isinstance(value, datetime):
        return int(value.astimezone(UTC).timestamp())
    if isinstance(value, list | tuple):
        return sorted(_plain(inner) for inner in value)
    if isinstance(value, str):
        return "".join("\ufffd" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in value)
    return value
