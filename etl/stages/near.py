"""The near stage: signs the long texts that are new, and stores which texts each of them is near to."""

from sqlalchemy import Connection

from etl import near
from etl.db.queries import near as near_queries
from etl.db.queries.near import Signed, Unsigned
from etl.db.store import Store
from etl.stages.base import Progress, Tally

_PORTION = 500


def near_stage(store: Store, tally: Tally, progress: Progress) -> None:
    """Compares every long text of an issue that was not compared yet with all that were.

    A portion is signed, compared and stored in one transaction, alone: a run that is killed leaves whole portions, and
    of two runs at once the second sees what the first has signed. Nothing is loaded but the signatures that a new text
    may be near to.

    Raises:
        ConfigurationError: the extra `near` is not installed.
    """
    near.check_installed()
    due = near.SIGNATURE_VERSION, near.MIN_CHARS
    with store.transaction() as connection:
        total = near_queries.count_unsigned(connection, *due)
    if total:
        with progress.stage("near", total) as advance:
            after, pairs = 0, 0
            while True:
                with store.transaction() as connection:
                    near_queries.serialize_near(connection)
                    portion = near_queries.select_unsigned(connection, *due, after=after, limit=_PORTION)
                    pairs += _compare(connection, portion)
                if not portion:
                    break
                after = portion[-1].id
                tally.counts["texts_compared"] += len(portion)
                advance(len(portion), near_pairs=pairs)
            tally.counts["near_pairs"] += pairs
    with store.transaction() as connection:
        near_queries.refresh_near_items(connection)


def _compare(connection: Connection, portion: list[Unsigned]) -> int:
    """Signs and stores some texts, and which they are near to; gives how many pairs."""
    signatures = dict(zip((entry.id for entry in portion), near.sign(entry.body for entry in portion), strict=True))
    signed = [
        Signed(text_id, signature.values, signature.bands) if signature is not None else Signed(text_id, None)
        for text_id, signature in signatures.items()
    ]
    near_queries.upsert_signatures(connection, signed, near.SIGNATURE_VERSION)
    pairs = []
    for candidate in near_queries.select_candidates(connection, signed):
        signature = signatures[candidate.text_id]
        score = near.score(signature.values, candidate.other_signature) if signature is not None else 0.0
        if score >= near.MIN_SCORE:
            pairs.append((candidate.text_id, candidate.other_text_id, score))
    if pairs:
        near_queries.insert_near_texts(connection, pairs)
    return len(pairs)
