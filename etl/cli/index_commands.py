"""`index …`: the indices behind the aliases, made anew without a pause."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, get_args

import typer

from etl.cli import options, wiring
from etl.cli.output import outcome_values, print_error, print_json, print_line, stop
from etl.cli.pipeline_commands import begin, command_line, recorded
from etl.cli.progress import make_progress, set_up_logging
from etl.db.queries import exports
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.pipeline import Plan, RunOutcome, run
from etl.settings import Settings, read_settings
from etl.sinks.base import AliasSink, IndexName, IndexStanding, LiveIndex
from etl.stages.rebuild import RebuildPlan, claim_standings, drop_kept, switch_back

index_app = typer.Typer(no_args_is_help=True, help="The indices behind the aliases: look, make anew, drop.")

_NAMES: tuple[IndexName, ...] = get_args(IndexName)
_Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help=f"{', '.join(_NAMES)}, or all."),
]
_STATES = {"current": "in use", "next": "being filled", "kept": "kept"}


@index_app.command("status", short_help="Show what each alias points to, and what waits.")
@stop
def status_command(as_json: options.Json = False) -> None:
    """Show what each alias points to, which index is being filled, which are kept, and what waits for them."""
    set_up_logging("text", verbose=False)
    with _opened(read_settings()) as (store, sink):
        rows = [row for standing in sink.survey() for row in _standing_rows(store, standing)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print_line(_row_words(row))


def _standing_rows(store: Store, standing: IndexStanding) -> list[dict[str, Any]]:
    found = [("current", standing.current), ("next", standing.next), *(("kept", each) for each in standing.kept)]
    rows = [_row(store, standing, state, live) for state, live in found if live is not None]
    if standing.current is None:
        rows.insert(0, {"name": standing.name, "alias": standing.alias, "state": "absent"})
    return rows


def _row(store: Store, standing: IndexStanding, state: str, live: LiveIndex) -> dict[str, Any]:
    waiting = refused = None
    with store.transaction() as connection:
        known = exports.select_sinks_met(connection, [live.identity]).get(live.identity)
        if state != "kept":
            sink_id = known[0] if known else None
            waiting = exports.count_pending_documents(connection, standing.name, sink_id)
        if known:
            refused = exports.count_dead_letters(connection, known[0])
    return {
        "name": standing.name,
        "alias": standing.alias,
        "state": state,
        "index": live.index,
        "version": live.version,
        "release_version": standing.version,
        "fits": live.fits,
        "documents": live.documents,
        "waiting_documents": waiting,
        "dead_letters": refused,
        "last_used_at": known[1] if known else None,
    }


def _row_words(row: dict[str, Any]) -> str:
    if row["state"] == "absent":
        return f"{row['alias']}: points to nothing; the next export makes and fills its index"
    documents = "closed" if row["documents"] is None else f"{row['documents']:,} documents"
    words = [f"{row['alias']}: {row['index']} {_STATES[row['state']]}", f"version {row['version']}", documents]
    if row["waiting_documents"]:
        words.append(f"{row['waiting_documents']:,} wait")
    if row["dead_letters"]:
        words.append(f"{row['dead_letters']:,} refused")
    if row["state"] == "kept":
        words.append("`issuetide index drop-old` deletes it")
    elif not row["fits"]:
        words.append(f"this release writes version {row['release_version']}: `issuetide index rebuild`")
    elif row["state"] == "next":
        words.append("`issuetide index rebuild` goes on")
    return ", ".join(words)


@index_app.command("rebuild", short_help="Make an index anew from PostgreSQL and switch its alias.")
@stop
def rebuild_command(
    names: _Names = None,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Delete what was replaced at once instead of keeping it.")
    ] = False,
    leave_out_refused: Annotated[
        bool,
        typer.Option("--leave-out-refused", help="Switch although the new index refuses documents of the old one."),
    ] = False,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Make indices anew, filled from PostgreSQL, and give them their aliases.

    Without a NAME those that are not there, that this release cannot write, or whose rebuild was cut short. Searches
    and hourly runs go on with the old index meanwhile; what changes is sent to the new one before the alias is switched
    in one step. It may be stopped at any moment: the next rebuild goes on from there. The old index is kept.

    Example: issuetide index rebuild classifications
    """
    session = begin(log_format, as_json=as_json, verbose=verbose)
    chosen = _chosen(names)
    with recorded(session, (), dry_run=False):
        sink = _make_sink(session.settings)
    with wiring.opened_store(session.settings) as store:
        plan = Plan(command=command_line(), sink=sink, rebuild=RebuildPlan(chosen, drop_old, leave_out_refused))
        outcome = run(store, plan, make_progress())
    _print_rebuilt(outcome, as_json=as_json)
    return outcome.exit_code


