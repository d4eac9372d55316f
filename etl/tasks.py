"""Tasks: questions with their allowed answers, one TOML file each, loaded and checked.

A task file is data: adding a question or a category touches no code. The format is described in docs/tasks.md; every
key of a file is known here, an unknown one is an error (a typing mistake must not pass silently).
"""

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from etl.errors import ConfigurationError
from etl.resources import resource_folder

TextInput = Literal["issue", "issue_with_comments"]
ABSTAINED = "abstained"
UNCLASSIFIED = "unclassified"
RESERVED_CATEGORIES = frozenset({ABSTAINED, UNCLASSIFIED})
"""Values that documents and `category_daily` show where an item has no category; no task may use them."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_HIGHEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Example:
    """One worked example of a category: a text as it would be sent, and why the category fits."""

    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Category:
    """An allowed answer.

    include, exclude: rules in words, one sentence each. aliases: other spellings that an answer may use.
    label: the GitHub label it stands for ('' for none). parent: a wider category of the same task ('' for none).
    """

    id: str
    definition: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    aliases: tuple[str, ...] = ()
    label: str = ""
    parent: str = ""
    deprecated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One row for the `rules` classifier: where `pattern` is found, `weight` is added to the category's score.

    pattern: a compiled regular expression (case-insensitive unless the file says otherwise with (?-i:…)).
    field: 'title' is the text's first line, 'text' all of it. weight may be negative.
    category: a category id, or the task's abstain word (points that speak for not knowing).
    """

    category: str
    pattern: re.Pattern[str]
    weight: float
    field: Literal["title", "text"]


