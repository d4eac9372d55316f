"""What the loopback GitHub knows: repositories, issues, comments, and how GitHub lists and shows them.

Orders, cursors and filters are those that were measured at the real API: rows changed in the same second stand newest
opened first even in an ascending list, label filters mean AND and ignore case, a keyset cursor holds the sort value
and the id of the last row.
"""

import base64
import binascii
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

Key = tuple[int, int]


@dataclass(slots=True)
class Issue:
    """An issue or pull request; times in whole seconds since 1970.

    extra: fields that replace or join what is shown. visible_at, previous: while the list lags, it shows the latter.
    """

    number: int
    id: int
    title: Any
    body: Any
    created_at: int
    updated_at: int
    closed_at: int | None = None
    state: str = "open"
    state_reason: str | None = None
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    author: str | None = "alice"
    author_type: str = "User"
    is_pull: bool = False
    comments: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    visible_at: float = 0.0
    previous: "Issue | None" = None


@dataclass(slots=True)
class Comment:
    """A comment on the issue or pull request `number`."""

    id: int
    number: int
    body: Any
    created_at: int
    updated_at: int
    author: str | None = "bob"
    author_type: str = "User"


@dataclass(slots=True)
class Repo:
    """A repository with what it holds. version: rises on every change; sorted lists are kept for one version."""

    id: int
    full_name: str
    has_issues: bool = True
    private: bool = False
    issues: dict[int, Issue] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    gone: dict[int, tuple[int, str]] = field(default_factory=dict)
    version: int = 0
    next_number: int = 1
    lists: dict[tuple[object, ...], tuple[list[Key], list[Any]]] = field(default_factory=dict)

    def touch(self) -> None:
        """Forgets the sorted lists."""
        self.version += 1
        self.lists.clear()


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
    if not any(issue.previous is not None or issue.visible_at > now for issue in repo.issues.values()):
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


def render(value: Any) -> bytes:
    """JSON as GitHub sends it, lone surrogates and NUL included (escaped)."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def timestamp(seconds: float) -> str:
    """As GitHub writes times."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> int:
    """The whole seconds of an ISO time; without a zone it is UTC."""
    time = datetime.fromisoformat(text)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


