"""Puts the parts together from the settings: the store, the sources, the classifier, the sink."""

import logging
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from etl.classifiers import BATCH_CLASSIFIERS, CLASSIFIERS
from etl.classifiers.base import Classifier, PaidClassifier
from etl.db.migrate import check_schema
from etl.db.store import Store
from etl.errors import ConfigurationError, StopError
from etl.pipeline import Fetch
from etl.records import Scope
from etl.settings import Settings
from etl.sinks import SINKS
from etl.sinks.base import Sink
from etl.sources import SOURCES
from etl.stages.batches import Batching, Executor
from etl.stages.cascade import Cascade
from etl.stages.spending import Caps
from etl.stages.sweep import SweepPlan
from etl.tasks import Task, load_tasks, select_tasks

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.dashboards.panels import Search
    from etl.github import GitHubClient
    from etl.github_credentials import Credentials
    from etl.sinks.opensearch_access import Access, Login

_log = logging.getLogger(__name__)

LOCAL = "local"
"""What OPENSEARCH_URL may say instead of an address: the server that `issuetide servers start` made."""


def resolve(dotted: str) -> Any:  # noqa: ANN401  (a registry holds classes of several protocols)
    """The class that a registry names as 'module:Class', its module imported now."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is: its URL (with the password), and whether it is the embedded one."""

    url: str
    embedded: bool


def find_database(settings: Settings) -> Database:
    """The database of the settings; without DATABASE_URL the embedded PostgreSQL, started if need be."""
    if settings.database_url is not None:
        return Database(settings.database_url.get_secret_value(), embedded=False)
    from etl.servers.postgres import start_postgres

    return Database(start_postgres(settings.issuetide_data_dir), embedded=True)


def open_store(settings: Settings, *, dry_run: bool = False) -> Store:
    """The store of the settings. An embedded database is brought up to this release by itself, another one never."""
    database = find_database(settings)
    store = Store(database.url, dry_run=dry_run)
    if database.embedded:
        from etl.db.migrate import HEAD, current_revision, upgrade_engine

        with store.transaction() as connection:
            outdated = (current_revision(connection) or "") < HEAD
        if outdated:
            if dry_run:
                store.close()
                store = Store(database.url, dry_run=True)
            upgrade_engine(store.engine)
    return store


@contextmanager
def opened_store(settings: Settings) -> Iterator[Store]:
    """The store of the settings for a command that only looks, closed at the end of the block.

    Raises:
        ConfigurationError: the schema is outdated.
    """
    store = open_store(settings)
    try:
        with store.transaction() as connection:
            check_schema(connection)
        yield store
    finally:
        store.close()


def find_running_database(settings: Settings) -> str | None:
    """The URL of the database of the settings, if that is there without starting a server; else None."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    from etl.servers.postgres import postgres_status

    return postgres_status(settings.issuetide_data_dir).url


@contextmanager
def running_database(settings: Settings) -> "Iterator[Connection | None]":
    """A connection to the database of the settings, for a look without starting a server; None where none runs.

    Raises:
        ConfigurationError: the schema is not that of this release.
        UnavailableError: the database is out of reach.
    """
    url = find_running_database(settings)
    if url is None:
        yield None
        return
    with closing(Store(url)) as store, store.transaction() as connection:
        check_schema(connection)
        yield connection


@contextmanager
def usable_database(settings: Settings) -> "Iterator[Connection | None]":
    """As `running_database`, and None as well where the database cannot be used: `doctor` says so, once."""
    with ExitStack() as stack:
        connection: Connection | None = None
        with suppress(StopError):
            connection = stack.enter_context(running_database(settings))
        yield connection


def opensearch_address(settings: Settings) -> str | None:
    """The OpenSearch URL of the settings, `local` turned into the local server's; None where none is set."""
    if settings.opensearch_url is None:
        return None
    url = settings.opensearch_url.get_secret_value()
    if url != LOCAL:
        return url
    from etl.servers.opensearch import opensearch_status

    status = opensearch_status(settings.issuetide_data_dir)
    if status.url is None:
        raise ConfigurationError(
            "OPENSEARCH_URL is `local`, but no local OpenSearch runs; run `issuetide servers start`"
        )
    return status.url


