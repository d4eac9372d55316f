"""What people answer about items: overrides, which win over every classification, and reviews, which measure them.

An answer is about an item, not about its text: it survives edits, new ids and new versions of the task. None is ever
changed: what is withdrawn or replaced stays as history.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etl.db.queries import annotations
from etl.db.queries.annotations import Annotation
from etl.db.store import Store, serialize_item_writers
from etl.errors import ConfigurationError
from etl.evaluate.sheet import FilledRow
from etl.stages.decisions import Named, Signed
from etl.tasks import Task


@dataclass(frozen=True, slots=True)
class Overridden:
    """What became of an override.

    annotation_id: None where nothing had to be done. replaced: the one that held before. applies: whether the task is
    asked of the item now; if not, no document and no view shows the answer until it is again.
    """

    annotation_id: int | None
    categories: tuple[str, ...]
    replaced: int | None
    applies: bool


@dataclass(frozen=True, slots=True)
class Reviewed:
    """How many answers of a sheet were new, took the place of an earlier one, and were there already."""

    new: int
    replaced: int
    unchanged: int


def read_categories(task: Task, words: Sequence[str]) -> tuple[str, ...]:
    """The category ids that a person named for an override, in the order of the task; none for the abstain word.

    Raises:
        ConfigurationError: a word is unknown or deprecated, there are more than the task allows, or the abstain word
            stands beside others.
    """
    allowed = f"allowed are {', '.join(category.id for category in task.live_categories)} and {task.abstain}"
    chosen = set()
    for word in words:
        if word.strip().casefold() == task.abstain.casefold():
            if len(words) > 1:
                raise ConfigurationError(f"--category {task.abstain} cannot stand beside another one")
            return ()
        category = task.resolve_category(word)
        if category is None:
            raise ConfigurationError(f"--category {word[:80]!r} is no category of task {task.name}; {allowed}")
        chosen.add(category)
    if deprecated := chosen - {category.id for category in task.live_categories}:
        raise ConfigurationError(f"--category {min(deprecated)} of task {task.name} is deprecated; {allowed}")
    if not chosen:
        raise ConfigurationError(f"name the right answer with --category; {allowed}")
    if len(chosen) > task.at_most:
        raise ConfigurationError(f"task {task.name} has at most {task.at_most} categories per text, not {len(chosen)}")
    return tuple(category.id for category in task.categories if category.id in chosen)


def override_item(store: Store, named: Named, task: Task, categories: Sequence[str], signed: Signed) -> Overridden:
    """Lets a person's answer win for an item; categories as of `read_categories`. Done twice, it changes nothing.

    An override that holds already is withdrawn, with the new one as the reason.

    Raises:
        ConfigurationError: the task was never asked of the item's repository, or never of its kind; it was purged.
    """
    with store.transaction() as connection:
        serialize_item_writers(connection)
        item = annotations.select_annotated_item(connection, named.item_ids, task.name)
        if item.is_purged:
            raise ConfigurationError(f"{named.word} was purged: nothing may be said of it any more")
        if item.kind not in task.applies_to.kinds:
            kinds = " and ".join(task.applies_to.kinds)
            raise ConfigurationError(f"{named.word} is of kind {item.kind}; task {task.name} is asked of {kinds} only")
        if not item.is_tracked:
            raise ConfigurationError(
                f"task {task.name} was never asked of the repository of {named.word}; `issuetide classify --task"
                f" {task.name}` begins with it"
            )
        held = annotations.select_standing(connection, task.name, "override", [item.id]).get(item.id)
        wanted = tuple(categories)
        if held is not None and (held.categories, held.annotator, held.reason) == (wanted, signed.by, signed.why):
            return Overridden(None, wanted, None, item.applies)
        entry = Annotation(0, item.id, signed.by, wanted, signed.why)
        number = annotations.insert_annotation(connection, task, "override", entry)
        if held is not None:
            annotations.withdraw_annotations(connection, [held.id], signed.by, f"replaced by override {number}")
        annotations.raise_item_version(connection, item.id)
        return Overridden(number, wanted, None if held is None else held.id, item.applies)


def withdraw_override(store: Store, named: Named, task: Task, signed: Signed) -> Overridden:
    """Takes an override back: the classifier's answer counts again. It stays as history.

    Raises:
        ConfigurationError: none holds.
    """
    with store.transaction() as connection:
        serialize_item_writers(connection)
        standing = annotations.select_standing(connection, task.name, "override", named.item_ids)
        if not standing:
            raise ConfigurationError(
                f"no override for task {task.name} holds on {named.word}; `issuetide override --list` lists them"
            )
        held = next(iter(standing.values()))
        annotations.withdraw_annotations(connection, [held.id], signed.by, signed.why)
        annotations.raise_item_version(connection, held.item_id)
        item = annotations.select_annotated_item(connection, [held.item_id], task.name)
        return Overridden(held.id, held.categories, None, item.applies)


def store_reviews(store: Store, task: Task, rows: Sequence[FilledRow], annotator: str) -> Reviewed:
    """Stores what somebody filled into a sheet; all of it, or nothing. The same sheet read twice changes nothing.

    Raises:
        ConfigurationError: a line names an issue that is not stored.
    """
    with store.transaction() as connection:
        serialize_item_writers(connection)
        keys = [(row.repository_key, row.kind, row.number) for row in rows]
        items = annotations.select_item_ids(connection, keys)
        if missing := [str(row.line) for row, key in zip(rows, keys, strict=True) if key not in items]:
            raise ConfigurationError(
                f"nothing was stored: the issues in line {', '.join(missing[:20])} are not stored, or were purged since"
            )
        held = annotations.select_standing(connection, task.name, "review", list(items.values()), annotator)
        new = replaced = unchanged = 0
        for row, key in zip(rows, keys, strict=True):
            before = held.get(items[key])
            if before is not None and (before.categories, before.reason) == (row.categories, row.why):
                unchanged += 1
                continue
            entry = Annotation(0, items[key], annotator, row.categories, row.why)
            number = annotations.insert_annotation(connection, task, "review", entry, row.text_hash)
            annotations.raise_item_version(connection, items[key])
            if before is not None:
                annotations.withdraw_annotations(connection, [before.id], annotator, f"replaced by answer {number}")
            new, replaced = new + (before is None), replaced + (before is not None)
        return Reviewed(new, replaced, unchanged)
