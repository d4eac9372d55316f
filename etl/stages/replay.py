"""The replay stage: tries kept objects again that could not be used when they were read."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from etl.db.queries import history, items, mirror
from etl.db.queries.mirror import KeptObject
from etl.db.store import Store
from etl.errors import SkipError
from etl.records import Page, Repository
from etl.stages.base import Progress, Tally
from etl.stages.fetch import count_page

_PORTION = 50

Parse = Callable[[bytes, Repository, str], Page]
"""Makes a page of an object's bytes, its repository and its source; raises SkipError where it still cannot be used."""


def replay_stage(store: Store, parse: Parse, names: Sequence[str], tally: Tally, progress: Progress) -> None:
    """Parses each kept object of the repositories `names` (of all, where none is named) again, and stores it.

    An object goes in the transaction that stores it. What still cannot be used stays, and is noted; what is stored in a
    newer state already is not replaced.
    """
    with store.transaction() as connection:
        total = mirror.count_rejected(connection, names)
    last, replayed = 0, 0
    with progress.stage("replay rejected items", total) as advance:
        while True:
            with store.transaction() as connection:
                portion = mirror.select_rejected(connection, names, last, _PORTION)
            for kept in portion:
                replayed += _replay(store, parse, kept, tally)
                advance(1, replayed=replayed)
            if not portion:
                return
            last = portion[-1].id


def _replay(store: Store, parse: Parse, kept: KeptObject, tally: Tally) -> bool:
    try:
        page = parse(kept.payload, kept.repository, kept.source)
        with store.transaction() as connection:
            merged = _store(connection, page, kept, tally)
            mirror.delete_rejected(connection, kept.id)
    except SkipError:
        tally.note(f"still cannot be used: {kept.line}")
        return False
    count_page(page, merged, tally)
    return True


def _store(connection: Connection, page: Page, kept: KeptObject, tally: Tally) -> items.Merged:
    """Stores what a kept object is.

    Raises:
        SkipError: it is a comment on an issue that is not stored, as one is that a list narrowed to labels left out.
    """
    keys = {kept.repository.key: kept.repository.key}
    for repository in (*(item.repository for item in page.items), *(event.repository for event in page.events)):
        if repository.key not in keys:
            keys[repository.key] = items.resolve_repository(connection, repository).key
    here = {(keys[item.repository.key], item.external_id) for item in page.items if item.kind != "comment"}
    for item in page.items:
        if item.parent_number is None or (keys[item.repository.key], item.parent_number) in here:
            continue
        if not items.select_known_parents(connection, keys[item.repository.key], [item.parent_number]):
            raise SkipError("its issue is not stored")
    tally.repository_keys.update(keys.values())
    merged = items.upsert_items(connection, page.items, keys, page.origin)
    history.insert_events(connection, page.events, keys)
    return merged
