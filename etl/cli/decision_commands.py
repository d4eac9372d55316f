"""`dedup alias`, `split`, `decisions`, `settle`: what people decide of texts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.output import print_json, print_line, stop
from etl.cli.purge_command import find_item, parse_item
from etl.cli.rehash_command import print_conflicts
from etl.db.queries import decisions, rehash
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.report.words import count_words
from etl.settings import read_settings
from etl.stages import decisions as deciding
from etl.stages.decisions import INPUTS, Applied, Named, Signed

_LONGEST_NAME = 200
_LONGEST_REASON = 1000

By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides this; kept with it.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, kept with it.")]
Withdraw = Annotated[bool, typer.Option("--withdraw", help="Take the decision back; it stays on record.")]
_TEXT = "HASH_OR_ISSUE"


@stop
def alias_command(
    first: Annotated[
        str, typer.Argument(metavar=_TEXT, help="An id (1:0a1b…, may be cut short) or OWNER/NAME#NUMBER.")
    ],
    second: Annotated[str, typer.Argument(metavar=_TEXT, help="The one whose answers count for both.")],
    by: By,
    why: Why,
    only: Annotated[
        str | None, typer.Option("--input", metavar="NAME", help=f"Only this text: {' or '.join(INPUTS)}.")
    ] = None,
    withdraw: Withdraw = False,
    as_json: options.Json = False,
) -> None:
    """Say that two texts are the same problem: the answers of the second count for the first from now on.

    It holds for every issue that has the first text or will have it, and survives changes of the rules.

    Example: issuetide dedup alias octo/demo#12 octo/demo#7 --by ana --why "one crash, two wordings"
    """
    signed = read_signature(by, why)
    if only not in {None, *INPUTS}:
        raise ConfigurationError(f"--input {only!r} is unknown; use {' or '.join(INPUTS)}")
    with wiring.opened_store(read_settings()) as store:
        sides = _named(store, first), _named(store, second)
        decide = deciding.withdraw_alias if withdraw else deciding.alias_texts
        applied = decide(store, *sides, only, signed)
    _report(applied, "withdrawn" if withdraw else "entered", as_json=as_json)


@stop
def split_command(
    item: Annotated[str, typer.Argument(metavar="OWNER/NAME#NUMBER", help="The issue that is another problem.")],
    by: By,
    why: Why,
    withdraw: Withdraw = False,
    as_json: options.Json = False,
) -> None:
    """Say that an issue is not what the others with its text are: it gets a text of its own, and is asked about.

    It holds whatever the issue says later, and survives changes of the rules.

    Example: issuetide dedup split octo/demo#12 --by ana --why "the same trace, but on another platform"
    """
    signed = read_signature(by, why)
    with wiring.opened_store(read_settings()) as store:
        named = _named_item(store, item)
        decide = deciding.withdraw_split if withdraw else deciding.split_item
        applied = decide(store, named, signed)
    _report(applied, "withdrawn" if withdraw else "entered", as_json=as_json)


@stop
def decisions_command(
    every: Annotated[bool, typer.Option("--all", help="Also those that were withdrawn.")] = False,
    as_json: options.Json = False,
) -> None:
    """List what people decided of texts, the newest first, and the conflicts that wait for somebody."""
    with wiring.opened_store(read_settings()) as store, store.transaction() as connection:
        found = decisions.select_decisions(connection, withdrawn=every)
        conflicts = rehash.select_open_conflicts(connection)
    if as_json:
        print_json({"decisions": found, "open_conflicts": conflicts})
        return
    for decision in found:
        print_line(decision_line(decision))
    if not found:
        print_line("no decisions" if every else "no decisions hold (--all also lists those that were withdrawn)")
    print_conflicts(conflicts)


@stop
def settle_command(
    conflict: Annotated[int, typer.Argument(metavar="NUMBER", help="Of the conflict, as `dedup decisions` shows it.")],
    by: By,
    why: Why,
) -> None:
    """Say that a conflict of two answers has been looked at: it is shown no more. Both answers stay as they are.

    Where the answer that counts is wrong for one of the issues, split that issue instead.
    """
    signed = read_signature(by, why)
    with wiring.opened_store(read_settings()) as store, store.transaction() as connection:
        if not rehash.resolve_conflict(connection, conflict, signed.by, signed.why):
            raise ConfigurationError(f"{conflict} is no open conflict; `issuetide dedup decisions` lists them")
    print_line(f"conflict {conflict} is settled")


def decision_line(decision: Mapping[str, Any]) -> str:
    """One decision in one line."""
    if decision["kind"] == "split":
        what = f"{decision['issue']} has a text of its own"
    else:
        what = f"{decision['text_hash']} counts as {decision['target_hash']} (input {decision['input']})"
    line = (
        f"decision {decision['id']}: {what}, by {decision['made_by']} at {decision['created_at']:%Y-%m-%d %H:%M}:"
        f" {decision['reason']}"
    )
    if decision["withdrawn_at"] is None:
        return line
    return (
        f"{line}; withdrawn by {decision['withdrawn_by']} at {decision['withdrawn_at']:%Y-%m-%d %H:%M}:"
        f" {decision['withdrawn_reason']}"
    )


def read_name(by: str) -> str:
    """Who --by says.

    Raises:
        ConfigurationError: nobody, or too long a name.
    """
    name = " ".join(by.split())
    if not name or len(name) > _LONGEST_NAME:
        raise ConfigurationError(f"--by must say in 1 to {_LONGEST_NAME} characters who decides")
    return name


def read_signature(by: str, why: str) -> Signed:
    """Who decides and why, as --by and --why say it.

    Raises:
        ConfigurationError: one is missing or too long.
    """
    name, reason = read_name(by), " ".join(why.split())
    if not reason or len(reason) > _LONGEST_REASON:
        raise ConfigurationError(f"--why must say the reason in 1 to {_LONGEST_REASON:,} characters")
    return Signed(name, reason)


def _named(store: Store, word: str) -> Named:
    """What a person named: an issue, or an id.

    Raises:
        ConfigurationError: neither, or an issue that is not stored.
    """
    if "#" in word:
        return _named_item(store, word)
    if not is_text_id(word):
        raise ConfigurationError(
            f"{word[:200]!r} is neither an id of a text (1:0a1b2c3d…, eight digits at least) nor OWNER/NAME#NUMBER"
        )
    return Named(word.lower())


def _named_item(store: Store, word: str) -> Named:
    return Named(word, find_item(store, *parse_item(word)).ids)


def is_text_id(word: str) -> bool:
    """Whether a word has the form of a text's id, whole or cut short."""
    return re.fullmatch(r"\d{1,5}:[0-9a-fA-F]{8,32}(?:~\d{1,19})?", word, re.ASCII) is not None


def _report(applied: Applied, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(applied))
        return
    numbers = ", ".join(map(str, applied.decision_ids))
    inputs = _and(applied.inputs)
    moved = count_words(applied.items_moved, "item has", "items have")
    print_line(f"decision {numbers} {what}{f' for input {inputs}' if inputs else ''}: {moved} another text now")
    if applied.waiting:
        print_line(f"that text has no answer yet to {_and(applied.waiting)}: the next run asks")


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
