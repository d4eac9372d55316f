"""One index in the place of another: made beside it, filled, and given its alias in one step."""

from collections.abc import Mapping, Sequence
from typing import Any

from etl.errors import ConfigurationError
from etl.sinks.base import IndexStanding, LiveIndex
from etl.sinks.opensearch_connection import OUTAGE_SECONDS, Connection
from etl.sinks.opensearch_indices import (
    Cluster,
    Definition,
    add_fields,
    create_index,
    find_current,
    free_name,
    identity_of,
    list_ours,
    mapping_version,
    missing_fields,
    read_cluster,
    read_indices,
)


def survey_indices(connection: Connection, definitions: Sequence[Definition]) -> list[IndexStanding]:
    """How the indices stand: what the aliases point to, what is being filled, what is kept. Changes nothing.

    Raises:
        ConfigurationError: as `find_current` and `read_cluster`.
        UnavailableError: no answer within the retries.
    """
    cluster = read_cluster(connection)
    found = read_indices(connection, definitions)
    return [_standing(connection, cluster, definition, found) for definition in definitions]


def _standing(
    connection: Connection, cluster: Cluster, definition: Definition, found: Mapping[str, Any]
) -> IndexStanding:
    current = find_current(connection, definition, found)
    live = {
        name: LiveIndex(
            name,
            identity_of(cluster, name, found[name]),
            mapping_version(found[name]),
            _fits(connection, definition, name, found[name]),
            _count(connection, name),
        )
        for name in list_ours(definition, found)
    }
    filling = find_next(connection, definition, found)
    kept = tuple(each for name, each in live.items() if name not in {current, filling})
    return IndexStanding(
        definition.name,
        definition.alias,
        f"{cluster.uuid}/{definition.alias}",
        definition.version,
        live.get(current or ""),
        live.get(filling or ""),
        kept,
    )


def _fits(connection: Connection, definition: Definition, index: str, live: Mapping[str, Any]) -> bool:
    try:
        missing_fields(connection, definition, index, live)
    except ConfigurationError:
        return False
    return True


def _count(connection: Connection, index: str) -> int | None:
    """How many documents searches see in `index`; None where it is closed, or gone by now."""
    answer = connection.call(
        f"counting {index}", lambda client: client.count(index=index, params={"ignore": [400, 404]})
    )
    found = answer.get("count")
    return found if isinstance(found, int) else None


def find_next(connection: Connection, definition: Definition, found: Mapping[str, Any]) -> str | None:
    """The real name of the index that is being filled; None: there is none.

    Raises:
        ConfigurationError: there are several, or it is not ours; a name that must be an alias is an index.
    """
    for alias in (definition.next_alias, definition.kept_alias):
        if alias in found:
            raise ConfigurationError(
                f"OpenSearch at {connection.name}: {alias} is an index but must be an alias; nothing of it is used, so"
                " delete it, then rebuild again"
            )
    holders = sorted(name for name, live in found.items() if definition.next_alias in live["aliases"])
    if not holders:
        return None
    if len(holders) > 1 or definition.place(holders[0]) is None:
        raise ConfigurationError(
            f"OpenSearch at {connection.name}: the alias {definition.next_alias} points to {', '.join(holders)}, but it"
            " belongs to the index that is being filled; take it from there (POST _aliases), then rebuild again"
        )
    return holders[0]


def begin_next_index(connection: Connection, definition: Definition) -> LiveIndex:
    """The index that is to take the alias's place: made, or found as a rebuild before left it.

    One that was begun with another mapping is deleted: nobody has ever searched it.

    Raises:
        ConfigurationError, UnavailableError: as `survey_indices`.
    """
    cluster = read_cluster(connection)
    found = read_indices(connection, [definition])
    name = find_next(connection, definition, found)
    if name is not None and not _fits(connection, definition, name, found[name]):
        standing = _standing(connection, cluster, definition, found)
        if standing.next is not None:
            drop_index(connection, definition, standing.next)
        found = {index: live for index, live in found.items() if index != name}
        name = None
    if name is None:
        name = free_name(definition, found)
        create_index(connection, definition, name, definition.next_alias)
    else:
        add_fields(connection, definition, name, found[name])
    standing = _standing(connection, cluster, definition, read_indices(connection, [definition]))
    if standing.next is None or standing.next.index != name:
        raise ConfigurationError(
            f"OpenSearch at {connection.name}: {name} was begun, and is gone or another one by now; begin again with"
            f" `issuetide index rebuild {definition.name}`"
        )
    return standing.next


