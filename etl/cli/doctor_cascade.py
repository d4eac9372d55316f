"""What `doctor` and `status` say of the cascade: what it would save at which agreement, or how it stands."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from etl.cli import wiring
from etl.db.queries import local_models
from etl.db.queries.local_models import CascadeAgreement, StoredModel
from etl.records import Check
from etl.settings import Settings
from etl.stages.cascade import model_name, standing_of, standing_words, wanted_agreement

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LEVELS = (0.99, 0.97, 0.95, 0.9, 0.85)


def check_cascade(settings: Settings) -> Iterator[Check]:
    """One check per task of ISSUETIDE_TASK: how its cascade stands, or what one would save."""
    is_on = settings.issuetide_cascade == "on"
    if is_on:
        from etl.classifiers.local_model import check_installed

        check_installed()
    with wiring.usable_database(settings) as connection:
        if connection is None:
            return
        for task in wiring.choose_task_names(settings):
            yield from _check_task(connection, task, is_on=is_on)


def _check_task(connection: "Connection", task: str, *, is_on: bool) -> Iterator[Check]:
    name = f"cascade of {task}"
    models = local_models.select_models(connection, task, 1)
    if not models:
        if is_on:
            yield Check(
                name, "warning", "on, but no model is trained: Claude answers all", f"issuetide train --task {task}"
            )
        return
    model = models[0]
    if not is_on:
        cost = local_models.select_mean_cost(connection, task)
        yield Check(name, "ok", f"off; {saving_words(model, cost.dollars_per_text)}", _how_to_begin(model))
        return
    agreement = local_models.select_agreement(connection, task, model_name(model.sha256))
    wanted = wanted_agreement(model)
    refused = standing_of(agreement, wanted) == "refused"
    yield Check(
        name,
        "failed" if refused else "ok",
        f"on; {standing_words(agreement, wanted)}",
        f"issuetide train --task {task} makes a new one of all that is known now" if refused else "",
    )


def saving_words(model: StoredModel, dollars_per_text: float) -> str:
    """What a cascade with this model would save at which agreement, by its cross-validated curve."""
    found: list[tuple[float, float]] = []
    for level in _LEVELS:
        coverage = max(
            (float(point["coverage"]) for point in model.metrics["curve"] if point["agreement"] >= level), default=0.0
        )
        if coverage and (not found or coverage > found[-1][1]):
            found.append((level, coverage))
    if not found:
        return f"model {model.id} agrees too seldom to save anything"
    price = f", ${1000 * dollars_per_text:.3f} per 1,000 texts so far" if dollars_per_text else ""
    levels = "; ".join(_level_words(level, coverage, dollars_per_text) for level, coverage in found)
    return f"model {model.id} ({model.examples:,} examples{price}) would answer {levels}"


def _level_words(level: float, coverage: float, dollars_per_text: float) -> str:
    saved = f", ${1000 * coverage * dollars_per_text:.3f} saved per 1,000" if dollars_per_text else ""
    return f"{coverage:.0%} of texts at {level:.0%} agreement{saved}"


def _how_to_begin(model: StoredModel) -> str:
    if not model.thresholds:
        return "with the thresholds it was trained for it would answer nothing; train it with a lower --agreement"
    return f"ISSUETIDE_CASCADE=on; its thresholds are for {wanted_agreement(model):.0%}"


def collect_cascade(connection: "Connection") -> list[dict[str, Any]]:
    """The agreement of every model with answers, with how it stands, for `status`."""
    found = local_models.select_cascade_agreement(connection)
    wanted = {
        (task, model_name(model.sha256)): wanted_agreement(model)
        for task in {row["task"] for row in found}
        for model in local_models.select_models(connection, task)
    }
    return [{**row, "wanted": wanted.get((row["task"], row["model"]))} for row in found]


def cascade_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The same for people: the newest model of each task."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        newest.setdefault(row["task"], row)
    lines = []
    for task, row in newest.items():
        agreement = CascadeAgreement(task, row["model"], row["compared"], row["agreed"])
        words = standing_words(agreement, row["wanted"]) if row["wanted"] is not None else "its model is gone"
        lines.append(f"cascade of {task}: {row['answered']:,} texts answered by {row['model']}; {words}")
    return lines
