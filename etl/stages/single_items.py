"""What is read of single items of a repository, and where it goes: common to the sweep and to `verify`."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from etl.db.queries import history, items, mirror
from etl.db.queries.mirror import StoredItem
from etl.db.store import Store
from etl.records import Event, Item, Page, Repository, Vanished
from etl.stages.base import Tally
from etl.stages.fetch import count_page


@dataclass(frozen=True, slots=True)
class SingleItems:
    """Stores what a source says of single items of one repository, each answer in a transaction of its own.

    found: the repository as the source calls it. stored_key: its key in the database.
    """

    store: Store
    found: Repository
    stored_key: int
    tally: Tally

    def upsert(self, connection: Connection, found_items: Sequence[Item]) -> items.Merged:
        """Brings items of this repository in, in a transaction of the caller's."""
        return items.upsert_items(connection, found_items, {self.found.key: self.stored_key})

    def keep_item(self, item: Item) -> None:
        """Stores an item as it is now: it was seen at its source."""
        with self.store.transaction() as connection:
            merged = self.upsert(connection, (item,))
            mirror.upsert_checks(connection, self.stored_key, (item,))
        count_page(Page((item,)), merged, self.tally)

    def keep_comments(self, parent: StoredItem, comments: Sequence[Item]) -> None:
        """Stores all comments that an item has now; those stored beside them are marked as deleted."""
        with self.store.transaction() as connection:
            merged = self.upsert(connection, comments)
            kept = [comment.external_id for comment in comments]
            gone = mirror.update_comments(connection, parent, self.stored_key, kept)
        self.tally.counts["comments_vanished"] += gone
        count_page(Page(tuple(comments)), merged, self.tally)

    def keep_history(self, item: StoredItem, events: Sequence[Event]) -> None:
        """Puts an item's timeline in the place of what was known of its history."""
        with self.store.transaction() as connection:
            history.replace_history(connection, item.id, item.updated_at, events)

    def keep_vanished(self, item: StoredItem, vanished: Vanished) -> None:
        """Gives an item its tombstone. To be called only once its repository is known to be there."""
        with self.store.transaction() as connection:
            if mirror.update_vanished(connection, item.id, vanished):
                self.tally.counts["items_vanished"] += 1
