"""What the loopback GitHub knows: repositories, issues, comments, events, and how GitHub shows them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

Key = tuple[int, int]
_PULL_IDS = 500_000_000
"""A pull request has an id of its own, unlike that of its issue."""
Place = tuple[int, int]
"""The id of a repository and the number of an issue in it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done to an issue, by GitHub's name for it; `at` in whole seconds since 1970.

    label: of labeled and unlabeled. about: of renamed both titles, of (un)assigned the login, of cross-referenced the
    place it is mentioned at.
    """

    id: int
    kind: str
    at: int
    actor: str | None = "alice"
    label: str | None = None
    state_reason: str | None = None
    about: Any = None


@dataclass(frozen=True, slots=True)
class Gone:
    """Why a number is not there any more. to: where a transferred issue went."""

    reason: Literal["deleted", "hidden", "transferred"]
    to: Place | None = None


@dataclass(slots=True)
class Issue:
    """An issue or pull request; times in whole seconds since 1970.

    extra: fields that replace or join what is shown. visible_at, previous: while the list lags, it shows the latter.
    events: oldest first. origins: where it was before each of its transfers, the last one at the end.
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
    merged_at: int | None = None
    comments: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    visible_at: float = 0.0
    previous: "Issue | None" = None
    events: tuple[Event, ...] = ()
    origins: tuple[Place, ...] = ()


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
    """A repository with what it holds.

    hidden: issues out of sight, with their comments. gone: why a number that was there is not. blocked: out of reach
    for everybody. version: rises on every change; sorted lists are kept for one version.
    """

    id: int
    full_name: str
    has_issues: bool = True
    private: bool = False
    issues: dict[int, Issue] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    hidden: dict[int, tuple[Issue, tuple[Comment, ...]]] = field(default_factory=dict)
    gone: dict[int, Gone] = field(default_factory=dict)
    blocked: bool = False
    version: int = 0
    next_number: int = 1
    lists: dict[tuple[object, ...], tuple[list[Key], list[Any]]] = field(default_factory=dict)

    def touch(self) -> None:
        """Forgets the sorted lists."""
        self.version += 1
        self.lists.clear()


