"""Statements on tasks, pending texts, claims and the ledger of answers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from etl.db.queries.batches import SPENT
from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.queries.texts import queue_every_item, select_inputs
from etl.db.store import serialize_item_writers
from etl.errors import ConfigurationError
from etl.records import ANSWERS, ATTEMPTS, Answer, Text
from etl.tasks import Task

ACCEPTED = {
    "claude": ("claude", "family"),
    "local": ("claude", "local", "family"),
    "rules": ("claude", "local", "family", "rules"),
}
"""By classifier of a run: whose earlier answers it accepts. An answer by rules does not stop Claude from answering.

`family` is an answer that was inherited: what it repeats was given by one of those before it, never by rules.
"""

MOST_ATTEMPTS = 3
"""How often a text is asked about whose answers were cut off or invalid, before a person must look."""

_IS_ANSWER = f"outcome IN {ANSWERS}"
_IS_ATTEMPT = f"outcome IN {ATTEMPTS}"
# Constants of the statement, not parameters: only so can PostgreSQL tell that the partial index on attempts fits.

PENDING = f"""
    FROM task_items ti
    JOIN items i ON i.id = ti.item_id
    JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
    JOIN texts x ON x.id = it.text_id AND x.body <> ''
    WHERE ti.task = :task AND ti.applies
      AND (:every_repository OR i.repository_key = ANY (:repository_keys))
      AND (:every_label OR EXISTS (SELECT FROM unnest(i.labels) AS l WHERE lower(l) = ANY (:labels)))
      AND NOT EXISTS (
          SELECT FROM classifications c
          WHERE c.text_id = it.text_id AND c.task = :task AND c.purpose = 'live' AND c.{_IS_ANSWER}
            AND (c.classifier = ANY (:accepted)
                 OR c.classifier = 'local' AND c.outcome = 'answered'
                    AND c.task || ' ' || c.model = ANY (:accepted_models)))
      AND it.text_id NOT IN (
          SELECT c.text_id FROM classifications c
          WHERE c.task = :task AND c.purpose = 'live' AND c.classifier = :classifier AND c.{_IS_ATTEMPT}
          GROUP BY c.text_id HAVING count(*) >= :most_attempts)
"""  # noqa: S608  (constants)
"""Where a statement selects the texts `it.text_id` that wait for an answer to `:task`. Takes a scope's parameters."""

CLASSIFIER_RANK = "array_position(ARRAY['claude', 'local', 'family', 'rules'], {0}.classifier)"
"""Whose answer counts: the order in the view `current_answers`. To be formatted with the name of the table."""

BEST_FIRST = CLASSIFIER_RANK + ", {0}.task_version DESC, {0}.id DESC"
"""The order in which the first of a text's answers is the one that counts."""

_IS_OF_TODAY = """
    {0}.prompt_version = ANY (:prompt_versions)
    AND (:model IN ({0}.model, regexp_replace({0}.model, '-[0-9]{{8}}$', '')))"""
# A vendor may answer as claude-haiku-4-5-20251001 where claude-haiku-4-5 was asked.

