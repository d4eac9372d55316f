"""What people decide of texts: two are the same problem (alias), or an item is another problem (split).

A decision is entered, and the texts of the items that it touches are made anew, in one transaction. Whoever makes the
text of an item later (an edit, a change of the rules) finds the decision by the same path, so it holds. No answer in
the ledger is changed, and withdrawing a decision brings back what was before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from etl.db.queries import decisions, rehash, texts
from etl.db.queries.decisions import Alias, NamedText
from etl.db.store import Store, serialize_item_writers
from etl.errors import ConfigurationError
from etl.stages.item_texts import COMMENTS_READ, CURRENT_RULES, fingerprint_text, store_texts

_PORTION = 500
INPUTS: Final = ("issue", "issue_with_comments")


@dataclass(frozen=True, slots=True)
class Named:
    """What a person named: `word` as typed; `item_ids` where it is an issue, none where it is an id of a text."""

    word: str
    item_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Signed:
    """Who decides, and why."""

    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What a decision did: its numbers, the inputs that it is about, items that got another text.

    waiting: tasks that nobody has answered yet for the text that those items have now.
    """

    decision_ids: tuple[int, ...]
    inputs: tuple[str, ...]
    items_moved: int
    waiting: tuple[str, ...]


def alias_texts(store: Store, first: Named, second: Named, only: str | None, signed: Signed) -> Applied:
    """Lets the answers of the second text count for the first, for every input that both have, or only one.

    Raises:
        ConfigurationError: one is unknown, has no such input or no words; both are one already; the alias would close a
            circle, or the first counts as another text already.
    """
    with store.transaction() as connection:
        _begin(connection)
        pairs = _pair(first, _texts_of(connection, first), second, _texts_of(connection, second), only)
        aliases = decisions.select_aliases(connection)
        entered = []
        for source, target in pairs:
            _check_alias(source, target, aliases, first, second)
            entered.append(decisions.insert_alias(connection, source.id, target.id, signed.by, signed.why))
        items = decisions.select_items_to_apply(connection, [source.id for source, _ in pairs])
        moved = _refresh(connection, items)
        waiting = decisions.select_unanswered_tasks(connection, sorted({text_id for _, _, text_id in moved}))
        inputs = tuple(source.input for source, _ in pairs)
        return Applied(tuple(entered), inputs, len({item_id for item_id, _, _ in moved}), tuple(waiting))


def withdraw_alias(store: Store, first: Named, second: Named, only: str | None, signed: Signed) -> Applied:
    """Takes back the alias by which the first text counts as the second.

    Raises:
        ConfigurationError: one is unknown, or there is no such alias.
    """
    with store.transaction() as connection:
        _begin(connection)
        aliases = decisions.select_aliases(connection)
        targets = _own_texts_of(connection, second)
        ended: list[Alias] = []
        inputs, ends = [], []
        for name, source in _own_texts_of(connection, first).items():
            target = targets.get(name)
            if target is None or only not in {None, name}:
                continue
            chain = decisions.alias_chain(aliases, source.id)
            accepted = {target.id, *(step.target_id for step in decisions.alias_chain(aliases, target.id))}
            found = next((step for step in chain if step.target_id in accepted), None)
            if found is not None:
                ended.append(found)
                inputs.append(name)
                ends.append(chain[-1].target_id)
        if not ended:
            raise ConfigurationError(
                f"no alias lets {first.word} count as {second.word}; `issuetide dedup decisions` lists those that hold"
            )
        decisions.withdraw(connection, [alias.id for alias in ended], signed.by, signed.why)
        moved = _refresh(connection, decisions.select_items_to_apply(connection, ends))
        waiting = decisions.select_unanswered_tasks(connection, sorted({text_id for _, _, text_id in moved}))
        count = len({item_id for item_id, _, _ in moved})
        return Applied(tuple(alias.id for alias in ended), tuple(inputs), count, tuple(waiting))


