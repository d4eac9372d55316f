"""A life for the loopback GitHub: random, believable changes, the same ones for the same seed, each with a line.

chance = Random(seed)
github = LoopbackGitHub(clock=lambda: 1_750_000_000.0)   # a clock that stands still makes a seed repeatable
life = Life(github, ("acme/rocket", "acme/starship"), chance)
github.before_response = life.during                      # for changes while a request is under way
life.populate(30)
life.step()
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_http import Request
from tests.loopback.github_world import Issue, timestamp

_PAUSES = (0, 0, 0, 1, 1, 7, 60, 600, 3600, 20_000)
"""Seconds between two changes; three in ten follow within the same second."""
_NOUNS = ("parser", "cache", "lexer", "router", "shell", "panel", "socket", "index", "größe", "日本語 input")
_SENTENCES = ("It crashes with an error in the {}", "Please add support for the {}", "How do I configure the {}?")
_ENDINGS = ("", "\r\n\r\n```\nTraceback (most recent call last)\n```", " \x00", " \ud83d", " 🚀", "\n- [ ] done")
_LABELS = ("bug", "Feature", "docs", "good first issue", "oncall: pt2")
_PEOPLE = ("alice", "bob", "carol", "dependabot[bot]", None)
_REASONS = ("completed", "completed", "not_planned", "duplicate")


class Life:
    """Changes repositories at random; they are added where they are not there yet.

    log: a line for each change, in order, with the server's time. labels: what each repository's issues may get.
    armed: how many changes the next requests will bring with them, once `during` is GitHub's `before_response`.
    """

    def __init__(self, github: LoopbackGitHub, names: Sequence[str], chance: Random) -> None:
        self.github = github
        self.names = tuple(names)
        self.chance = chance
        self.log: list[str] = []
        self.labels = {name: list(_LABELS) for name in names}
        self.armed = 0
        self._serial = 0
        self._blocked: set[str] = set()
        self._off: set[str] = set()
        known = {name.lower() for name in github.repository_names()}
        for name in self.names:
            if name.lower() not in known:
                github.add_repository(name)

    def populate(self, issues: int) -> None:
        """Some history to begin with: so many issues, a third with comments, a third closed; the clock goes on."""
        for _ in range(issues):
            name = self.chance.choice(self.names)
            self.github.advance(self.chance.choice(_PAUSES))
            self._note(self._open(name))
            for action in self.chance.sample((self._comment, self._close, self._relabel, None, None, None), 2):
                if action is not None:
                    self._note(action(name))

    def step(self) -> str:
        """Makes one change, a pause after the one before; gives its line."""
        with self.github.lock:
            self.github.advance(self.chance.choice(_PAUSES))
            return self._change(self._weights() | {self._twice: 3, self._arm: 3})

    def during(self, request: Request) -> None:
        """Makes an armed change before a request is answered; the clock may move by a second."""
        with self.github.lock:
            if self.armed > 0 and self.chance.random() < 0.5:
                self.armed -= 1
                self.github.advance(self.chance.choice((0, 0, 1)))
                self._change(self._weights(), f" (before {request.method} {request.target} was answered)")

    def trouble(self) -> str:
        """Lets something between the client and GitHub go wrong from now on, at most until `calm`; gives its line."""
        with self.github.lock:
            self.github.advance(self.chance.choice(_PAUSES))
            line = self.chance.choice((self._fault, self._fault, self._fault, self._limit, self._shut))()
            self._note(line)
            return self.log[-1]

    def calm(self) -> None:
        """Ends all trouble, and brings no more changes with requests."""
        with self.github.lock:
            self.armed = 0
            self.github.faults.clear()
            self.github.secondary.clear()
            for window in (self.github.shared_window, *self.github.windows.values()):
                window.remaining = window.limit
            for name in self._blocked:
                self.github.unblock_repository(name)
            for name in self._off:
                self.github.switch_issues(name, on=True)
            self._blocked.clear()
            self._off.clear()
            self._note("all is calm")

    def _weights(self) -> dict[Callable[[str], str | None], int]:
        return {
            self._open: 8,
            self._edit: 7,
            self._comment: 7,
            self._edit_comment: 4,
            self._delete_comment: 4,
            self._close: 6,
            self._reopen: 4,
            self._relabel: 6,
            self._assign: 2,
            self._mention: 1,
            self._rename_label: 1,
            self._transfer: 2,
            self._transfer_back: 2,
            self._delete: 2,
            self._hide: 2,
            self._unhide: 3,
            self._merge: 3,
        }

    def _change(self, weights: Mapping[Callable[[str], str | None], int], suffix: str = "") -> str:
        """One of the actions, at a repository where it can be done."""
        while True:
            action = self.chance.choices(list(weights), list(weights.values()))[0]
            line = action(self.chance.choice(self.names))
            if line is not None:
                self._note(line + suffix)
                return self.log[-1]

    def _note(self, line: str | None) -> None:
        if line is not None:
            self.log.append(f"{len(self.log) + 1:4} {timestamp(self.github.now())} {line}")

    def _some(self, name: str, is_wanted: Callable[[Issue], bool] = lambda _: True) -> Issue | None:
        """One of the repository's issues in sight; the oldest are as likely as the newest."""
        wanted = [issue for issue in self.github.repository(name).issues.values() if is_wanted(issue)]
        wanted.sort(key=lambda issue: issue.number)
        return self.chance.choice(wanted) if wanted else None

    def _text(self) -> str:
        self._serial += 1
        about = self.chance.choice(_SENTENCES).format(self.chance.choice(_NOUNS))
        serial = f" ({self._serial})" if self.chance.random() < 0.7 else ""  # The others are duplicates.
        return about + serial + self.chance.choices(_ENDINGS, (12, 2, 1, 1, 2, 2))[0]

    def _open(self, name: str) -> str:
        is_pull = self.chance.random() < 0.25
        body: str | None = self.chance.choice((None, "", self._text(), self._text(), self._text()))
        other = self._some(name)
        if is_pull and other is not None and self.chance.random() < 0.6:
            body = f"Fixes #{other.number}. {body or ''}"
        labels = tuple(self.chance.sample(self.labels[name], self.chance.randint(0, 2)))
        fields: dict[str, Any] = {"is_pull": is_pull, "labels": labels, "author": self.chance.choice(_PEOPLE)}
        number = self.github.add_issue(name, self._text(), body, **fields)
        return f"{name}#{number} opened{' as a pull request' if is_pull else ''}, labels {list(labels)}"

    def _edit(self, name: str) -> str | None:
        issue = self._some(name)
        if issue is None:
            return None
        part = self.chance.choice(("title", "body"))
        change: dict[str, Any] = {part: self._text()}
        self.github.edit_issue(name, issue.number, **change)
        return f"{name}#{issue.number} has another {part}"

    def _comment(self, name: str) -> str | None:
        issue = self._some(name)
        if issue is None:
            return None
        author = self.chance.choice(_PEOPLE)
        identity = self.github.add_comment(name, issue.number, self._text(), author=author)
        return f"{name}#{issue.number} got comment {identity}"

    def _a_comment(self, name: str) -> int | None:
        comments = sorted(self.github.repository(name).comments)
        return self.chance.choice(comments) if comments else None

    def _edit_comment(self, name: str) -> str | None:
        identity = self._a_comment(name)
        if identity is None:
            return None
        self.github.edit_comment(name, identity, self._text())
        return f"{name} comment {identity} was edited"

    def _delete_comment(self, name: str) -> str | None:
        identity = self._a_comment(name)
        if identity is None:
            return None
        number = self.github.repository(name).comments[identity].number
        self.github.delete_comment(name, identity)
        return f"{name}#{number} lost comment {identity}"

    def _close(self, name: str) -> str | None:
        issue = self._some(name, lambda issue: issue.state == "open")
        if issue is None:
            return None
        reason = self.chance.choice(_REASONS)
        self.github.close_issue(name, issue.number, reason)
        return f"{name}#{issue.number} closed ({reason})"

    def _reopen(self, name: str) -> str | None:
        issue = self._some(name, lambda issue: issue.state == "closed" and issue.merged_at is None)
        if issue is None:
            return None
        self.github.reopen_issue(name, issue.number)
        return f"{name}#{issue.number} reopened"

    def _merge(self, name: str) -> str | None:
        issue = self._some(name, lambda issue: issue.is_pull and issue.state == "open")
        if issue is None:
            return None
        self.github.merge_pull(name, issue.number)
        return f"{name}#{issue.number} merged"

    def _relabel(self, name: str) -> str | None:
        issue = self._some(name)
        if issue is None:
            return None
        labels = set(issue.labels) ^ {self.chance.choice(self.labels[name])}
        bump = self.chance.random() < 0.8
        self.github.relabel_issue(name, issue.number, *sorted(labels), bump=bump)
        return f"{name}#{issue.number} labelled {sorted(labels)}{'' if bump else ' without a new updated_at'}"

    def _rename_label(self, name: str) -> str | None:
        place = self.chance.randrange(len(self.labels[name]))
        old = self.labels[name][place]
        self._serial += 1
        new = f"{_LABELS[place]} {self._serial}"
        self.labels[name][place] = new
        changed = self.github.rename_label(name, old, new)
        return f"{name} label {old!r} is now {new!r}, on {changed} issues"

    def _assign(self, name: str) -> str | None:
        issue = self._some(name)
        if issue is None:
            return None
        people = set(issue.assignees) ^ {self.chance.choice(("alice", "bob", "carol"))}
        self.github.edit_issue(name, issue.number, assignees=tuple(sorted(people)))
        return f"{name}#{issue.number} assigned to {sorted(people)}"

    def _mention(self, name: str) -> str | None:
        issue, other_name = self._some(name), self.chance.choice(self.names)
        other = self._some(other_name)
        if issue is None or other is None:
            return None
        self.github.mention_issue(name, issue.number, other_name, other.number)
        return f"{name}#{issue.number} mentioned by {other_name}#{other.number}"

    def _transfer(self, name: str) -> str | None:
        issue = self._some(name, lambda issue: not issue.is_pull)
        others = [other for other in self.names if other != name]
        if issue is None or not others:
            return None
        target = self.chance.choice(others)
        new = self.github.transfer_issue(name, issue.number, target)
        return f"{name}#{issue.number} transferred to {target}#{new}"

    def _transfer_back(self, name: str) -> str | None:
        issue = self._some(name, lambda issue: bool(issue.origins))
        if issue is None:
            return None
        there, number = self.github.transfer_back(name, issue.number)
        return f"{name}#{issue.number} transferred back to {there}#{number}"

    def _delete(self, name: str) -> str | None:
        issue = self._some(name, lambda issue: not issue.is_pull)  # GitHub deletes no pull requests.
        if issue is None:
            return None
        self.github.delete_issue(name, issue.number)
        return f"{name}#{issue.number} deleted"

    def _hide(self, name: str) -> str | None:
        issue = self._some(name)
        if issue is None:
            return None
        self.github.hide_issue(name, issue.number)
        return f"{name}#{issue.number} hidden"

    def _unhide(self, name: str) -> str | None:
        hidden = sorted(self.github.repository(name).hidden)
        if not hidden:
            return None
        number = self.chance.choice(hidden)
        self.github.unhide_issue(name, number)
        return f"{name}#{number} in sight again"

    def _twice(self, name: str) -> str | None:
        """Two edits of one issue, which share a second where the clock stands still."""
        issue = self._some(name)
        if issue is None:
            return None
        for _ in range(2):
            self.github.edit_issue(name, issue.number, title=self._text())
        return f"{name}#{issue.number} edited twice in a second"

    def _arm(self, _name: str) -> str:
        self.armed += self.chance.randint(1, 3)
        return f"requests to come bring {self.armed} changes with them"

    def _fault(self) -> str:
        fault: Any = self.chance.choice((500, 502, 503, "close", "truncated", "broken", "html", "primary", "secondary"))
        times, skip = self.chance.randint(1, 3), self.chance.randint(0, 6)
        options: dict[str, Any] = {"seconds": 300.0} if fault == "primary" else {}
        if fault == "secondary":
            options = self.chance.choice(({}, {"retry_after": 30}, {"limited_by": True}))
        if fault == 502 and self.chance.random() < 0.3:
            options["on"] = "/issues/comments"
        self.github.fail_next(fault, times, skip=skip, **options)
        return f"trouble: {fault} {options} for {times} requests after {skip} more"

    def _limit(self) -> str:
        if self.chance.random() < 0.5:
            self.github.fail_next(422, on="after=", skip=self.chance.randint(0, 2))
            return "trouble: a page that follows a link is answered 422"
        seconds = self.chance.choice((30.0, 900.0, 3 * 3600.0))
        self.github.fail_next("primary", skip=self.chance.randint(0, 6), seconds=seconds)
        return f"trouble: the window is soon spent for {seconds:.0f} s"

    def _shut(self) -> str:
        name = self.chance.choice(self.names)
        if self.chance.random() < 0.5:
            self.github.block_repository(name)
            self._blocked.add(name)
            return f"trouble: {name} is out of reach"
        self.github.switch_issues(name, on=False)
        self._off.add(name)
        return f"trouble: {name} has its issues switched off"