RENEWABLE = f"""
    FROM task_items ti
    JOIN items i ON i.id = ti.item_id
    JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
    JOIN texts x ON x.id = it.text_id AND x.body <> ''
    CROSS JOIN LATERAL (
        SELECT * FROM classifications k
        WHERE k.text_id = it.text_id AND k.task = :task AND k.purpose = 'live' AND k.{_IS_ANSWER}
        ORDER BY {BEST_FIRST.format("k")}
        LIMIT 1) AS c
    WHERE ti.task = :task AND ti.applies
      AND (:every_repository OR i.repository_key = ANY (:repository_keys))
      AND (:every_label OR EXISTS (SELECT FROM unnest(i.labels) AS l WHERE lower(l) = ANY (:labels)))
      AND c.classifier = ANY (:renewed) AND NOT ({_IS_OF_TODAY.format("c")})
      AND (:every_category OR c.categories && CAST(:categories AS text[]) OR c.outcome = ANY (:categories))
      AND (CAST(:from_prompt AS text) IS NULL OR starts_with(c.prompt_version, :from_prompt))
      AND (CAST(:from_model AS text) IS NULL OR :from_model = c.model)
      AND (CAST(:older_than AS int) IS NULL OR c.task_version < :older_than)
      AND c.run_id <> :renewing_run
      AND (SELECT count(*) FROM classifications a
           WHERE a.text_id = it.text_id AND a.task = :task AND a.purpose = 'live' AND a.classifier = :classifier
                 AND a.{_IS_ATTEMPT} AND {_IS_OF_TODAY.format("a")}) < :most_attempts
"""  # noqa: S608  (constants)
"""Where a statement selects the texts whose current answer `c` is to be given anew. Takes a scope's parameters.

What the run itself has answered is left out: a service that answers under another model's name would be asked for ever.
"""


def _like_pattern(glob: str) -> str:
    """The LIKE pattern of a glob with `*` and `?`."""
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def register_task(connection: Connection, task: Task, content: str) -> bool:
    """Remembers this version of the task; True if it was not known yet.

    A task that asks of a new input queues every item for fingerprinting; one that applies elsewhere than its earlier
    version gives every tracked item a new document version.

    A version that nothing was answered under yet is a draft: other content takes the place of what was known.

    Raises:
        ConfigurationError: the same version has answers that were given under other content.
    """
    known = connection.execute(
        text("SELECT sha256 FROM tasks WHERE name = :name AND version = :version"),
        {"name": task.name, "version": task.version},
    ).scalar_one_or_none()
    if known == task.sha256:
        return False
    if known is not None and _has_answers(connection, task):
        raise ConfigurationError(
            f"{task.path}: version {task.version} of task {task.name!r} has answers given under other content;"
            f" raise `version` to {task.version + 1} (old answers stay, nothing is asked again by itself)"
        )
    inputs = set(select_inputs(connection))
    connection.execute(
        text("""
            INSERT INTO tasks (name, version, sha256, content, input, kinds, repositories_like, labels,
                               titles_except_like, states, aliases)
            VALUES (:name, :version, :sha256, :content, :input, :kinds, :repositories, :labels, :titles, :states,
                    CAST(:aliases AS jsonb))
            ON CONFLICT (name, version) DO UPDATE
            SET (sha256, content, input, kinds, repositories_like, labels, titles_except_like, states, aliases,
                 registered_at)
              = (excluded.sha256, excluded.content, excluded.input, excluded.kinds, excluded.repositories_like,
                 excluded.labels, excluded.titles_except_like, excluded.states, excluded.aliases,
                 excluded.registered_at)
        """),
        {
            "name": task.name,
            "version": task.version,
            "sha256": task.sha256,
            "content": content,
            "input": task.input,
            "kinds": list(task.applies_to.kinds),
            "repositories": [_like_pattern(glob.lower()) for glob in task.applies_to.repositories],
            "labels": [label.lower() for label in task.applies_to.labels],
            "titles": [_like_pattern(glob) for glob in task.applies_to.titles_except],
            "states": list(task.applies_to.states),
            "aliases": json.dumps({word.casefold(): entry.id for entry in task.categories for word in entry.aliases}),
        },
    )
    if task.input not in inputs:
        queue_every_item(connection)
    serialize_item_writers(connection)
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE repository_key IN (SELECT repository_key FROM tracked_tasks WHERE task = :task)
        """),  # noqa: S608  (a constant)
        {"task": task.name},
    )
    return True


def _has_answers(connection: Connection, task: Task) -> bool:
    """Whether this version has answers, or a batch under way that will bring some."""
    return bool(
        connection.execute(
            text(f"""
                SELECT EXISTS (SELECT FROM classifications
                               WHERE task = :task AND task_version = :version AND purpose <> 'trial' AND {_IS_ANSWER})
                       OR EXISTS (SELECT FROM batches
                                  WHERE task = :task AND task_version = :version AND settled_at IS NULL)
            """),  # noqa: S608  (a constant)
            {"task": task.name, "version": task.version},
        ).scalar_one()
    )


def track_tasks(connection: Connection, repository_keys: Sequence[int] | None, tasks: Sequence[Task]) -> None:
    """Remembers that these tasks are asked of these repositories: exports and trends cover them from now on.

    repository_keys: None means every repository that is stored.
    """
    connection.execute(
        text("""
            INSERT INTO tracked_tasks (repository_key, task)
            SELECT r.key, t FROM repositories r CROSS JOIN unnest(CAST(:tasks AS text[])) AS t
            WHERE (:every_repository OR r.key = ANY (:keys))
              AND NOT EXISTS (SELECT FROM tracked_tasks o WHERE o.repository_key = r.key AND o.task = t)
            ON CONFLICT DO NOTHING
        """),
        {
            "every_repository": repository_keys is None,
            "keys": list(repository_keys or ()),
            "tasks": [task.name for task in tasks],
        },
    )


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which current answers a run gives anew: those of its classifier that are not by the prompt and model of today.

    prompt_versions, model: of today; an answer by these is left alone. categories: only answers with one of them, or
    with such an outcome (abstained, refused); empty: any. from_prompt: only answers whose prompt version begins so.
    from_model: only by that model. older_than: only by earlier versions of the task. None: any. run_id: the run that
    renews.
    """

    prompt_versions: tuple[str, ...]
    model: str
    categories: tuple[str, ...] = ()
    from_prompt: str | None = None
    from_model: str | None = None
    older_than: int | None = None
    run_id: int = 0

    @property
    def is_narrowed(self) -> bool:
        """Whether it is about some of the older answers only."""
        return bool(self.categories) or any(
            value is not None for value in (self.from_prompt, self.from_model, self.older_than)
        )


