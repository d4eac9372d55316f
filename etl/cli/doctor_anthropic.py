"""What `doctor` looks at with Anthropic: key and model, and the prompt cache, on which most of the price depends."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic

from etl.cli import wiring
from etl.records import Check
from etl.settings import Settings
from etl.stages.model_guard import mend_words, warning_words
from etl.tasks import Task, load_tasks

_PATIENCE_SECONDS = 20.0
_LOOK_BACK = timedelta(days=14)
_LOOKED_AT = 200
_CLOSE_ENOUGH = 3


def check_anthropic(settings: Settings) -> Iterator[Check]:
    """Whether the key works, and what the service says of the model."""
    if settings.anthropic_api_key is None:
        yield Check(
            "anthropic",
            "warning",
            "ANTHROPIC_API_KEY is not set: the offline classifier `rules` answers",
            "set ANTHROPIC_API_KEY to let Claude answer",
        )
        return
    classifier = wiring.make_classifier(settings, "claude", None, None, monotonic() + _PATIENCE_SECONDS)
    status = classifier.check_model()  # type: ignore[attr-defined]  # claude has it
    detail = f"the key works; model {status.id} is {status.lifecycle}"
    if status.retires_at is not None:
        detail += f", retires {status.retires_at:%Y-%m-%d}"
    if status.lifecycle == "retired":
        yield Check("anthropic", "failed", detail, mend_words(status))
    elif warning_words(status, datetime.now(UTC)):
        yield Check("anthropic", "warning", detail, mend_words(status))
    elif status.structured_outputs is False:
        yield Check("anthropic", "failed", f"{detail}, but has no structured outputs", "choose another ISSUETIDE_MODEL")
    else:
        yield Check("anthropic", "ok", detail)


def check_model_record(settings: Settings) -> Iterator[Check]:
    """What runs know of the model: they ask once a day."""
    from etl.db.queries.model_checks import select_model_check

    with wiring.usable_database(settings) as connection:
        check = None if connection is None else select_model_check(connection, settings.issuetide_model)
    if check is None:
        return
    retires = f", retires {check.retires_at:%Y-%m-%d}" if check.retires_at is not None else ""
    when = f"{check.checked_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    yield Check(
        "model guard",
        "ok" if check.lifecycle == "active" else "warning",
        f"on {when} a run found {check.model} {check.lifecycle}{retires}",
        "" if check.lifecycle == "active" else 'see "Models that retire" in docs/classification.md',
    )


def check_prompts(settings: Settings) -> Iterator[Check]:
    """Whether each prompt is long enough for the vendor to cache it."""
    from etl.classifiers.claude import cache_minimum
    from etl.classifiers.prompt import prompt_tokens_estimate

    minimum = cache_minimum(settings.issuetide_model)
    for task in load_tasks(settings.issuetide_tasks_dir).values():
        tokens = prompt_tokens_estimate(task, packed=settings.issuetide_pack > 1)
        yield _check_prompt(task, tokens, minimum, settings.issuetide_model)


def _check_prompt(task: Task, tokens: int, minimum: int, model: str) -> Check:
    name, detail = f"prompt of {task.name}", f"about {tokens:,} tokens; {model} caches from {minimum:,} on"
    if tokens < minimum:
        return Check(
            name, "warning", f"{detail}: never cached, so every request pays all of it", "add examples to the task"
        )
    return Check(name, "ok", detail)


def check_prompt_bytes(settings: Settings) -> Iterator[Check]:
    """Whether prompts are the same bytes in every process, by trying and by what the ledger says."""
    from etl.classifiers.stability import find_unstable
    from etl.db.queries.prompt_cache import select_unstable_prompts

    mend = "what varies in it is paid for with every request: make the task file and the code that renders it plain"
    unstable = find_unstable(settings.issuetide_tasks_dir)
    for task in unstable:
        yield Check(f"prompt bytes of {task}", "failed", "two processes render the prompt differently", mend)
    with wiring.usable_database(settings) as connection:
        varied = [] if connection is None else select_unstable_prompts(connection, datetime.now(UTC) - _LOOK_BACK)
    for task, versions in varied:
        shown = ", ".join(versions[:3]) + (", …" if len(versions) > 3 else "")
        yield Check(
            f"prompt bytes of {task}",
            "warning",
            f"the ledger has {len(versions)} prompts under the same numbers and task file: {shown}",
            "was the code changed without raising TEMPLATE_VERSION? if not, " + mend,
        )
    if not unstable and not varied:
        yield Check("prompt bytes", "ok", "the same in every process and in the ledger")


def check_cache_use(settings: Settings) -> Iterator[Check]:
    """Whether the prompt cache is read, by the tokens of stored answers."""
    from etl.db.queries.prompt_cache import select_prompt_uses

    with wiring.usable_database(settings) as connection:
        uses = [] if connection is None else select_prompt_uses(connection, datetime.now(UTC) - _LOOK_BACK, _LOOKED_AT)
    for use in uses:
        if use.read or use.close < _CLOSE_ENOUGH:
            continue
        words = f"{use.close:,} of the last {use.requests:,} live requests came within five minutes after another"
        if use.written:
            what = f"{words}; the prompt was written to the cache ({use.written:,} tokens), never read"
            mend = "a proxy or gateway that changes requests, or keys of several workspaces, have this effect"
        else:
            what = f"{words}; the prompt was neither written to the cache nor read"
            mend = "it is below the model's minimum: add examples to the task, or choose a model with a lower one"
        yield Check(f"prompt cache of {use.task}", "warning", f"{use.prompt_version} by {use.model}: {what}", mend)
