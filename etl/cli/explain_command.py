"""`explain`: everything that is stored of one issue."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from etl import dedup
from etl.cli import wiring
from etl.cli.options import Json
from etl.cli.output import print_json, print_line, stop
from etl.db.queries import inspection
from etl.errors import ConfigurationError
from etl.report.words import plain_text
from etl.settings import read_settings


@stop
def explain_command(
    item: Annotated[str, typer.Argument(metavar="OWNER/NAME#NUMBER", help="For example pytorch/pytorch#1234.")],
    as_json: Json = False,
) -> None:
    """Show everything that is known of one issue.

    Its text as read and normalized, its ids, every answer with reason and versions, its document.
    """
    repository, mark, number = item.partition("#")
    if not mark or not (number.isascii() and number.isdigit()) or repository.count("/") != 1:
        raise ConfigurationError(f"{item!r} names no issue; write OWNER/NAME#NUMBER")
    with wiring.opened_store(read_settings()) as store, store.transaction() as connection:
        found = inspection.select_explanation(connection, repository, int(number))
    if found is None:
        raise ConfigurationError(f"{item} is not stored; `issuetide status` lists what is")
    for text in found.texts:
        text["normalized"] = dedup.normalize(text["body"])
    if as_json:
        print_json({"item": found.item, "texts": found.texts, "answers": found.answers, "documents": found.documents})
    else:
        _print_explanation(found)


def _print_explanation(found: inspection.ItemExplanation) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    console, item = Console(), found.item
    print_line(f"{item['repository']}#{item['number']} ({item['kind']}, {item['state']}) {item['title'] or ''}")
    print_line(f"{item['url'] or ''}  version {item['row_version']}, content {item['content_hash']}")
    if item["tombstone"]:
        print_line(f"no longer at its source: {item['tombstone']}")
    if item["queued"]:
        print_line("changed since its texts were made; the next run makes them again")
    for text in found.texts:
        console.print(Panel(Text(_shown(text["body"])), title=f"text `{text['input']}` as a classifier reads it"))
        console.print(Panel(Text(_shown(text["normalized"])), title="normalized (what the ids are made of)"))
        print_line(
            f"text_hash {text['text_hash']}  family_hash {text['family_hash']}"
            f"  (shared by {text['items_with_this_text']} items)"
        )
    _print_answers(found.answers)
    _print_documents(found.documents)


def _print_answers(answers: Sequence[dict[str, Any]]) -> None:
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


def _print_documents(documents: Sequence[dict[str, Any]]) -> None:
    for document in documents:
        held = document["exported_version"]
        state = "held by no sink" if held is None else "up to date" if held == document["row_version"] else "outdated"
        print_line(f"document {document['document_id']} ({state})")
        if document["dead_letter"]:
            print_line(f"refused: {document['dead_letter']}", before="    ")
        print_json(document["source"])


def _shown(text: str, most: int = 3000) -> str:
    shown = text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"
    return plain_text(shown)