@dataclass(frozen=True, slots=True)
class AppliesTo:
    """Which items a task is asked of. Empty tuples mean any.

    repositories: globs of 'owner/name'. labels: any of these GitHub labels. titles_except: globs (case-sensitive) of
    titles that are left out. states: 'open', 'closed'.
    """

    kinds: tuple[str, ...] = ("issue",)
    repositories: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    titles_except: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its allowed answers.

    answers: 'one_of' (exactly one category or abstain) or 'many_of' (up to `at_most`).
    abstain: the word for "not to be decided from this text". sha256: of the file's bytes, to tell edits without a new
    version. guidance: paragraphs for whoever answers.
    """

    name: str
    version: int
    title: str
    question: str
    answers: Literal["one_of", "many_of"]
    at_most: int
    input: TextInput
    abstain: str
    guidance: str
    applies_to: AppliesTo
    categories: tuple[Category, ...]
    rules: tuple[Rule, ...]
    sha256: str
    path: str

    @property
    def live_categories(self) -> tuple[Category, ...]:
        """The categories an answer may use today: all but the deprecated ones."""
        return tuple(category for category in self.categories if not category.deprecated)

    def resolve_category(self, word: str) -> str | None:
        """The category id that `word` means, whatever its case or spelling among the aliases; None if unknown."""
        folded = word.strip().casefold()
        for category in self.categories:
            if folded == category.id or folded in (alias.casefold() for alias in category.aliases):
                return category.id
        return None


class _Reader:
    """Takes keys out of one TOML table, with the file's name and the key in every complaint."""

    def __init__(self, table: Mapping[str, Any], where: str) -> None:
        self.table = dict(table)
        self.where = where

    def take(self, key: str, kind: type, default: Any = ...) -> Any:  # noqa: ANN401
        if key not in self.table:
            if default is ...:
                raise ConfigurationError(f"{self.where}: `{key}` is missing")
            return default
        value = self.table.pop(key)
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
            raise ConfigurationError(
                f"{self.where}: `{key}` must be of type {kind.__name__}, not {type(value).__name__}"
            )
        if isinstance(value, str) and default is ... and not value.strip():
            raise ConfigurationError(f"{self.where}: `{key}` is empty")
        return value

    def tables(self, key: str, default: Any = ...) -> list[dict[str, Any]]:  # noqa: ANN401
        values = self.take(key, list, default)
        if not all(isinstance(value, dict) for value in values):
            raise ConfigurationError(f"{self.where}: `{key}` must be a list of tables")
        return list(values)

    def strings(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        values = self.take(key, list, list(default))
        if not all(isinstance(value, str) for value in values):
            raise ConfigurationError(f"{self.where}: `{key}` must be a list of strings")
        return tuple(values)

    def one_of(self, key: str, allowed: Iterable[str], default: Any = ...) -> Any:  # noqa: ANN401
        value = self.take(key, str, default)
        allowed = tuple(allowed)
        if value not in allowed:
            raise ConfigurationError(f"{self.where}: `{key}` is {value!r}, allowed are {', '.join(allowed)}")
        return value

    def end(self) -> None:
        if self.table:
            raise ConfigurationError(f"{self.where}: unknown key `{min(self.table)}` (docs/tasks.md lists them)")


def _read_category(table: Mapping[str, Any], where: str) -> Category:
    reader = _Reader(table, where)
    identifier = reader.take("id", str)
    where = f"{where} {identifier!r}"
    reader.where = where
    if not _NAME.fullmatch(identifier):
        raise ConfigurationError(f"{where}: `id` must be lower snake_case of at most 63 characters")
    if identifier in RESERVED_CATEGORIES:
        raise ConfigurationError(f"{where}: `id` is reserved ({', '.join(sorted(RESERVED_CATEGORIES))})")
    examples = []
    for number, example in enumerate(reader.tables("examples", []), 1):
        inner = _Reader(example, f"{where} example {number}")
        examples.append(Example(text=inner.take("text", str), reason=inner.take("reason", str)))
        inner.end()
    category = Category(
        id=identifier,
        definition=reader.take("definition", str),
        include=reader.strings("include"),
        exclude=reader.strings("exclude"),
        examples=tuple(examples),
        aliases=reader.strings("aliases"),
        label=reader.take("label", str, ""),
        parent=reader.take("parent", str, ""),
        deprecated=reader.take("deprecated", bool, False),
    )
    reader.end()
    return category


def _read_rule(table: Mapping[str, Any], where: str, known: set[str]) -> Rule:
    reader = _Reader(table, where)
    source = reader.take("pattern", str)
    try:
        pattern = re.compile(source, re.IGNORECASE | re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigurationError(f"{where}: `pattern` {source!r} is no regular expression: {error}") from None
    rule = Rule(
        category=reader.one_of("category", sorted(known)),
        pattern=pattern,
        weight=float(reader.take("weight", float, 1.0)),
        field=reader.one_of("field", ("title", "text"), "text"),
    )
    reader.end()
    if not math.isfinite(rule.weight):
        raise ConfigurationError(f"{where}: `weight` is {rule.weight}, it must be a finite number")
    return rule


def _read_applies_to(table: Mapping[str, Any], where: str) -> AppliesTo:
    reader = _Reader(table, where)
    applies_to = AppliesTo(
        kinds=reader.strings("kinds", ("issue",)),
        repositories=reader.strings("repositories"),
        labels=reader.strings("labels"),
        titles_except=reader.strings("titles_except"),
        states=reader.strings("states"),
    )
    reader.end()
    for key, allowed in (("kinds", {"issue", "pull_request"}), ("states", {"open", "closed"})):
        for value in getattr(applies_to, key):
            if value not in allowed:
                raise ConfigurationError(f"{where}: `{key}` has {value!r}, allowed are {', '.join(sorted(allowed))}")
    return applies_to


def parse_task(content: bytes, path: str) -> Task:
    """The task in `content`, the bytes of the TOML file `path`.

    Raises:
        ConfigurationError: names the file, the key and what is wrong with it.
    """
    try:
        reader = _Reader(tomllib.loads(content.decode()), path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is no TOML: {error}") from None
    answers = reader.one_of("answers", ("one_of", "many_of"))
    if answers == "one_of" and "at_most" in reader.table:
        raise ConfigurationError(f"{path}: `at_most` belongs to `answers` = 'many_of' only")
    categories = tuple(_read_category(table, f"{path}: category") for table in reader.tables("categories"))
    abstain = reader.take("abstain", str, "uncertain")
    known = {category.id for category in categories} | {abstain}
    task = Task(
        name=reader.take("name", str),
        version=reader.take("version", int),
        title=reader.take("title", str),
        question=reader.take("question", str),
        answers=answers,
        at_most=reader.take("at_most", int) if answers == "many_of" else 1,
        input=reader.one_of("input", get_args(TextInput)),
        abstain=abstain,
        guidance=reader.take("guidance", str, ""),
        applies_to=_read_applies_to(reader.take("applies_to", dict, {}), f"{path}: applies_to"),
        categories=categories,
        rules=tuple(
            _read_rule(table, f"{path}: rule {number}", known)
            for number, table in enumerate(reader.tables("rules", []), 1)
        ),
        sha256=sha256(content).hexdigest(),
        path=path,
    )
    reader.end()
    _check_task(task)
    return task


def _check_task(task: Task) -> None:
    """Checks what goes across several keys of one task."""
    where = task.path
    if not _NAME.fullmatch(task.name):
        raise ConfigurationError(f"{where}: `name` must be lower snake_case of at most 63 characters")
    if not _NAME.fullmatch(task.abstain):
        raise ConfigurationError(f"{where}: `abstain` must be lower snake_case of at most 63 characters")
    if Path(where).stem != task.name:
        raise ConfigurationError(f"{where}: `name` is {task.name!r}, the file must be called {task.name}.toml")
    if not 1 <= task.version <= _HIGHEST or not 1 <= task.at_most <= _HIGHEST:
        raise ConfigurationError(f"{where}: `version` and `at_most` must be from 1 to {_HIGHEST:,}")
    if not task.live_categories:
        raise ConfigurationError(f"{where}: no category is left that is not deprecated")
    words: dict[str, str] = {task.abstain.casefold(): "abstain"}
    for category in task.categories:
        for word in (category.id, *category.aliases):
            folded = word.casefold()
            if folded in words:
                raise ConfigurationError(f"{where}: {word!r} of {category.id!r} is already used by {words[folded]!r}")
            words[folded] = category.id
    _check_parents(task)


def _check_parents(task: Task) -> None:
    """Every parent is a category of the task, and no category is above itself."""
    parents = {category.id: category.parent for category in task.categories}
    for category in task.categories:
        above, seen = category.parent, {category.id}
        while above:
            if above not in parents:
                raise ConfigurationError(f"{task.path}: `parent` {above!r} of {category.id!r} is no category here")
            if above in seen:
                raise ConfigurationError(f"{task.path}: `parent` of {category.id!r} leads back to {above!r}")
            seen.add(above)
            above = parents[above]


def load_tasks(own_folder: Path | None = None) -> dict[str, Task]:
    """Every task by name: the shipped ones, and those of `own_folder`, which win over a shipped one of the same name.

    Raises:
        ConfigurationError: a file is malformed, or the folder does not exist.
    """
    folders = [resource_folder("schemas") / "tasks"]
    if own_folder is not None:
        if not own_folder.is_dir():
            raise ConfigurationError(f"ISSUETIDE_TASKS_DIR {own_folder} is no folder")
        folders.append(own_folder)
    tasks = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
            task = parse_task(content, str(path))
            tasks[task.name] = task
    return tasks


def select_tasks(tasks: Mapping[str, Task], names: Iterable[str]) -> tuple[Task, ...]:
    """The tasks called `names`, in that order, each once.

    Raises:
        ConfigurationError: a name is unknown; the message lists the known ones.
    """
    chosen: dict[str, Task] = {}
    for name in names:
        if name not in tasks:
            raise ConfigurationError(f"task {name!r} is unknown; known are {', '.join(sorted(tasks))}")
        chosen[name] = tasks[name]
    return tuple(chosen.values())
