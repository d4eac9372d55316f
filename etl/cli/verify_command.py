"""`verify`: GitHub, PostgreSQL and OpenSearch compared with each other."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.mirrored import mirrored_scopes
from etl.cli.output import outcome_values, print_error, print_json, print_line, stop
from etl.cli.pipeline_commands import Session, begin, command_line, parse_kinds, recorded
from etl.cli.progress import make_progress
from etl.db.queries.verification import StoredRepository, select_repositories
from etl.db.store import Store
from etl.pipeline import Fetch, Plan, RunOutcome, nothing_stored, run
from etl.records import Kind, Scope
from etl.report.words import count_words, plain_line
from etl.stages.compare_github import Mirrored
from etl.stages.verification import Comparison, Difference, Verification, summarize
from etl.stages.verify import VerifyPlan

_EXAMPLES = 5
"""How many of the same kind are named; `--json` names all."""
_LONGEST_LINE = 2000
_SOURCE = "github_issues"
_ASIDE = {
    "rejected": ("object kept that could not be used", "objects kept that could not be used"),
    "unusable": ("listed object cannot be used", "listed objects cannot be used"),
    "vanished": ("vanished before", "vanished before"),
    "purged": ("purged", "purged"),
    "queued": ("waits for its texts", "wait for their texts"),
    "outside": ("is there, but outside the lists", "are there, but outside the lists"),
    "waiting_runs": ("record of a run waits for the next export", "records of runs wait for the next export"),
}
"""How what is set aside is said of one, and of several."""


@stop
def verify_command(
    repo: options.Repositories = None,
    label: options.Labels = None,
    kinds: Annotated[
        str | None,
        typer.Option("--kinds", help="What is compared: issue, pull_request, or both; default: what is mirrored."),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what differs: from GitHub into PostgreSQL, from there into OpenSearch.")
    ] = False,
    no_index: Annotated[bool, typer.Option("--no-index", help="Leave OpenSearch out.")] = False,
    max_calls: options.MaxCalls = None,
    deadline: options.Deadline = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every difference.")] = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Compare GitHub, PostgreSQL and OpenSearch, and show what differs. Exit code 0: all is the same; 9: it is not.

    Without --repo every stored repository is compared, as far as it is mirrored. It takes a call for a hundred issues
    and pull requests, and one for each item that vanished or has other comments. What changed since the last run is
    shown, and is no fault.

    Example: issuetide verify --repo pytorch/pytorch --fix
    """
    from etl.sources.github_json import check_label

    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    wanted = parse_kinds(kinds) if kinds is not None else ()
    for name in label or ():
        check_label(name)
    with wiring.opened_store(session.settings) as store:
        with recorded(session, repo or (), dry_run=False):
            chosen = _choose_repositories(store, repo or ())
            mirrored = _mirrored(session, chosen, label or (), wanted, max_calls)
            sink = None if no_index else wiring.make_sink(session.settings, session.deadline)
        why_no_sink = "it is left out (--no-index)" if no_index else "" if sink else "OPENSEARCH_URL is not set"
        plan = Plan(
            command=command_line(),
            fetches=[Fetch(each.mirror, Scope((each.repository.full_name,)), each.mirror) for each in mirrored],
            repositories=tuple(each.repository.full_name for each in mirrored),
            sink=sink if fix else None,
            verify=VerifyPlan(mirrored, is_all=not repo, sink=sink, why_no_sink=why_no_sink, fix=fix),
            deadline=session.deadline,
        )
        outcome = run(store, plan, make_progress())
    _print_outcome(outcome, as_json=as_json)
    return outcome.exit_code


def _choose_repositories(store: Store, names: Sequence[str]) -> list[StoredRepository]:
    """Those that are named, or all that are stored.

    Raises:
        ConfigurationError: one of them is not stored, or nothing is.
    """
    with store.transaction() as connection:
        stored = select_repositories(connection, _SOURCE)
    known = {each.repository.full_name.lower() for each in stored}
    unknown = [name for name in names if name.lower() not in known]
    if unknown or not stored:
        raise nothing_stored(", ".join(unknown) or "any repository")
    wanted = {name.lower() for name in names} or known
    return [each for each in stored if each.repository.full_name.lower() in wanted]


def _mirrored(
    session: Session,
    chosen: Sequence[StoredRepository],
    labels: Sequence[str],
    kinds: Sequence[Kind],
    max_calls: int | None,
) -> list[Mirrored]:
    """What is compared of each repository, each with a source of its own, so that its calls are counted apart."""
    from etl.sources import SOURCES
    from etl.sources.github_cursor import OVERLAP
    from etl.sources.github_json import web_host

    client = wiring.make_github_client(session.settings, session.deadline, max_calls)
    make_source, host = wiring.resolve(SOURCES[_SOURCE]), web_host(session.settings.github_api_url)
    found = []
    for each in chosen:
        is_here = each.repository.host == host
        listed = mirrored_scopes(each.lists, OVERLAP, labels, kinds) if is_here else ()
        why = "" if listed else "it is no mirror, but was read from files or with --limit"
        if not is_here:
            why = f"it is of {each.repository.host}, and GITHUB_API_URL of {host}"
        listed = tuple(
            replace(entry, scope=replace(entry.scope, repositories=(each.repository.full_name,))) for entry in listed
        )
        found.append(Mirrored(make_source(client), each.repository, listed, bool(labels), why))
    return found


