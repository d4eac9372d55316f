"""`reclassify`: answers that are not by today's prompt and model are given anew, after a look at what that costs."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer

from etl.classifiers.base import Classifier
from etl.cli import options, wiring
from etl.cli.output import print_json, print_line, print_outcome, stop
from etl.cli.pipeline_commands import Session, answers_with, begin, command_line, recorded
from etl.cli.progress import make_progress
from etl.db.migrate import check_schema
from etl.db.queries.classifications import PendingScope, Renewal
from etl.errors import ConfigurationError
from etl.pipeline import Plan, keys_of_named, run
from etl.stages.classify import Asking, register_tasks
from etl.stages.renew import GoneCategory, RenewalFilter, RenewalPlan, check_is_newest, make_renewal, plan_renewal
from etl.stages.spending import Caps


@stop
def reclassify_command(
    task: Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="The question whose answers get old.")],
    repo: options.Repositories = None,
    label: options.Labels = None,
    category: Annotated[
        str | None,
        typer.Option("--category", metavar="ID", help="Only answers with this category, or abstained or refused."),
    ] = None,
    from_prompt: Annotated[
        str | None, typer.Option("--from-prompt", metavar="P", help="Only answers whose prompt version begins so.")
    ] = None,
    from_model: Annotated[
        str | None, typer.Option("--from-model", metavar="NAME", help="Only answers by this model.")
    ] = None,
    older_than: options.OlderThan = None,
    classifier: options.ClassifierName = "auto",
    model: options.Model = None,
    executor: options.Executor = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Say how many texts and dollars it would be; ask nobody, change nothing.")
    ] = False,
    max_cost_usd: options.MaxCost = None,
    max_items: options.MaxItems = None,
    deadline: options.Deadline = None,
    as_json: options.OutcomeJson = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> int:
    """Give answers anew that are not by today's prompt and model, newest issues first.

    Old answers stay in the ledger; what people decided stays above both. It may be stopped at any moment: what was
    given anew is not asked again. A cap on dollars is demanded; `--plan` tells what to expect.

    Example: issuetide reclassify --task issue_kind --plan
    """
    session = begin(log_format, as_json=as_json, verbose=verbose, minutes=deadline)
    narrowed = RenewalFilter(category, from_prompt, from_model, older_than)
    with recorded(session, tuple(repo or ()), dry_run=only_plan):
        (chosen,) = wiring.choose_tasks(session.settings, [task])
        asked = answers_with(session, classifier, model, max_cost_usd, estimate=only_plan)
        renewal = make_renewal(chosen, asked, narrowed)
        caps = wiring.plan_caps(session.settings, max_cost_usd, asked)
        if not only_plan:
            _check_cap(asked, caps)
    plan = Plan(
        command=command_line(),
        tasks=(chosen,),
        classifier=asked,
        repositories=tuple(repo or ()),
        labels=tuple(label or ()),
        renewal=renewal,
        max_items=max_items if max_items is not None else session.settings.issuetide_max_items,
        caps=caps,
        batching=wiring.plan_batching(session.settings, asked, executor, session.deadline),
        index_prefix=session.settings.issuetide_index_prefix,
        deadline=session.deadline,
    )
    return _show_plan(session, plan, asked, renewal) if only_plan else _renew(session, plan)


def _check_cap(classifier: Classifier, caps: Caps) -> None:
    if classifier.paid and not caps.any:
        raise ConfigurationError(
            "giving answers anew may cost as much as everything so far: set a cap with --max-cost-usd (or"
            " ISSUETIDE_MAX_COST_USD, …_DAY, …_MONTH); `--plan` says what to expect"
        )


def _renew(session: Session, plan: Plan) -> int:
    with closing(wiring.open_store(session.settings)) as store:
        outcome = run(store, plan, make_progress())
        is_index_set = session.settings.opensearch_url is not None
        print_outcome(store, plan, outcome, as_json=session.as_json, chart=False, is_index_set=is_index_set)
    return outcome.exit_code


def _show_plan(session: Session, plan: Plan, classifier: Classifier, renewal: Renewal) -> int:
    (task,) = plan.tasks
    with closing(wiring.open_store(session.settings, dry_run=True)) as store:
        with store.transaction() as connection:
            check_schema(connection)
        check_is_newest(store, [task])
        register_tasks(store, [task])
        keys = keys_of_named(store, plan.repositories) if plan.repositories else None
        scope = PendingScope(classifier.name, keys, plan.labels, renewal)
        asking = Asking(classifier, scope, plan.max_items, plan.deadline, batching=plan.batching)
        found = plan_renewal(store, task, asking, renewal, make_progress())
    if session.as_json:
        print_json(asdict(found))
    else:
        first, *others = plan_lines(found, narrowed=renewal.is_narrowed)
        print_line(first)
        for line in others:
            print_line(line, before="  ")
    return 0


def plan_lines(plan: RenewalPlan, *, narrowed: bool = False) -> list[str]:
    """What a renewal would do, for people. narrowed: whether it is limited to some of the older answers."""
    today = " or ".join(plan.prompt_versions)
    lines = [f"task {plan.task} version {plan.task_version}; today `{plan.classifier}` asks {plan.model} with {today}"]
    lines += [
        f"{group.texts:,} texts ({group.items:,} issues): version {group.task_version}, {group.prompt_version},"
        f" by {group.classifier} ({group.model}), the last of {group.newest:%Y-%m-%d}"
        for group in plan.groups
    ]
    if not plan.groups:
        lines.append(
            "no older answer is as --category, --from-prompt, --from-model or --older-than-version say; check how they"
            " are written, or leave them out"
            if narrowed
            else "no answer is older: nothing to do"
        )
    else:
        batches = "" if plan.batch_usd is None else f", in batches ${plan.batch_usd:.4f}"
        lines.append(f"{plan.texts:,} texts to ask about: live ${plan.live_usd:.4f}{batches} (estimates)")
    if plan.in_batches:
        lines.append(f"{plan.in_batches:,} more are in open batches, whose answers are of the version then; they wait")
    lines += [_gone_line(gone) for gone in plan.gone]
    return lines


def _gone_line(gone: GoneCategory) -> str:
    texts = "1 text has" if gone.texts == 1 else f"{gone.texts:,} texts have"
    if gone.now is None:
        return f"{texts} `{gone.category}`, which is no category any more: documents show it until it is asked anew"
    return f"{texts} `{gone.category}`, which is `{gone.now}` by now: documents say so"
