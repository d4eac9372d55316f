"""Statements on answers that a text inherits from its kin: who may, who did, and whether that was right.

A kin is an id that texts of one input share (`etl.dedup.guards`). It speaks with one voice where the answers that its
texts were given by a classifier are all the same, none is in an open conflict, and no person decided otherwise of an
item. Only then anyone inherits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.classifications import PENDING, PendingScope
from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.store import serialize_item_writers
from etl.tasks import Task

FAMILY = "family"
"""What stands in the ledger as the classifier of an answer that was inherited."""

COMPARED = 200
"""Over how many of a task's newest audits agreement is computed, so that it can recover."""

_SAME = "ARRAY(SELECT unnest({0}.categories) ORDER BY 1)"

_ITEM_OF = """(
    SELECT r.full_name || '#' || i.external_id
    FROM item_texts it JOIN items i ON i.id = it.item_id JOIN repositories r ON r.key = i.repository_key
    WHERE it.text_id = {0} AND i.tombstone IS DISTINCT FROM 'purged' ORDER BY i.created_at, i.id LIMIT 1)"""

_VOICES = f"""
    voices AS MATERIALIZED (
        SELECT kin, input, count(DISTINCT (outcome, said)) = 1 AND NOT bool_or(is_disputed)
                           AND min(outcome) IN ('answered', 'abstained') AS is_one,
               (array_agg(id ORDER BY task_version DESC, id DESC))[1] AS source_id
        FROM (SELECT k.kin, x.input, c.id, c.outcome, c.task_version, {_SAME.format("c")} AS said,
                     EXISTS (SELECT FROM item_texts it
                             JOIN annotations n ON n.item_id = it.item_id AND n.task = :task AND n.role = 'override'
                                  AND n.withdrawn_at IS NULL
                             WHERE it.text_id = k.text_id AND {_SAME.format("n")} <> {_SAME.format("c")})
                     OR EXISTS (SELECT FROM open_conflicts o WHERE o.text_id = k.text_id AND o.task = :task)
                        AS is_disputed
              FROM text_kin k
              JOIN texts x ON x.id = k.text_id
              CROSS JOIN LATERAL (
                  SELECT * FROM classifications a
                  WHERE a.text_id = k.text_id AND a.task = :task AND a.purpose = 'live'
                        AND a.outcome IN ('answered', 'abstained', 'refused') AND a.classifier = ANY (:sources)
                  ORDER BY array_position(CAST(:sources AS text[]), a.classifier), a.task_version DESC, a.id DESC
                  LIMIT 1) AS c
              WHERE (k.kin, x.input) IN (SELECT kin, input FROM wanted)) AS answers
        GROUP BY kin, input
    )
"""  # noqa: S608  (constants)


@dataclass(frozen=True, slots=True)
class Kinless:
    """A text of a family with several, whose kin is to be computed."""

    id: int
    body: str


@dataclass(frozen=True, slots=True)
class Heir:
    """A text that may inherit an answer.

    source_id: the answer in the ledger. of: 'owner/name#number' of an issue that was answered so. inherited, audited:
    how many texts of its kin have inherited, and have been asked about for comparison.
    """

    text_id: int
    text_hash: str
    kin: str
    source_id: int
    of: str
    inherited: int
    audited: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often a fresh answer was the one that would have been inherited, over the newest audits of a task.

    waiting: audits without an answer yet. inherited: texts whose answer was inherited.
    """

    task: str
    compared: int
    agreed: int
    waiting: int = 0
    inherited: int = 0

    @property
    def share(self) -> float:
        """Of those compared; 0 where none was."""
        return self.agreed / self.compared if self.compared else 0.0


_KINLESS = """
    FROM texts x
    WHERE x.id > :after AND x.body <> '' AND strpos(x.text_hash, '~') = 0
      AND EXISTS (SELECT FROM texts o WHERE o.family_hash = x.family_hash AND o.input = x.input
                                        AND o.id <> x.id AND o.body <> '')
      AND NOT EXISTS (SELECT FROM text_kin k WHERE k.text_id = x.id AND k.rules_version >= :version)