def make_sink(settings: Settings, deadline: float | None = None) -> Sink | None:
    """The sink of the settings; None where OPENSEARCH_URL is not set and documents wait in PostgreSQL."""
    url = opensearch_address(settings)
    if url is None:
        return None
    sink: Sink = resolve(SINKS["opensearch"])(
        url, settings.issuetide_index_prefix, access=opensearch_access(settings), deadline=deadline
    )
    return sink


def opensearch_access(settings: Settings) -> "Access":
    """Whom to trust and as whom to ask at OPENSEARCH_URL; nothing of that for the local server, which asks nobody."""
    from etl.sinks.opensearch_access import Access

    if settings.opensearch_url is not None and settings.opensearch_url.get_secret_value() == LOCAL:
        return Access()
    return Access(
        ca_file=settings.opensearch_ca_file,
        username=settings.opensearch_username,
        password=_revealed(settings.opensearch_password),
        client_cert_file=settings.opensearch_client_cert_file,
        client_key_file=settings.opensearch_client_key_file,
        aws_region=settings.opensearch_aws_region,
        aws_service=settings.opensearch_aws_service,
    )


def make_search(settings: Settings) -> "tuple[str, Search]":
    """The server of OPENSEARCH_URL as shown to people, and a way to ask it: index and body of a `_search`.

    Raises:
        ConfigurationError: OPENSEARCH_URL is not set or cannot be used, or leads to no OpenSearch of 2.19 or newer.
        UnavailableError: it does not answer. The search raises the same two, also for a body that is refused.
    """
    from etl.sinks.opensearch_connection import Connection
    from etl.sinks.opensearch_indices import read_cluster

    url = opensearch_address(settings)
    if url is None:
        raise ConfigurationError("OPENSEARCH_URL is not set; set it, or use `local` for that of `issuetide servers`")
    connection = Connection(url, access=opensearch_access(settings))
    read_cluster(connection)

    def search(index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        # An index that nothing was exported to yet is an empty one.
        parameters = {"ignore_unavailable": "true", "allow_no_indices": "true"}
        answer: Mapping[str, Any] = connection.call(
            f"searching {index}", lambda client: client.search(index=index, body=dict(body), params=parameters)
        )
        return answer

    return connection.name, search


def dashboards_login(settings: Settings) -> "Login | None":
    """DASHBOARDS_USERNAME and DASHBOARDS_PASSWORD; None where they are not set.

    Raises:
        ConfigurationError: one is set without the other.
    """
    name, password = settings.dashboards_username, _revealed(settings.dashboards_password)
    if name is None and password is None:
        return None
    if name is None or password is None:
        raise ConfigurationError("DASHBOARDS_USERNAME and DASHBOARDS_PASSWORD belong together: set both, or neither")
    return name, password


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def make_jsonl_sink(path: Path) -> Sink:
    """A sink that appends to a file of JSON lines, for those without OpenSearch."""
    sink: Sink = resolve(SINKS["jsonl"])(path)
    return sink


def make_classifier(
    settings: Settings, name: str, model: str | None, max_cost_usd: float | None, deadline: float
) -> Classifier:
    """The classifier called `name`; `auto` is claude where there is a key, else rules, which is said aloud.

    Raises:
        ConfigurationError: unknown name, or claude without a key.
    """
    if name == "auto":
        name = "claude" if settings.anthropic_api_key is not None else "rules"
        if name == "rules":
            _log.warning("ANTHROPIC_API_KEY is not set: the offline classifier `rules` answers")
    if name not in CLASSIFIERS:
        raise ConfigurationError(f"classifier {name!r} is unknown; known are auto, {', '.join(sorted(CLASSIFIERS))}")
    if name != "claude":
        given = (read_models(settings),) if name == "local" else ()
        classifier: Classifier = resolve(CLASSIFIERS[name])(*given)
        return classifier
    if settings.anthropic_api_key is None:
        raise ConfigurationError("claude needs ANTHROPIC_API_KEY; set it, or use the offline classifier `rules`")
    claude: Classifier = resolve(CLASSIFIERS[name])(
        api_key=settings.anthropic_api_key.get_secret_value(),
        base_url=settings.anthropic_base_url,
        model=model or settings.issuetide_model,
        threads=settings.issuetide_threads,
        pack=settings.issuetide_pack,
        deadline=deadline,
        max_cost_usd=max_cost_usd if max_cost_usd is not None else settings.issuetide_max_cost_usd,
        max_wait_seconds=settings.issuetide_max_wait_seconds,
    )
    return claude


def read_models(settings: Settings) -> dict[str, bytes]:
    """By task: the newest model that was trained for the classifier `local`."""
    from etl.db.queries.local_models import select_newest_contents

    with opened_store(settings) as store, store.transaction() as connection:
        return select_newest_contents(connection)


def plan_cascade(settings: Settings, classifier: Classifier) -> Cascade | None:
    """How trained models answer before Claude is asked; None where they do not, or another classifier answers.

    Raises:
        ConfigurationError: they are to, and the extra `ml` is not installed.
    """
    if settings.issuetide_cascade == "off" or classifier.name != "claude":
        return None
    from etl.classifiers.local_model import check_installed

    check_installed()
    return Cascade(settings.issuetide_cascade_audit, resolve(CLASSIFIERS["local"]))


def plan_batching(settings: Settings, classifier: Classifier, executor: str | None, deadline: float) -> Batching | None:
    """How a run of `classifier` uses batches; None where it has none. executor: None: that of ISSUETIDE_EXECUTOR.

    Raises:
        ConfigurationError: the executor is unknown, or is to be `batch` where the classifier has none.
    """
    chosen = executor or settings.issuetide_executor
    if chosen not in {"auto", "sync", "batch"}:
        raise ConfigurationError(f"--executor {chosen} is unknown; use auto, sync or batch")
    if classifier.name not in BATCH_CLASSIFIERS or not isinstance(classifier, PaidClassifier):
        if executor == "batch":
            raise ConfigurationError(f"--executor batch: the classifier {classifier.name} has no batches; use claude")
        return None
    if settings.anthropic_api_key is None:
        return None
    return Batching(
        resolve(BATCH_CLASSIFIERS[classifier.name])(
            api_key=settings.anthropic_api_key.get_secret_value(),
            base_url=settings.anthropic_base_url,
            model=classifier.model,
            deadline=deadline,
            max_wait_seconds=settings.issuetide_max_wait_seconds,
            pack=settings.issuetide_batch_pack,
        ),
        cast("Executor", chosen),
        settings.issuetide_batch_from,
    )


def plan_caps(settings: Settings, max_cost_usd: float | None, classifier: Classifier) -> Caps:
    """The caps on dollars of a run of `classifier`. max_cost_usd: of this run, None: that of ISSUETIDE_MAX_COST_USD.

    Raises:
        ConfigurationError: there is one, and the price of the classifier's model is not known.
    """
    caps = Caps(
        max_cost_usd if max_cost_usd is not None else settings.issuetide_max_cost_usd,
        settings.issuetide_max_cost_usd_day,
        settings.issuetide_max_cost_usd_month,
    )
    if caps.any and isinstance(classifier, PaidClassifier):
        from etl.classifiers.prices import load_prices

        if not load_prices().facts(classifier.model).known:
            raise ConfigurationError(
                f"the price of model {classifier.model!r} is not known, so no cap on dollars can be kept: add it to"
                " schemas/prices.toml, choose a model from there, or run without --max-cost-usd and"
                " ISSUETIDE_MAX_COST_USD, …_DAY and …_MONTH"
            )
    return caps


def choose_tasks(settings: Settings, names: Sequence[str]) -> tuple[Task, ...]:
    """The tasks called `names`, or those of ISSUETIDE_TASK where none is named."""
    chosen = names or choose_task_names(settings)
    if not chosen:
        raise ConfigurationError("ISSUETIDE_TASK names no task; `issuetide tasks list` shows those there are")
    return select_tasks(load_tasks(settings.issuetide_tasks_dir), chosen)


def choose_task_names(settings: Settings) -> list[str]:
    """The names in ISSUETIDE_TASK."""
    return [name.strip() for name in settings.issuetide_task.split(",") if name.strip()]


def read_credentials(settings: Settings) -> "Credentials":
    """What the settings give to ask GitHub with: tokens, an App, both, or nothing.

    Raises:
        ConfigurationError: a token or the App's key cannot be one.
    """
    from etl.github_credentials import Credentials, read_app, read_tokens

    token, key = settings.github_token, settings.github_app_private_key
    app = read_app(
        settings.github_app_id,
        key.get_secret_value() if key else None,
        settings.github_app_private_key_file,
        settings.github_app_installation_id,
    )
    return Credentials(read_tokens(token.get_secret_value() if token else None), app)


def make_github_client(settings: Settings, deadline: float, max_calls: int | None = None) -> "GitHubClient":
    """The client of a run. max_calls: cap on its calls, None: that of ISSUETIDE_MAX_CALLS."""
    from etl.github import GitHubClient

    return GitHubClient(
        settings.github_api_url,
        read_credentials(settings),
        deadline,
        on_wait=_announce_wait,
        max_calls=max_calls if max_calls is not None else settings.issuetide_max_calls,
    )


def make_github_fetches(settings: Settings, scope: Scope, deadline: float, max_calls: int | None = None) -> list[Fetch]:
    """One fetch per repository, so that a failure of one leaves the others going on; one client serves them all."""
    if not scope.repositories:
        raise ConfigurationError("nothing to fetch: name a repository with --repo owner/name, or a file with --input")
    from dataclasses import replace

    from etl.sources.github_json import check_full_name

    for name in scope.repositories:
        check_full_name(name)
    client = make_github_client(settings, deadline, max_calls)
    make_source = resolve(SOURCES["github_issues"])
    sources = {name: make_source(client) for name in scope.repositories}
    return [Fetch(source, replace(scope, repositories=(name,)), source) for name, source in sources.items()]


def plan_sweep(settings: Settings, calls: int | None) -> SweepPlan:
    """How much a run re-reads. calls: per repository; None: that of ISSUETIDE_SWEEP_CALLS."""
    return SweepPlan(
        settings.issuetide_sweep_calls if calls is None else calls,
        timedelta(hours=settings.issuetide_sweep_hours),
        settings.issuetide_timelines,
    )


def wants_near(settings: Settings) -> bool:
    """Whether runs look for texts that are nearly the same.

    Raises:
        ConfigurationError: they are to, and the extra `near` is not installed.
    """
    if settings.issuetide_near == "off":
        return False
    from etl.near import check_installed

    check_installed()
    return True


def inherit_audit(settings: Settings) -> float | None:
    """The share of texts that are asked about although they could inherit an answer; None where nobody inherits."""
    return settings.issuetide_inherit_audit if settings.issuetide_inherit == "on" else None


def make_file_fetches(path: str, scope: Scope) -> list[Fetch]:
    """One fetch of a file ('-' for standard input)."""
    from etl.sources.github_json import check_full_name

    for name in scope.repositories:
        check_full_name(name)
    if path != "-":
        try:
            mode = Path(path).stat().st_mode
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(f"--input {path[:200]} cannot be read: {reason}; check the path") from None
        if not stat.S_ISREG(mode):
            raise ConfigurationError(f"--input {path} is no ordinary file; name one, or pipe into --input -")
    return [Fetch(resolve(SOURCES["files"])(path), scope)]


def _announce_wait(seconds: float, reason: str) -> None:
    _log.warning("waiting for GitHub seconds=%d reason=%s", round(seconds), reason)


def deadline_of(settings: Settings, minutes: float | None) -> float:
    """The moment (`time.monotonic()`) by which a run that starts now should end."""
    return monotonic() + 60 * (minutes if minutes is not None else settings.issuetide_deadline_minutes)


def shown_host(url: str) -> str:
    """Host and port of `url`, without credentials."""
    parts = urlsplit(url.split(",")[0])
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
