"""The texts of items and their ids: what the fingerprint stage, a purge and people's decisions have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from etl import dedup
from etl.db.queries import texts

COMMENTS_READ: Final = 4 * dedup.COMMENTS_IN_TEXT  # some of the first are by bots, which no text has


@dataclass(frozen=True, slots=True)
class Rules:
    """What ids are made with. Another function must have another version; ids begin with it."""

    version: int
    fingerprint: Callable[[str], dedup.Fingerprint]


CURRENT_RULES: Final = Rules(dedup.RULES_VERSION, dedup.fingerprint)
"""The rules of this release."""


def fingerprint_text(
    entry: texts.StoredText, name: str, rules: Rules = CURRENT_RULES, known: texts.KnownText | None = None
) -> texts.FingerprintedText:
    """The text of an item that is called `name`, with its ids; those of `known` where its words are the same."""
    if name == "issue_with_comments":
        body = dedup.issue_with_comments_text(entry.title, entry.body, entry.comments)
    else:
        body = dedup.issue_text(entry.title, entry.body)
    if known is not None and known.body == body:
        return texts.FingerprintedText(entry.item_id, name, known.text_hash, known.family_hash, body)
    ids = rules.fingerprint(body)
    return texts.FingerprintedText(entry.item_id, name, ids.text_hash, ids.family_hash, body)


def store_texts(
    connection: Connection, entries: Sequence[texts.StoredText], inputs: Sequence[str], rules: Rules = CURRENT_RULES
) -> texts.Upserted:
    """Makes the texts of items and stores them, by what people decided of them."""
    known = texts.select_known_texts(connection, [entry.item_id for entry in entries], rules.version)
    made = [
        fingerprint_text(entry, name, rules, known.get((entry.item_id, name))) for entry in entries for name in inputs
    ]
    return texts.upsert_texts(connection, made, rules.version)