class PendingScope:
    """Which pending texts a run works on: of these repositories and labels (None: all), for this classifier.

    With `renewal` these are texts that have an answer by the classifier, or inherited from it, to be given anew.
    where: the part of a statement that selects them, for `parameters`.
    """

    def __init__(
        self,
        classifier: str,
        repository_keys: Sequence[int] | None = None,
        labels: Sequence[str] = (),
        renewal: Renewal | None = None,
    ) -> None:
        self.classifier = classifier
        self.accepted = ACCEPTED[classifier]
        self.where = PENDING if renewal is None else RENEWABLE
        self.parameters: dict[str, object] = {
            "classifier": classifier,
            "accepted": list(self.accepted),
            "every_repository": repository_keys is None,
            "repository_keys": list(repository_keys or ()),
            "every_label": not labels,
            "labels": [label.lower() for label in labels],
            "most_attempts": MOST_ATTEMPTS,
            "accepted_models": [],
        }
        if renewal is not None:
            self.parameters |= {
                "renewed": ["claude", "family"] if classifier == "claude" else [classifier],
                "prompt_versions": list(renewal.prompt_versions),
                "model": renewal.model,
                "every_category": not renewal.categories,
                "categories": list(renewal.categories),
                "from_prompt": renewal.from_prompt,
                "from_model": renewal.from_model,
                "older_than": renewal.older_than,
                "renewing_run": renewal.run_id,
            }

    def accept_models(self, models: Mapping[str, Sequence[str]]) -> None:
        """From now on texts that one of these models of `local` has answered do not wait, for as long as this scope is.

        models: by task, as the ledger calls them: those that the cascade trusts.
        """
        self.parameters["accepted_models"] = [f"{task} {model}" for task, names in models.items() for model in names]


_IN_BATCH = "SELECT FROM claims k WHERE k.text_id = it.text_id AND k.task = {0} AND k.batch_id IS NOT NULL"

