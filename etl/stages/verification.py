"""What a verification finds: the records that `verify` fills and the command shows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from etl.records import Repository

Check = Literal[
    "missing",
    "vanished",
    "tombstoned",
    "state",
    "content",
    "comments",
    "text",
    "history",
    "open_count",
    "no_index",
    "orphaned",
    "unsent",
    "absent",
    "version",
    "extra",
    "refused",
]
CHECKS: dict[Check, str] = {
    "missing": "missing in PostgreSQL",
    "vanished": "stored, but no longer at GitHub",
    "tombstoned": "at GitHub, but marked as vanished",
    "state": "another state than at GitHub",
    "content": "another content than at GitHub",
    "comments": "other comments than at GitHub",
    "text": "without text, and not waiting for it",
    "history": "a history that does not lead to its state",
    "open_count": "open issues by day do not add up",
    "no_index": "not in OpenSearch, or not under its name",
    "orphaned": "believed to be in OpenSearch, but of nothing that is stored",
    "unsent": "missing in OpenSearch",
    "absent": "believed to be in OpenSearch, but not there",
    "version": "another version in OpenSearch",
    "extra": "in OpenSearch, but of nothing that is stored",
    "refused": "refused by OpenSearch",
}
"""What can differ, in words. The first six are between GitHub and PostgreSQL, then come PostgreSQL with itself, and
PostgreSQL with OpenSearch."""
GITHUB_CHECKS: frozenset[Check] = frozenset({"missing", "vanished", "tombstoned", "state", "content", "comments"})

Reading = Literal["all", "partly", "nothing"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not the same in two places.

    what: a kind of item, or the name of an index. id: an item's number, a document's id, '' for a whole repository.
    """

    check: Check
    what: str
    id: str
    detail: str = ""


@dataclass(slots=True)
class Counted:
    """How many there are of something in each place; None where it was not counted."""

    github: int | None = None
    postgresql: int | None = None
    opensearch: int | None = None


@dataclass(slots=True)
class Comparison:
    """What was compared of one repository (None: what belongs to no repository) and what came out.

    scopes: what of it is compared with GitHub, in words. github: how much of that was read; why: the reason if not all.
    counts: by what is counted, in the order of the table. differences: what no run mends by itself.
    behind: what the next run brings by itself. aside: what is only shown, by what it is. mended: how many items and
    lists of comments were made what GitHub has.
    """

    repository: Repository | None
    scopes: tuple[str, ...] = ()
    github: Reading = "nothing"
    why: str = ""
    counts: dict[str, Counted] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    behind: list[Difference] = field(default_factory=list)
    aside: dict[str, int] = field(default_factory=dict)
    mended: int = 0

    @property
    def name(self) -> str:
        """The repository's name, or words for none."""
        return "other documents" if self.repository is None else self.repository.full_name

    def counted(self, name: str) -> Counted:
        """The counts of `name`, entered if new."""
        return self.counts.setdefault(name, Counted())

    def add(self, check: Check, what: str, identity: object = "", detail: str = "", *, behind: bool = False) -> None:
        """Enters a difference, or with `behind` something that the next run brings by itself."""
        (self.behind if behind else self.differences).append(Difference(check, what, str(identity), detail))

    def keep_github(self, earlier: "Comparison") -> None:
        """Takes over what an earlier comparison of the same repository found at GitHub's side."""
        self.github, self.why = earlier.github, earlier.why
        for name, counted in earlier.counts.items():
            if counted.github is not None:
                self.counted(name).github = counted.github
        self.differences += [each for each in earlier.differences if each.check in GITHUB_CHECKS]
        self.behind += [each for each in earlier.behind if each.check in GITHUB_CHECKS]
        self.aside = {**earlier.aside, **self.aside}


@dataclass(slots=True)
class Verification:
    """What a verification came to.

    found: per repository, and at the end of what belongs to none. after: the same once it was mended and compared
    again; None where nothing was to be mended, or it could not be compared again. index: whether all of OpenSearch was
    compared; why_no_index: the reason if not.
    """

    found: list[Comparison] = field(default_factory=list)
    after: list[Comparison] | None = None
    fixed: bool = False
    index: bool = False
    why_no_index: str = ""

    @property
    def remaining(self) -> Sequence[Comparison]:
        """How things stand at the end."""
        return self.found if self.after is None else self.after

    def held(self) -> bool:
        """Whether nothing differs at the end."""
        return not any(comparison.differences for comparison in self.remaining)


def summarize(differences: Iterable[Difference]) -> Iterator[tuple[str, str, list[Difference]]]:
    """The differences by what and check, in the order of `CHECKS`, each with those that are so."""
    found: dict[tuple[str, Check], list[Difference]] = {}
    for difference in differences:
        found.setdefault((difference.what, difference.check), []).append(difference)
    order = list(CHECKS)
    for (what, check), entries in sorted(found.items(), key=lambda entry: (order.index(entry[0][1]), entry[0][0])):
        yield what, CHECKS[check], entries
