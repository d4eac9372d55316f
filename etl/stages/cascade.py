"""The cascade: before Claude is asked, a trained model answers what it is sure of; Claude checks a share of that.

Part of a run of Claude, off unless the run says how large the audit is. What keeps it right:

- The model answers only where its confidence clears the threshold that was chosen for the agreement wanted.
- A share of its answers is asked of Claude as well, with purpose `audit`: such an answer is never current, it only
  compares. Which texts is told by a hash, so that nothing is kept of it and nothing is audited twice.
- Once enough were compared and even the upper end of the interval of agreement is below what was wanted, the model's
  answers count for nothing: its texts wait for Claude like all others. A newly trained model begins anew.

Answers and audits are stored as they come. A run that is killed leaves texts that wait and audits that are due, both as
the database tells.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, Literal

from etl.classifiers.base import Classifier
from etl.db.queries import classifications, local_models
from etl.db.queries.classifications import PendingScope
from etl.db.queries.local_models import CascadeAgreement, StoredModel
from etl.db.store import Store
from etl.errors import RateLimitError
from etl.evaluate.metrics import wilson
from etl.interrupts import interrupts
from etl.records import Answer, Text
from etl.stages.base import Advance, Progress, Tally
from etl.tasks import Task

_log = logging.getLogger(__name__)

LOCAL = "local"
"""What stands in the ledger as the classifier of answers by a trained model."""

LEAST_COMPARED: Final = 30
"""So many of a model's answers must have been compared before it can be found wanting."""

MOST_AUDITS: Final = 200
"""So many answers to a task are checked in one run at most; the others are due in the next."""

_PORTION = 2_000
_LEASE_MINUTES = 15.0

Standing = Literal["learning", "on", "refused"]


@dataclass(frozen=True, slots=True)
class Cascade:
    """How a run uses trained models.

    audit: the share of their answers that Claude is asked for all the same. read: makes a classifier of the bytes of
    models, by task.
    """

    audit: float
    read: Callable[[Mapping[str, bytes]], Classifier]


@dataclass(frozen=True, slots=True)
class Cascading:
    """What the parts of this stage share, for one run. deadline: the `time.monotonic()` value by which it ends."""

    store: Store
    cascade: Cascade
    claude: Classifier
    run_id: int
    tally: Tally
    deadline: float = float("inf")


def model_name(sha256: str) -> str:
    """What the ledger calls a trained model; as `etl.classifiers.local` writes it."""
    return f"{LOCAL}-{sha256[:12]}"


def standing_of(agreement: CascadeAgreement, wanted: float) -> Standing:
    """Whether a model's answers count: yes while too few are compared, yes while it may well agree as wanted, or no."""
    if agreement.compared < LEAST_COMPARED:
        return "learning"
    return "on" if wilson(agreement.agreed, agreement.compared)[1] >= wanted else "refused"


def standing_words(agreement: CascadeAgreement, wanted: float) -> str:
    """How a model stands, for people."""
    low, high = wilson(agreement.agreed, agreement.compared)
    found = (
        f"Claude agrees with {agreement.agreed:,} of the newest {agreement.compared:,} answers compared"
        f" ({agreement.share:.1%}, 95 % interval {low:.1%} to {high:.1%})"
    )
    match standing_of(agreement, wanted):
        case "learning":
            return f"{agreement.compared} answers of {agreement.model} compared so far, {LEAST_COMPARED} are needed"
        case "refused":
            return f"{found}, which is below the {wanted:.0%} wanted: its answers do not count, Claude is asked instead"
        case _:
            return f"{found}; wanted is {wanted:.0%}"


def wanted_agreement(model: StoredModel) -> float:
    """The agreement that a model's thresholds were chosen for."""
    return float(model.metrics["wanted"])


