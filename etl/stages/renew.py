"""Renewal: answers that are not by today's prompt and model are given anew, through the classify stage.

Old answers stay in the ledger; the new ones become current because they are newer. What was given anew is not asked
again, so a renewal may be stopped and begun again at any moment. Answers of a batch that was submitted before the
change belong to the version it was submitted with, and renew nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etl.classifiers.base import Classifier, SigningClassifier
from etl.db.queries import renewals
from etl.db.queries.classifications import Renewal
from etl.db.queries.renewals import AnswerGroup
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.stages.base import Progress
from etl.stages.classify import Asking
from etl.stages.estimate import estimate_costs
from etl.tasks import Task


@dataclass(frozen=True, slots=True)
class RenewalFilter:
    """What a person narrows a renewal to; None: no limit. See `Renewal`."""

    category: str | None = None
    from_prompt: str | None = None
    from_model: str | None = None
    older_than: int | None = None


@dataclass(frozen=True, slots=True)
class GoneCategory:
    """A category that current answers name and the task's file does not have any more.

    now: the category that has its word among the aliases; None: documents go on showing the old word.
    """

    category: str
    texts: int
    now: str | None


@dataclass(frozen=True, slots=True)
class RenewalPlan:
    """What a renewal would do.

    groups: the answers it would replace. texts: how many texts it would ask about now. in_batches: how many more wait
    until an open batch that asks about them is collected. live_usd, batch_usd: about what it costs; None: not offered.
    """

    task: str
    task_version: int
    classifier: str
    model: str
    prompt_versions: tuple[str, ...]
    groups: tuple[AnswerGroup, ...]
    texts: int
    in_batches: int
    live_usd: float
    batch_usd: float | None
    gone: tuple[GoneCategory, ...]


def make_renewal(task: Task, classifier: Classifier, narrowed: RenewalFilter) -> Renewal:
    """The renewal of answers by `classifier` to `task`.

    Raises:
        ConfigurationError: this classifier cannot tell its answers of today from earlier ones.
    """
    if not isinstance(classifier, SigningClassifier):
        raise ConfigurationError(f"answers by {classifier.name} cannot be given anew; use claude, local or rules")
    signature = classifier.signature(task)
    return Renewal(
        prompt_versions=signature.prompt_versions,
        model=signature.model,
        categories=() if narrowed.category is None else words_of(task, narrowed.category),
        from_prompt=narrowed.from_prompt,
        from_model=narrowed.from_model,
        older_than=narrowed.older_than,
    )


def words_of(task: Task, word: str) -> tuple[str, ...]:
    """How answers of any version may name the category that `word` means, which may be one that is gone."""
    for category in task.categories:
        if category.id == task.resolve_category(word):
            return (category.id, *(alias.casefold() for alias in category.aliases))
    return (word,)


def check_is_newest(store: Store, tasks: Sequence[Task]) -> None:
    """Passes if no run was given a newer version of a task: an answer to an older one would not become current.

    Raises:
        ConfigurationError: one was.
    """
    with store.transaction() as connection:
        for task in tasks:
            newest = renewals.select_newest_version(connection, task)
            if newest is not None and newest > task.version:
                raise ConfigurationError(
                    f"{task.path}: version {task.version} of task {task.name!r} is older than version {newest}, which"
                    f" runs were given before; answers to it would not count: raise `version` above {newest}"
                )


def plan_renewal(store: Store, task: Task, asking: Asking, renewal: Renewal, progress: Progress) -> RenewalPlan:
    """What a renewal would ask and cost; asks nobody and changes nothing. asking: with a scope of that renewal."""
    with store.transaction() as connection:
        groups = renewals.select_groups(connection, task, asking.scope)
        in_batches = renewals.count_in_batches(connection, task, asking.scope)
        found = renewals.count_categories(connection, task, asking.scope)
    batching = None if asking.batching is None else replace(asking.batching, executor="sync")
    forecast = estimate_costs(store, [task], replace(asking, batching=batching), progress).total
    batch_ways = [
        way for way in forecast.ways if batching and (way.executor, way.pack) == ("batch", batching.batches.pack)
    ]
    return RenewalPlan(
        task=task.name,
        task_version=task.version,
        classifier=asking.classifier.name,
        model=renewal.model,
        prompt_versions=renewal.prompt_versions,
        groups=tuple(groups),
        texts=forecast.texts,
        in_batches=in_batches,
        live_usd=sum(way.dollars for way in forecast.ways if way.configured),
        batch_usd=min((way.dollars for way in batch_ways), default=None),
        gone=tuple(find_gone(task, found)),
    )


def find_gone(task: Task, counted: dict[str, int]) -> list[GoneCategory]:
    """Those of the categories in `counted` (texts by category) that are none of the task's any more."""
    known = {category.id for category in task.categories}
    return [
        GoneCategory(category, texts, task.resolve_category(category))
        for category, texts in counted.items()
        if category not in known
    ]


def with_run(renewal: Renewal, run_id: int) -> Renewal:
    """The renewal as one run does it: each text at most once."""
    return replace(renewal, run_id=run_id)
