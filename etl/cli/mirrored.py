"""What of a stored repository is a mirror of GitHub, by the lists that it is read by."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from etl.db.queries.verification import StoredList
from etl.records import Kind, Scope
from etl.sources.github_json import read_list_filter
from etl.stages.compare_github import ListedScope


@dataclass(frozen=True, slots=True)
class _List:
    """A list that is read, its filter taken apart."""

    name: str
    labels: tuple[str, ...]
    kinds: tuple[Kind, ...]
    read_at: datetime | None


def mirrored_scopes(
    stored: Sequence[StoredList], overlap: timedelta, labels: Sequence[str] = (), kinds: Sequence[Kind] = ()
) -> tuple[ListedScope, ...]:
    """The scopes that the lists of a repository cover, each that lies within another left out.

    overlap: how far a list may lag behind what happens: what changed so shortly before it was read may be missing.
    labels, kinds: what to narrow to, if anything. Where nothing of that is mirrored it is a scope all the same: then
        all of it is missing.
    """
    wanted = tuple(dict.fromkeys(label.lower() for label in labels))
    lists = [_List(each.name, *read_list_filter(each.filter), each.read_at) for each in stored]
    scopes = [listed for each in dict.fromkeys(entry.kinds for entry in lists) for listed in _scopes(lists, each)]
    narrowed = [kept for listed in scopes if (kept := _narrowed(listed, wanted, kinds)) is not None]
    if not narrowed and (wanted or kinds):
        narrowed = [ListedScope(Scope((), wanted, tuple(kinds) or ("issue",), comments=False))]
    return tuple(
        replace(
            listed,
            items_until=_less(listed.items_until, overlap),
            comments_until=_less(_earliest((listed.items_until, listed.comments_until)), overlap),
        )
        for listed in _widest(narrowed)
    )


def _scopes(lists: Sequence[_List], kinds: tuple[Kind, ...]) -> Iterator[ListedScope]:
    """The scopes of the lists of these kinds: one for each list of comments, one of what is read without comments."""
    left = {each.labels: each.read_at for each in lists if each.name == "issues" and each.kinds == kinds}
    whole = left.get(())
    for each in lists:
        if each.name == "comments" and each.kinds == kinds:
            parts: list[tuple[str, ...]] = [(label,) for label in each.labels] or [()]
            read_at = _earliest(left.get(part, whole) for part in parts)
            yield ListedScope(Scope((), each.labels, kinds), read_at, each.read_at)
            left = {part: read for part, read in left.items() if part not in parts}
    if left:
        labels = () if () in left else tuple(label for part in left for label in part)
        read_at = left[()] if () in left else _earliest(left.values())
        yield ListedScope(Scope((), labels, kinds, comments=False), read_at)


def _narrowed(listed: ListedScope, labels: tuple[str, ...], kinds: Sequence[Kind]) -> ListedScope | None:
    """What of a scope has one of the labels and is of one of the kinds, where any are named; None for nothing."""
    scope = listed.scope
    kept_labels = tuple(label for label in scope.labels if label in labels) if labels and scope.labels else labels
    kept_kinds = tuple(kind for kind in scope.kinds if kind in kinds) if kinds else scope.kinds
    if not kept_kinds or (labels and not kept_labels):
        return None
    return replace(listed, scope=replace(scope, labels=kept_labels if labels else scope.labels, kinds=kept_kinds))


def _widest(scopes: Sequence[ListedScope]) -> list[ListedScope]:
    """The scopes without those that another one covers."""
    kept: list[ListedScope] = []
    for listed in scopes:
        if not any(_covers(other.scope, listed.scope) for other in kept):
            kept = [*(other for other in kept if not _covers(listed.scope, other.scope)), listed]
    return kept


def _covers(wide: Scope, narrow: Scope) -> bool:
    labels_lie_within = not wide.labels or (bool(narrow.labels) and set(narrow.labels) <= set(wide.labels))
    return labels_lie_within and set(narrow.kinds) <= set(wide.kinds) and (wide.comments or not narrow.comments)


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    """The earliest of the times; None where one is not known, or there is none."""
    given = list(times)
    known = [time for time in given if time is not None]
    return min(known) if known and len(known) == len(given) else None


def _less(time: datetime | None, by: timedelta) -> datetime | None:
    return None if time is None else time - by