"""


def count_texts_without_kin(connection: Connection, version: int) -> int:
    """How many texts of families with several have no kin under these rules yet."""
    values = {"version": version, "after": 0}
    return int(connection.execute(text(f"SELECT count(*) {_KINLESS}"), values).scalar_one())


def select_texts_without_kin(connection: Connection, version: int, *, after: int, limit: int) -> list[Kinless]:
    """The next texts, by id, of families with several whose kin is not known under these rules.

    Texts that people split from others are left out: they know that it is another problem. Those given are kept from a
    purge until this transaction ends, which then erases their kin.
    """
    rows = connection.execute(
        text(f"SELECT x.id, x.body {_KINLESS} ORDER BY x.id LIMIT :limit FOR KEY SHARE OF x"),
        {"version": version, "after": after, "limit": limit},
    )
    return [Kinless(row.id, row.body) for row in rows]


def upsert_kin(connection: Connection, kin: Sequence[tuple[int, str | None]], version: int) -> None:
    """Stores the kin of texts; None for a text that has none."""
    connection.execute(
        text("""
            INSERT INTO text_kin (text_id, rules_version, kin)
            SELECT n.id, :version, n.kin FROM unnest(CAST(:ids AS bigint[]), CAST(:kin AS text[])) AS n (id, kin)
            ON CONFLICT (text_id) DO UPDATE SET rules_version = excluded.rules_version, kin = excluded.kin
        """),
        {"ids": [text_id for text_id, _ in kin], "kin": [name for _, name in kin], "version": version},
    )


def delete_outdated_kin(connection: Connection, version: int) -> None:
    """Forgets the kin of earlier rules, of texts that are alone in their family now."""
    connection.execute(text("DELETE FROM text_kin WHERE rules_version < :version"), {"version": version})


def delete_kin(connection: Connection, text_ids: Sequence[int]) -> None:
    """Forgets the kin of texts."""
    connection.execute(text("DELETE FROM text_kin WHERE text_id = ANY (:ids)"), {"ids": list(text_ids)})


def withdraw_doubtful(connection: Connection, task: Task, sources: Sequence[str]) -> int:
    """Takes back inherited answers whose kin does not say so any more; gives how many. Their texts are pending again.

    They stay in the ledger, marked as withdrawn.
    """
    serialize_item_writers(connection)
    withdrawn = connection.execute(
        text(f"""
            WITH wanted AS (
                SELECT DISTINCT k.kin, x.input
                FROM classifications f JOIN text_kin k ON k.text_id = f.text_id JOIN texts x ON x.id = f.text_id
                WHERE f.task = :task AND f.inherited_from IS NOT NULL AND f.purpose = 'live' AND k.kin IS NOT NULL
            ), {_VOICES}
            UPDATE classifications f SET purpose = 'withdrawn'
            FROM text_kin k JOIN texts x ON x.id = k.text_id
            JOIN voices v ON v.kin = k.kin AND v.input = x.input
            JOIN classifications s ON s.id = v.source_id
            WHERE f.text_id = k.text_id AND f.task = :task AND f.inherited_from IS NOT NULL AND f.purpose = 'live'
              AND NOT (v.is_one AND s.outcome = f.outcome AND {_SAME.format("s")} = {_SAME.format("f")})
            RETURNING f.text_id
        """),  # noqa: S608  (constants)
        {"task": task.name, "sources": list(sources)},
    ).scalars()
    ids = list(withdrawn)
    if ids:
        _raise_versions(connection, ids)
    return len(ids)


def select_heirs(
    connection: Connection,
    task: Task,
    scope: PendingScope,
    sources: Sequence[str],
    *,
    limit: int,
    text_ids: Sequence[int] | None = None,
) -> list[Heir]:
    """Up to `limit` pending texts whose kin has an answer, by id; of `text_ids`, where given, also claimed ones.

    Each of a text that has no answer of its own yet and that no other run is asking about.
    """
    rows = connection.execute(
        text(f"""
            WITH pending AS (
                SELECT DISTINCT it.text_id {PENDING}
                  AND (:claimed AND it.text_id = ANY (:ids)
                       OR NOT :claimed AND NOT EXISTS (SELECT FROM claims k WHERE k.text_id = it.text_id
                                                       AND k.task = :task AND k.expires_at > now()))
            ), heirs AS MATERIALIZED (
                SELECT p.text_id, x.text_hash, x.input, k.kin
                FROM pending p JOIN texts x ON x.id = p.text_id AND strpos(x.text_hash, '~') = 0
                JOIN text_kin k ON k.text_id = p.text_id AND k.kin IS NOT NULL
            ), wanted AS (SELECT DISTINCT kin, input FROM heirs), {_VOICES}, sources AS MATERIALIZED (
                SELECT v.kin, v.input, v.source_id, s.text_id AS source_text_id, {_ITEM_OF.format("s.text_id")} AS item,
                       (SELECT count(*) FROM text_kin k JOIN classifications f ON f.text_id = k.text_id
                        WHERE k.kin = v.kin AND f.task = :task AND f.inherited_from IS NOT NULL
                              AND f.purpose = 'live') AS inherited,
                       (SELECT count(*) FROM text_kin k JOIN inheritance_audits a ON a.text_id = k.text_id
                        WHERE k.kin = v.kin AND a.task = :task) AS audited
                FROM voices v JOIN classifications s ON s.id = v.source_id WHERE v.is_one
            )
            SELECT h.text_id, h.text_hash, h.kin, s.source_id, s.source_text_id, s.item, s.inherited, s.audited
            FROM heirs h JOIN sources s ON s.kin = h.kin AND s.input = h.input
            ORDER BY h.text_id LIMIT :limit
        """),  # noqa: S608  (constants)
        {
            "task": task.name,
            **scope.parameters,
            "sources": list(sources),
            "limit": limit,
            "claimed": text_ids is not None,
            "ids": list(text_ids or ()),
        },
    )
    return [
        Heir(
            row.text_id,
            row.text_hash,
            row.kin,
            row.source_id,
            row.item or f"text {row.source_text_id}",
            row.inherited,
            row.audited,
        )
        for row in rows
    ]


def insert_inherited(
    connection: Connection, task: Task, heirs: Sequence[Heir], *, run_id: int, accepted: Sequence[str], trust: float
) -> int:
    """Appends the inherited answers to the ledger and gives every item of their texts a new version; gives how many.

    Each repeats the answer at its source, with the confidence times `trust`. A claim for the moment keeps other runs
    and a purge away; a text that was answered meanwhile is left out.
    """
    parameters = {
        "task": task.name,
        "run_id": run_id,
        "ids": [heir.text_id for heir in heirs],
        "sources": [heir.source_id for heir in heirs],
        "reasons": [f"as {heir.of}: the same but for what tells nothing" for heir in heirs],
        "accepted": list(accepted),
        "trust": trust,
    }
    claimed = connection.execute(
        text("""
            INSERT INTO claims AS k (text_id, task, run_id, expires_at)
            SELECT id, :task, :run_id, now() + interval '1 minute' FROM unnest(CAST(:ids AS bigint[])) AS n (id)
            ORDER BY id
            ON CONFLICT (text_id, task) DO UPDATE SET run_id = excluded.run_id, expires_at = excluded.expires_at
            WHERE k.expires_at <= now()
            RETURNING text_id
        """),
        parameters,
    ).scalars()
    parameters["claimed"] = list(claimed)
    answered = connection.execute(
        text("""
            INSERT INTO classifications (
                text_id, task, task_version, task_sha256, prompt_version, classifier, model, outcome, categories,
                confidences, rationale, run_id, inherited_from)
            SELECT n.id, s.task, s.task_version, s.task_sha256, s.prompt_version, 'family', s.model, s.outcome,
                   s.categories, ARRAY(SELECT c * :trust FROM unnest(s.confidences) WITH ORDINALITY AS u (c, place)
                                       ORDER BY place), n.reason, :run_id, s.id
            FROM unnest(CAST(:ids AS bigint[]), CAST(:sources AS bigint[]), CAST(:reasons AS text[]))
                 AS n (id, source_id, reason)
            JOIN classifications s ON s.id = n.source_id
            JOIN texts x ON x.id = n.id AND x.body <> ''
            WHERE n.id = ANY (:claimed)
              AND NOT EXISTS (SELECT FROM classifications c WHERE c.text_id = n.id AND c.task = :task
                              AND c.purpose = 'live' AND c.classifier = ANY (:accepted)
                              AND c.outcome IN ('answered', 'abstained', 'refused'))
            RETURNING text_id
        """),
        parameters,
    ).scalars()
    ids = list(answered)
    connection.execute(
        text("DELETE FROM claims WHERE task = :task AND run_id = :run_id AND text_id = ANY (:claimed)"), parameters
    )
    if ids:
        serialize_item_writers(connection)
        _raise_versions(connection, ids)
    return len(ids)


def insert_audits(connection: Connection, task: Task, heirs: Sequence[Heir], run_id: int) -> None:
    """Remembers, before they are asked about, what these texts would have inherited."""
    connection.execute(
        text("""
            INSERT INTO inheritance_audits (text_id, task, inherited_from, run_id)
            SELECT n.id, :task, n.source_id, :run_id
            FROM unnest(CAST(:ids AS bigint[]), CAST(:sources AS bigint[])) AS n (id, source_id)
            ON CONFLICT (text_id, task) DO UPDATE
            SET inherited_from = excluded.inherited_from, run_id = excluded.run_id, created_at = now()
        """),
        {
            "task": task.name,
            "run_id": run_id,
            "ids": [heir.text_id for heir in heirs],
            "sources": [heir.source_id for heir in heirs],
        },
    )


_AUDITS = f"""
    SELECT a.task, a.text_id, a.created_at, s.categories AS expected, s.outcome AS expected_outcome,
           s.text_id AS source_text_id, c.id AS answer_id, c.categories, c.outcome,
           c.outcome = s.outcome AND {_SAME.format("c")} = {_SAME.format("s")} AS agrees
    FROM inheritance_audits a
    JOIN classifications s ON s.id = a.inherited_from
    LEFT JOIN LATERAL (
        SELECT * FROM classifications k
        WHERE k.text_id = a.text_id AND k.task = a.task AND k.purpose = 'live' AND k.classifier = s.classifier
              AND k.outcome IN ('answered', 'abstained', 'refused') AND k.id > s.id
        ORDER BY k.id LIMIT 1) AS c ON true
