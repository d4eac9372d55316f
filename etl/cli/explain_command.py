"""`explain`: everything that is stored of one issue."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from etl import dedup
from etl.cli import wiring
from etl.cli.decision_commands import is_text_id
from etl.cli.explain_text import explain_text, print_answers, print_decisions, print_former_ids, shown
from etl.cli.options import Json
from etl.cli.output import print_json, print_line, stop
from etl.cli.override_command import annotation_line
from etl.cli.purge_command import find_item, parse_item
from etl.db.queries import annotations, decisions, inspection
from etl.report.words import count_words, time_words
from etl.settings import read_settings


@stop
def explain_command(
    item: Annotated[
        str,
        typer.Argument(
            metavar="OWNER/NAME#NUMBER",
            help="For example pytorch/pytorch#1234; HOST/OWNER/NAME#NUMBER where several hosts are mirrored; or the"
            " id of a text, also a former one.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show everything that is known of one issue.

    Its text as read and normalized, its ids, every answer with reason and versions, its document.
    """
    if is_text_id(item):
        explain_text(item.lower(), as_json=as_json)
        return
    host, repository, number = parse_item(item)
    with wiring.opened_store(read_settings()) as store:
        named = find_item(store, host, repository, number)
        with store.transaction() as connection:
            found = inspection.select_explanation(connection, named.ids[0])
            text_ids = [entry["text_id"] for entry in found.texts]
            decided = decisions.select_decisions_on(connection, text_ids, named.ids[0])
            conflicts = decisions.select_conflicts_of(connection, text_ids)
            said = annotations.select_annotations_of(connection, named.ids[0])
    for text in found.texts:
        text["normalized"] = dedup.normalize(text["body"])
    if as_json:
        print_json(
            {
                "item": found.item,
                "texts": found.texts,
                "answers": found.answers,
                "documents": found.documents,
                "near": found.near,
                "decisions": decided,
                "conflicts": conflicts,
                "annotations": said,
            }
        )
    else:
        _print_explanation(found, decided, conflicts, said)


def _print_explanation(
    found: inspection.ItemExplanation,
    decided: Sequence[dict[str, Any]],
    conflicts: Sequence[dict[str, Any]],
    said: Sequence[dict[str, Any]],
) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console, item = Console(), found.item
    print_line(f"{item['repository']}#{item['number']} ({item['kind']}, {item['state']}) {item['title'] or ''}")
    print_line(f"{item['url'] or ''}  version {item['row_version']}, content {item['content_hash']}")
    if item["purged_at"] is not None:
        print_line(f"erased for good at {time_words(item['purged_at'])}: {item['purged_why']}")
    elif item["tombstone"]:
        print_line(f"no longer at its source: {item['tombstone']}")
    if item["queued"]:
        print_line("changed since its texts were made; the next run makes them again")
    for text in found.texts:
        console.print(Panel(Text(shown(text["body"])), title=f"text `{text['input']}` as a classifier reads it"))
        console.print(Panel(Text(shown(text["normalized"])), title="normalized (what the ids are made of)"))
        print_line(
            f"text_hash {text['text_hash']}  family_hash {text['family_hash']}"
            f"  (shared by {count_words(text['items_with_this_text'], 'item')})"
        )
        print_former_ids(text["former_ids"])
    print_decisions(decided, conflicts)
    for entry in said:
        print_line(annotation_line(entry))
    print_answers(found.answers)
    _print_near(found.near)
    _print_documents(found.documents)


def _print_near(near: Sequence[dict[str, Any]], most: int = 20) -> None:
    for other in near[:most]:
        when = "older" if other["older"] else "newer"
        print_line(
            f"nearly the same text ({other['score']:.2f}, {when}): {other['repository']}#{other['number']}"
            f" {other['title']}"
        )
    if len(near) > most:
        print_line(f"… and {len(near) - most:,} more with nearly the same text")


def _print_documents(documents: Sequence[dict[str, Any]]) -> None:
    for document in documents:
        held = document["exported_version"]
        state = "held by no sink" if held is None else "up to date" if held == document["row_version"] else "outdated"
        print_line(f"document {document['document_id']} ({state})")
        if document["dead_letter"]:
            print_line(f"refused: {document['dead_letter']}", before="    ")
        print_json(document["source"])
