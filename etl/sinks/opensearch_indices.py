"""The indices of the OpenSearch sink: what schemas/opensearch describes, made, completed and checked on a server."""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from etl.errors import ConfigurationError, UnavailableError
from etl.records import Check
from etl.resources import resource_folder
from etl.sinks.base import IndexName
from etl.sinks.opensearch_connection import FIRST_ACTION, FIRST_CONTACT_SECONDS, Connection, shorten

_log = logging.getLogger(__name__)

_PREFIX = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_OLDEST_RELEASE = (2, 19)
_ANEW = (
    "the database holds all of it, so delete it and the next run writes it anew, or set another ISSUETIDE_INDEX_PREFIX"
)
_REBUILD = "make one of this release's with `issuetide index rebuild`: searches go on meanwhile, documents wait"
_WRITE_BLOCKS = ("write", "read_only", "read_only_allow_delete")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server that answered: its release ('3.8.0') and the UUID that no other cluster has."""

    release: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Definition:
    """One index as its file in schemas/opensearch describes it, under a prefix.

    alias: the name it is written and searched by. index: the real name of the first one, with the mapping's version;
    later ones of the same version have a number behind it.
    body: settings and mappings as OpenSearch takes them.
    """

    name: IndexName
    alias: str
    index: str
    version: int
    body: Mapping[str, Any]

    @property
    def next_alias(self) -> str:
        """The name that an index is written by while it is filled to take the alias."""
        return f"{self.alias}-next"

    @property
    def kept_alias(self) -> str:
        """The name of all indices that had the alias before: it tells them from one that lost it by mistake."""
        return f"{self.alias}-kept"

    def place(self, index: str) -> tuple[int, int] | None:
        """The version and the number in the real name of an index of this alias; None: it is none."""
        found = re.fullmatch(rf"{re.escape(self.alias)}-v([0-9]+)(?:-([0-9]+))?", index)
        return None if found is None else (int(found[1]), int(found[2] or 1))


def load_definitions(prefix: str) -> tuple[Definition, ...]:
    """The indices of schemas/opensearch, named PREFIX-NAME-vVERSION behind PREFIX-NAME.

    Raises:
        ConfigurationError: no index's name can begin with `prefix`.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(
            f"ISSUETIDE_INDEX_PREFIX {prefix!r} cannot begin an index's name: use at most 100 of a-z 0-9 _ . - and "
            "begin with a letter or a digit"
        )
    definitions = []
    for name in get_args(IndexName):
        body = json.loads((resource_folder("schemas") / "opensearch" / f"{name}.json").read_bytes())
        version = body["mappings"]["_meta"]["schema_version"]
        definitions.append(Definition(name, f"{prefix}-{name}", f"{prefix}-{name}-v{version}", version, body))
    return tuple(definitions)


def read_cluster(connection: Connection, patience: float = FIRST_CONTACT_SECONDS) -> Cluster:
    """The server behind `connection`.

    Raises:
        ConfigurationError: it is no OpenSearch, an older one than 2.19, or refuses us.
        UnavailableError: it does not answer.
    """
    answer = connection.call(FIRST_ACTION, lambda client: client.info(), patience)
    version = answer.get("version") if isinstance(answer, dict) else None
    if not isinstance(version, dict) or "number" not in version:
        raise ConfigurationError(f"{connection.name} is no OpenSearch: it answers something else; check OPENSEARCH_URL")
    release = str(version["number"])
    if version.get("distribution") != "opensearch":
        raise ConfigurationError(
            f"{connection.name} is Elasticsearch {release}, not OpenSearch; OPENSEARCH_URL must name OpenSearch 2.19+"
        )
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if numbers < _OLDEST_RELEASE:
        raise ConfigurationError(
            f"{connection.name} is OpenSearch {release}; 2.19 or newer is needed: upgrade it (or, where it only calls "
            "itself so, set compatibility.override_main_response_version to false)"
        )
    uuid = str(answer.get("cluster_uuid", "_na_"))
    if uuid == "_na_":
        raise UnavailableError(f"OpenSearch at {connection.name} has not formed its cluster yet; run again in a minute")
    return Cluster(release, uuid)