def split_item(store: Store, named: Named, signed: Signed) -> Applied:
    """Gives an item texts of its own, whatever they say and will say.

    Where it shares a text, its own has no answer yet and waits for one; a text that nobody shares keeps its answers.

    Raises:
        ConfigurationError: it has its own already, or shares none.
    """
    with store.transaction() as connection:
        _begin(connection)
        item_id = _item_with_texts(connection, named)
        if decisions.select_split(connection, item_id) is not None:
            raise ConfigurationError(f"{named.word} has a text of its own already; --withdraw takes that back")
        if not any(decisions.count_sharing(connection, item_id).values()):
            raise ConfigurationError(f"no other issue has a text of {named.word}: there is nothing to split it from")
        decision = decisions.insert_split(connection, item_id, signed.by, signed.why)
        _keep_unshared_texts(connection, item_id)
        return _apply_to_item(connection, item_id, decision)


def withdraw_split(store: Store, named: Named, signed: Signed) -> Applied:
    """Gives an item that was split the text again that its words have.

    Raises:
        ConfigurationError: it was not split.
    """
    with store.transaction() as connection:
        _begin(connection)
        item_id = _item_with_texts(connection, named)
        decision = decisions.select_split(connection, item_id)
        if decision is None:
            raise ConfigurationError(f"{named.word} has no text of its own that could be withdrawn")
        for name, found in _plain_hashes(connection, item_id).items():
            own = decisions.select_text_by_hash(connection, texts.own_hash(found, item_id), name)
            if own is not None and decisions.select_text_by_hash(connection, found, name) is None:
                decisions.rename_text(connection, own.id, found)
        decisions.withdraw(connection, [decision], signed.by, signed.why)
        return _apply_to_item(connection, item_id, decision)


def _begin(connection: Connection) -> None:
    """Waits for the turn of writing items, which also puts decisions in a row.

    Raises:
        ConfigurationError: ids are of other rules than those of this release.
    """
    serialize_item_writers(connection)
    standing = rehash.select_rules_standing(connection, CURRENT_RULES.version)
    if standing.outdated or (standing.newest or 0) > CURRENT_RULES.version:
        raise ConfigurationError(
            f"ids of texts are of another version of the rules than this release's ({CURRENT_RULES.version});"
            " run `issuetide dedup rehash` first"
        )


def _texts_of(connection: Connection, named: Named) -> dict[str, NamedText]:
    """By input: the texts that an issue has now, or that have an id.

    Raises:
        ConfigurationError: nothing is known by that name, or a shortened id is that of several texts.
    """
    if named.item_ids:
        found = decisions.select_texts_of_item(connection, named.item_ids)
    else:
        found = decisions.select_texts_by_id(connection, named.word)
    if not found:
        raise ConfigurationError(
            f"{named.word} has no text yet; the next run makes it"
            if named.item_ids
            else f"no text has or had the id {named.word}; `issuetide explain OWNER/NAME#NUMBER` shows ids"
        )
    by_input = {entry.input: entry for entry in found}
    if len(by_input) < len(found):
        raise ConfigurationError(f"several texts have ids that begin with {named.word}; write more of it")
    return by_input


def _own_texts_of(connection: Connection, named: Named) -> dict[str, NamedText]:
    """As `_texts_of`, but of an issue those that its words have, whatever people said they count as."""
    if not named.item_ids:
        return _texts_of(connection, named)
    item_id = _item_with_texts(connection, named)
    is_split = decisions.select_split(connection, item_id) is not None
    own = {}
    for name, text_hash in _plain_hashes(connection, item_id).items():
        found = decisions.select_text_by_hash(
            connection, texts.own_hash(text_hash, item_id) if is_split else text_hash, name
        )
        if found is not None:
            own[name] = found
    return own


