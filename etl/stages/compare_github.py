"""GitHub against PostgreSQL: every item of the mirrored scopes is listed once and compared, column by column.

What is stored but not listed is asked for one by one: it vanished, or it is only outside the lists. Of comments the
numbers are compared; where they differ, all comments of the item are read and compared. With `fix` each difference is
mended where it is found, a page or an item in one transaction, so that a run may be killed at any line.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from etl.db.queries import mirror, verification
from etl.db.queries.mirror import StoredItem
from etl.db.queries.verification import COLUMNS, StoredRow
from etl.db.store import Store
from etl.errors import SkipError
from etl.records import Item, Page, Repository, Scope, Vanished
from etl.sources.base import Mirror
from etl.stages.base import Advance, Tally
from etl.stages.single_items import SingleItems
from etl.stages.verification import Comparison

_PORTION = 100
_OTHER = "with another content"
_PAGE_ROWS = 100
_UNSEEN = {"payload", "content_hash"}
"""Columns that no view shows. Reactions, and what else has no column of its own, change without a new `updated_at`."""


@dataclass(frozen=True, slots=True)
class ListedScope:
    """A scope that is mirrored, and up to which change its lists were read.

    items_until, comments_until: what changed later may not be stored yet; None: they were never read to their end.
    """

    scope: Scope
    items_until: datetime | None = None
    comments_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A stored repository to compare.

    mirror: who is asked about it. listed: what of it is mirrored; nothing where GitHub is not to be asked, `why` says
    the reason. narrowed: stored items that lack the labels of the scopes are left out; else they are asked for, too.
    """

    mirror: Mirror
    repository: Repository
    listed: tuple[ListedScope, ...]
    narrowed: bool = False
    why: str = ""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What of it is mirrored."""
        return tuple(listed.scope for listed in self.listed)


class GitHubComparison:
    """Compares one repository, and with `fix` mends it; enters what it finds into `comparison`."""

    def __init__(
        self,
        store: Store,
        mirrored: Mirrored,
        comparison: Comparison,
        tally: Tally,
        advance: Advance,
        *,
        fix: bool,
    ) -> None:
        self._store = store
        self._mirrored = mirrored
        self._repository = mirrored.repository
        self._comparison = comparison
        self._advance = advance
        self._tally = tally
        self._fix = fix
        self._single = SingleItems(store, mirrored.repository, mirrored.repository.key, tally)
        self._seen: defaultdict[str, set[int]] = defaultdict(set)
        self._doubtful: list[StoredItem] = []
        self._miscounted: list[StoredItem] = []
        self._other_counts: set[int] = set()

    def compare(self) -> None:
        """Compares everything.

        Raises:
            StopError: GitHub cannot be asked, or not on; the comparison says how far it came.
            SkipError: the repository's issues are switched off.
        """
        self._mirrored.mirror.confirm(self._repository)
        for listed in self._mirrored.listed:
            for page in self._mirrored.mirror.walk(self._repository, listed.scope, None):
                self._comparison.github = "partly"
                self._compare_page(page, listed)
        self._ask_unlisted()
        self._compare_comments()
        self._comparison.github = "all"

    def _compare_page(self, page: Page, listed: ListedScope) -> None:
        fresh = [item for item in page.items if item.external_id not in self._seen[item.kind]]
        with self._store.transaction() as connection:
            stored = verification.select_rows(connection, self._repository.key, fresh)
            mend = [item for item in fresh if self._compare(item, stored.get((item.kind, item.external_id)), listed)]
            if self._fix:
                mirror.insert_rejected(
                    connection, self._mirrored.mirror.name, self._repository.key, "verify", page.skipped
                )
                self._mend(connection, mend, stored)
        for item in fresh:
            self._seen[item.kind].add(item.external_id)
            self._count(item, listed.scope)
        if page.skipped:
            self._comparison.aside["unusable"] = self._comparison.aside.get("unusable", 0) + len(page.skipped)
        self._tally.counts["items_read"] += len(page.items)
        self._say(len(fresh))

    def _count(self, item: Item, scope: Scope) -> None:
        counted = self._comparison.counted(f"{item.kind} {item.state}")
        counted.github = (counted.github or 0) + 1
        if scope.comments:
            comments = self._comparison.counted("comments")
            comments.github = (comments.github or 0) + (item.comments or 0)

    def _say(self, steps: int) -> None:
        calls = self._mirrored.mirror.counters().get("calls", 0)
        self._advance(steps, calls=calls, differences=len(self._comparison.differences))

    def _compare(self, item: Item, row: StoredRow | None, listed: ListedScope) -> bool:
        """Compares a listed item with its row; True where the row is to be mended."""
        if row is not None and row.tombstone == "purged":
            return False
        miscounted = listed.scope.comments and row is not None and item.comments not in (None, row.live_comments)
        if row is not None and miscounted:
            self._enter_miscounted(item, row, listed)
        return self._compare_columns(item, row, listed, is_miscounted=miscounted)

    def _enter_miscounted(self, item: Item, row: StoredRow, listed: ListedScope) -> None:
        if _is_recent(item, listed.comments_until):
            detail = f"{row.live_comments} stored, {item.comments} at GitHub"
            self._comparison.add("comments", item.kind, item.external_id, detail, behind=True)
        else:
            self._miscounted.append(row.item)

    def _compare_columns(
        self, item: Item, row: StoredRow | None, listed: ListedScope | None = None, *, is_miscounted: bool = False
    ) -> bool:
        """Enters what differs; True where the row is to be mended.

        listed: the scope whose list showed the item; None: it was asked for by itself, which lags behind nothing.
        """
        is_recent = listed is not None and _is_recent(item, listed.items_until)
        add = self._comparison.add
        if row is None or row.tombstone is not None:
            check, detail = ("missing", "") if row is None else ("tombstoned", str(row.tombstone))
            add(
                "missing" if check == "missing" else "tombstoned", item.kind, item.external_id, detail, behind=is_recent
            )
            return not is_recent
        differing = {
            name: stored for name, stored in zip(COLUMNS, row.values, strict=True) if _value(item, name) != stored
        }
        if not differing:
            return False
        if row.item.updated_at > item.updated_at and listed is not None:
            self._doubtful.append(row.item)
            return False
        is_behind = is_recent and "content_hash" in differing
        shown = [name for name in differing if name not in _UNSEEN]
        if "state" in differing:
            detail = f"{differing['state']}, at GitHub {item.state}"
            add("state", item.kind, item.external_id, detail, behind=is_behind)
        elif shown == ["comments"] and is_miscounted:
            self._other_counts.add(row.item.id)
        else:
            detail = ", ".join(shown) or "only what has no column of its own, such as reactions"
            add("content", item.kind, item.external_id, detail, behind=is_behind or not shown)
        return not is_behind

    def _mend(self, connection: Connection, items: Sequence[Item], stored: dict[tuple[str, int], StoredRow]) -> None:
        """Stores items that differ, whatever the rows say of themselves."""
        if not items:
            return
        rows = [(item, stored.get((item.kind, item.external_id))) for item in items]
        verification.reset_items(connection, {row.item.id: item.updated_at for item, row in rows if row is not None})
        merged = self._single.upsert(connection, items)
        self._comparison.mended += len(items)
        self._tally.counts["items_new"] += merged.new
        self._tally.counts["items_changed"] += merged.changed
        self._tally.counts["items_returned"] += merged.returned
        if any(scope.comments for scope in self._mirrored.scopes):
            missing: dict[tuple[str, int], Item] = {
                (item.kind, item.external_id): item for item, row in rows if row is None
            }
            entered = verification.select_rows(connection, self._repository.key, list(missing.values()))
            self._miscounted += [
                row.item
                for identity, row in entered.items()
                if missing[identity].comments not in (None, row.live_comments)
            ]

    def _ask_unlisted(self) -> None:
        """Asks for each stored item that no list has shown, and for those that are newer here than in a list."""
        with self._store.transaction() as connection:
            live = verification.stream_live_items(
                connection, self._repository.key, self._mirrored.scopes, by_label=self._mirrored.narrowed
            )
            left = [item for item in live if item.number not in self._seen[item.kind]]
        left += self._doubtful
        if any(scope.labels for scope in self._mirrored.scopes):
            left = self._seek(left)
        for begin in range(0, len(left), _PORTION):
            self._compare_answers(self._ask(left[begin : begin + _PORTION]))

    def _seek(self, left: list[StoredItem]) -> list[StoredItem]:
        """Those that a list without labels does not have either; it is read where that is cheaper than asking for each.

        Numbers are given out one by one, so the greatest says how long that list can be.
        """
        if len(left) <= 1 + max((item.number for item in left), default=0) // _PAGE_ROWS:
            return left
        by_number = {(item.kind, item.number): item for item in left}
        kinds = tuple(dict.fromkeys(kind for scope in self._mirrored.scopes for kind in scope.kinds))
        for page in self._mirrored.mirror.walk(self._repository, Scope(kinds=kinds), None):
            found = ((by_number.pop((item.kind, item.external_id), None), item) for item in page.items)
            self._compare_answers([(stored, item) for stored, item in found if stored is not None])
        return list(by_number.values())

    def _ask(self, items: Sequence[StoredItem]) -> list[tuple[StoredItem, Item | Vanished]]:
        """The answers about stored items, one by one.

        Raises:
            StopError, SkipError: the repository itself is out of reach, so that nothing can be said of its items.
        """
        answers: list[tuple[StoredItem, Item | Vanished]] = []
        for item in items:
            try:
                answer = self._mirrored.mirror.recheck(self._repository, item.kind, item.number)
            except SkipError as error:
                self._tally.note(str(error))
                continue
            if isinstance(answer, Item) and answer.kind != item.kind:
                answers.append((item, answer))
                answer = Vanished("transferred", self._repository.full_name, item.number)
            answers.append((item, answer))
            self._say(0)
        if any(isinstance(answer, Vanished) and answer.reason != "transferred" for _, answer in answers):
            self._mirrored.mirror.confirm(self._repository)
        return answers

    def _compare_answers(self, answers: Sequence[tuple[StoredItem, Item | Vanished]]) -> None:
        found = [answer for _, answer in answers if isinstance(answer, Item)]
        vanished = [(item, answer) for item, answer in answers if isinstance(answer, Vanished)]
        with self._store.transaction() as connection:
            stored = verification.select_rows(connection, self._repository.key, found)
            mend = []
            for item in found:
                row = stored.get((item.kind, item.external_id))
                if self._compare_columns(item, row):
                    mend.append(item)
            if self._fix:
                self._mend(connection, mend, stored)
        doubtful = {item.id for item in self._doubtful}
        outside = sum(isinstance(answer, Item) and item.id not in doubtful for item, answer in answers)
        if outside:
            self._comparison.aside["outside"] = self._comparison.aside.get("outside", 0) + outside
        for stored_item, reason in vanished:
            self._comparison.add("vanished", stored_item.kind, stored_item.number, _in_words(reason))
            if self._fix:
                self._single.keep_vanished(stored_item, reason)
                self._comparison.mended += 1

    def _compare_comments(self) -> None:
        """Reads all comments of each item that counts others than are stored."""
        for parent in self._miscounted:
            try:
                answer = self._mirrored.mirror.comments_of(self._repository, parent.kind, parent.number)
            except SkipError as error:
                self._tally.note(str(error))
                continue
            if isinstance(answer, Vanished):
                self._compare_answers(self._ask((parent,)))
                continue
            with self._store.transaction() as connection:
                stored = verification.select_comments(connection, self._repository.key, parent.number)
            wrong = dict(_differing_comments(answer, stored))
            if not wrong:  # GitHub counts comments that it does not list.
                if parent.id in self._other_counts:
                    self._comparison.add("content", parent.kind, parent.number, "comments")
                continue
            detail = ", ".join(f"{len(ids)} {words}" for words, ids in wrong.items())
            self._comparison.add("comments", parent.kind, parent.number, detail)
            if self._fix:
                other = set(wrong.get(_OTHER, ()))
                times = {
                    stored[each.external_id].item.id: each.updated_at for each in answer if each.external_id in other
                }
                with self._store.transaction() as connection:
                    verification.reset_items(connection, times)
                self._single.keep_comments(parent, answer)
                self._comparison.mended += 1
            self._say(0)


def _differing_comments(comments: Sequence[Item], stored: dict[int, StoredRow]) -> Iterator[tuple[str, list[int]]]:
    """The ids of comments that are missing, that differ, that are stored but gone; each group in words, if any."""
    listed = {comment.external_id for comment in comments}
    missing, other = [], []
    for comment in comments:
        row = stored.get(comment.external_id)
        if row is None or row.tombstone is not None:
            missing.append(comment.external_id)
        elif any(_value(comment, name) != value for name, value in zip(COLUMNS, row.values, strict=True)):
            other.append(comment.external_id)
    gone = [identity for identity, row in stored.items() if row.tombstone is None and identity not in listed]
    for words, ids in (("missing", missing), (_OTHER, other), ("stored but gone", gone)):
        if ids:
            yield words, ids


def _is_recent(item: Item, until: datetime | None) -> bool:
    """Whether the item changed after what is known to be stored."""
    return until is not None and item.updated_at > until


def _value(item: Item, name: str) -> object:
    value = getattr(item, name)
    return list(value) if isinstance(value, tuple) else value


def _in_words(vanished: Vanished) -> str:
    if vanished.repository is not None and vanished.number is not None:
        return f"{vanished.reason} to {vanished.repository}#{vanished.number}"
    return vanished.reason