def prepare_indices(connection: Connection, definitions: Sequence[Definition]) -> Mapping[IndexName, str]:
    """Makes the indices and aliases that are missing; gives 'cluster UUID/index/index UUID' of each.

    Safe to be done by two runs at once: each step is one atomic request that may be repeated.

    Raises:
        ConfigurationError: as `read_cluster`; an alias that is an index or points elsewhere; a mapping of another
            version, or with another type for a field.
        UnavailableError: no answer within the retries.
    """
    cluster = read_cluster(connection)
    found = read_indices(connection, definitions)
    current = {each.name: find_current(connection, each, found) for each in definitions}
    for definition in definitions:
        index = current[definition.name]
        if index is None:
            create_index(connection, definition, free_name(definition, found), definition.alias)
        else:
            _complete(connection, definition, index, found[index])
    if None in current.values():
        found = read_indices(connection, definitions)
        current = {each.name: find_current(connection, each, found) for each in definitions}
    return {each.name: _identity(connection, cluster, each, current[each.name], found) for each in definitions}


def read_identities(connection: Connection, definitions: Sequence[Definition]) -> Mapping[IndexName, str]:
    """What `prepare_indices` gives, of those indices that are there and have their alias; makes and changes nothing.

    Raises:
        ConfigurationError, UnavailableError: as `prepare_indices`.
    """
    cluster = read_cluster(connection)
    found = read_indices(connection, definitions)
    identities: dict[IndexName, str] = {}
    for definition in definitions:
        index = find_current(connection, definition, found)
        if index is None:
            continue
        missing_fields(connection, definition, index, found[index])
        if definition.alias in found[index]["aliases"]:
            identities[definition.name] = _identity(connection, cluster, definition, index, found)
    return identities


def check_indices(connection: Connection, definitions: Sequence[Definition], cluster: Cluster) -> Check:
    """How the indices are, for `doctor`; makes and changes nothing.

    Raises:
        ConfigurationError, UnavailableError: as `prepare_indices`.
    """
    found = read_indices(connection, definitions, patience=0)
    facts = {}
    blocked = []
    left = {index for definition in definitions for index in list_ours(definition, found)}
    for definition in definitions:
        index = find_current(connection, definition, found)
        if index is None:
            continue
        left.discard(index)
        missing_fields(connection, definition, index, found[index])
        blocks = found[index]["settings"]["index"].get("blocks", {})
        if any(blocks.get(name) == "true" for name in _WRITE_BLOCKS):
            blocked.append(index)
        facts[definition.alias] = _identity(connection, cluster, definition, index, found)
    if blocked:
        mend = "free disk space on the server, or lift the block (index.blocks.*)"
        return Check("opensearch indices", "failed", f"{', '.join(blocked)}: writes are blocked", mend, facts)
    absent = [definition.alias for definition in definitions if definition.alias not in facts]
    made = f"{', '.join(facts)} are in order" if facts else ""
    missing = f"{', '.join(absent)} will be made by the first export" if absent else ""
    others = f"{', '.join(sorted(left))} beside them, see `issuetide index status`" if left else ""
    return Check("opensearch indices", "ok", "; ".join(filter(None, (made, missing, others))), facts=facts)


def read_indices(
    connection: Connection, definitions: Iterable[Definition], patience: float = FIRST_CONTACT_SECONDS
) -> Mapping[str, Any]:
    """By real name, the indices that have one of our names or aliases: their aliases, mappings and settings."""
    names = ",".join(
        name
        for definition in definitions
        for name in (definition.alias, definition.next_alias, definition.kept_alias, f"{definition.alias}-v*")
    )
    wanted = {"ignore_unavailable": "true", "allow_no_indices": "true", "expand_wildcards": "open,closed"}
    found: Mapping[str, Any] = connection.call(
        "looking for its indices", lambda client: client.indices.get(index=names, params=wanted), patience
    )
    return found


def find_current(connection: Connection, definition: Definition, found: Mapping[str, Any]) -> str | None:
    """The real name of the index behind the alias, or the only one that can have lost it; None: it is to be made.

    Raises:
        ConfigurationError: the alias is an index, or points to several or to one that is not ours; nobody knows which
            of several indices it pointed to.
    """
    where = f"OpenSearch at {connection.name}: "
    if definition.alias in found:
        raise ConfigurationError(f"{where}{definition.alias} is an index but must be an alias; {_ANEW}")
    holders = sorted(name for name, live in found.items() if definition.alias in live["aliases"])
    if len(holders) > 1:
        raise ConfigurationError(
            f"{where}the alias {definition.alias} points to {', '.join(holders)}, but it must lead to one of them: take"
            " it from the others (POST _aliases)"
        )
    if holders and definition.place(holders[0]) is None:
        raise ConfigurationError(
            f"{where}the alias {definition.alias} points to {holders[0]}, but this release writes {definition.index}; "
            "take the alias from it (POST _aliases), or set another ISSUETIDE_INDEX_PREFIX"
        )
    if holders:
        return holders[0]
    others = {definition.next_alias, definition.kept_alias}
    left = [name for name in list_ours(definition, found) if others.isdisjoint(found[name]["aliases"])]
    if len(left) > 1:
        raise ConfigurationError(
            f"{where}nothing has the alias {definition.alias}, and {', '.join(left)} can have had it; give it to the "
            "right one (POST _aliases), or delete all but that"
        )
    return left[0] if left else None