def _print_outcome(outcome: RunOutcome, *, as_json: bool) -> None:
    verification = outcome.verification
    if as_json:
        print_json(_values(outcome))
    elif verification is not None:
        _print_verification(outcome, verification)
    if outcome.error:
        print_error(outcome.error)


def _values(outcome: RunOutcome) -> dict[str, Any]:
    values: dict[str, Any] = outcome_values(outcome)
    kept = {name: values[name] for name in ("run_id", "status", "exit_code", "seconds", "error", "notes")}
    kept["api_calls"] = outcome.tally.counts["api_calls"]
    verification = outcome.verification
    if verification is None:
        return {**kept, "held": False, "repositories": []}
    kept |= {
        "held": outcome.exit_code == 0,
        "fixed": verification.fixed,
        "index": verification.index,
        "repositories": [_comparison_values(each) for each in verification.remaining],
    }
    if verification.after is not None:
        kept["found"] = [_comparison_values(each) for each in verification.found]
    return kept


def _comparison_values(comparison: Comparison) -> dict[str, Any]:
    return {
        "repository": None if comparison.repository is None else comparison.repository.full_name,
        "scopes": comparison.scopes,
        "github": comparison.github,
        "why": comparison.why,
        "counts": {name: asdict(counted) for name, counted in comparison.counts.items()},
        "differences": [asdict(each) for each in comparison.differences],
        "behind": [asdict(each) for each in comparison.behind],
        "aside": comparison.aside,
    }


def _print_verification(outcome: RunOutcome, verification: Verification) -> None:
    for comparison in verification.found:
        _print_comparison(comparison)
    if verification.after is not None:
        left = [each for each in verification.after if each.differences]
        print_line("Mended and compared again: " + ("this is left." if left else "nothing is left."))
        for comparison in left:
            _print_comparison(comparison)
    if not verification.index:
        print_line(f"OpenSearch was not compared: {verification.why_no_index}")
    print_line(_last_line(outcome, verification))


def _print_comparison(comparison: Comparison) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    scopes = "; ".join(comparison.scopes)
    table = Table(
        title=escape(plain_line(comparison.name + (f" ({scopes})" if scopes else ""), _LONGEST_LINE)),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("what", overflow="fold")
    for place in ("GitHub", "PostgreSQL", "OpenSearch"):
        table.add_column(place, justify="right", no_wrap=True)
    table.add_column("differences", overflow="fold")
    for name, counted in comparison.counts.items():
        numbers = (counted.github, counted.postgresql, counted.opensearch)
        table.add_row(name.replace("_", " "), *("" if number is None else f"{number:,}" for number in numbers), "")
    for words, shown in _groups(comparison.differences):
        table.add_row(words, "", "", "", escape(shown))
    Console().print(table)
    for words, shown in _groups(comparison.behind):
        print_line(f"behind, the next run brings it: {words}: {shown}")
    for name, count in comparison.aside.items():
        if count:
            print_line(count_words(count, *_ASIDE[name]))
    if comparison.github != "all" and comparison.why:
        how = "only partly" if comparison.github == "partly" else "not"
        print_line(f"GitHub was {how} compared: {comparison.why}")


def _groups(differences: Sequence[Difference]) -> Iterator[tuple[str, str]]:
    """What differs in words, and how often with some examples."""
    for what, words, entries in summarize(differences):
        examples = [_example(entry) for entry in entries[:_EXAMPLES]]
        more = ["…"] if len(entries) > _EXAMPLES else []
        count = f"{len(entries):,}: " if any(entry.id for entry in entries) else ""
        yield f"{what.replace('_', ' ')}: {words}", plain_line(count + ", ".join([*examples, *more]), _LONGEST_LINE)


def _example(difference: Difference) -> str:
    number = f"#{difference.id}" if difference.what in {"issue", "pull_request"} and difference.id else difference.id
    if not number or not difference.detail:
        return number or difference.detail
    return f"{number} ({difference.detail})"


def _last_line(outcome: RunOutcome, verification: Verification) -> str:
    spent = f"{count_words(outcome.tally.counts['api_calls'], 'API call')}, {outcome.seconds:.1f} s"
    differences = sum(len(each.differences) for each in verification.remaining)
    places = ["PostgreSQL"]
    if any(each.github != "nothing" for each in verification.remaining):
        places.insert(0, "GitHub")
    if verification.index:
        places.append("OpenSearch")
    agreement = f"{' and '.join(places)} agree" if len(places) > 1 else "PostgreSQL agrees with itself"
    if differences:
        way_out = "" if verification.fixed else "; --fix mends " + ("it" if differences == 1 else "them")
        return f"run {outcome.run_id}: {count_words(differences, 'difference')}{way_out} ({spent})"
    if outcome.error:
        return f"run {outcome.run_id}: not all could be compared; no difference in what was ({spent})"
    return f"run {outcome.run_id}: it holds, {agreement} ({spent})"
