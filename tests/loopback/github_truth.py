"""What is so at the loopback GitHub, in plain dicts: what a mirror is compared with. Times are seconds since 1970."""

from collections.abc import Mapping
from typing import Any

from tests.loopback.github_world import Event, Issue, Place, Repo

_STATE_EVENTS = {"closed", "reopened", "labeled", "unlabeled"}


def truth_of(repo: Repo, repos: Mapping[int, Repo]) -> dict[str, Any]:
    """A repository as a perfect mirror holds it.

    full_name, github_id, has_issues, is_reachable: of the repository.
    issues: by number, what is in sight, pull requests too (`is_pull`); labels sorted, texts as they are, NUL included.
    comments: by id, those of issues in sight: number, body, author, created_at, updated_at.
    gone: by number: reason 'deleted', 'hidden' or 'transferred'; `to` is where a transferred issue is today, a name
        and a number, None where it is out of sight; `path` is every place that it went through.
    events: by number of an issue in sight, oldest first: id, kind (closed, reopened, labeled, unlabeled), at, label.
    """
    comments = repo.comments.values()
    return {
        "full_name": repo.full_name,
        "github_id": repo.id,
        "has_issues": repo.has_issues,
        "is_reachable": not repo.blocked,
        "issues": {number: _issue(issue) for number, issue in sorted(repo.issues.items())},
        "comments": {
            row.id: {name: getattr(row, name) for name in ("number", "body", "author", "created_at", "updated_at")}
            for row in sorted(comments, key=lambda row: row.id)
        },
        "gone": {number: _gone(repo, number, repos) for number in sorted(repo.gone)},
        "events": {number: _events(issue) for number, issue in sorted(repo.issues.items())},
    }


def path_of(place: Place, repos: Mapping[int, Repo]) -> list[Place]:
    """The places that an issue was moved to from `place`, the one where it stayed at the end."""
    path: list[Place] = []
    while True:
        repo = repos.get(place[0])
        gone = repo.gone.get(place[1]) if repo is not None else None
        if gone is None or gone.to is None:
            return path
        place = gone.to
        path.append(place)


def seen_at(place: Place, repos: Mapping[int, Repo]) -> tuple[Repo, Issue] | None:
    """Who asks for an issue and follows every redirect is shown this; None where there is nothing to see."""
    identity, number = [place, *path_of(place, repos)][-1]
    repo = repos.get(identity)
    if repo is None or repo.blocked or not repo.has_issues or number not in repo.issues:
        return None
    return repo, repo.issues[number]


def _issue(issue: Issue) -> dict[str, Any]:
    names = ("title", "body", "state", "state_reason", "author", "comments", "created_at", "updated_at", "closed_at")
    shown = {name: getattr(issue, name) for name in (*names, "is_pull", "merged_at")}
    return {**shown, "labels": sorted(issue.labels), "assignees": sorted(issue.assignees)}


def _gone(repo: Repo, number: int, repos: Mapping[int, Repo]) -> dict[str, Any]:
    place = repo.id, number
    seen = seen_at(place, repos)
    path = [(repos[identity].full_name, there) for identity, there in path_of(place, repos) if identity in repos]
    to = (seen[0].full_name, seen[1].number) if seen is not None else None
    return {"reason": repo.gone[number].reason, "to": to, "path": path}


def _events(issue: Issue) -> list[dict[str, Any]]:
    kept: list[Event] = [event for event in issue.events if event.kind in _STATE_EVENTS]
    kept.sort(key=lambda event: (event.at, event.id))
    return [{"id": event.id, "kind": event.kind, "at": event.at, "label": event.label} for event in kept]