By = Literal["any", "batch", "single"]
"""Which pending texts: all; those that a batch may ask about; those for which batches have failed too often."""

_BY = {"any": "", "batch": f"AND NOT ({SPENT})", "single": f"AND {SPENT}"}


def count_pending(connection: Connection, task: Task, scope: PendingScope, by: By = "any") -> int:
    """How many distinct texts wait for an answer to `task`; those in a batch under way do not: they are asked about."""
    return int(
        connection.execute(
            text(f"""
                SELECT count(DISTINCT it.text_id) {scope.where}
                AND NOT EXISTS ({_IN_BATCH.format(":task")}) {_BY[by]}
            """),
            {"task": task.name, **scope.parameters},
        ).scalar_one()
    )


def count_unanswered(connection: Connection) -> dict[str, int]:
    """By task: how many distinct texts have no answer by any classifier yet, and are in no batch under way."""
    rows = connection.execute(
        text(f"""
            SELECT ti.task, count(DISTINCT it.text_id)
            FROM task_items ti
            JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
            JOIN texts x ON x.id = it.text_id AND x.body <> ''
            WHERE ti.applies
              AND NOT EXISTS (
                  SELECT FROM classifications c
                  WHERE c.text_id = it.text_id AND c.task = ti.task AND c.purpose = 'live' AND c.{_IS_ANSWER})
              AND NOT EXISTS ({_IN_BATCH.format("ti.task")})
            GROUP BY ti.task ORDER BY ti.task
        """)  # noqa: S608  (a constant)
    )
    return {row[0]: row[1] for row in rows}


def select_pending_texts(
    connection: Connection, task: Task, scope: PendingScope, limit: int | None, portion: int
) -> Iterator[Sequence[Text]]:
    """The pending texts, newest item first, as `claim_pending` would give them, but without claiming any.

    limit: so many at most (None: all). portion: how many are held in memory at a time.
    """
    rows = connection.execute(
        text(f"""
            WITH pending AS (
                SELECT it.text_id, max(i.created_at) AS newest {scope.where}
                  AND NOT EXISTS ({_IN_BATCH.format(":task")})
                GROUP BY it.text_id ORDER BY newest DESC, it.text_id DESC LIMIT :limit)
            SELECT x.id, x.text_hash, x.body FROM pending JOIN texts x ON x.id = text_id ORDER BY newest DESC, x.id DESC
        """),  # noqa: S608  (constants)
        {"task": task.name, **scope.parameters, "limit": limit},
        execution_options={"yield_per": portion},
    )
    for part in rows.partitions():
        yield [Text(id=row.id, text_hash=row.text_hash, body=row.body) for row in part]


def claim_pending(
    connection: Connection,
    task: Task,
    scope: PendingScope,
    *,
    run_id: int,
    limit: int,
    lease_minutes: float,
    by: By = "any",
) -> list[Text]:
    """Up to `limit` pending texts, newest item first, claimed for this run so that no other run asks about them.

    A claim ends when the answer is stored, when it is released, or when its lease runs out; one that a batch has been
    given, when the batch is settled.
    """
    rows = connection.execute(
        text(f"""
            WITH pending AS (
                SELECT it.text_id, max(i.created_at) AS newest {scope.where}
                  AND NOT EXISTS (SELECT FROM claims k WHERE k.text_id = it.text_id AND k.task = :task
                                                         AND k.expires_at > now())
                  {_BY[by]}
                GROUP BY it.text_id ORDER BY newest DESC, it.text_id DESC LIMIT :limit
            ), claimed AS (
                INSERT INTO claims AS k (text_id, task, run_id, expires_at)
                SELECT text_id, :task, :run_id, now() + make_interval(secs => :lease_seconds) FROM pending
                ON CONFLICT (text_id, task) DO UPDATE
                SET run_id = excluded.run_id, expires_at = excluded.expires_at WHERE k.expires_at <= now()
                RETURNING text_id
            )
            SELECT x.id, x.text_hash, x.body
            FROM claimed JOIN pending USING (text_id) JOIN texts x ON x.id = text_id
            ORDER BY newest DESC, x.id DESC
        """),  # noqa: S608  (a constant)
        {
            "task": task.name,
            **scope.parameters,
            "run_id": run_id,
            "limit": limit,
            "lease_seconds": lease_minutes * 60,
        },
    )
    return [Text(id=row.id, text_hash=row.text_hash, body=row.body) for row in rows]


