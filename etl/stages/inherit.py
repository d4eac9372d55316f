"""Inheriting: a text whose kin has an answer gets that one instead of being asked about, as long as that is right.

Part of the classify stage, off unless a run says how large the audit is. What keeps it right:

- Only within a kin (`etl.dedup.guards`), and only where all its answers are the same.
- Whenever a text is asked about although it could have inherited, what it would have inherited is written down first
  and compared with the answer. A share of the texts is always asked for that, and one of each kin's first twenty.
- Until 50 were compared for a task nobody inherits, and nothing is spent for it that would not be spent anyway: these
  are texts that were to be asked. While fewer than 98 of 100 agree it is the same, so that agreement can recover.

The answer that an audit pays for counts like any other: it was given to this very text, which no inherited one was.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

from sqlalchemy import Connection

from etl.db.queries import inheritance
from etl.db.queries.classifications import PendingScope
from etl.db.queries.inheritance import FAMILY, Agreement, Heir
from etl.db.store import Store
from etl.dedup import RULES_VERSION
from etl.dedup.guards import kin_hash
from etl.stages.base import Progress, Tally
from etl.tasks import Task

_log = logging.getLogger(__name__)

LEAST_COMPARED: Final = 50
"""So many audits of a task must have been compared before anyone inherits an answer to it."""

LEAST_AGREEMENT: Final = 0.98
"""Such a share of them must agree; an inherited answer is trusted as much, and no more."""

_FIRST: Final = 20
_PORTION: Final = 500
_MOST_HEIRS: Final = 2000

Standing = Literal["learning", "on", "refused"]


def standing_of(agreement: Agreement | None) -> Standing:
    """Whether answers to a task may be inherited: not yet, yes, or no because too many audits disagree."""
    if agreement is None or agreement.compared < LEAST_COMPARED:
        return "learning"
    return "on" if agreement.share >= LEAST_AGREEMENT else "refused"


def standing_words(agreement: Agreement) -> str:
    """How a task stands, for people."""
    found = f"{agreement.agreed:,} of the newest {agreement.compared:,} audits agree ({agreement.share:.1%})"
    match standing_of(agreement):
        case "learning":
            return f"{agreement.compared} of {LEAST_COMPARED} audits compared; nobody inherits before"
        case "refused":
            return f"{found}, below {LEAST_AGREEMENT:.0%}: nobody inherits"
        case _:
            return f"{found}; {agreement.inherited:,} texts inherited"


def find_kin(store: Store, progress: Progress) -> None:
    """Computes the kin of every text that lacks it, of families with several texts; a kill loses one portion."""
    with store.transaction() as connection:
        total = inheritance.count_texts_without_kin(connection, RULES_VERSION)
    if total:
        with progress.stage("kin", total) as advance:
            after = 0
            while found := _find_portion(store, after):
                after = found[-1]
                advance(len(found))
    with store.transaction() as connection:
        inheritance.delete_outdated_kin(connection, RULES_VERSION)


def _find_portion(store: Store, after: int) -> list[int]:
    with store.transaction() as connection:
        portion = inheritance.select_texts_without_kin(connection, RULES_VERSION, after=after, limit=_PORTION)
        if portion:
            inheritance.upsert_kin(connection, [(entry.id, kin_hash(entry.body)) for entry in portion], RULES_VERSION)
    return [entry.id for entry in portion]


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Hands answers to one task on, for one run.

    audit: the share of texts, 0..1, that are asked about although they could inherit.
    """

    store: Store
    task: Task
    scope: PendingScope
    run_id: int
    tally: Tally
    audit: float

    @property
    def _sources(self) -> tuple[str, ...]:
        return tuple(name for name in self.scope.accepted if name not in {FAMILY, "rules"})

    def begin(self) -> None:
        """Takes back what is in doubt, and says so where nobody may inherit."""
        with self.store.transaction() as connection:
            withdrawn = inheritance.withdraw_doubtful(connection, self.task, self._sources)
            agreement = self._agreement(connection)
        if withdrawn:
            _log.warning("withdrew inherited answers: their kin is divided task=%s texts=%d", self.task.name, withdrawn)
        if agreement is not None and standing_of(agreement) == "refused":
            _log.warning(
                "nobody inherits: too many audits disagree task=%s compared=%d agreed=%d",
                self.task.name,
                agreement.compared,
                agreement.agreed,
            )

    def hand_on(self) -> int:
        """Gives every pending text that may inherit its answer; gives how many did."""
        total = 0
        while True:
            with self.store.transaction() as connection:
                if standing_of(self._agreement(connection)) != "on":
                    return total
                heirs = inheritance.select_heirs(connection, self.task, self.scope, self._sources, limit=_MOST_HEIRS)
                chosen = choose_heirs(heirs, self.task.name, self.audit)
                if not chosen:
                    return total
                done = inheritance.insert_inherited(
                    connection,
                    self.task,
                    chosen,
                    run_id=self.run_id,
                    accepted=self.scope.accepted,
                    trust=LEAST_AGREEMENT,
                )
            self.tally.counts["texts_inherited"] += done
            total += done
            if not done or len(heirs) < _MOST_HEIRS:
                return total

    def expect(self, connection: Connection, text_ids: Sequence[int]) -> None:
        """Writes down what texts would inherit that are asked about now."""
        heirs = inheritance.select_heirs(
            connection, self.task, self.scope, self._sources, limit=len(text_ids), text_ids=text_ids
        )
        if heirs:
            inheritance.insert_audits(connection, self.task, heirs, self.run_id)

    def _agreement(self, connection: Connection) -> Agreement | None:
        found = inheritance.select_agreement(connection)
        return next((entry for entry in found if entry.task == self.task.name), None)


def choose_heirs(heirs: Sequence[Heir], task: str, audit: float) -> list[Heir]:
    """Those that inherit; the others are asked about, chosen by hashes so that another run would choose the same."""
    inherited: Counter[str] = Counter()
    audited: Counter[str] = Counter()
    for heir in heirs:
        inherited[heir.kin], audited[heir.kin] = heir.inherited, heir.audited
    chosen = []
    for heir in heirs:
        is_next = not audited[heir.kin] and inherited[heir.kin] >= _number(task, heir.kin) % _FIRST
        if is_next or _number(task, heir.text_hash) < audit * 2**64:
            audited[heir.kin] += 1
        else:
            inherited[heir.kin] += 1
            chosen.append(heir)
    return chosen


def _number(task: str, name: str) -> int:
    return int.from_bytes(blake2b(f"{task} {name}".encode(), digest_size=8).digest(), "big")