def _pair(
    first: Named, sources: dict[str, NamedText], second: Named, targets: dict[str, NamedText], only: str | None
) -> list[tuple[NamedText, NamedText]]:
    """The texts of both by input, less those that are one already.

    Raises:
        ConfigurationError: they have no input in common, or not the one that is wanted; both are one already.
    """
    for named, found in ((first, sources), (second, targets)):
        if only is not None and only not in found:
            raise ConfigurationError(f"{named.word} is no text of input {only}, but of {' and '.join(sorted(found))}")
    common = [name for name in sorted(sources) if name in targets and only in {None, name}]
    if not common:
        raise ConfigurationError(
            f"{first.word} is a text of input {' and '.join(sorted(sources))}, {second.word} of"
            f" {' and '.join(sorted(targets))}: texts of different inputs are never the same"
        )
    pairs = [(sources[name], targets[name]) for name in common if sources[name].id != targets[name].id]
    if not pairs:
        raise ConfigurationError(f"{first.word} and {second.word} have the same text already")
    return pairs


def _check_alias(source: NamedText, target: NamedText, aliases: dict[int, Alias], first: Named, second: Named) -> None:
    for named, found in ((first, source), (second, target)):
        if found.is_empty:
            raise ConfigurationError(f"the text of {named.word} is empty: nobody is asked about it")
    known = aliases.get(source.id)
    if known is not None:
        raise ConfigurationError(
            f"{first.word} counts as another text already, by decision {known.id}; withdraw that first"
        )
    if any(step.target_id == source.id for step in decisions.alias_chain(aliases, target.id)):
        raise ConfigurationError(
            f"{second.word} counts as {first.word} already: the other way round as well would be a circle"
        )


def _item_with_texts(connection: Connection, named: Named) -> int:
    """The row of an issue or pull request that has texts: GitHub may have called one number both."""
    for item_id in named.item_ids:
        if decisions.select_texts_of_item(connection, [item_id]):
            return item_id
    raise ConfigurationError(f"{named.word} has no text yet; the next run makes it")


def _plain_hashes(connection: Connection, item_id: int) -> dict[str, str]:
    """By input: the id that an item's text has by its words alone."""
    stored = texts.select_stored_texts(connection, [item_id], COMMENTS_READ)
    return {
        name: fingerprint_text(entry, name).text_hash for entry in stored for name in texts.select_inputs(connection)
    }


def _keep_unshared_texts(connection: Connection, item_id: int) -> None:
    """Lets an item take along, with their answers, those texts that it alone has by its own words."""
    plain = _plain_hashes(connection, item_id)
    sharing = decisions.count_sharing(connection, item_id)
    targets = {alias.target_id for alias in decisions.select_aliases(connection).values()}
    for held in decisions.select_texts_of_item(connection, [item_id]):
        own = texts.own_hash(held.text_hash, item_id)
        if (
            sharing.get(held.input) == 0
            and plain.get(held.input) == held.text_hash
            and held.id not in targets
            and decisions.select_text_by_hash(connection, own, held.input) is None
        ):
            decisions.rename_text(connection, held.id, own)


def _apply_to_item(connection: Connection, item_id: int, decision: int) -> Applied:
    before = {entry.input: entry.id for entry in decisions.select_texts_of_item(connection, [item_id])}
    _refresh(connection, [item_id])
    after = {entry.input: entry.id for entry in decisions.select_texts_of_item(connection, [item_id])}
    moved = sorted(name for name, text_id in after.items() if before.get(name) != text_id)
    waiting = decisions.select_unanswered_tasks(connection, [after[name] for name in moved])
    return Applied((decision,), tuple(moved), bool(moved), tuple(waiting))


def _refresh(connection: Connection, item_ids: Sequence[int]) -> list[tuple[int, str, int]]:
    """Makes the texts of items anew, decisions applied; gives what moved: (item, input, text)."""
    inputs = texts.select_inputs(connection)
    moved: list[tuple[int, str, int]] = []
    for start in range(0, len(item_ids), _PORTION):
        stored = texts.select_stored_texts(connection, item_ids[start : start + _PORTION], COMMENTS_READ)
        moved += store_texts(connection, stored, inputs).moved
    return moved