def release_claims(connection: Connection, run_id: int) -> None:
    """Ends every claim of a run but those of its batches: texts without an answer are pending again."""
    connection.execute(text("DELETE FROM claims WHERE run_id = :run_id AND batch_id IS NULL"), {"run_id": run_id})


def insert_answers(connection: Connection, task: Task, answers: Sequence[Answer], run_id: int) -> None:
    """Appends the answers to the ledger; live ones end their claims and give every item of their texts a new version.

    A claim ends that this run holds, or the batch that the answer came in. Answers of another purpose are never
    current: nothing that a document shows changes with them, and whoever asks live goes on.
    """
    live = [answer for answer in answers if answer.purpose == "live"]
    text_ids = [answer.text_id for answer in live]
    connection.execute(
        text("""
            INSERT INTO classifications (
                text_id, task, task_version, task_sha256, prompt_version, classifier, model, outcome, categories,
                confidences, rationale, redactions, truncated_chars, input_tokens, cache_write_tokens,
                cache_read_tokens, output_tokens, cost_usd, request_id, run_id, pack, batch_id, purpose)
            VALUES (:text_id, :task, :task_version, :task_sha256, :prompt_version, :classifier, :model, :outcome,
                    :categories, :confidences, :rationale, :redactions, :truncated_chars, :input_tokens,
                    :cache_write_tokens, :cache_read_tokens, :output_tokens, :cost_usd, :request_id, :run_id,
                    :pack, :batch_id, :purpose)
        """),
        [_ledger_row(task, answer, run_id) for answer in answers],
    )
    if not live:
        return
    connection.execute(
        text("""
            DELETE FROM claims WHERE task = :task AND text_id = ANY (:ids)
                                 AND (batch_id IS NULL AND run_id = :run_id OR batch_id = ANY (:batch_ids))
        """),
        {
            "task": task.name,
            "run_id": run_id,
            "ids": text_ids,
            "batch_ids": sorted({answer.batch_id for answer in live if answer.batch_id is not None}),
        },
    )
    serialize_item_writers(connection)
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (SELECT item_id FROM item_texts WHERE text_id = ANY (:ids))
        """),  # noqa: S608  (a constant)
        {"ids": text_ids},
    )


def _ledger_row(task: Task, answer: Answer, run_id: int) -> dict[str, object]:
    usage = answer.usage
    return {
        "text_id": answer.text_id,
        "task": task.name,
        "task_version": task.version,
        "task_sha256": task.sha256,
        "prompt_version": answer.prompt_version,
        "classifier": answer.classifier,
        "model": answer.model,
        "outcome": answer.outcome,
        "categories": [category for category, _ in answer.categories],
        "confidences": [confidence for _, confidence in answer.categories],
        "rationale": answer.rationale.replace("\x00", "\ufffd"),
        "redactions": answer.redactions,
        "truncated_chars": answer.truncated_chars,
        "input_tokens": usage.input_tokens if usage else 0,
        "cache_write_tokens": usage.cache_write_tokens if usage else 0,
        "cache_read_tokens": usage.cache_read_tokens if usage else 0,
        "output_tokens": usage.output_tokens if usage else 0,
        "cost_usd": usage.cost_usd if usage else 0,
        "request_id": answer.request_id,
        "run_id": run_id,
        "pack": answer.pack,
        "batch_id": answer.batch_id,
        "purpose": answer.purpose,
    }
