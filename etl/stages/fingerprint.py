"""The fingerprint stage: makes the texts of the items that the queue holds, and their ids."""

from etl.db.queries import texts
from etl.db.store import Store
from etl.stages.base import Progress, Tally
from etl.stages.item_texts import COMMENTS_READ, CURRENT_RULES, Rules, store_texts
from etl.stages.rehash import rehash_texts, report_split_texts

_PORTION = 500


def fingerprint_stage(store: Store, tally: Tally, progress: Progress, rules: Rules = CURRENT_RULES) -> None:
    """Makes the texts of every queued item and their ids; before that the ids of stored texts, if the rules changed.

    Raises:
        LockedError: another process is computing the ids anew right now.
        ConfigurationError: stored ids are of newer rules than this release has.
    """
    changed = rehash_texts(store, tally, progress, rules)
    with store.transaction() as connection:
        inputs = texts.select_inputs(connection)
        total = texts.count_queued(connection)
    with progress.stage("fingerprint", total) as advance:
        while total:
            with store.transaction() as connection:
                taken = texts.take_queued_items(connection, _PORTION, COMMENTS_READ)
                stored = store_texts(connection, taken, inputs, rules)
                tally.counts["texts_new"] += stored.new
                if changed is not None:
                    changed.look_at(stored.moved)
            if not taken:
                break
            advance(len(taken), new_texts=tally.counts["texts_new"])
    if changed is not None and tally.rehashed is not None:
        report_split_texts(store, changed, tally.rehashed)
