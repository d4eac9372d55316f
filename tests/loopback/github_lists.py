"""The lists of the loopback GitHub, ordered, narrowed and cut as the REST API does it.

Rows changed in the same second stand newest opened first even in an ascending list, label filters mean AND and ignore
case, a keyset cursor holds the sort value and the id of the last row: as measured at the real API.
"""

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from tests.loopback.github_world import Comment, Event, Issue, Key, Repo


@dataclass(frozen=True, slots=True)
class IssueQuery:
    """A request for a list of issues, as GitHub understands its parameters."""

    state: str
    labels: frozenset[str]
    sort: str
    direction: str
    since: int | None
    per_page: int
    after: Key | None
    before: Key | None
    page: int


def list_issues(
    repo: Repo, query: IssueQuery, now: float, *, since_inclusive: bool
) -> tuple[list[Issue], Key | None, Key | None]:
    """The rows of a page, the key after which the next page begins, and the key before which the previous one ends."""
    keys, issues = _sorted_issues(repo, query, now)
    low, high = 0, len(issues)
    if query.since is not None:
        # A keyset never lists by creation together with `since` here; both orders of the change time cut off one end.
        edge = query.since if since_inclusive else query.since + 1
        if query.sort != "updated":
            kept = [(key, issue) for key, issue in zip(keys, issues, strict=True) if issue.updated_at >= edge]
            keys, issues = [key for key, _ in kept], [issue for _, issue in kept]
            high = len(issues)
        elif query.direction == "asc":
            low = bisect_left(keys, (edge, -(1 << 62)))
        else:
            high = bisect_right(keys, (-edge, 1 << 62))
    if query.after is not None:
        start = max(low, bisect_right(keys, query.after))
    elif query.before is not None:
        high = min(high, bisect_left(keys, query.before))
        start = max(low, high - query.per_page)
    else:
        start = low + (query.page - 1) * query.per_page
    rows = issues[start : min(high, start + query.per_page)]
    end = start + len(rows)
    more = end < len(issues) if query.before is not None else end < high
    return rows, keys[end - 1] if rows and more else None, keys[start] if rows and start > low else None


def _sorted_issues(repo: Repo, query: IssueQuery, now: float) -> tuple[list[Key], list[Issue]]:
    name = ("issues", query.state, query.labels, query.sort, query.direction)
    known = repo.lists.get(name)
    if known is not None:
        return known
    # list() of a dict's values is one step for the interpreter: an edit on another thread cannot break it.
    shown = [_seen(issue, now) for issue in list(repo.issues.values())]
    rows = [issue for issue in shown if issue is not None and _matches(issue, query)]
    rows.sort(key=lambda issue: _key(issue, query))
    result = [_key(issue, query) for issue in rows], rows
    if not any(issue.visible_at > now for issue in repo.issues.values()):
        repo.lists[name] = result
    return result


def _seen(issue: Issue, now: float) -> Issue | None:
    """The issue as a lagging list shows it."""
    shown: Issue | None = issue
    while shown is not None and shown.visible_at > now:
        shown = shown.previous
    return shown


def _matches(issue: Issue, query: IssueQuery) -> bool:
    if query.state != "all" and issue.state != query.state:
        return False
    return not query.labels or query.labels <= {label.lower() for label in issue.labels}


def _key(issue: Issue, query: IssueQuery) -> Key:
    value = {"updated": issue.updated_at, "comments": issue.comments}.get(query.sort, issue.created_at)
    return (value if query.direction == "asc" else -value), -issue.id


def list_comments(
    repo: Repo, sort: str, direction: str, since: int | None, number: int | None, *, since_inclusive: bool
) -> list[Comment]:
    """All comments of the repository, or of one issue, in order; GitHub pages them by number."""
    name = ("comments", sort, direction, number)
    if name not in repo.lists:
        rows = [comment for comment in list(repo.comments.values()) if number is None or comment.number == number]
        sign = 1 if direction == "asc" else -1
        rows.sort(key=lambda row: (sign * (row.updated_at if sort == "updated" else row.created_at), row.id))
        repo.lists[name] = [(row.updated_at, row.id) for row in rows], rows
    keys, rows = repo.lists[name]
    if since is None:
        return rows
    edge = since if since_inclusive else since + 1
    if sort == "updated" and direction == "asc":
        return rows[bisect_left(keys, (edge, 0)) :]
    return [row for row in rows if row.updated_at >= edge]


class Entry(NamedTuple):
    """One line of a timeline: an event or a comment; ordered by time, then by id."""

    at: int
    id: int
    what: Event | Comment


def list_events(repo: Repo, number: int) -> list[Event]:
    """What an issue's `events` list holds, oldest first: neither comments nor mentions from elsewhere."""
    return sorted(
        (event for event in repo.issues[number].events if event.kind != "cross-referenced"),
        key=lambda event: (event.at, event.id),
    )


def list_timeline(repo: Repo, number: int) -> list[Entry]:
    """An issue's whole timeline, oldest first."""
    entries = [Entry(event.at, event.id, event) for event in repo.issues[number].events]
    entries += [Entry(row.created_at, row.id, row) for row in list(repo.comments.values()) if row.number == number]
    return sorted(entries, key=lambda entry: entry[:2])


def encode_cursor(key: Key) -> str:
    """A keyset cursor: opaque to clients."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Key | None:
    """The key of a cursor; None if it is none."""
    try:
        value, identity = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, TypeError):
        return None
    return int(value), int(identity)