def render(value: Any) -> bytes:
    """JSON as GitHub sends it, lone surrogates and NUL included (escaped)."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _time_or_none(seconds: int | None) -> str | None:
    return None if seconds is None else timestamp(seconds)


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
            "closed_at": _time_or_none(issue.closed_at),
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
            merged = _time_or_none(issue.merged_at)
            pull = {"url": f"{api}/pulls/{issue.number}", "html_url": page, "diff_url": f"{page}.diff"}
            shown |= {"draft": False, "pull_request": {**pull, "patch_url": f"{page}.patch", "merged_at": merged}}
        return shown | issue.extra

    def pull(self, repo: Repo, issue: Issue) -> dict[str, Any]:
        """A pull request as its own resource shows it, less commits and branches."""
        shown = self.issue(repo, issue)
        api = f"{self.api}/repos/{repo.full_name}"
        kept = ("html_url", "number", "title", "user", "labels", "state", "locked", "milestone", "assignees")
        more = ("created_at", "updated_at", "closed_at", "author_association", "body", "comments", "draft")
        return {
            **{name: shown[name] for name in kept + more},
            "url": f"{api}/pulls/{issue.number}",
            "issue_url": f"{api}/issues/{issue.number}",
            "id": issue.id + _PULL_IDS,
            "node_id": f"PR_{issue.id}",
            "merged": issue.merged_at is not None,
            "merged_at": _time_or_none(issue.merged_at),
        }

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

    def event(self, repo: Repo, event: Event) -> dict[str, Any]:
        """An event as an issue's `events` and `timeline` show it."""
        shown: dict[str, Any] = {
            "id": event.id,
            "node_id": f"EV_{event.id}",
            "url": f"{self.api}/repos/{repo.full_name}/issues/events/{event.id}",
            "actor": self.user(event.actor, "User"),
            "event": event.kind,
            "commit_id": None,
            "commit_url": None,
            "created_at": timestamp(event.at),
            "performed_via_github_app": None,
        }
        if event.label is not None:
            shown["label"] = {"name": event.label, "color": "d73a4a"}
        if event.kind in {"closed", "reopened"}:
            shown["state_reason"] = event.state_reason
        if event.kind == "renamed":
            shown["rename"] = {"from": event.about[0], "to": event.about[1]}
        if event.kind in {"assigned", "unassigned"}:
            shown["assignee"], shown["assigner"] = self.user(event.about, "User"), shown["actor"]
        return shown

    def mention(self, event: Event, repo: Repo, issue: Issue) -> dict[str, Any]:
        """A cross-reference in a timeline, from an issue of any repository; it has no id of its own."""
        times = dict.fromkeys(("created_at", "updated_at"), timestamp(event.at))
        source = {**self.issue(repo, issue), "repository": self.repository(repo)}
        actor = self.user(event.actor, "User")
        return {"actor": actor, **times, "source": {"type": "issue", "issue": source}, "event": "cross-referenced"}

    def commit(self, repo: Repo, issue: Issue) -> dict[str, Any]:
        """The commit that a pull request's timeline begins with: it has neither id, actor nor created_at."""
        sha = f"{issue.id:040x}"
        author = {"name": issue.author, "email": "someone@example.org", "date": timestamp(issue.created_at)}
        page = f"{self.web}/{repo.full_name}/commit/{sha}"
        return {"sha": sha, "html_url": page, "author": author, "message": "A change", "event": "committed"}

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
    pull = record.get("pull_request")
    merged = pull.get("merged_at") if isinstance(pull, dict) else None
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
        is_pull=pull is not None,
        merged_at=seconds_of(merged) if merged else None,
        extra={key: value for key, value in record.items() if is_full and key not in _RENDERED | {"repository"}},
    )


def replaced(issue: Issue, now: float, lag: float, changes: dict[str, Any]) -> Issue:
    """The issue after an edit now; with a lag, lists go on showing it as it was for that many seconds."""
    return replace(issue, **changes, visible_at=now + lag if lag else 0.0, previous=issue if lag else None)


def first_events(issue: Issue, ids: Iterator[int]) -> tuple[Event, ...]:
    """What must have been done to an issue that comes as it is: its labels at once, and its end at `closed_at`."""
    events = [Event(next(ids), "labeled", issue.created_at, issue.author, name) for name in issue.labels]
    if issue.state == "closed":
        at = issue.updated_at if issue.closed_at is None else issue.closed_at
        if issue.merged_at is not None:
            events.append(Event(next(ids), "merged", issue.merged_at, issue.author))
        events.append(Event(next(ids), "closed", at, issue.author, state_reason=issue.state_reason))
    return tuple(events)


def events_between(old: Issue, new: Issue, at: int, ids: Iterator[int]) -> tuple[Event, ...]:
    """What GitHub notes of an edit at `at`, in the order in which it does."""
    made: list[tuple[str, dict[str, Any]]] = []
    if old.title != new.title:
        made.append(("renamed", {"about": (old.title, new.title)}))
    if new.merged_at is not None and old.merged_at is None:
        made.append(("merged", {}))
    if old.state != new.state:
        is_end = new.state == "closed"
        made.append(("closed" if is_end else "reopened", {"state_reason": new.state_reason if is_end else None}))
    made += [("labeled", {"label": name}) for name in new.labels if name not in old.labels]
    made += [("unlabeled", {"label": name}) for name in old.labels if name not in new.labels]
    made += [("assigned", {"about": login}) for login in new.assignees if login not in old.assignees]
    made += [("unassigned", {"about": login}) for login in old.assignees if login not in new.assignees]
    return tuple(Event(next(ids), kind, at, **fields) for kind, fields in made)