"""  # noqa: S608  (constants)


def select_agreement(connection: Connection) -> list[Agreement]:
    """Per task with audits or inherited answers: how often the fresh answer was the one to be inherited."""
    rows = connection.execute(
        text(f"""
            WITH audits AS ({_AUDITS}), ranked AS (
                SELECT *, row_number() OVER (PARTITION BY task, answer_id IS NULL ORDER BY answer_id DESC) AS place
                FROM audits
            ), heirs AS (
                SELECT task, count(DISTINCT text_id) AS inherited FROM classifications
                WHERE inherited_from IS NOT NULL AND purpose = 'live' GROUP BY task
            ), compared AS (
                SELECT task, count(*) FILTER (WHERE answer_id IS NOT NULL AND place <= :most) AS compared,
                       count(*) FILTER (WHERE agrees AND place <= :most) AS agreed,
                       count(*) FILTER (WHERE answer_id IS NULL) AS waiting
                FROM ranked GROUP BY task
            )
            SELECT task, coalesce(c.compared, 0), coalesce(c.agreed, 0), coalesce(c.waiting, 0),
                   coalesce(h.inherited, 0)
            FROM compared c FULL JOIN heirs h USING (task) ORDER BY task
        """),  # noqa: S608  (constants)
        {"most": COMPARED},
    )
    return [Agreement(*row) for row in rows]


def select_disagreements(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest audits whose answer was another: the issue, what it would have inherited and from whom, its answer."""
    rows = connection.execute(
        text(f"""
            SELECT a.task, {_ITEM_OF.format("a.text_id")} AS item,
                   {_ITEM_OF.format("a.source_text_id")} AS source_item,
                   CASE WHEN a.expected_outcome = 'answered' THEN a.expected
                        ELSE ARRAY[a.expected_outcome] END AS expected,
                   CASE WHEN a.outcome = 'answered' THEN a.categories ELSE ARRAY[a.outcome] END AS answered
            FROM ({_AUDITS}) AS a WHERE a.answer_id IS NOT NULL AND NOT a.agrees
            ORDER BY a.answer_id DESC LIMIT :limit
        """),  # noqa: S608  (constants)
        {"limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


def _raise_versions(connection: Connection, text_ids: Sequence[int]) -> None:
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (SELECT item_id FROM item_texts WHERE text_id = ANY (:ids))
        """),  # noqa: S608  (a constant)
        {"ids": list(text_ids)},
    )
