"""After a change of the rules: new ids for stored texts. Their answers stay, so nobody is asked again.

In two steps, each in portions, so that a kill at any line loses nothing:

1. every item is queued; then each text with older ids gets those of its words. Texts that have become one are merged
   into the oldest of them;
2. the fingerprint stage makes the text of every item anew. Items that shared a text may be different problems now: one
   of them is not what was asked, and gets a text without an answer.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from etl import dedup
from etl.db.queries import decisions, purges, rehash, texts
from etl.db.queries.rehash import CurrentAnswer, NewIds, OldText
from etl.db.store import Store, serialize_item_writers
from etl.errors import ConfigurationError, LockedError
from etl.stages.base import Progress, Rehashed, Tally
from etl.stages.item_texts import COMMENTS_READ, Rules, fingerprint_text

_PORTION = 500
_MOST_ITEMS_LOOKED_AT = 100
_EXAMPLES = 3
_LOCK = "rehash"


@dataclass(slots=True)
class SplitTexts:
    """Which texts were made because items are another problem now than the rest of their text.

    edited: items that were to get new texts anyway. newest: the newest text that was there before.
    """

    edited: set[int]
    newest: int
    text_ids: set[int] = field(default_factory=set)

    def look_at(self, moved: Sequence[tuple[int, str, int]]) -> None:
        """Takes in what the fingerprint stage moved: (item, input, text)."""
        for item_id, _, text_id in moved:
            if text_id > self.newest and item_id not in self.edited:
                self.text_ids.add(text_id)


def rehash_texts(store: Store, tally: Tally, progress: Progress, rules: Rules) -> SplitTexts | None:
    """Gives texts with ids of earlier rules new ones, if there are any; what became of them stands in the tally.

    Given back is what the fingerprint stage must fill in: every item is queued. None where no id was older.

    Raises:
        LockedError: another process is doing this right now, or a run is asking about a text that is to be merged.
        ConfigurationError: there are ids of newer rules.
    """
    with store.transaction() as connection:
        standing = rehash.select_rules_standing(connection, rules.version)
    if standing.newest is not None and standing.newest > rules.version:
        raise ConfigurationError(
            f"ids of texts were made with version {standing.newest} of the rules, this release has {rules.version};"
            " use the newer release, or both would make all ids anew in turn"
        )
    if standing.oldest is None or not standing.outdated:
        return None
    if not store.try_lock(_LOCK):
        raise LockedError("another process is making the ids of texts anew right now; run this again when it has ended")
    with store.transaction() as connection:
        # Of one that was killed it cannot be told any more which items were queued before.
        edited = rehash.select_queued(connection) if standing.newest != rules.version else set()
        newest = rehash.select_newest_text(connection)
        texts.queue_every_item(connection)
    report = tally.rehashed = Rehashed(standing.oldest, rules.version)
    with progress.stage("new ids", standing.outdated) as advance:
        while True:
            with store.transaction() as connection:
                done = _Portion(connection, rules, report).rename()
            if not done:
                return SplitTexts(edited, newest)
            advance(done, kept=report.kept, moved=report.moved, merged=report.merged, conflicts=report.conflicts)


def report_split_texts(store: Store, split: SplitTexts, report: Rehashed) -> None:
    """Completes the report once every item has its text: what was split, and would be asked."""
    with store.transaction() as connection:
        report.split = len(split.text_ids)
        report.asked_anew = rehash.count_asked_anew(connection, list(split.text_ids))
        chosen = sorted(split.text_ids)[:_EXAMPLES]
        found = rehash.select_examples(connection, chosen)
        report.examples += [{"what": "split", "texts": [found[text_id]]} for text_id in chosen if text_id in found]


@dataclass(slots=True)
class _Portion:
    """Some texts with older ids, in one transaction."""

    connection: Connection
    rules: Rules
    report: Rehashed

    def rename(self) -> int:
        """Gives up to 500 texts their new ids; gives how many it looked at."""
        purges.lock_claims(self.connection)
        serialize_item_writers(self.connection)
        old = rehash.select_old_texts(self.connection, self.rules.version, _PORTION)
        erased = [entry.id for entry in old if entry.text_hash.startswith("purged ")]
        if erased:
            rehash.mark_as_current(self.connection, erased, self.rules.version)
        fresh = self._compute([entry for entry in old if not entry.text_hash.startswith("purged ")])
        if fresh:
            survivors = self._find_survivors(fresh)
            if survivors:
                self._merge(survivors)
            rehash.insert_former_ids(self.connection, fresh, survivors)
            rehash.rename_texts(
                self.connection, [entry for entry in fresh if entry.text_id not in survivors], self.rules.version
            )
            self._count(fresh, survivors)
        return len(old)

    def _compute(self, old: Sequence[OldText]) -> list[NewIds]:
        """The new ids: of the stored words, or of these cleaned anew where that is what its items have."""
        fresh, doubtful = [], []
        for entry in old:
            made = self._ids_of(entry, entry.body)
            fresh.append(made)
            cleaned = _clean_again(entry.body)
            if cleaned != entry.body:
                again = self._ids_of(entry, cleaned)
                if again.text_hash != made.text_hash:
                    doubtful.append((made, again))
        if doubtful:
            chosen = self._choose(doubtful)
            fresh = [chosen.get(entry.text_id, entry) for entry in fresh]
        return fresh

    def _ids_of(self, entry: OldText, body: str) -> NewIds:
        ids = self.rules.fingerprint(body)
        owner = texts.split_hash(entry.text_hash)[1]
        return NewIds(entry.id, entry.text_hash, ids.text_hash + owner, ids.family_hash, body, entry.input)

    def _choose(self, doubtful: Sequence[tuple[NewIds, NewIds]]) -> dict[int, NewIds]:
        """By text: the ids of the words cleaned anew, where an item of the text has these and none the stored ones.

        An item that was edited since has neither: what was asked is never handed to other words.
        """
        items = rehash.select_items_with(self.connection, [made.text_id for made, _ in doubtful], _MOST_ITEMS_LOOKED_AT)
        wanted = sorted({item_id for ids in items.values() for item_id in ids})
        stored = {entry.item_id: entry for entry in texts.select_stored_texts(self.connection, wanted, COMMENTS_READ)}
        chosen = {}
        for made, again in doubtful:
            plain = {texts.split_hash(ids.text_hash)[0]: ids for ids in (again, made)}
            have = {
                fingerprint_text(stored[item_id], made.input, self.rules).text_hash
                for item_id in items[made.text_id]
                if item_id in stored
            }
            met = [ids for text_hash, ids in plain.items() if text_hash in have]
            if met == [again]:
                chosen[made.text_id] = again
        return chosen

    def _find_survivors(self, fresh: Sequence[NewIds]) -> dict[int, int]:
        """By text that becomes one with an older text: the oldest of them, which stays."""
        groups: dict[tuple[str, str], set[int]] = defaultdict(set)
        for entry in fresh:
            groups[(entry.text_hash, entry.input)].add(entry.text_id)
        for text_id, text_hash, name in rehash.select_holders(self.connection, fresh):
            groups[(text_hash, name)].add(text_id)
        return {loser: min(group) for group in groups.values() for loser in group - {min(group)}}

    def _merge(self, survivors: dict[int, int]) -> None:
        asking = rehash.select_asking_runs(self.connection, list(survivors))
        if asking:
            raise LockedError(
                f"run {asking[0]} is asking about texts that have become one with others under the new rules; the ids"
                " are made anew when it has ended (`issuetide status` shows it)"
            )
        pairs = _differing(rehash.select_current_answers(self.connection, [*survivors, *survivors.values()]), survivors)
        self._add_examples(survivors, pairs)
        if pairs:
            stays = {**survivors, **{keeper: keeper for keeper in survivors.values()}}
            rehash.insert_conflicts(self.connection, stays, pairs)
            self.report.conflicts += len(pairs)
        rehash.merge_texts(self.connection, survivors)
        self.report.aliases_ended += decisions.end_void_aliases(self.connection, self.rules.version)

    def _add_examples(self, survivors: dict[int, int], pairs: Sequence[tuple[CurrentAnswer, CurrentAnswer]]) -> None:
        shown = [example["what"] for example in self.report.examples]
        merges = list(survivors.items())[: _EXAMPLES - shown.count("merge")]
        conflicts = pairs[: _EXAMPLES - shown.count("conflict")]
        wanted = {text_id for pair in merges for text_id in pair}
        wanted |= {answer.text_id for pair in conflicts for answer in pair}
        if not wanted:
            return
        found = rehash.select_examples(self.connection, sorted(wanted))
        self.report.examples += [
            {"what": "merge", "texts": [found[keeper], found[loser]]} for loser, keeper in merges
        ] + [
            {
                "what": "conflict",
                "task": kept.task,
                "kept": _answer_values(kept, found),
                "other": _answer_values(other, found),
            }
            for kept, other in conflicts
        ]

    def _count(self, fresh: Sequence[NewIds], survivors: dict[int, int]) -> None:
        """Counts texts by what became of them. One that was merged into a portion's text is counted there as well."""
        for entry in fresh:
            if entry.text_id in survivors:
                self.report.merged += 1
            elif _digits(entry.former_hash) == _digits(entry.text_hash):
                self.report.kept += 1
            else:
                self.report.moved += 1


def _clean_again(body: str) -> str:
    """A stored text as today's rules of cleaning leave it: its first line is the title, if one line of its own."""
    title, gap, rest = body.partition("\n\n")
    return dedup.clean(body) if "\n" in title else dedup.issue_text(title, gap and rest)


def _digits(text_hash: str) -> str:
    """An id without the version of the rules that it begins with."""
    return text_hash.partition(":")[2]


def _differing(
    answers: Sequence[CurrentAnswer], survivors: dict[int, int]
) -> list[tuple[CurrentAnswer, CurrentAnswer]]:
    """Per text that stays and task: the answer that will count, with each other one that says something else."""
    first: dict[tuple[int, str], CurrentAnswer] = {}
    pairs = []
    for answer in answers:
        kept = first.setdefault((survivors.get(answer.text_id, answer.text_id), answer.task), answer)
        if (kept.outcome, set(kept.categories)) != (answer.outcome, set(answer.categories)):
            pairs.append((kept, answer))
    return pairs


def _answer_values(answer: CurrentAnswer, found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    return {
        "answer": list(answer.categories) or answer.outcome,
        "classifier": answer.classifier,
        **found[answer.text_id],
    }