def switch_alias(connection: Connection, definition: Definition, before: LiveIndex | None, target: LiveIndex) -> None:
    """Takes the alias from `before` and gives it to `target`, in one request that does all of it or nothing.

    Raises:
        ConfigurationError: the alias points to something else by now, or `target` is another index.
        UnavailableError: no answer within the retries.
    """
    cluster = read_cluster(connection)
    found = read_indices(connection, [definition])
    current = find_current(connection, definition, found)
    _require_same(connection, cluster, target, found)
    if current == target.index and definition.alias in found[current]["aliases"]:
        return
    if current != (before.index if before is not None else None):
        raise _changed(connection, definition, current)
    actions = _switch_actions(definition, current, target.index, found)
    # An answer that is lost on the way makes the second request fail, which is why what is there is looked at.
    connection.call(
        f"giving {definition.alias} to {target.index}",
        lambda client: client.indices.update_aliases(body={"actions": actions}, params={"ignore": [400, 404]}),
        OUTAGE_SECONDS,
    )
    found = read_indices(connection, [definition])
    current = find_current(connection, definition, found)
    if current != target.index or definition.alias not in found[current]["aliases"]:
        raise _changed(connection, definition, current)


def _switch_actions(
    definition: Definition, current: str | None, target: str, found: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What takes the alias from `current`, which is kept from then on, and gives it to `target`."""
    gone = [(target, definition.next_alias), (target, definition.kept_alias)]
    actions: list[dict[str, Any]] = [{"add": {"index": target, "alias": definition.alias, "is_write_index": True}}]
    if current is not None:
        gone.append((current, definition.alias))
        actions.append({"add": {"index": current, "alias": definition.kept_alias}})
    removals = ({"index": index, "alias": alias} for index, alias in gone if alias in found[index]["aliases"])
    return actions + [{"remove": removal} for removal in removals]


def drop_index(connection: Connection, definition: Definition, target: LiveIndex) -> None:
    """Deletes an index that no alias points to but those of what is filled and what is kept. One that is gone is fine.

    Raises:
        ConfigurationError: an alias points to it, or it is another index by now.
        UnavailableError: no answer within the retries.
    """
    cluster = read_cluster(connection)
    found = read_indices(connection, [definition])
    if target.index not in found:
        return
    _require_same(connection, cluster, target, found)
    aliases = sorted(set(found[target.index]["aliases"]) - {definition.next_alias, definition.kept_alias})
    if aliases or find_current(connection, definition, found) == target.index:
        raise ConfigurationError(
            f"OpenSearch at {connection.name}: {target.index} is not dropped, for the alias"
            f" {', '.join(aliases) or definition.alias} points to it; what searches read stays"
        )
    connection.call(
        f"dropping {target.index}",
        lambda client: client.indices.delete(index=target.index, params={"ignore": 404}),
    )


def count_next_documents(connection: Connection, definition: Definition) -> int:
    """How many documents the index being filled holds, everything written before among them."""
    action, name = f"counting {definition.next_alias}", definition.next_alias
    connection.call(action, lambda client: client.indices.refresh(index=name), OUTAGE_SECONDS)
    answer = connection.call(action, lambda client: client.count(index=name), OUTAGE_SECONDS)
    return int(answer["count"])


def _require_same(connection: Connection, cluster: Cluster, target: LiveIndex, found: Mapping[str, Any]) -> None:
    live = found.get(target.index)
    if live is None or identity_of(cluster, target.index, live) != target.identity:
        raise ConfigurationError(
            f"OpenSearch at {connection.name}: {target.index} was deleted meanwhile, or made anew; rebuild again"
        )


def _changed(connection: Connection, definition: Definition, current: str | None) -> ConfigurationError:
    return ConfigurationError(
        f"OpenSearch at {connection.name}: the alias {definition.alias} was changed meanwhile and points to"
        f" {current or 'nothing'}; look at `issuetide index status`, then try again"
    )
