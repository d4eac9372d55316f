"""`dedup near` and `dedup agreement`: what dedup suggests, and how right what it hands on is."""

from dataclasses import asdict
from typing import Annotated

import typer

from etl.cli import wiring
from etl.cli.options import Json
from etl.cli.output import print_json, print_line, stop
from etl.cli.progress import make_progress, set_up_logging
from etl.db.queries import inheritance
from etl.db.queries import near as near_queries
from etl.errors import ConfigurationError
from etl.near import MIN_CHARS, MIN_SCORE
from etl.report.words import count_words
from etl.settings import read_settings
from etl.stages.base import Tally
from etl.stages.inherit import standing_of, standing_words
from etl.stages.near import near_stage

_MOST_SHOWN = 20


@stop
def near_command(
    min_score: Annotated[
        float,
        typer.Option("--min-score", metavar="SHARE", help="Show only pairs at least so alike, from 0.8 to 1."),
    ] = MIN_SCORE,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Show at most N pairs, the most alike.")] = 100,
    as_json: Json = False,
) -> None:
    """Show issues whose long texts are nearly the same.

    Texts that are new since the last time are compared first, with all others. A suggestion for people: no answer is
    ever taken over by it. The view near_duplicates has the same pairs. Needs the extra `near`.
    """
    if not MIN_SCORE <= min_score <= 1:
        raise ConfigurationError(f"--min-score {min_score} is not between {MIN_SCORE} and 1: less alike is not kept")
    if limit < 1:
        raise ConfigurationError(f"--limit {limit} shows nothing; give 1 or more")
    set_up_logging("text", verbose=False)
    tally = Tally()
    with wiring.opened_store(read_settings()) as store:
        near_stage(store, tally, make_progress())
        with store.transaction() as connection:
            found = near_queries.count_near(connection, min_score)
            pairs = near_queries.select_near(connection, min_score, limit)
    if as_json:
        print_json({"texts_compared": tally.counts["texts_compared"], "pairs": found, "shown": pairs})
        return
    for pair in pairs:
        print_line(
            f"{pair['repository']}#{pair['number']} {pair['title']}"
            f" ~ {pair['other_repository']}#{pair['other_number']} {pair['other_title']}",
            before=f"{pair['score']:.2f}  ",
        )
    if found > len(pairs):
        print_line(f"… and {found - len(pairs):,} more; --limit {found} shows all")
    elif not found:
        print_line(f"no two texts of {MIN_CHARS} or more characters are that alike")


@stop
def agreement_command(as_json: Json = False) -> None:
    """Show, per task, how often a fresh answer was the one that the text would have inherited.

    With ISSUETIDE_INHERIT=on. Below 98 of 100, or before 50 were compared, nobody inherits. The newest cases that
    disagree are listed.
    """
    with wiring.opened_store(read_settings()) as store, store.transaction() as connection:
        agreements = inheritance.select_agreement(connection)
        disagreements = inheritance.select_disagreements(connection, _MOST_SHOWN)
    if as_json:
        print_json(
            {
                "tasks": [
                    {**asdict(entry), "share": round(entry.share, 4), "standing": standing_of(entry)}
                    for entry in agreements
                ],
                "disagreements": disagreements,
            }
        )
        return
    if not agreements:
        print_line("no text that could have inherited an answer was asked about yet (ISSUETIDE_INHERIT=on)")
    for entry in agreements:
        waiting = f"; {count_words(entry.waiting, 'audit waits', 'audits wait')} for an answer" if entry.waiting else ""
        print_line(f"{entry.task}: {standing_words(entry)}{waiting}")
    for case in disagreements:
        print_line(
            f"{case['task']}: {case['item']} was answered {', '.join(case['answered'])}; it would have inherited"
            f" {', '.join(case['expected'])} from {case['source_item']}",
            before="  ",
        )
