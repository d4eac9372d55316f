"""The fingerprint stage: makes the texts of the items that the queue holds, and their ids."""

from etl import dedup
from etl.db.queries import texts
from etl.db.store import Store
from etl.stages.base import Progress, Tally

_PORTION = 500
COMMENTS_READ = 4 * dedup.COMMENTS_IN_TEXT  # some of the first are by bots, which no text has


def fingerprint_stage(store: Store, tally: Tally, progress: Progress) -> None:
    """Makes the texts of every queued item and their ids."""
    with store.transaction() as connection:
        inputs = texts.select_inputs(connection)
        total = texts.count_queued(connection)
    with progress.stage("fingerprint", total) as advance:
        while total:
            with store.transaction() as connection:
                taken = texts.take_queued_items(connection, _PORTION, COMMENTS_READ)
                made = [fingerprint_text(entry, name) for entry in taken for name in inputs]
                tally.counts["texts_new"] += texts.upsert_texts(connection, made, dedup.RULES_VERSION)
            if not taken:
                break
            advance(len(taken), new_texts=tally.counts["texts_new"])


def fingerprint_text(entry: texts.StoredText, name: str) -> texts.FingerprintedText:
    """The text of an item that is called `name`, with its ids."""
    if name == "issue_with_comments":
        body = dedup.issue_with_comments_text(entry.title, entry.body, entry.comments)
    else:
        body = dedup.issue_text(entry.title, entry.body)
    ids = dedup.fingerprint(body)
    return texts.FingerprintedText(entry.item_id, name, ids.text_hash, ids.family_hash, body)
