"""`dedup rehash`: new ids for stored texts after a change of the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.output import print_error, print_json, print_line, stop
from etl.cli.pipeline_commands import begin, command_line
from etl.cli.progress import make_progress
from etl.db.queries import rehash
from etl.pipeline import Plan, RunOutcome, run
from etl.report.words import count_words
from etl.stages.base import Rehashed
from etl.stages.item_texts import CURRENT_RULES

_SHOWN = 20
WHICH_COUNTS = "what a person said counts first, then claude, local, family, rules; within one the newest"


@stop
def rehash_command(
    plan: Annotated[
        bool, typer.Option("--plan", help="Compute everything, write nothing; other runs wait meanwhile.")
    ] = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Give stored texts the ids of this release's rules; their answers stay, so nobody is asked again.

    `run` does it by itself when it is due. Former ids stay usable. Texts that become one are merged; where their
    answers differ that is flagged, and neither is overwritten. It may be stopped at any moment and goes on where it
    was.

    Example: issuetide dedup rehash --plan
    """
    session = begin(log_format, as_json=as_json, verbose=verbose)
    store = wiring.open_store(session.settings, dry_run=plan)
    try:
        outcome = run(store, Plan(command=command_line(), deadline=session.deadline), make_progress())
        with store.transaction() as connection:
            standing = rehash.select_rules_standing(connection, CURRENT_RULES.version)
            conflicts = rehash.select_open_conflicts(connection, _SHOWN)
    finally:
        store.close()
    if as_json:
        print_json(_values(outcome, conflicts, is_plan=plan))
    else:
        _print_outcome(outcome, conflicts, standing.outdated, is_plan=plan)
    if outcome.error:
        print_error(outcome.error)
    return outcome.exit_code


def _values(outcome: RunOutcome, conflicts: Sequence[Mapping[str, Any]], *, is_plan: bool) -> dict[str, Any]:
    rehashed = outcome.tally.rehashed
    return {
        "plan": is_plan,
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 2),
        "rules_version": CURRENT_RULES.version,
        "rehashed": None if rehashed is None else {"texts": rehashed.texts, **asdict(rehashed)},
        "open_conflicts": list(conflicts),
        "error": outcome.error,
    }


def _print_outcome(
    outcome: RunOutcome, conflicts: Sequence[Mapping[str, Any]], outdated: int, *, is_plan: bool
) -> None:
    rehashed = outcome.tally.rehashed
    if rehashed is None:
        if not outcome.error and not outdated:
            print_line(f"nothing to do: every text has ids of version {CURRENT_RULES.version} of the rules")
    else:
        would = " (plan: nothing was written)" if is_plan else ""
        print_line(
            f"{count_words(rehashed.texts, 'text')} from version {rehashed.from_version} of the rules to"
            f" {rehashed.to_version} in {outcome.seconds:.1f} s{would}"
        )
        for title, line in _lines(rehashed):
            print_line(line, before=f"  {title:<12}")
        _print_examples(rehashed.examples)
    if not is_plan:  # the numbers of those that a plan finds are never given
        print_conflicts(conflicts)


def _lines(found: Rehashed) -> list[tuple[str, str]]:
    differ = count_words(found.conflicts, "answer differs", "answers differ")
    lines = [
        ("kept", f"{count_words(found.kept, 'id is', 'ids are')} the same but for the version"),
        ("moved", count_words(found.moved, "id is another", "ids are others")),
        ("merged", f"{count_words(found.merged, 'text')} became one with an older one, answers included"),
        ("split", f"{count_words(found.split, 'new text')}, for issues that are not the same problem as before"),
        ("conflicts", f"{differ} from the one that counts for their merged text"),
    ]
    if found.aliases_ended:
        ended = count_words(found.aliases_ended, "means nothing any more and was", "mean nothing any more and were")
        lines.append(("aliases", f"{ended} ended"))
    asked = ", ".join(f"{count:,} for task {task}" for task, count in found.asked_anew.items())
    return [*lines, ("asked anew", asked or "none")]


def _print_examples(examples: Sequence[Mapping[str, Any]]) -> None:
    for example in examples:
        if example["what"] == "conflict":
            told = "; ".join(
                f"{_answer(side['answer'])} by {side['classifier']} ({_issues(side)})"
                for side in (example["kept"], example["other"])
            )
            print_line(f"conflict, task {example['task']}: {told}: the first counts", before="  e.g. ")
        else:
            told = " and ".join(f"“{found['first_line']}” ({_issues(found)})" for found in example["texts"])
            print_line(f"{example['what']}: {told}", before="  e.g. ")


def _issues(found: Mapping[str, Any]) -> str:
    more = found["items"] - len(found["issues"])
    return (", ".join(found["issues"]) or "no issue now") + (f" and {more:,} more" if more > 0 else "")


def _answer(answer: object) -> str:
    return ", ".join(answer) if isinstance(answer, list) else str(answer)


def print_conflicts(conflicts: Sequence[Mapping[str, Any]]) -> None:
    """The conflicts that nobody has settled, a line each, and which answer counts meanwhile."""
    for conflict in conflicts:
        kept, other = (_answer(conflict[side] or conflict[f"{side}_outcome"]) for side in ("kept", "other"))
        print_line(
            f"conflict {conflict['id']}: task {conflict['task']} has {kept} by {conflict['kept_classifier']} and"
            f" {other} by {conflict['other_classifier']} for {', '.join(conflict['issues']) or conflict['text_hash']};"
            " the first counts"
        )
    if conflicts:
        print_line(f"{WHICH_COUNTS}; `issuetide dedup settle NUMBER` says that it was looked at", before="  ")
