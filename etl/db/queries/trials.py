"""Statements on comparisons: a sample of texts, what the ledger says of them, and who is asked about them for trial."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from etl.db.queries.classifications import MOST_ATTEMPTS
from etl.records import ANSWERS, ATTEMPTS, Signature, Text
from etl.tasks import Task

_ITEMS_SHOWN = 3

_IS_BY = """
    task = :task AND classifier = :classifier AND prompt_version = ANY (:prompt_versions)
    AND :model IN (model, regexp_replace(model, '-[0-9]{8}$', ''))"""

_COLUMNS = """
    text_id, outcome, categories, confidences, rationale, task_version, prompt_version, classifier, model,
    CAST(cost_usd AS float8) AS cost_usd, input_tokens, cache_write_tokens, cache_read_tokens, output_tokens"""


@dataclass(frozen=True, slots=True)
class SampledText:
    """A text to compare on. items: 'owner/name#number' of up to three items that have it, the oldest first."""

    text: Text
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerAnswer:
    """An answer as it stands in the ledger."""

    text_id: int
    outcome: str
    categories: Sequence[str]
    confidences: Sequence[float]
    rationale: str
    task_version: int
    prompt_version: str
    classifier: str
    model: str
    cost_usd: float
    input_tokens: int
    cache_write_tokens: int
    cache_read_tokens: int
    output_tokens: int


def select_sample(
    connection: Connection, task: Task, repository_keys: Sequence[int] | None, size: int
) -> list[SampledText]:
    """Up to `size` texts with an answer to `task`, chosen by hashes: the same every time, whatever is compared.

    repository_keys: of which repositories; None: of all.
    """
    rows = connection.execute(
        text(f"""
            WITH sample AS (
                SELECT it.text_id, md5(:task || ' ' || x.text_hash) AS place
                FROM task_items ti
                JOIN items i ON i.id = ti.item_id
                JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
                JOIN texts x ON x.id = it.text_id AND x.body <> ''
                WHERE ti.task = :task AND ti.applies
                  AND (:every_repository OR i.repository_key = ANY (:keys))
                  AND EXISTS (SELECT FROM classifications c WHERE c.text_id = it.text_id AND c.task = :task
                                                                  AND c.purpose = 'live' AND c.outcome IN {ANSWERS})
                GROUP BY it.text_id, x.text_hash ORDER BY place, it.text_id LIMIT :size
            )
            SELECT x.id, x.text_hash, x.body,
                   ARRAY(SELECT r.full_name || '#' || i.external_id
                         FROM item_texts it JOIN items i ON i.id = it.item_id JOIN repositories r ON r.key =
                              i.repository_key
                         WHERE it.text_id = x.id AND i.tombstone IS NULL
                         ORDER BY i.created_at, i.id LIMIT {_ITEMS_SHOWN}) AS items
            FROM sample s JOIN texts x ON x.id = s.text_id ORDER BY s.place, x.id
        """),  # noqa: S608  (constants)
        {
            "task": task.name,
            "every_repository": repository_keys is None,
            "keys": list(repository_keys or ()),
            "size": size,
        },
    )
    return [SampledText(Text(row.id, row.text_hash, row.body), tuple(row.items)) for row in rows]


def select_current_answers(connection: Connection, task: Task, text_ids: Sequence[int]) -> list[LedgerAnswer]:
    """The current answer of each of these texts that has one."""
    rows = connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM current_answers WHERE task = :task AND text_id = ANY (:ids)
        """),  # noqa: S608  (a constant)
        {"task": task.name, "ids": list(text_ids)},
    )
    return [LedgerAnswer(*row) for row in rows]


def select_answers_by(
    connection: Connection, task: Task, classifier: str, signature: Signature, text_ids: Sequence[int]
) -> list[LedgerAnswer]:
    """The newest answer to each of these texts by this classifier with this prompt and model, whatever it was for."""
    rows = connection.execute(
        text(f"""
            SELECT DISTINCT ON (text_id) {_COLUMNS} FROM classifications
            WHERE {_IS_BY} AND outcome IN {ANSWERS} AND purpose <> 'withdrawn' AND text_id = ANY (:ids)
            ORDER BY text_id, id DESC
        """),  # noqa: S608  (constants)
        _parameters(task, classifier, signature, text_ids),
    )
    return [LedgerAnswer(*row) for row in rows]


def select_hopeless(
    connection: Connection, task: Task, classifier: str, signature: Signature, text_ids: Sequence[int]
) -> list[int]:
    """Of these texts, those that were asked about for trial as often as one may without a usable answer."""
    rows = connection.execute(
        text(f"""
            SELECT text_id FROM classifications
            WHERE {_IS_BY} AND outcome IN {ATTEMPTS} AND purpose = 'trial' AND text_id = ANY (:ids)
            GROUP BY text_id HAVING count(*) >= {MOST_ATTEMPTS}
        """),  # noqa: S608  (constants)
        _parameters(task, classifier, signature, text_ids),
    )
    return list(rows.scalars())


def _parameters(task: Task, classifier: str, signature: Signature, text_ids: Sequence[int]) -> dict[str, object]:
    return {
        "task": task.name,
        "classifier": classifier,
        "prompt_versions": list(signature.prompt_versions),
        "model": signature.model,
        "ids": list(text_ids),
    }


def claim_for_trial(
    connection: Connection, task: Task, text_ids: Sequence[int], *, run_id: int, lease_minutes: float
) -> list[int]:
    """Claims texts for the trial, so that nobody erases or merges them meanwhile; gives those that are still there.

    Whoever asks live is not kept away: the claim is under a name of its own.
    """
    rows = connection.execute(
        text("""
            INSERT INTO claims AS k (text_id, task, run_id, expires_at)
            SELECT id, :name, :run_id, now() + make_interval(secs => :lease_seconds)
            FROM texts WHERE id = ANY (:ids) AND body <> '' ORDER BY id
            ON CONFLICT (text_id, task) DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at
            RETURNING text_id
        """),
        {"name": f"{task.name} (trial)", "run_id": run_id, "ids": list(text_ids), "lease_seconds": lease_minutes * 60},
    )
    return list(rows.scalars())