def _print_rebuilt(outcome: RunOutcome, *, as_json: bool) -> None:
    rebuilt = outcome.tally.rebuilt
    if as_json:
        print_json({**outcome_values(outcome), "rebuilt": [asdict(done) for done in rebuilt]})
    else:
        for done in rebuilt:
            was = f" instead of {done.old}" if done.old else ""
            print_line(f"{done.alias} points to {done.new}{was}: {done.documents:,} documents")
            if done.dropped:
                print_line(f"dropped {', '.join(done.dropped)}")
            elif done.old:
                print_line(f"{done.old} is kept; `issuetide index drop-old` deletes it")
        for note in outcome.tally.notes:
            print_line(f"left behind {note}")
        if not rebuilt and not outcome.error:
            print_line("nothing needs it: this release writes every index as it is; name one to make it anew")
    if outcome.error:
        print_error(outcome.error)


@index_app.command("drop-old", short_help="Delete the indices that were replaced.")
@stop
def drop_old_command(
    indices: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INDEX]...", help="Real names; default all that are kept."),
    ] = None,
) -> None:
    """Delete the indices that were replaced, and what PostgreSQL remembers of them.

    What an alias points to is never deleted. One that is being filled is deleted only where it is named: that ends a
    rebuild that is not wanted any more.

    Example: issuetide index drop-old issuetide-classifications-v1
    """
    set_up_logging("text", verbose=False)
    with _opened(read_settings()) as (store, sink):
        standings = claim_standings(store, sink, sink.survey())
        _check_droppable(standings, indices or ())
        dropped = [name for each in standings for name in drop_kept(store, sink, each, indices)]
    for name in dropped:
        print_line(f"dropped {name}")
    if not dropped:
        print_line("nothing is kept")


def _check_droppable(standings: Sequence[IndexStanding], names: Sequence[str]) -> None:
    """Raises ConfigurationError where one of `names` is in use, or is none of ours; nothing was dropped then."""
    ours = {each.index for one in standings for each in one.there}
    for name in names:
        holder = next((each.alias for each in standings if each.current and each.current.index == name), None)
        if holder is not None:
            raise ConfigurationError(f"{name} is not dropped: the alias {holder} points to it, and searches read it")
        if name not in ours:
            raise ConfigurationError(f"{name} is none of this prefix's indices; `issuetide index status` lists them")


@index_app.command("switch-back", short_help="Give an alias back to the index it pointed to before.")
@stop
def switch_back_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{', '.join(_NAMES)}.")],
) -> None:
    """Give an alias back to the index that it pointed to before, if that is kept.

    What changed since is missing there until the next export brings it. A release that writes another version of the
    mapping does not write it: go back to the earlier release as well.

    Example: issuetide index switch-back classifications
    """
    set_up_logging("text", verbose=False)
    wanted = _checked(name)
    with _opened(read_settings()) as (store, sink):
        (standing,) = claim_standings(store, sink, [each for each in sink.survey() if each.name == wanted])
        left, target = switch_back(store, sink, standing)
    print_line(f"{standing.alias} points to {target} again; {left} is kept; now run `issuetide export`")


def _chosen(names: Sequence[str] | None) -> tuple[IndexName, ...]:
    if names and "all" in names:
        return _NAMES
    return tuple(dict.fromkeys(_checked(name) for name in names or ()))


def _checked(name: str) -> IndexName:
    if name not in _NAMES:
        raise ConfigurationError(f"{name!r} is no index; there are {', '.join(_NAMES)}")
    return name


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Store, AliasSink]]:
    sink = _make_sink(settings)
    with wiring.opened_store(settings) as store:
        yield store, sink


def _make_sink(settings: Settings) -> AliasSink:
    sink = wiring.make_sink(settings)
    if not isinstance(sink, AliasSink):
        raise ConfigurationError("OPENSEARCH_URL is not set; set it (or use `local`): it says where the indices are")
    return sink
