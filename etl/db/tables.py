"""The tables, as SQLAlchemy sees them; the structure itself is made by `migrations/` only (`alembic check` compares).

What each table is for is said in docs/architecture.md, section "The database"; the views that users may rely on are
in docs/sql.md.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from etl.records import ANSWERS, ATTEMPTS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Moment = DateTime(timezone=True)
_EMPTY = text("'{}'")
_NOTHING = text("'{}'::jsonb")
_NOW = func.now()
_DOLLARS = Numeric(14, 8)
_OF_COST = "of `cost_usd`, answers "

repositories = Table(
    "repositories",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False, comment="etl.sources.base.repository_key"),
    Column("host", Text, nullable=False),
    Column("github_id", BigInteger),
    Column("full_name", Text, nullable=False),
    Column("first_seen_at", _Moment, nullable=False, server_default=_NOW),
    Column("reach", Text, nullable=False, server_default="ok", comment="how the source answered when last asked"),
    Column("reach_since", _Moment, comment="since when it answers so"),
    CheckConstraint("reach IN ('ok', 'issues_disabled', 'out_of_reach')", name="reach"),
    Index("uq_repositories_host_github_id", "host", "github_id", unique=True),
    Index("ix_repositories_host_name", "host", text("lower(full_name)")),
)

cursors = Table(
    "cursors",
    metadata,
    Column("source", Text, primary_key=True),
    Column("repository_key", ForeignKey("repositories.key"), primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("filter", Text, primary_key=True),
    Column("cursor", Text, nullable=False, comment="opaque to everyone but the source"),
    Column("updated_at", _Moment, nullable=False, server_default=_NOW),
    Column("read_at", _Moment, comment="when the list was last read to its end"),
)

items = Table(
    "items",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("repository_key", ForeignKey("repositories.key"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("external_id", BigInteger, nullable=False, comment="number of an issue, id of a comment"),
    Column("parent_number", BigInteger),
    Column("title", Text),
    Column("body", Text),
    Column("state", Text),
    Column("state_reason", Text),
    Column("author", Text),
    Column("author_type", Text),
    Column("author_association", Text),
    Column("labels", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("assignees", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("comments", Integer),
    Column("created_at", _Moment, nullable=False),
    Column("updated_at", _Moment, nullable=False),
    Column("closed_at", _Moment),
    Column("url", Text),
    Column("payload", Text, nullable=False, comment="the JSON object as received, less what has a column"),
    Column("content_hash", Text, nullable=False),
    Column("row_version", BigInteger, nullable=False, comment="the external version in every sink"),
    Column("first_seen_at", _Moment, nullable=False, server_default=_NOW),
    Column("tombstone", Text, comment="why the item is no longer at its source; null while it is there"),
    Column("tombstoned_at", _Moment),
    Column("merged_at", _Moment, comment="of a pull request"),
    UniqueConstraint("repository_key", "kind", "external_id"),
    CheckConstraint("kind IN ('issue', 'pull_request', 'comment')", name="kind"),
    Index("ix_items_vanished", "repository_key", postgresql_where=text("tombstone IS NOT NULL")),
    Index("ix_items_comments_of", "repository_key", "parent_number", postgresql_where=text("kind = 'comment'")),
)

item_events = Table(
    "item_events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", _Moment, nullable=False),
    Column("label", Text),
    Column("source", Text, nullable=False, comment="observed: from two states that were seen; its time may be late"),
    Column("external_id", BigInteger),
    CheckConstraint("kind IN ('closed', 'reopened', 'labeled', 'unlabeled')", name="kind"),
    CheckConstraint("source IN ('observed', 'timeline', 'archive')", name="source"),
    Index("ix_item_events_item_id_at", "item_id", "at"),
    Index("ix_item_events_estimates", "item_id", postgresql_where=text("kind = 'reopened' AND source = 'observed'")),
    Index(
        "uq_item_events_item_id_external_id",
        "item_id",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    comment="changes of state and labels; what several sources tell of one is merged by the view state_changes",
)

item_links = Table(
    "item_links",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("repository", Text, primary_key=True, comment="owner/name of the other item"),
    Column("number", BigInteger, primary_key=True),
    CheckConstraint("kind IN ('fixes', 'transferred_to')", name="kind"),
)

item_checks = Table(
    "item_checks",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("checked_at", _Moment, comment="when a sweep last saw the item at its source"),
    Column("comments_checked_at", _Moment, comment="when a sweep last read all its comments"),
    Column("history_of", _Moment, comment="updated_at of the state whose timeline was read"),
    comment="what the rolling sweep knows of an item, apart from it so that a sweep rewrites no item",
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("repository_key", ForeignKey("repositories.key"), primary_key=True),
    Column("filter", Text, primary_key=True),
    Column("started_at", _Moment, nullable=False, server_default=_NOW, comment="of the round under way, or the last"),
    Column("position", Text, comment="where the walk goes on: opaque to everyone but the source"),
    Column("walked_at", _Moment, comment="when the walk had shown every item"),
    Column("finished_at", _Moment, comment="when nothing was left to ask again"),
    Column("comments_started_at", _Moment, comment="of the walk over all comments under way, or the last"),
    Column("comments_position", Text, comment="where that walk goes on: opaque to everyone but the source"),
    Column("comments_walked_at", _Moment, comment="when it had shown every comment"),
)

rejected_items = Table(
    "rejected_items",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("repository_key", ForeignKey("repositories.key"), nullable=False),
    Column("stream", Text, nullable=False),
    Column("digest", Text, nullable=False, comment="of the payload: the same object is kept once"),
    Column("kind", Text, comment="of the object, where it says so; likewise its number"),
    Column("external_id", BigInteger),
    Column("line", Text, nullable=False, comment="what is wrong with it"),
    Column("payload", LargeBinary, nullable=False, comment="the object as received"),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    UniqueConstraint("source", "repository_key", "digest"),
    comment="dead letters of fetching: objects that a cursor went past although they could not be used",
)

purges = Table(
    "purges",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("purged_at", _Moment, nullable=False, server_default=_NOW),
    comment="items that a person had erased, and why; their rows are stubs that no fetch fills again",
)

deletions = Table(
    "deletions",
    metadata,
    Column("document_id", Text, primary_key=True),
    Column("row_version", BigInteger, nullable=False),
    comment="documents that every sink which holds them must delete",
)

text_queue = Table(
    "text_queue",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    comment="issues and pull requests whose texts must be made again, entered in the transaction that changed them",
)

texts = Table(
    "texts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("input", Text, nullable=False),
    Column("text_hash", Text, nullable=False),
    Column("family_hash", Text, nullable=False),
    Column("body", Text, nullable=False, comment="the first seen of its hash: cleaned, not masked"),
    Column("rules_version", SmallInteger, nullable=False),
    Column("first_seen_at", _Moment, nullable=False, server_default=_NOW),
    UniqueConstraint("text_hash", "input"),
    Index("ix_texts_family_hash", "family_hash"),
    Index("ix_texts_rules_version", "rules_version", "id"),
)

item_texts = Table(
    "item_texts",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("input", Text, primary_key=True),
    Column("text_id", ForeignKey("texts.id"), nullable=False),
    Index("ix_item_texts_text_id", "text_id"),
)

former_texts = Table(
    "former_texts",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("text_id", ForeignKey("texts.id"), primary_key=True),
    Index("ix_former_texts_text_id", "text_id"),
    comment="texts that an item had before it was edited: a purge erases these as well",
)

text_aliases = Table(
    "text_aliases",
    metadata,
    Column("former_hash", Text, primary_key=True),
    Column("input", Text, primary_key=True),
    Column("text_id", ForeignKey("texts.id"), nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Index("ix_text_aliases_text_id", "text_id"),
    comment="ids that texts had under earlier rules, those of texts that became one with another included",
)

text_decisions = Table(
    "text_decisions",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("text_id", ForeignKey("texts.id"), comment="of an alias: the text that counts as the other"),
    Column("target_id", ForeignKey("texts.id"), comment="of an alias: the text whose answers count"),
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), comment="of a split: the item with its own text"),
    Column("made_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Column("withdrawn_at", _Moment),
    Column("withdrawn_by", Text),
    Column("withdrawn_reason", Text),
    CheckConstraint(
        "kind = 'alias' AND text_id IS NOT NULL AND target_id IS NOT NULL AND item_id IS NULL"
        " OR kind = 'split' AND item_id IS NOT NULL AND text_id IS NULL AND target_id IS NULL",
        name="kind",
    ),
    Index("ix_text_decisions_text_id", "text_id"),
    Index("ix_text_decisions_target_id", "target_id"),
    Index("ix_text_decisions_item_id", "item_id"),
    comment="what people said of texts: two are the same problem, or an item is not what the others of its text are",
)

answer_conflicts = Table(
    "answer_conflicts",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("text_id", ForeignKey("texts.id"), nullable=False),
    Column("task", Text, nullable=False),
    Column("kept_id", ForeignKey("classifications.id"), nullable=False, comment="the answer that counts"),
    Column("other_id", ForeignKey("classifications.id"), nullable=False, comment="the one that differs from it"),
    Column("noticed_at", _Moment, nullable=False, server_default=_NOW),
    Column("resolved_at", _Moment),
    Column("resolved_by", Text),
    Column("resolved_reason", Text),
    UniqueConstraint("kept_id", "other_id"),
    Index("ix_answer_conflicts_text_id", "text_id"),
    Index("ix_answer_conflicts_other_id", "other_id"),
    comment="texts that became one under newer rules although their answers differ; neither answer is overwritten",
)

tasks = Table(
    "tasks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("sha256", Text, nullable=False, comment="of the task file: the same version with other content is refused"),
    Column("content", Text, nullable=False, comment="the task file"),
    Column("input", Text, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("repositories_like", ARRAY(Text), nullable=False, comment="LIKE patterns, lower case; empty: any"),
    Column("labels", ARRAY(Text), nullable=False),
    Column("titles_except_like", ARRAY(Text), nullable=False),
    Column("states", ARRAY(Text), nullable=False),
    Column("registered_at", _Moment, nullable=False, server_default=_NOW),
    Column(
        "aliases", JSONB, nullable=False, server_default=_NOTHING, comment="other words for categories, lower case: id"
    ),
)

tracked_tasks = Table(
    "tracked_tasks",
    metadata,
    Column("repository_key", ForeignKey("repositories.key"), primary_key=True),
    Column("task", Text, primary_key=True),
    comment="which tasks were asked of which repositories: what exports and trends cover",
)

classifications = Table(
    "classifications",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("text_id", ForeignKey("texts.id"), nullable=False),
    Column("task", Text, nullable=False),
    Column("task_version", Integer, nullable=False),
    Column("task_sha256", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("classifier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("purpose", Text, nullable=False, server_default="live"),
    Column("outcome", Text, nullable=False),
    Column("categories", ARRAY(Text), nullable=False),
    Column("confidences", ARRAY(Double), nullable=False),
    Column("rationale", Text, nullable=False),
    Column("redactions", Integer, nullable=False, server_default="0"),
    Column("truncated_chars", Integer, nullable=False, server_default="0"),
    Column("input_tokens", Integer, nullable=False, server_default="0"),
    Column("cache_write_tokens", Integer, nullable=False, server_default="0"),
    Column("cache_read_tokens", Integer, nullable=False, server_default="0"),
    Column("output_tokens", Integer, nullable=False, server_default="0"),
    Column("cost_usd", Numeric(14, 8), nullable=False, server_default="0"),
    Column("request_id", Text),
    Column("run_id", BigInteger, nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Column(
        "inherited_from",
        ForeignKey("classifications.id"),
        comment="of an answer by `family`: the answer, to a text of the same kin, that it repeats",
    ),
    Column("batch_id", ForeignKey("batches.id"), comment="of an answer that came in a batch, at the batch's price"),
    Column("pack", SmallInteger, nullable=False, server_default="1", comment="how many texts shared the request"),
    CheckConstraint("purpose IN ('live', 'trial', 'audit', 'withdrawn')", name="purpose"),
    CheckConstraint(f"outcome IN {ANSWERS + ATTEMPTS}", name="outcome"),
    CheckConstraint("cardinality(categories) = cardinality(confidences)", name="confidences"),
    Index("ix_classifications_text_task", "text_id", "task"),
    Index("ix_classifications_attempts", "task", "text_id", postgresql_where=text(f"outcome IN {ATTEMPTS}")),
    Index("ix_classifications_created_at", "created_at"),
    Index("ix_classifications_inherited", "task", "text_id", postgresql_where=text("inherited_from IS NOT NULL")),
    Index("ix_classifications_local", "task", "model", "id", postgresql_where=text("classifier = 'local'")),
    comment="the ledger: every answer ever received, only ever appended to",
)

text_kin = Table(
    "text_kin",
    metadata,
    Column("text_id", ForeignKey("texts.id", ondelete="CASCADE"), primary_key=True),
    Column("rules_version", SmallInteger, nullable=False),
    Column("kin", Text, comment="etl.dedup.guards.kin_hash; null: it says too little"),
    Index("ix_text_kin_kin", "kin"),
    comment="texts of families with several, by family and guards; made again from the text at any time",
)

inheritance_audits = Table(
    "inheritance_audits",
    metadata,
    Column("text_id", ForeignKey("texts.id", ondelete="CASCADE"), primary_key=True),
    Column("task", Text, primary_key=True),
    Column(
        "inherited_from",
        ForeignKey("classifications.id"),
        nullable=False,
        comment="the answer it would have inherited",
    ),
    Column("run_id", BigInteger, nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    comment="texts that were asked about although they could have inherited: what would have been inherited",
)

near_signatures = Table(
    "near_signatures",
    metadata,
    Column("text_id", ForeignKey("texts.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False, comment="etl.near.SIGNATURE_VERSION"),
    Column("signature", LargeBinary, comment="null: too short to be compared"),
    comment="MinHash signatures of long texts; made again from the text at any time",
)

near_bands = Table(
    "near_bands",
    metadata,
    Column("band", BigInteger, primary_key=True, autoincrement=False, comment="alike texts share some"),
    Column("text_id", ForeignKey("near_signatures.text_id", ondelete="CASCADE"), primary_key=True),
    Index("ix_near_bands_text_id", "text_id"),
    comment="where texts that may be near meet: sixteen rows per signature",
)

near_texts = Table(
    "near_texts",
    metadata,
    Column("text_id", ForeignKey("texts.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "other_text_id",
        ForeignKey("texts.id", ondelete="CASCADE"),
        primary_key=True,
        comment="the one that was stored before",
    ),
    Column("score", Double, nullable=False, comment="estimated share of common runs of three words"),
    CheckConstraint("other_text_id < text_id", name="order"),
    Index("ix_near_texts_other_text_id", "other_text_id"),
    comment="pairs of long texts that are nearly the same: suggestions, never answers",
)

near_items = Table(
    "near_items",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("near_count", Integer, nullable=False),
    Column("near_of", Text, comment="owner/name#number of the oldest near one before it"),
    comment="what documents say of near issues, as last computed, so that a change raises the row version",
)

claims = Table(
    "claims",
    metadata,
    Column("text_id", ForeignKey("texts.id"), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("expires_at", _Moment, nullable=False, comment="infinity: held by a batch until that is collected"),
    Column("batch_id", ForeignKey("batches.id"), comment="the batch that asks; such a claim outlives its run"),
    Index("ix_claims_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
    comment="texts that are being asked about right now, so that two runs never ask twice",
)

batches = Table(
    "batches",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task", Text, nullable=False),
    Column("task_version", Integer, nullable=False),
    Column("task_sha256", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("classifier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("purpose", Text, nullable=False, server_default="live"),
    Column("state", Text, nullable=False, server_default="intended"),
    Column("token", Text, nullable=False, unique=True, comment="begins every custom id: tells our batch from others"),
    Column("vendor_id", Text, unique=True, comment="null until the answer to the POST is known"),
    Column("requests", Integer, nullable=False),
    Column("texts", Integer, nullable=False),
    Column("reserved_usd", Numeric(14, 8), nullable=False, comment="the most that it can cost; counts until collected"),
    Column("run_id", BigInteger, nullable=False, comment="the run that submitted it"),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Column("submitted_at", _Moment),
    Column("settled_at", _Moment, comment="collected, lost or abandoned"),
    Column("erased_at", _Moment, comment="since when nothing of it is left at the vendor"),
    Column("error", Text),
    CheckConstraint("state IN ('intended', 'submitted', 'collected', 'lost', 'abandoned')", name="state"),
    Index("ix_batches_open", "id", postgresql_where=text("settled_at IS NULL")),
    comment="batches of requests; the intent is committed before the POST, so that a lost answer is found",
)

batch_texts = Table(
    "batch_texts",
    metadata,
    Column("batch_id", ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("custom_id", Text, primary_key=True, comment="of the request; packed texts share it"),
    Column("echo_id", Text, primary_key=True, comment="of the text within its request; '' where it is alone"),
    Column("text_id", ForeignKey("texts.id", ondelete="CASCADE"), nullable=False),
    Column("redactions", Integer, nullable=False, server_default="0"),
    Column("truncated_chars", Integer, nullable=False, server_default="0"),
    Column("outcome", Text, comment="what came back for it; null: nothing yet"),
    Column("message", Text),
    Column("purged", Boolean, nullable=False, server_default=false(), comment="what its answer says of it is not kept"),
    CheckConstraint("outcome IN ('answered', 'unusable', 'errored', 'canceled', 'expired', 'missing')", name="outcome"),
    Index("ix_batch_texts_text_id", "text_id"),
    Index("ix_batch_texts_failures", "text_id", postgresql_where=text("outcome <> 'answered'")),
    comment="which texts a batch asks about, and what became of each: attempts are counted here",
)

spend_grants = Table(
    "spend_grants",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("dollars", Numeric(14, 8), nullable=False),
    Column("after_id", BigInteger, nullable=False, comment="the run's later answers are paid from the grant"),
    Column("updated_at", _Moment, nullable=False, server_default=_NOW),
    comment="what living runs may spend of the caps per day and month; gone with the run, whose answers then count",
)

model_checks = Table(
    "model_checks",
    metadata,
    Column("model", Text, primary_key=True),
    Column("lifecycle", Text, nullable=False),
    Column("retires_at", _Moment),
    Column("checked_at", _Moment, nullable=False, server_default=_NOW),
    comment="what the vendor said of a model, asked once a day",
)

local_models = Table(
    "local_models",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task", Text, nullable=False),
    Column("task_version", Integer, nullable=False),
    Column("task_sha256", Text, nullable=False),
    Column("content", LargeBinary, nullable=False, comment="etl.classifiers.local reads it; plain arrays, no code"),
    Column("sha256", Text, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("metrics", JSONB, nullable=False, comment="by cross-validation; see docs/cascade.md"),
    Column("thresholds", JSONB, nullable=False, comment="by category: the confidence from which it answers"),
    Column("trained_at", _Moment, nullable=False, server_default=_NOW),
    Index("ix_local_models_task", "task", "id"),
    comment="trained models of the classifier `local`; the newest of a task answers",
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task", Text, nullable=False),
    Column("task_version", Integer, nullable=False),
    Column("classifier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("golden_set", Text, nullable=False, comment="a file's name and digest, or 'annotations'"),
    Column("size", Integer, nullable=False),
    Column("metrics", JSONB, nullable=False),
    Column("thresholds", JSONB, nullable=False, comment="by category: the confidence at which it is precise enough"),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Index("ix_evaluations_task", "task", "id"),
    comment="measured quality per task, prompt and model",
)

calibrations = Table(
    "calibrations",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("task", Text, nullable=False),
    Column("classifier", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("prompt_version", Text, nullable=False),
    Column("given", ARRAY(Double), nullable=False, comment="confidences as given, ascending"),
    Column("calibrated", ARRAY(Double), nullable=False, comment="what each is worth; straight lines between"),
    Column("evaluation_id", ForeignKey("evaluations.id"), nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Column("withdrawn_at", _Moment),
    CheckConstraint("cardinality(given) = cardinality(calibrated) AND cardinality(given) > 1", name="points"),
    Index("ix_calibrations_answer", "task", "classifier", "model", "prompt_version"),
    comment="what a stated confidence is worth, measured on a golden set; the newest that is not withdrawn counts",
)

annotations = Table(
    "annotations",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("task", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("categories", ARRAY(Text), nullable=False),
    Column("reason", Text, nullable=False),
    Column("text_hash", Text),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
    Column("withdrawn_at", _Moment, comment="since when it does not count; such ones stay as history"),
    Column("withdrawn_by", Text),
    Column("withdrawn_reason", Text),
    CheckConstraint("role IN ('override', 'review')", name="role"),
    Index("ix_annotations_item_task", "item_id", "task"),
    comment="what people answered about items: overrides win over every classification, reviews measure them",
)

runs = Table(
    "runs",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("command", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="running"),
    Column("started_at", _Moment, nullable=False, server_default=_NOW),
    Column("ended_at", _Moment),
    Column("repositories", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("tasks", ARRAY(Text), nullable=False, server_default=_EMPTY),
    Column("classifier", Text),
    Column("model", Text),
    Column("items_read", Integer, nullable=False, server_default="0"),
    Column("items_new", Integer, nullable=False, server_default="0"),
    Column("items_changed", Integer, nullable=False, server_default="0"),
    Column("items_skipped", Integer, nullable=False, server_default="0"),
    Column("characters_replaced", Integer, nullable=False, server_default="0"),
    Column("texts_new", Integer, nullable=False, server_default="0"),
    Column("texts_asked", Integer, nullable=False, server_default="0"),
    Column("texts_failed", Integer, nullable=False, server_default="0"),
    Column("documents_written", Integer, nullable=False, server_default="0"),
    Column("dead_letters", Integer, nullable=False, server_default="0"),
    Column("api_calls", Integer, nullable=False, server_default="0"),
    Column("input_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_write_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cache_read_tokens", BigInteger, nullable=False, server_default="0"),
    Column("output_tokens", BigInteger, nullable=False, server_default="0"),
    Column("cost_usd", Numeric(14, 8), nullable=False, server_default="0"),
    Column("items_vanished", Integer, nullable=False, server_default="0"),
    Column("items_returned", Integer, nullable=False, server_default="0", comment="vanished ones that are back"),
    Column("sweep_calls", Integer, nullable=False, server_default="0"),
    Column("waited_seconds", Integer, nullable=False, server_default="0", comment="for limits and failures of GitHub"),
    Column("rate_limit_left", Integer, comment="calls that GitHub still allowed at the end"),
    Column("texts_inherited", Integer, nullable=False, server_default="0"),
    Column("texts_local", Integer, nullable=False, server_default="0", comment="answered by `local` instead of Claude"),
    Column("texts_submitted", Integer, nullable=False, server_default="0", comment="handed over in batches"),
    Column("texts_collected", Integer, nullable=False, server_default="0", comment="answers taken out of batches"),
    Column("redactions", Integer, nullable=False, server_default="0", comment="secrets that were replaced when asking"),
    Column("texts_waiting", Integer, comment="still without an answer at the end; null: nobody was asked"),
    Column("texts_in_batches", Integer, comment="of these in batches under way"),
    Column("documents_waiting", Integer, comment="that a sink still lacked at the end; null: not counted"),
    Column("documents_refused", Integer, comment="that stood refused at the end, of whichever run"),
    Column("cost_batch_usd", _DOLLARS, nullable=False, server_default="0", comment=_OF_COST + "that came in batches"),
    Column("cost_audit_usd", _DOLLARS, nullable=False, server_default="0", comment=_OF_COST + "that measure others"),
    Column("cost_trial_usd", _DOLLARS, nullable=False, server_default="0", comment=_OF_COST + "of comparisons"),
    Column("error", Text),
    Column("notes", JSONB, nullable=False, server_default=text("'[]'"), comment="what was left behind, one line each"),
    CheckConstraint(
        "status IN ('running', 'ok', 'partial', 'stopped_budget', 'stopped_rate_limit', 'failed', 'interrupted',"
        " 'locked')",
        name="status",
    ),
)

run_tasks = Table(
    "run_tasks",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("run_id", ForeignKey("runs.id", ondelete="CASCADE"), nullable=False),
    Column("task", Text, nullable=False),
    Column("classifier", Text, nullable=False, comment="'': nobody was to answer"),
    Column("model", Text, nullable=False, comment="'': none answered"),
    Column("answers", Integer, nullable=False, comment="stored by the run, those without a usable category included"),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost_usd", _DOLLARS, nullable=False),
    Column("cost_batch_usd", _DOLLARS, nullable=False),
    Column("cost_audit_usd", _DOLLARS, nullable=False),
    Column("cost_trial_usd", _DOLLARS, nullable=False),
    Column("checks", Integer, nullable=False, comment="of `answers` those that measure another"),
    Column("checks_agreed", Integer, nullable=False, comment="of `checks` those that said the same"),
    Column("texts_waiting", Integer, comment="of the task, still without an answer at the end; null: nobody was asked"),
    Column("texts_in_batches", Integer, comment="of these in batches under way"),
    UniqueConstraint("run_id", "task", "classifier", "model"),
    comment="what ended runs did for each task, by who answered",
)

sinks = Table(
    "sinks",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("identity", Text, nullable=False, unique=True, comment="changes when an index is deleted and made again"),
    Column("first_seen_at", _Moment, nullable=False, server_default=_NOW),
    Column("last_met_at", _Moment, comment="when a run last found it behind its alias; null: it is being filled"),
)

exports = Table(
    "exports",
    metadata,
    Column("sink_id", ForeignKey("sinks.id", ondelete="CASCADE"), primary_key=True),
    Column("document_id", Text, primary_key=True),
    Column("row_version", BigInteger, nullable=False, comment="the version the sink holds"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("sink_id", ForeignKey("sinks.id", ondelete="CASCADE"), primary_key=True),
    Column("document_id", Text, primary_key=True),
    Column("row_version", BigInteger, nullable=False, comment="the version the sink refused; a newer one is tried"),
    Column("reason", Text, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("created_at", _Moment, nullable=False, server_default=_NOW),
)

daily_counts = Table(
    "daily_counts",
    metadata,
    Column("repository_key", ForeignKey("repositories.key"), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("opened", Integer, nullable=False),
    Column("closed", Integer, nullable=False),
    Column("open", Integer, nullable=False),
    Column("row_version", BigInteger, nullable=False),
    Column("family_hash", Text, primary_key=True, server_default="", comment="'': of all families"),
    Column("reopened", Integer, nullable=False, server_default="0"),
    Column("new_families", Integer, nullable=False, server_default="0"),
    comment="what daily documents are made of, as last computed, so that only days that changed are sent",
)
