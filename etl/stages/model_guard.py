"""The model guard: once a day, before any text is asked about, what the vendor says of the model.

A model that is gone is one error with its successor's name, not one per text; one that will go is a warning in time.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from etl.classifiers.base import Classifier, ModelStatus, PaidClassifier
from etl.db.queries.classifications import PendingScope, count_pending
from etl.db.queries.model_checks import ModelCheck, select_model_check, upsert_model_check
from etl.db.store import Store
from etl.errors import ConfigurationError, ModelGoneError, RateLimitError, UnavailableError
from etl.stages.base import Tally
from etl.tasks import Task

_log = logging.getLogger(__name__)

RETIREMENT_NOTICE = timedelta(days=60)
"""A model is warned of when it retires sooner."""

_CHECKED_EVERY = timedelta(days=1)


def guard_model(store: Store, tasks: Sequence[Task], classifier: Classifier, scope: PendingScope, tally: Tally) -> None:
    """Asks what has become of the model, where texts wait and nobody asked today: one free request.

    Where that request gets no proper answer (the endpoint is out of reach, or a proxy has none) the run goes on, and
    the next one tries again.

    Raises:
        ModelGoneError: the model is retired, or unknown; says which one to use instead.
    """
    if not isinstance(classifier, PaidClassifier):
        return
    now = datetime.now(UTC)
    with store.transaction() as connection:
        known = select_model_check(connection, classifier.model)
        if _is_fresh(known, now) or not any(count_pending(connection, task, scope) for task in tasks):
            return
    try:
        status = classifier.check_model()
    except ModelGoneError:
        raise
    except (ConfigurationError, UnavailableError, RateLimitError) as problem:
        _log.info("model could not be checked, the next run tries again model=%s reason=%s", classifier.model, problem)
        return
    with store.transaction() as connection:
        upsert_model_check(connection, ModelCheck(classifier.model, status.lifecycle, status.retires_at, now))
    if status.lifecycle == "retired":
        since = f" since {status.retires_at:%Y-%m-%d}" if status.retires_at else ""
        raise ModelGoneError(f"model {classifier.model!r} is retired{since}: {mend_words(status)}; nothing was asked")
    if words := warning_words(status, now):
        _log.warning("model will be retired model=%s %s", classifier.model, words)
        tally.remarks.append(f"model {classifier.model} {words}")


def _is_fresh(check: ModelCheck | None, now: datetime) -> bool:
    """Whether the last check still tells enough: a day old at most, and of a model that was there to stay."""
    if check is None or check.lifecycle == "retired" or not timedelta(0) <= now - check.checked_at < _CHECKED_EVERY:
        return False
    return check.retires_at is None or check.retires_at > now


def warning_words(status: ModelStatus, now: datetime) -> str:
    """What to say of a model that will go, with the way out; '' where nothing is to be said yet."""
    soon = status.retires_at is not None and status.retires_at - now < RETIREMENT_NOTICE
    if status.lifecycle == "active" and not soon:
        return ""
    when = f", retires {status.retires_at:%Y-%m-%d}" if status.retires_at else ""
    return f"is {status.lifecycle}{when}: {mend_words(status)}"


def mend_words(status: ModelStatus) -> str:
    """Which model to use instead."""
    return f"set ISSUETIDE_MODEL to {f'its successor {status.successor}' if status.successor else 'another one'}"
