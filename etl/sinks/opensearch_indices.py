"""The indices of the OpenSearch sink: what schemas/opensearch describes, made, completed and checked on a server."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from etl.errors import ConfigurationError, UnavailableError
from etl.records import Check
from etl.resources import resource_folder
from etl.sinks.base import IndexName
from etl.sinks.opensearch_connection import FIRST_ACTION, FIRST_CONTACT_SECONDS, Connection, shorten

_PREFIX = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_OLDEST_RELEASE = (2, 19)
_ANEW = (
    "the database holds all of it, so delete it and the next run writes it anew, or set another ISSUETIDE_INDEX_PREFIX"
)
_WRITE_BLOCKS = ("write", "read_only", "read_only_allow_delete")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server that answered: its release ('3.8.0') and the UUID that no other cluster has."""

    release: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Definition:
    """One index as its file in schemas/opensearch describes it, under a prefix.

    alias: the name it is written and searched by. index: the real name, with the mapping's version.
    body: settings and mappings as OpenSearch takes them.
    """

    name: IndexName
    alias: str
    index: str
    version: int
    body: Mapping[str, Any]


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
    found = _read_indices(connection, definitions)
    absent = [definition for definition in definitions if _is_absent(connection, definition, found)]
    for definition in definitions:
        if definition in absent:
            _create(connection, definition)
        else:
            _complete(connection, definition, found[definition.index])
    if absent:
        found = _read_indices(connection, definitions)
    return {definition.name: _identity(connection, cluster, definition, found) for definition in definitions}


def read_identities(connection: Connection, definitions: Sequence[Definition]) -> Mapping[IndexName, str]:
    """What `prepare_indices` gives, of those indices that are there and have their alias; makes and changes nothing.

    Raises:
        ConfigurationError, UnavailableError: as `prepare_indices`.
    """
    cluster = read_cluster(connection)
    found = _read_indices(connection, definitions)
    identities: dict[IndexName, str] = {}
    for definition in definitions:
        if _is_absent(connection, definition, found):
            continue
        live = found[definition.index]
        _missing_fields(connection, definition, live)
        if definition.alias in live["aliases"]:
            identities[definition.name] = _identity(connection, cluster, definition, found)
    return identities


def check_indices(connection: Connection, definitions: Sequence[Definition], cluster: Cluster) -> Check:
    """How the indices are, for `doctor`; makes and changes nothing.

    Raises:
        ConfigurationError, UnavailableError: as `prepare_indices`.
    """
    found = _read_indices(connection, definitions, patience=0)
    facts = {}
    blocked = []
    for definition in definitions:
        if _is_absent(connection, definition, found):
            continue
        live = found[definition.index]
        _missing_fields(connection, definition, live)
        blocks = live["settings"]["index"].get("blocks", {})
        if any(blocks.get(name) == "true" for name in _WRITE_BLOCKS):
            blocked.append(definition.index)
        facts[definition.alias] = _identity(connection, cluster, definition, found)
    if blocked:
        mend = "free disk space on the server, or lift the block (index.blocks.*)"
        return Check("opensearch indices", "failed", f"{', '.join(blocked)}: writes are blocked", mend, facts)
    absent = [definition.alias for definition in definitions if definition.alias not in facts]
    made = f"{', '.join(facts)} are in order" if facts else ""
    missing = f"{', '.join(absent)} will be made by the first export" if absent else ""
    return Check("opensearch indices", "ok", "; ".join(filter(None, (made, missing))), facts=facts)


def _read_indices(
    connection: Connection, definitions: Iterable[Definition], patience: float = FIRST_CONTACT_SECONDS
) -> Mapping[str, Any]:
    """By real name, the indices that have one of our names or aliases: their aliases, mappings and settings."""
    names = ",".join(name for definition in definitions for name in (definition.alias, definition.index))
    found: Mapping[str, Any] = connection.call(
        "looking for its indices", lambda client: client.indices.get(index=names, ignore_unavailable=True), patience
    )
    return found


def _is_absent(connection: Connection, definition: Definition, found: Mapping[str, Any]) -> bool:
    """Whether the index is to be made.

    Raises:
        ConfigurationError: its alias is taken by something else.
    """
    where = f"OpenSearch at {connection.name}: "
    if definition.alias in found:
        raise ConfigurationError(f"{where}{definition.alias} is an index but must be an alias; {_ANEW}")
    others = [name for name, live in found.items() if definition.alias in live["aliases"] and name != definition.index]
    if others:
        raise ConfigurationError(
            f"{where}the alias {definition.alias} points to {', '.join(sorted(others))}, but this release writes "
            f"{definition.index}; use the release that made it, or: {_ANEW}"
        )
    return definition.index not in found


def _create(connection: Connection, definition: Definition) -> None:
    """Makes index and alias in one step. That another run was faster is fine."""
    body = {**definition.body, "aliases": {definition.alias: {"is_write_index": True}}}
    answer = connection.call(
        f"creating {definition.index}",
        lambda client: client.indices.create(index=definition.index, body=body, params={"ignore": 400}),
    )
    error = answer.get("error")
    if error and error["type"] != "resource_already_exists_exception":
        raise ConfigurationError(
            f"OpenSearch at {connection.name} refuses to create {definition.index}: {error['type']}: "
            f"{shorten(error['reason'])}; check its index templates and its limits"
        )


def _complete(connection: Connection, definition: Definition, live: Mapping[str, Any]) -> None:
    """Adds the fields and the alias that an index of ours lacks."""
    missing = _missing_fields(connection, definition, live)
    if missing:
        connection.call(
            f"adding fields to {definition.index}",
            lambda client: client.indices.put_mapping(index=definition.index, body={"properties": missing}),
        )
    if live["aliases"].get(definition.alias, {}).get("is_write_index") is not True:
        add = {"index": definition.index, "alias": definition.alias, "is_write_index": True}
        connection.call(
            f"adding the alias {definition.alias}",
            lambda client: client.indices.update_aliases(body={"actions": [{"add": add}]}),
        )


def _missing_fields(connection: Connection, definition: Definition, live: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the live mapping lacks; more than this release knows is fine (a newer one may have run).

    Raises:
        ConfigurationError: the mapping is of another version, or has another type for a field.
    """
    mappings = live.get("mappings", {})
    version = mappings.get("_meta", {}).get("schema_version")
    where = f"OpenSearch at {connection.name}: {definition.index} "
    if version != definition.version:
        raise ConfigurationError(
            f"{where}has mapping version {version}, but this release writes {definition.version}; {_ANEW}"
        )
    properties = mappings.get("properties", {})
    wanted = definition.body["mappings"]["properties"]
    for field, mapping in wanted.items():
        if field in properties and properties[field] != mapping:
            raise ConfigurationError(f"{where}maps the field `{field}` in another way than this release; {_ANEW}")
    return {field: mapping for field, mapping in wanted.items() if field not in properties}


def _identity(connection: Connection, cluster: Cluster, definition: Definition, found: Mapping[str, Any]) -> str:
    if definition.index not in found:
        raise UnavailableError(
            f"OpenSearch at {connection.name}: {definition.index} was deleted right after it was made; run again"
        )
    return f"{cluster.uuid}/{definition.index}/{found[definition.index]['settings']['index']['uuid']}"
