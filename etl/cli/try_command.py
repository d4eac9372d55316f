"""`dedup try`: texts, their normalized forms and ids, and which of them meet."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl import dedup
from etl.cli.options import Json
from etl.cli.output import print_json, stop
from etl.dedup.normalize import CAP
from etl.dedup.trace import Change, changes
from etl.errors import ConfigurationError
from etl.report.words import count_words, plain_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

MOST_BYTES = 16 * 1024 * 1024
"""More than this is no trial; a part of it shows the same."""
MOST_SHOWN = 2_000
"""Characters of a text that are shown to people; programs get all of them."""
_NAMES = ("title", "body", "text")
_STYLE = "bold magenta"
_LEFT_OUT = "red"
_MARGIN = 12


@dataclass(frozen=True, slots=True)
class _Tried:
    """One text, where it stood, and what became of it."""

    number: int
    text: str
    ids: dedup.Fingerprint


@stop
def try_command(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A file, or - for standard input.")],
    as_json: Json = False,
    lines: Annotated[bool, typer.Option("--lines", help="Every line is a text, also where it is JSON.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="The file is one text.")] = False,
) -> None:
    """Show how texts are normalized, and which meet.

    Every line is a text, as in a log. Where the first line is a JSON object with `title`, `body` or `text`, every line
    is such an object, and its text is made as that of an issue. What the rules replaced is coloured, or stands in
    double brackets where there are no colours. Texts with one text_hash are one problem; texts with one family_hash
    are alike but for values and names. Nothing is stored and nobody is asked.

    For example, which errors of a log are the same:

        grep -i error build.log | issuetide dedup try -
    """
    if lines and whole:
        raise ConfigurationError("--lines and --whole contradict each other; give one of them")
    name = "standard input" if source == "-" else source
    written = _decode(_read(source, name), name)
    tried = [
        _Tried(number, text, dedup.fingerprint(text))
        for number, text in _texts(written, name, lines=lines, whole=whole)
    ]
    if as_json:
        print_json(_values(tried))
    elif tried:
        _print_all(tried)
    else:
        typer.echo(f"{name} holds no text")


def _read(source: str, name: str) -> bytes:
    try:
        if source == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{name} cannot be read: {reason}; give a file of text, or -") from error
    if len(data) > MOST_BYTES:
        raise ConfigurationError(
            f"{name} holds more than {MOST_BYTES // 1024**2} MiB; try a part of it: head -n 1000 FILE | issuetide dedup"
            " try -"
        )
    return data


def _decode(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, with U+FFFD for what is none, which is said on standard error."""
    if data.startswith(b"\x1f\x8b"):
        raise ConfigurationError(f"{name} is compressed; unpack it first: gzip -dc FILE | issuetide dedup try -")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        typer.echo(
            f"issuetide: {name} is not UTF-8 (the first wrong byte is the {error.start + 1:,}th);"
            " what is none counts as U+FFFD",
            err=True,
        )
        return data.decode("utf-8-sig", "replace")


def _texts(written: str, name: str, *, lines: bool, whole: bool) -> Iterator[tuple[int, str]]:
    """Each text with its number: that of its line, or 1 for a whole file."""
    if whole:
        if written.strip():
            yield 1, written
        return
    numbered = [(number, line.rstrip("\r")) for number, line in enumerate(written.split("\n"), 1) if line.strip()]
    if lines or not numbered or _fields(numbered[0][1]) is None:
        yield from numbered
        return
    for number, line in numbered:
        fields = _fields(line)
        if fields is None:
            raise ConfigurationError(
                f"line {number} of {name} is no JSON object with `title`, `body` or `text`, as the first line is;"
                " mend it, or read all lines as they are with --lines"
            )
        yield number, fields


def _fields(line: str) -> str | None:
    """The text of an issue written as JSON; None for any other line."""
    try:
        value = json.loads(line) if line.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not any(isinstance(value.get(key), str) for key in _NAMES):
        return None
    title, body, text = (value.get(key) if isinstance(value.get(key), str) else None for key in _NAMES)
    return text if text is not None else dedup.issue_text(title, body)


def _meeting(tried: Iterable[_Tried], id_name: str) -> dict[str, list[_Tried]]:
    """The texts of each id, in the order in which the ids first come."""
    groups: dict[str, list[_Tried]] = {}
    for one in tried:
        groups.setdefault(getattr(one.ids, id_name), []).append(one)
    return groups


