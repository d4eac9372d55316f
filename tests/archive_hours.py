"""Hours of GH Archive: events as its files hold them, made of the objects that the loopback GitHub shows."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.loopback.github_world import Comment, Issue, Renderer, Repo, timestamp

RENDERER = Renderer("https://api.github.com", "https://github.com")
NOON = 1_705_320_000
"""2024-01-15 12:00:00 UTC, in seconds since 1970."""


def issue_object(repo: Repo, number: int, at: int = 0, **changes: Any) -> dict[str, Any]:
    """An issue as it was `at` seconds after noon; opened an hour before noon unless said otherwise."""
    fields: dict[str, Any] = {"created_at": NOON - 3600, "updated_at": NOON + at, **changes}
    return RENDERER.issue(repo, Issue(number, 900_000 + number, f"Title {number}", f"Body {number}", **fields))


def comment_object(repo: Repo, identity: int, number: int, at: int = 0, body: str = "A comment") -> dict[str, Any]:
    """A comment made at noon, as it was `at` seconds after."""
    return RENDERER.comment(repo, Comment(identity, number, body, NOON, NOON + at))


def event(identity: int, kind: str, repo: Repo, at: int, payload: Mapping[str, Any]) -> dict[str, Any]:
    """An event `at` seconds after noon, its keys in GH Archive's order."""
    return {
        "id": str(identity),
        "type": kind,
        "actor": {"id": 5, "login": "alice", "url": "https://api.github.com/users/alice"},
        "repo": {"id": repo.id, "name": repo.full_name, "url": f"https://api.github.com/repos/{repo.full_name}"},
        "payload": payload,
        "public": True,
        "created_at": timestamp(NOON + at),
        "org": {"id": 6, "login": repo.full_name.partition("/")[0]},
    }


def issues_event(
    identity: int, repo: Repo, action: str, issue: Mapping[str, Any], at: int = 0, **payload: Any
) -> dict[str, Any]:
    """An issue was opened, closed, reopened, labeled or the like."""
    return event(identity, "IssuesEvent", repo, at, {"action": action, "issue": issue, **payload})


def comment_event(
    identity: int,
    repo: Repo,
    issue: Mapping[str, Any],
    comment: Mapping[str, Any],
    at: int = 0,
    action: str = "created",
) -> dict[str, Any]:
    """A comment was created, edited or deleted."""
    return event(identity, "IssueCommentEvent", repo, at, {"action": action, "issue": issue, "comment": comment})


def lines(events: Sequence[Any]) -> bytes:
    """The text of an hour, without blanks, as GH Archive writes it; what is bytes already stays as it is."""
    return b"".join(
        one + b"\n" if isinstance(one, bytes) else json.dumps(one, separators=(",", ":")).encode() + b"\n"
        for one in events
    )


def write_hour(folder: Path, events: Sequence[Any], name: str = "2024-01-15-12.json.gz") -> Path:
    """A file of GH Archive."""
    path = folder / name
    path.write_bytes(gzip.compress(lines(events)))
    return path
