"""Erases one item for good, at once and whole: what is stored of it, what was made of it, and what quotes it."""

from dataclasses import dataclass

from sqlalchemy import Connection

from etl.db.queries import purges, texts
from etl.db.queries.purges import Holder, ItemText, StoredItem
from etl.db.queries.runs import close_interrupted_runs
from etl.db.store import Store, serialize_item_writers
from etl.errors import LockedError
from etl.stages.item_texts import COMMENTS_READ, fingerprint_text

_MOST_CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class Purged:
    """What was erased of an item: comments, texts, kept objects that could not be used.

    reworded: texts that other items share, which have the wording of one of those now. holders: sinks that still hold
    documents of it.
    """

    comments: int
    texts: int
    reworded: int
    rejected: int
    holders: tuple[Holder, ...]


def purge_item(store: Store, item: StoredItem, reason: str) -> Purged:
    """Erases an item in one transaction, and leaves a stub with its number, its times and `reason`.

    A text that no other item has loses its wording, its ids and the reasons of its answers; what the answers cost stays
    in the ledger. One that others have takes the wording of one of them. Purging twice is harmless.

    Raises:
        LockedError: a run is asking about one of the texts at this moment, and its answer may quote it.
    """
    with store.transaction() as connection:
        close_interrupted_runs(connection)
    with store.transaction() as connection:
        purges.lock_claims(connection)
        serialize_item_writers(connection)
        found = purges.select_texts(connection, item)
        asking = purges.select_claiming_runs(connection, [entry.id for entry in found])
        if asking:
            raise LockedError(
                f"run {asking[0]} is asking about a text of {item.repository}#{item.number} at this moment; purge it"
                " when that run has ended (`issuetide status` shows it); nothing was erased"
            )
        wordings = {entry.id: _wording_of_others(connection, entry) for entry in found if entry.other_items}
        kept = {text_id for text_id, wording in wordings.items() if wording is not None}
        alone = [entry.id for entry in found if entry.id not in kept]
        purges.erase_texts(connection, alone)
        reworded = [entry for entry in found if entry.id in kept and wordings[entry.id] != entry.body]
        for entry in reworded:
            purges.replace_wording(connection, entry.id, wordings[entry.id] or "")
        comments = purges.erase_item(connection, item, reason)
        rejected = purges.delete_rejected(connection, item)
        purges.erase_refusals(connection, item, [*alone, *(entry.id for entry in reworded)])
        purges.forget_statistics(connection)
        holders = purges.select_holders(connection, item)
    return Purged(comments, len(alone), len(reworded), rejected, tuple(holders))


def _wording_of_others(connection: Connection, entry: ItemText) -> str | None:
    """The wording that another item gives to a shared text, the first that has it still.

    None where none of the first hundred makes this text any more: they were edited, or the rules of dedup have changed.
    """
    candidates = list(entry.other_items[:_MOST_CANDIDATES])
    stored = {found.item_id: found for found in texts.select_stored_texts(connection, candidates, COMMENTS_READ)}
    for item_id in candidates:
        if item_id in stored:
            made = fingerprint_text(stored[item_id], entry.input)
            if made.text_hash == entry.text_hash:
                return made.body
    return None