def _values(tried: Sequence[_Tried]) -> dict[str, Any]:
    """Everything as plain values: each text, and the numbers of those that meet."""
    return {
        "rules_version": dedup.RULES_VERSION,
        "texts": [
            {
                "number": one.number,
                "text": one.text,
                "normalized": one.ids.normalized,
                "skeleton": dedup.skeleton(one.ids.normalized),
                "text_hash": one.ids.text_hash,
                "family_hash": one.ids.family_hash,
                "masked": [
                    {
                        "start": change.start,
                        "end": change.end,
                        "text": one.text[change.start : change.end],
                        "now": change.now,
                    }
                    for change in changes(one.text)
                ],
            }
            for one in tried
        ],
        "problems": _numbers(_meeting(tried, "text_hash")),
        "families": _numbers(_meeting(tried, "family_hash")),
    }


def _numbers(groups: dict[str, list[_Tried]]) -> dict[str, list[int]]:
    return {id_: [one.number for one in group] for id_, group in groups.items()}


def _print_all(tried: Sequence[_Tried]) -> None:
    from rich.console import Console

    console = Console(
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )
    problems, families = _meeting(tried, "text_hash"), _meeting(tried, "family_hash")
    for family_hash, family in families.items():
        ids = _meeting(family, "text_hash")
        for text_hash, group in ids.items():
            _print_problem(console, text_hash, group)
        if len(ids) > 1:
            console.print(f"{len(ids)} ids of one family: {family_hash}", style="bold")
            console.print()
    console.print(
        f"{count_words(len(tried), 'text')}: {count_words(len(problems), 'id')},"
        f" {count_words(len(families), 'family', 'families')} (rules version {dedup.RULES_VERSION})"
    )


def _print_problem(console: "Console", text_hash: str, group: Sequence[_Tried]) -> None:
    """One id: what it is made of, and every text that has it."""
    first, first_changes = group[0], changes(group[0].text)
    shown = [
        _part(console, "text_hash", [(text_hash, "")]),
        _part(console, "family_hash", [(first.ids.family_hash, "")]),
    ]
    for one in group:
        found = first_changes if one is first else changes(one.text)
        shown.append(_part(console, f"text {one.number}", _before(one.text, found)))
        if len(one.text) > CAP:
            shown.append(
                _part(console, "", [(f"(the middle of these {len(one.text):,} characters does not count)", "")])
            )
    shown.append(_part(console, "normalized", _after(first.text, first_changes)))
    shown.append(_part(console, "skeleton", [(dedup.skeleton(first.ids.normalized), "")]))
    for part in shown:
        part.append("\n")
    console.print(shown[0].assemble(*shown))


_Part = tuple[str, str]
"""A piece of a text, and the style it is shown in."""


def _before(text: str, found: Sequence[Change]) -> Iterator[_Part]:
    """A text as it was, with what was replaced or left out marked; white space that only closed up is not."""
    position = 0
    for change in found:
        yield text[position : change.start], ""
        was = text[change.start : change.end]
        style = _STYLE if change.now.strip() else _LEFT_OUT
        yield was, style if plain_text(was).strip() else ""
        position = change.end
    yield text[position:], ""


def _after(text: str, found: Sequence[Change]) -> Iterator[_Part]:
    """What became of it, with what was put in place marked."""
    position = 0
    for change in found:
        yield text[position : change.start], ""
        yield change.now, _STYLE if change.now.strip() else ""
        position = change.end
    yield text[position:], ""


def _part(console: "Console", name: str, parts: Iterable[_Part]) -> "Text":
    """A name in the margin and a text beside it: what strangers wrote moves no cursor, a long text is cut."""
    import rich.text

    brackets = _brackets(console)
    line, room = rich.text.Text(f"{name:<{_MARGIN}}", style="dim"), MOST_SHOWN
    shown = rich.text.Text()
    for part, style in parts:
        plain = plain_text(part[:room])
        if style in (_STYLE, _LEFT_OUT) and brackets and plain:
            plain = f"{brackets[0]}{plain}{brackets[1]}"
        shown.append(plain.replace("\n", "\n" + " " * _MARGIN), style=style)
        room -= len(part)
        if room <= 0:
            shown.append(" …" if _can_write(console, "…") else " ...", style="dim")
            break
    return line.append_text(shown)


def _brackets(console: "Console") -> tuple[str, str] | None:
    """What marks a part where colours cannot."""
    if console.is_terminal and console.color_system:
        return None
    return ("⟦", "⟧") if _can_write(console, "⟦") else ("[[", "]]")


def _can_write(console: "Console", character: str) -> bool:
    try:
        character.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
