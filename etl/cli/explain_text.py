"""`explain` for the id of a text, and what an issue's explanation says of its texts."""

from collections.abc import Sequence
from typing import Any

from etl import dedup
from etl.cli import wiring
from etl.cli.decision_commands import decision_line
from etl.cli.output import print_json, print_line
from etl.cli.rehash_command import WHICH_COUNTS
from etl.db.queries import decisions
from etl.errors import ConfigurationError
from etl.report.words import plain_text
from etl.settings import read_settings


def explain_text(text_id: str, *, as_json: bool) -> None:
    """Prints what is known of the texts, one per input, that have or had an id.

    Raises:
        ConfigurationError: none has, or ids of several texts begin so.
    """
    with wiring.opened_store(read_settings()) as store, store.transaction() as connection:
        named = decisions.select_texts_by_id(connection, text_id)
        if not named:
            raise ConfigurationError(f"no text has or had the id {text_id}; `issuetide status` tells what is stored")
        if len({entry.input for entry in named}) < len(named):
            raise ConfigurationError(f"several texts have ids that begin with {text_id}; write more of it")
        text_ids = [entry.id for entry in named]
        texts = decisions.select_text_explanation(connection, text_ids)
        answers = decisions.select_answers_of(connection, text_ids)
        decided = decisions.select_decisions_on(connection, text_ids)
        conflicts = decisions.select_conflicts_of(connection, text_ids)
    for text in texts:
        text["normalized"] = dedup.normalize(text["body"])
    if as_json:
        print_json({"texts": texts, "answers": answers, "decisions": decided, "conflicts": conflicts})
        return
    for text in texts:
        _print_text(text)
    print_decisions(decided, conflicts)
    print_answers(answers)


def _print_text(text: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console = Console()
    console.print(Panel(Text(shown(text["body"])), title=f"text `{text['input']}` as a classifier reads it"))
    console.print(Panel(Text(shown(text["normalized"])), title="normalized (what the ids are made of)"))
    print_line(
        f"text_hash {text['text_hash']}  family_hash {text['family_hash']}  (rules version {text['rules_version']},"
        f" first seen {text['first_seen_at']:%Y-%m-%d})"
    )
    more = text["items_with_this_text"] - len(text["issues"])
    issues = ", ".join(text["issues"]) or "no issue or pull request now"
    print_line(f"{issues}{f' and {more:,} more' if more > 0 else ''}", before="  of ")
    print_former_ids(text["former_ids"])


def print_former_ids(former: Sequence[str]) -> None:
    """The ids that a text had under earlier rules, if any."""
    if former:
        print_line(f"formerly {', '.join(former)}", before="  ")


def print_decisions(decided: Sequence[dict[str, Any]], conflicts: Sequence[dict[str, Any]]) -> None:
    """What people decided of texts, and answers that differ from the one that counts."""
    for decision in decided:
        print_line(decision_line(decision))
    for conflict in conflicts:
        kept, other = (", ".join(conflict[side]) or conflict[f"{side}_outcome"] for side in ("kept", "other"))
        print_line(
            f"conflict {conflict['id']}: texts that became one under newer rules were answered {kept} (by"
            f" {conflict['kept_classifier']}, which counts) and {other} (by {conflict['other_classifier']}) for task"
            f" {conflict['task']}; {WHICH_COUNTS}"
        )


def print_answers(answers: Sequence[dict[str, Any]]) -> None:
    """Every answer, an arrow before those that count."""
    if not answers:
        print_line("no answer yet")
    for answer in answers:
        pairs = ", ".join(f"{c} {p:.2f}" for c, p in zip(answer["categories"], answer["confidences"], strict=True))
        print_line(
            f"{answer['task']} v{answer['task_version']}: {pairs or answer['outcome']}"
            f"  by {answer['classifier']} {answer['model']} prompt {answer['prompt_version']}"
            f" at {answer['created_at']:%Y-%m-%d %H:%M} ${float(answer['cost_usd']):.6f}",
            before="→ " if answer["current"] else "  ",
        )
        print_line(str(answer["rationale"]), before="    ")
        if sent := _sent_words(answer):
            print_line(sent, before="    ")


def _sent_words(answer: dict[str, Any]) -> str:
    """How the text was sent: what was taken out of it, and with how many others; '' where it went whole and alone."""
    words = []
    if answer["purpose"] != "live":
        words.append(f"for a{'n' if answer['purpose'] == 'audit' else ''} {answer['purpose']}, never current")
    if answer["redactions"]:
        words.append(f"{answer['redactions']:,} secrets and names replaced")
    if answer["truncated_chars"]:
        words.append(f"{answer['truncated_chars']:,} characters left out")
    if answer["pack"] > 1:
        words.append(f"one of {answer['pack']} in its request")
    if answer["batch_id"] is not None:
        words.append(f"in batch {answer['batch_id']}")
    return f"sent: {', '.join(words)}" if words else ""


def shown(text: str, most: int = 3000) -> str:
    """A text for a terminal, its beginning where it is long."""
    shown = text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"
    return plain_text(shown)