def cascade_stage(at: Cascading, tasks: Sequence[Task], scope: PendingScope, progress: Progress) -> None:
    """Lets models answer what they are sure of, has a share checked, and tells `scope` whose answers count.

    On a dry run nothing is checked, since that costs money.

    Raises:
        ConfigurationError: a stored model cannot be used, or the extra `ml` is missing: Claude is not asked instead,
            that would cost what nobody expects.
        BudgetError, RateLimitError, UnavailableError: as Claude's `classify`; what was not checked is due still.
    """
    trusted: dict[str, list[str]] = {}
    try:
        for task in tasks:
            trusted[task.name] = _standing_models(at, task)
            scope.accept_models(trusted)
            newest = _newest(at, task)
            if newest is None or model_name(newest.sha256) not in trusted[task.name]:
                continue
            _answer_pending(at, task, scope, newest, progress)
            if not at.store.dry_run:
                _audit(at, task, scope, newest, progress)
                trusted[task.name] = _standing_models(at, task)
                scope.accept_models(trusted)
    finally:
        with at.store.transaction() as connection:
            classifications.release_claims(connection, at.run_id)


def _newest(at: Cascading, task: Task) -> StoredModel | None:
    with at.store.transaction() as connection:
        found = local_models.select_models(connection, task.name, 1)
    if not found:
        at.tally.remarks.append(
            f"cascade: no model of task {task.name} is trained, Claude answers all; run `issuetide train --task"
            f" {task.name}`"
        )
        return None
    return found[0]


def _standing_models(at: Cascading, task: Task) -> list[str]:
    """The models of a task whose answers count, as the ledger calls them; says aloud which one does not."""
    names = []
    with at.store.transaction() as connection:
        for place, model in enumerate(local_models.select_models(connection, task.name)):
            name = model_name(model.sha256)
            agreement = local_models.select_agreement(connection, task.name, name)
            wanted = wanted_agreement(model)
            if standing_of(agreement, wanted) != "refused":
                names.append(name)
            elif place == 0:
                words = f"cascade off for task {task.name}: {standing_words(agreement, wanted)}"
                if words not in at.tally.remarks:
                    _log.warning("cascade off task=%s model=%s agreement=%.3f", task.name, name, agreement.share)
                    at.tally.remarks.append(words)
    return names


def _answer_pending(at: Cascading, task: Task, scope: PendingScope, model: StoredModel, progress: Progress) -> None:
    """Asks the model about every pending text. Those that it is not sure of stay claimed until all were looked at."""
    with at.store.transaction() as connection:
        total = classifications.count_pending(connection, task, scope)
        content = local_models.select_content(connection, model.id) if total else b""
    if not total:
        return
    local = at.cascade.read({task.name: content})
    with progress.stage(f"cascade {task.name}", total) as advance:
        answered = 0
        while portion := _claim(at, task, scope):
            sure = [answer for answer in local.classify(task, portion) if answer.outcome == "answered"]
            if sure:
                with at.store.transaction() as connection:
                    classifications.insert_answers(connection, task, sure, at.run_id)
            answered += len(sure)
            at.tally.counts["texts_local"] += len(sure)
            advance(len(portion), answered=answered)
            _check_time(at, task)


def _claim(at: Cascading, task: Task, scope: PendingScope) -> Sequence[Text]:
    with at.store.transaction() as connection:
        return classifications.claim_pending(
            connection, task, scope, run_id=at.run_id, limit=_PORTION, lease_minutes=_LEASE_MINUTES
        )


def _audit(at: Cascading, task: Task, scope: PendingScope, model: StoredModel, progress: Progress) -> None:
    """Has Claude asked about a share of what the model answered."""
    with at.store.transaction() as connection:
        due = local_models.claim_audits(
            connection,
            task,
            scope,
            model_name(model.sha256),
            share=at.cascade.audit,
            run_id=at.run_id,
            limit=MOST_AUDITS,
        )
    if not due:
        return
    with progress.stage(f"audit {task.name}", len(due)) as advance, interrupts.put_off():
        for answer in at.claude.classify(task, due):
            _keep_audit(at, task, answer, advance)


def _keep_audit(at: Cascading, task: Task, answer: Answer, advance: Advance) -> None:
    if answer.outcome != "failed":
        with at.store.transaction() as connection:
            classifications.insert_answers(connection, task, [replace(answer, purpose="audit")], at.run_id)
    at.tally.count_answer(answer, task.name)
    advance(1, dollars=round(at.tally.cost_usd, 4))


def _check_time(at: Cascading, task: Task) -> None:
    if monotonic() > at.deadline:
        raise RateLimitError(f"the run's deadline passed while the local model answered {task.name}; the next goes on")