@dataclass(frozen=True, slots=True)
class Renderer:
    """Objects as the REST API shows them; api: its root, web: the root of the pages."""

    api: str
    web: str

    def repository(self, repo: Repo) -> dict[str, Any]:
        """A repository object, less the many links."""
        owner, name = repo.full_name.split("/")
        return {
            "id": repo.id,
            "node_id": f"R_{repo.id}",
            "name": name,
            "full_name": repo.full_name,
            "private": repo.private,
            "owner": self.user(owner, "Organization"),
            "html_url": f"{self.web}/{repo.full_name}",
            "url": f"{self.api}/repos/{repo.full_name}",
            "has_issues": repo.has_issues,
            "archived": False,
            "disabled": False,
            "visibility": "private" if repo.private else "public",
            "default_branch": "main",
            "open_issues_count": sum(issue.state == "open" for issue in repo.issues.values()),
        }

    def issue(self, repo: Repo, issue: Issue) -> dict[str, Any]:
        """An issue or pull request in a list of issues."""
        api = f"{self.api}/repos/{repo.full_name}"
        here = f"{api}/issues/{issue.number}"
        page = f"{self.web}/{repo.full_name}/{'pull' if issue.is_pull else 'issues'}/{issue.number}"
        shown = {
            "url": here,
            "repository_url": api,
            "labels_url": f"{here}/labels{{/name}}",
            "comments_url": f"{here}/comments",
            "events_url": f"{here}/events",
            "html_url": page,
            "id": issue.id,
            "node_id": f"I_{issue.id}",
            "number": issue.number,
            "title": issue.title,
            "user": self.user(issue.author, issue.author_type),
            "labels": [self._label(api, label) for label in issue.labels],
            "state": issue.state,
            "locked": False,
            "milestone": None,
            "assignees": [self.user(login, "User") for login in issue.assignees],
            "comments": issue.comments,
            "created_at": timestamp(issue.created_at),
            "updated_at": timestamp(issue.updated_at),
            "closed_at": None if issue.closed_at is None else timestamp(issue.closed_at),
            "author_association": "NONE",
            "active_lock_reason": None,
            "sub_issues_summary": {"total": 0, "completed": 0, "percent_completed": 0},
            "body": issue.body,
            "closed_by": None,
            "reactions": self._reactions(here),
            "timeline_url": f"{here}/timeline",
            "performed_via_github_app": None,
            "state_reason": issue.state_reason,
        }
        if issue.is_pull:
            pull = f"{api}/pulls/{issue.number}"
            shown |= {"draft": False, "pull_request": {"url": pull, "html_url": page, "merged_at": None}}
        return shown | issue.extra

    def comment(self, repo: Repo, comment: Comment) -> dict[str, Any]:
        """A comment on an issue or pull request."""
        api = f"{self.api}/repos/{repo.full_name}"
        issue = repo.issues.get(comment.number)
        kind = "pull" if issue is not None and issue.is_pull else "issues"
        here = f"{api}/issues/comments/{comment.id}"
        return {
            "url": here,
            "html_url": f"{self.web}/{repo.full_name}/{kind}/{comment.number}#issuecomment-{comment.id}",
            "issue_url": f"{api}/issues/{comment.number}",
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "user": self.user(comment.author, comment.author_type),
            "created_at": timestamp(comment.created_at),
            "updated_at": timestamp(comment.updated_at),
            "body": comment.body,
            "author_association": "NONE",
            "reactions": self._reactions(here),
            "performed_via_github_app": None,
        }

    def user(self, login: str | None, kind: str) -> dict[str, Any] | None:
        """A user object with its eighteen fields; None for a ghost."""
        if login is None:
            return None
        api = f"{self.api}/users/{login}"
        links = ("followers", "subscriptions", "orgs", "repos", "received_events")
        return {
            "login": login,
            "id": 1000 + sum(login.encode()),
            "node_id": f"U_{login}",
            "avatar_url": f"{self.web}/avatars/{login}",
            "gravatar_id": "",
            "url": api,
            "html_url": f"{self.web}/{login}",
            "following_url": f"{api}/following{{/other_user}}",
            "gists_url": f"{api}/gists{{/gist_id}}",
            "starred_url": f"{api}/starred{{/owner}}{{/repo}}",
            "events_url": f"{api}/events{{/privacy}}",
            **{f"{link}_url": f"{api}/{link}" for link in links},
            "type": kind,
            "user_view_type": "public",
            "site_admin": False,
        }

    def _label(self, api: str, name: str) -> dict[str, Any]:
        return {
            "id": 1 + sum(name.encode()),
            "node_id": f"LA_{name}",
            "url": f"{api}/labels/{name}",
            "name": name,
            "description": None,
            "color": "d73a4a",
            "default": False,
        }

    def _reactions(self, here: str) -> dict[str, Any]:
        names = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
        return {"url": f"{here}/reactions", "total_count": 0, **dict.fromkeys(names, 0)}


_RENDERED = frozenset(Renderer("", "").issue(Repo(1, "o/n"), Issue(1, 1, "", "", 0, 0, is_pull=True)))


def issue_of(record: dict[str, Any], number: int, identity: int) -> Issue:
    """An issue made of GitHub's own JSON object, or of a plainer one that has at least a title.

    Plain objects may name their labels as `label`; what GitHub's have beyond the fields known here is kept.
    """
    labels = record.get("labels") or ([record["label"]] if record.get("label") else [])
    user = record.get("user")
    created = record.get("created_at")
    created_at = seconds_of(created) if created else seconds_of("2024-01-01") + 3600 * number
    updated = record.get("updated_at")
    closed = record.get("closed_at")
    is_full = "html_url" in record or "repository_url" in record
    return Issue(
        number=number,
        id=identity,
        title=record["title"],
        body=record.get("body"),
        created_at=created_at,
        updated_at=seconds_of(updated) if updated else created_at,
        closed_at=seconds_of(closed) if closed else None,
        state=str(record.get("state") or "open").lower(),
        state_reason=record.get("state_reason"),
        labels=tuple(label["name"] if isinstance(label, dict) else str(label) for label in labels),
        assignees=tuple(person["login"] for person in record.get("assignees") or () if isinstance(person, dict)),
        author=user.get("login") if isinstance(user, dict) else None if "user" in record else "reporter",
        author_type=user.get("type", "User") if isinstance(user, dict) else "User",
        is_pull=record.get("pull_request") is not None,
        extra={key: value for key, value in record.items() if is_full and key not in _RENDERED | {"repository"}},
    )


def replaced(issue: Issue, now: float, lag: float, changes: dict[str, Any]) -> Issue:
    """The issue after an edit now; with a lag, lists go on showing it as it was for that many seconds."""
    return replace(issue, **changes, visible_at=now + lag if lag else 0.0, previous=issue if lag else None)