def list_ours(definition: Definition, found: Mapping[str, Any]) -> list[str]:
    """The real names of this alias's indices, the oldest first."""
    return sorted((name for name in found if definition.place(name)), key=lambda name: definition.place(name) or (0, 0))


def free_name(definition: Definition, found: Mapping[str, Any]) -> str:
    """A real name for one more index of the release's version."""
    numbers = [place[1] for name in found if (place := definition.place(name)) and place[0] == definition.version]
    return definition.index if not numbers else f"{definition.index}-{max(numbers) + 1}"


def create_index(connection: Connection, definition: Definition, index: str, alias: str) -> None:
    """Makes index and alias in one step. That another run was faster is fine."""
    body = {**definition.body, "aliases": {alias: {"is_write_index": True}}}
    answer = connection.call(
        f"creating {index}",
        lambda client: client.indices.create(index=index, body=body, params={"ignore": 400}),
    )
    error = answer.get("error")
    if error and error["type"] != "resource_already_exists_exception":
        raise ConfigurationError(
            f"OpenSearch at {connection.name} refuses to create {index}: {error['type']}: "
            f"{shorten(error['reason'])}; check its index templates and its limits"
        )
    _log.info("made an index index=%s alias=%s", index, alias)


def _complete(connection: Connection, definition: Definition, index: str, live: Mapping[str, Any]) -> None:
    """Adds the fields and the alias that an index of ours lacks."""
    add_fields(connection, definition, index, live)
    if live["aliases"].get(definition.alias, {}).get("is_write_index") is not True:
        add = {"index": index, "alias": definition.alias, "is_write_index": True}
        connection.call(
            f"adding the alias {definition.alias}",
            lambda client: client.indices.update_aliases(body={"actions": [{"add": add}]}),
        )


def add_fields(connection: Connection, definition: Definition, index: str, live: Mapping[str, Any]) -> None:
    """Adds the fields that an index of ours lacks.

    Raises:
        ConfigurationError: as `missing_fields`.
    """
    missing = missing_fields(connection, definition, index, live)
    if missing:
        body = {"_meta": definition.body["mappings"]["_meta"], "properties": missing}
        connection.call(f"adding fields to {index}", lambda client: client.indices.put_mapping(index=index, body=body))


def missing_fields(
    connection: Connection, definition: Definition, index: str, live: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields that the live mapping lacks; more than this release knows is fine (a newer one may have run).

    Raises:
        ConfigurationError: the mapping is of another version, or has another type for a field.
    """
    where = f"OpenSearch at {connection.name}: {index}, the index of {definition.alias}, "
    version = mapping_version(live)
    if version != definition.version:
        newer = version is not None and version > definition.version
        mend = "use the release that made it, or " if newer else ""
        raise ConfigurationError(
            f"{where}has mapping version {version}, but this release writes {definition.version}; {mend}{_REBUILD}"
        )
    properties = live.get("mappings", {}).get("properties", {})
    wanted = definition.body["mappings"]["properties"]
    for field, mapping in wanted.items():
        if field in properties and properties[field] != mapping:
            raise ConfigurationError(f"{where}maps the field `{field}` in another way than this release; {_REBUILD}")
    return {field: mapping for field, mapping in wanted.items() if field not in properties}


def mapping_version(live: Mapping[str, Any]) -> int | None:
    """The version that a live mapping says it has; None: it says none."""
    version = live.get("mappings", {}).get("_meta", {}).get("schema_version")
    return version if isinstance(version, int) else None


def identity_of(cluster: Cluster, index: str, live: Mapping[str, Any]) -> str:
    """'cluster UUID/index/index UUID'."""
    return f"{cluster.uuid}/{index}/{live['settings']['index']['uuid']}"


def _identity(
    connection: Connection, cluster: Cluster, definition: Definition, index: str | None, found: Mapping[str, Any]
) -> str:
    if index is None:
        raise UnavailableError(
            f"OpenSearch at {connection.name}: {definition.index} was deleted right after it was made; run again"
        )
    return identity_of(cluster, index, found[index])
