"""What happens at the loopback GitHub: repositories come and go, issues are opened, changed, moved and removed."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any

from tests.loopback.github_access import Clock
from tests.loopback.github_truth import truth_of
from tests.loopback.github_world import (
    Comment,
    Event,
    Gone,
    Issue,
    Place,
    Repo,
    events_between,
    first_events,
    issue_of,
    replaced,
    seconds_of,
)


class World:
    """The repositories of a GitHub. Safe to edit from any thread.

    list_lag: seconds until a list shows an edit.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.list_lag = 0.0
        self.lock = threading.RLock()
        self._repos: dict[int, Repo] = {}
        self._names: dict[str, int] = {}
        self._repo_ids = count(10_000)
        self._ids = count(1_000_001)

    def now(self) -> float:
        """The server's clock, seconds since 1970."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Moves the server's clock; tests give it as the client's `sleep`, so that waits cost no time."""
        self.clock.advance(seconds)

    def add_repository(self, full_name: str, *, has_issues: bool = True, private: bool = False) -> Repo:
        """A new, empty repository; one that has left the name no longer answers to it.

        A private one is not there for requests without a valid token.
        """
        with self.lock:
            repo = Repo(next(self._repo_ids), full_name, has_issues=has_issues, private=private)
            self._repos[repo.id] = repo
            self._names[full_name.lower()] = repo.id
            return repo

    def repository(self, full_name: str) -> Repo:
        """The repository of that name or former name; KeyError if there is none."""
        return self._repos[self._names[full_name.lower()]]

    def repository_names(self) -> list[str]:
        """The names of today, in the order in which the repositories came."""
        return [repo.full_name for repo in self._repos.values()]

    def remove_repository(self, full_name: str) -> None:
        """From now on GitHub answers 404 for it."""
        with self.lock:
            repo = self.repository(full_name)
            del self._repos[repo.id]
            self._names = {name: key for name, key in self._names.items() if key != repo.id}

    def rename_repository(self, old: str, new: str) -> None:
        """The old name answers 301 from now on, until a new repository takes it."""
        with self.lock:
            repo = self.repository(old)
            repo.full_name = new
            self._names[new.lower()] = repo.id
            repo.touch()

    def block_repository(self, full_name: str) -> None:
        """404 for all of it, as for a token that lost its access, until `unblock_repository`."""
        with self.lock:
            self.repository(full_name).blocked = True

    def unblock_repository(self, full_name: str) -> None:
        """It answers again, as it is now."""
        with self.lock:
            self.repository(full_name).blocked = False

    def switch_issues(self, full_name: str, *, on: bool) -> None:
        """Off: `has_issues` is false, and lists and issues answer 410; they are as before when it is on again."""
        with self.lock:
            repo = self.repository(full_name)
            repo.has_issues = on
            repo.touch()

    def load(self, records: Iterable[dict[str, Any]], full_name: str) -> int:
        """Adds issues and comments made of JSON objects (GitHub's, or plain ones); gives how many."""
        with self.lock:
            if full_name.lower() not in self._names:
                self.add_repository(full_name)
            repo = self.repository(full_name)
            loaded = 0
            for loaded, record in enumerate(records, 1):  # noqa: B007  (the number of the last is the result)
                if "issue_url" in record:
                    _load_comment(repo, record)
                    continue
                number = record.get("number") or record.get("issue_number")
                if number is None or number in repo.issues:
                    number = repo.next_number
                self._put(repo, issue_of(record, number, next(self._ids)))
            repo.touch()
            return loaded

    def add_issue(self, full_name: str, title: str = "A title", body: Any = "A body", **fields: Any) -> int:
        """A new issue, opened now unless `created_at` (seconds, or ISO text) says otherwise; gives its number.

        fields: those of `Issue`, and any of the JSON object in `extra`. Labels get an event at once, and a closed one
        its event at `closed_at`.
        """
        with self.lock:
            repo = self.repository(full_name)
            for name in ("created_at", "updated_at", "closed_at", "merged_at"):
                if isinstance(fields.get(name), str):
                    fields[name] = seconds_of(fields[name])
            created = fields.pop("created_at", int(self.now()))
            fields.setdefault("updated_at", created)
            number = fields.pop("number", repo.next_number)
            issue = Issue(number, next(self._ids), title, body, created, **fields)
            issue.visible_at = self.now() + self.list_lag if self.list_lag else 0.0
            self._put(repo, issue)
            repo.touch()
            return number  # type: ignore[no-any-return]

    def edit_issue(
        self, full_name: str, number: int, *, at: int | None = None, bump: bool = True, **changes: Any
    ) -> None:
        """Changes fields of `Issue`, at a time (now), and notes the events of it.

        `updated_at` becomes that time unless it is among the changes, or `bump` is false. Closing sets `closed_at`,
        opening again clears it, unless they are among the changes.
        """
        with self.lock:
            repo = self.repository(full_name)
            old = repo.issues[number]
            at = int(self.now()) if at is None else at
            if bump:
                changes.setdefault("updated_at", at)
            state = changes.get("state", old.state)
            if state != old.state:
                changes.setdefault("closed_at", at if state == "closed" else None)
                reason = "completed" if state == "closed" else "reopened"
                changes.setdefault("state_reason", None if old.is_pull else reason)
            made = events_between(old, replace(old, **changes), at, self._ids)
            changes["events"] = old.events + made
            repo.issues[number] = replaced(old, self.now(), self.list_lag, changes)
            repo.touch()

    def close_issue(
        self, full_name: str, number: int, reason: str | None = "completed", *, at: int | None = None
    ) -> None:
        """Closes it, now or at a time; pull requests have no reason."""
        is_pull = self.repository(full_name).issues[number].is_pull
        self.edit_issue(full_name, number, at=at, state="closed", state_reason=None if is_pull else reason)

    def reopen_issue(self, full_name: str, number: int, *, at: int | None = None) -> None:
        """Opens it again; GitHub forgets when it had been closed, its events do not."""
        self.edit_issue(full_name, number, at=at, state="open")

    def merge_pull(self, full_name: str, number: int, *, at: int | None = None) -> None:
        """Merges and so closes a pull request."""
        with self.lock:
            if not self.repository(full_name).issues[number].is_pull:
                raise ValueError(f"{full_name}#{number} is no pull request")
            at = int(self.now()) if at is None else at
            self.edit_issue(full_name, number, at=at, state="closed", merged_at=at)

    def relabel_issue(
        self, full_name: str, number: int, *labels: str, at: int | None = None, bump: bool = True
    ) -> None:
        """Replaces its labels; with `bump` false `updated_at` stays, as is said of some ways to do so."""
        self.edit_issue(full_name, number, at=at, bump=bump, labels=labels)

    def rename_label(self, full_name: str, old: str, new: str) -> int:
        """Renames a label of the repository, which changes its issues without event or `updated_at`; gives how many."""
        with self.lock:
            repo = self.repository(full_name)
            changed = [issue for issue in _all_issues(repo) if old in issue.labels]
            for issue in changed:
                issue.labels = tuple(dict.fromkeys(new if label == old else label for label in issue.labels))
            repo.touch()
            return len(changed)

    def mention_issue(self, full_name: str, number: int, from_name: str, from_number: int) -> None:
        """Another issue mentions it, which its timeline shows."""
        with self.lock:
            place = self.repository(from_name).id, from_number
            event = Event(next(self._ids), "cross-referenced", int(self.now()), about=place)
            repo = self.repository(full_name)
            repo.issues[number].events += (event,)
            repo.touch()

    def delete_issue(self, full_name: str, number: int) -> None:
        """Gone from lists; asked for by number it answers 410."""
        with self.lock:
            repo = self.repository(full_name)
            del repo.issues[number]
            _take_comments(repo, number)
            repo.gone[number] = Gone("deleted")
            repo.touch()

    def hide_issue(self, full_name: str, number: int) -> None:
        """Gone from lists with its comments; asked for by number it answers 404, as one that GitHub takes for spam."""
        with self.lock:
            repo = self.repository(full_name)
            repo.hidden[number] = repo.issues.pop(number), _take_comments(repo, number)
            repo.gone[number] = Gone("hidden")
            repo.touch()

    def unhide_issue(self, full_name: str, number: int) -> None:
        """It and its comments are there again, changed in nothing."""
        with self.lock:
            repo = self.repository(full_name)
            repo.issues[number], comments = repo.hidden.pop(number)
            repo.comments |= {row.id: row for row in comments}
            del repo.gone[number]
            repo.touch()

    def transfer_issue(self, full_name: str, number: int, target: str) -> int:
        """Moves it to another repository, under a new number; the old one answers 301. Gives the new number."""
        with self.lock:
            source, there = self.repository(full_name), self.repository(target)
            if source is there or source.issues[number].is_pull:
                raise ValueError(f"{full_name}#{number} cannot be transferred to {target}")
            origins = (*source.issues[number].origins, (source.id, number))
            return self._move((source.id, number), (there.id, there.next_number), origins)

    def transfer_back(self, full_name: str, number: int) -> tuple[str, int]:
        """Moves it to where its last transfer took it from, under its number there; the place it leaves answers 301.

        Gives the repository's name and the number. ValueError if it was never transferred, or that place is taken.
        """
        with self.lock:
            repo = self.repository(full_name)
            *before, origin = repo.issues[number].origins or (None,)
            there = self._repos.get(origin[0]) if origin is not None else None
            if origin is None or there is None or origin[1] in there.issues:
                raise ValueError(f"{full_name}#{number} has nowhere to go back to")
            self._move((repo.id, number), origin, tuple(place for place in before if place is not None))
            return there.full_name, origin[1]

    def _move(self, old: Place, new: Place, origins: tuple[Place, ...]) -> int:
        source, there = self._repos[old[0]], self._repos[new[0]]
        at, number = int(self.now()), new[1]
        issue = source.issues.pop(old[1])
        event = Event(next(self._ids), "transferred", at)
        moved = replace(issue, number=number, updated_at=at, origins=origins, events=(*issue.events, event))
        moved.visible_at, moved.previous = (self.now() + self.list_lag if self.list_lag else 0.0), None
        there.issues[number] = moved
        there.next_number = max(there.next_number, number + 1)
        there.gone.pop(number, None)
        for row in _take_comments(source, old[1]):
            there.comments[row.id] = replace(row, number=number)
        source.gone[old[1]] = Gone("transferred", new)
        source.touch()
        there.touch()
        return number

    def add_comment(self, full_name: str, number: int, body: Any = "A comment", **fields: Any) -> int:
        """A comment, written now unless `created_at` (seconds) says otherwise; changes the issue too. Gives its id."""
        with self.lock:
            repo = self.repository(full_name)
            created = fields.pop("created_at", int(self.now()))
            fields.setdefault("updated_at", created)
            comment = Comment(next(self._ids), number, body, created, **fields)
            repo.comments[comment.id] = comment
            issue = repo.issues[number]
            changes = {"comments": issue.comments + 1, "updated_at": max(issue.updated_at, comment.updated_at)}
            repo.issues[number] = replaced(issue, self.now(), self.list_lag, changes)
            repo.touch()
            return comment.id

    def edit_comment(self, full_name: str, identity: int, body: Any) -> None:
        """Changes its text now; the issue's own `updated_at` stays."""
        with self.lock:
            repo = self.repository(full_name)
            repo.comments[identity] = replace(repo.comments[identity], body=body, updated_at=int(self.now()))
            repo.touch()

    def delete_comment(self, full_name: str, identity: int) -> None:
        """Gone from lists; the issue counts one less, its own `updated_at` stays, as at GitHub."""
        with self.lock:
            repo = self.repository(full_name)
            number = repo.comments.pop(identity).number
            repo.issues[number] = replace(repo.issues[number], comments=repo.issues[number].comments - 1)
            repo.touch()

    def truth(self, full_name: str) -> dict[str, Any]:
        """What a perfect mirror of the repository holds; see `truth_of`."""
        with self.lock:
            return truth_of(self.repository(full_name), self._repos)

    def find(self, path: str) -> tuple[Repo | None, str, str | None]:
        """The repository of a path, what of it is asked for, and where it has moved to."""
        parts = path.strip("/").split("/")
        if parts[0] == "repositories" and len(parts) > 1 and parts[1].isdecimal():
            return self._repos.get(int(parts[1])), "/".join(parts[2:]), None
        if parts[0] != "repos" or len(parts) < 3:
            return None, "", None
        name = f"{parts[1]}/{parts[2]}"
        repo = self._repos.get(self._names.get(name.lower(), 0))
        rest = "/".join(parts[3:])
        if repo is not None and repo.full_name.lower() != name.lower():
            return repo, rest, f"/repositories/{repo.id}" + (f"/{rest}" if rest else "")
        return repo, rest, None

    def _put(self, repo: Repo, issue: Issue) -> None:
        issue.events = issue.events or first_events(issue, self._ids)
        repo.issues[issue.number] = issue
        repo.next_number = max(repo.next_number, issue.number + 1)


def _all_issues(repo: Repo) -> list[Issue]:
    """Those in sight and those hidden."""
    return [*repo.issues.values(), *(issue for issue, _ in repo.hidden.values())]


def _take_comments(repo: Repo, number: int) -> tuple[Comment, ...]:
    """Takes the comments of an issue out of its repository."""
    taken = tuple(row for row in repo.comments.values() if row.number == number)
    repo.comments = {key: row for key, row in repo.comments.items() if row.number != number}
    return taken


def _load_comment(repo: Repo, record: dict[str, Any]) -> None:
    number = int(record["issue_url"].rpartition("/")[2])
    user = record.get("user") or {}
    created = seconds_of(record["created_at"])
    updated = seconds_of(record.get("updated_at") or record["created_at"])
    repo.comments[record["id"]] = Comment(record["id"], number, record["body"], created, updated, user.get("login"))
    if number in repo.issues:
        repo.issues[number].comments += 1
