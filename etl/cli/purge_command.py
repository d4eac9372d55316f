"""`purge`: erases one issue or pull request for good, here and in the index."""

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.output import print_error, print_json, print_line, stop
from etl.cli.progress import make_progress, set_up_logging
from etl.db.queries.purges import Holder, StoredItem, select_holders, select_items
from etl.db.store import Store
from etl.errors import ConfigurationError, StopError
from etl.pipeline import Plan, RunOutcome, run
from etl.report.words import count_words, plain_line
from etl.settings import read_settings
from etl.stages.purge import Purged, purge_item

_LONGEST_TITLE = 100
_LONGEST_REASON = 1000


@stop
def purge_command(
    item: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/NAME#NUMBER",
            help="For example octo/demo#12; HOST/OWNER/NAME#NUMBER where several hosts are mirrored.",
        ),
    ],
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="The reason, kept with the stub; quote nothing of the item.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    as_json: options.Json = False,
) -> int:
    """Erase one issue or pull request for good: its text, people, labels, comments, history, raw JSON and documents.

    What stays is a stub (number, times, the reason) that no later fetch, file or archive fills again, and what its
    answers cost. Documents are deleted at once where OPENSEARCH_URL is set, else with the next export.

    Example: issuetide purge octo/demo#12 --why "asked for by its author, ticket 345"
    """
    set_up_logging("text", verbose=False)
    reason = _checked_reason(why)
    host, repository, number = parse_item(item)
    settings = read_settings()
    sink = wiring.make_sink(settings, wiring.deadline_of(settings, None))
    with wiring.opened_store(settings) as store:
        found = find_item(store, host, repository, number)
        if not yes and not _confirmed(found):
            raise StopError("nothing was erased")
        purged = purge_item(store, found, reason)
        outcome = None
        if sink is not None:
            outcome = run(store, Plan(command=f"issuetide purge {item}", sink=sink), make_progress())
        with store.transaction() as connection:
            left = select_holders(connection, found)
    if as_json:
        print_json(_values(found, purged, left, outcome))
    else:
        _print_purged(found, purged, left)
    if outcome is not None and outcome.error:
        print_error(f"erased here, but the export did not end well: {outcome.error}")
    return 0 if outcome is None else outcome.exit_code


def _checked_reason(why: str) -> str:
    reason = " ".join(why.split())
    if not reason or len(reason) > _LONGEST_REASON:
        raise ConfigurationError(f"--why must say in 1 to {_LONGEST_REASON:,} characters why the item is erased")
    return reason


def parse_item(item: str) -> tuple[str | None, str, int]:
    """Host (None: any), 'owner/name' and number of what the user named.

    Raises:
        ConfigurationError: it names no issue.
    """
    name, mark, number = item.rpartition("#")
    parts = name.split("/")
    usable = mark and len(parts) in {2, 3} and all(parts) and number.isascii() and number.isdigit() and len(number) < 19
    if not usable:
        raise ConfigurationError(f"{item[:200]!r} names no issue; write OWNER/NAME#NUMBER")
    return (parts[0] if len(parts) == 3 else None), "/".join(parts[-2:]), int(number)


def find_item(store: Store, host: str | None, repository: str, number: int) -> StoredItem:
    """The one stored issue or pull request that this names.

    Raises:
        ConfigurationError: none is stored, or several.
    """
    with store.transaction() as connection:
        found = select_items(connection, repository, number, host)
    if not found:
        raise ConfigurationError(f"{repository}#{number} is not stored; `issuetide status` lists the repositories")
    if len(found) > 1:
        places = ", ".join(f"{entry.host}/{entry.repository}#{number}" for entry in found)
        if len({entry.host for entry in found}) == 1:
            raise ConfigurationError(
                f"{len(found)} repositories have been called {repository} (one is older: {places}); run"
                " `issuetide run` on the one that exists, which brings its name up to date, then try again"
            )
        raise ConfigurationError(f"{repository}#{number} is stored of several hosts; name one: {places}")
    return found[0]


def _confirmed(item: StoredItem) -> bool:
    """Whether the person at the terminal says yes.

    Raises:
        ConfigurationError: nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError("purge asks before it erases, and this is no terminal; in a script give --yes")
    title = f" “{plain_line(item.title, _LONGEST_TITLE)}”" if item.title else ""
    what = f"{item.kind.replace('_', ' ')} {item.repository}#{item.number}{title}"
    comments = count_words(item.comments, "comment")
    try:
        return typer.confirm(f"Erase {what} and its {comments} for good? It cannot be undone", err=True)
    except typer.Abort:  # the end of what is typed; or Ctrl-C, which `stop` tells as an interruption
        return False


def _values(item: StoredItem, purged: Purged, left: list[Holder], outcome: RunOutcome | None) -> dict[str, Any]:
    return {
        "repository": item.repository,
        "number": item.number,
        "kind": item.kind,
        "was_purged_before": item.tombstone == "purged",
        "comments": purged.comments,
        "texts": purged.texts,
        "texts_reworded": purged.reworded,
        "rejected_items": purged.rejected,
        "documents": sum(holder.documents for holder in purged.holders),
        "documents_left": [asdict(holder) for holder in left],
        "moved_to": item.moved_to,
        "export_run": None if outcome is None else outcome.run_id,
        "export_error": None if outcome is None else outcome.error,
    }


def _print_purged(item: StoredItem, purged: Purged, left: list[Holder]) -> None:
    again = " (purged before)" if item.tombstone == "purged" else ""
    print_line(
        f"erased {item.repository}#{item.number}{again}: {count_words(purged.comments, 'comment')},"
        f" {count_words(purged.texts, 'text')};"
        f" {count_words(purged.reworded, 'shared text has', 'shared texts have')} the words of another item now"
    )
    deleted = sum(holder.documents for holder in purged.holders) - sum(holder.documents for holder in left)
    if deleted:
        print_line(f"{count_words(deleted, 'document is', 'documents are')} deleted from the index")
    for holder in left:
        documents = count_words(holder.documents, "document is", "documents are")
        print_line(f"{documents} still in {_where_left(holder)}")
    if item.moved_to is not None:
        print_line(f"it was transferred to {item.moved_to}; if that is stored as well, it is not erased: purge it, too")


def _where_left(holder: Holder) -> str:
    """A sink that holds documents yet, and how they leave it."""
    them = "it" if holder.documents == 1 else "them"
    file, mark, _ = holder.sink.rpartition("/jsonl-")
    if mark:
        anew = f"the next `issuetide export --jsonl` makes it anew without {them}"
        return f"the file {file}, whose lines are only appended to: delete the file; {anew}"
    if holder.kept:
        return f"{holder.sink}: the index was kept when it was replaced, so drop it: issuetide index drop-old"
    return f"{holder.sink}: its next export deletes {them}"
