"""The task loader, and what every shipped task promises."""

import importlib
import re
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from etl.classifiers.prompt import estimate_tokens, render_system
from etl.errors import ConfigurationError
from etl.resources import resource_folder
from etl.tasks import AppliesTo, Category, Rule, Task, load_tasks, parse_task, select_tasks

SHIPPED = load_tasks()
DOCS = Path(__file__).parents[2] / "docs" / "tasks.md"
PROMPTS = DOCS.with_name("prompts.md")

LARGEST_CACHE_MINIMUM = 4096
"""Tokens below which a supported model silently caches nothing (claude-haiku-4-5; the default model needs 512)."""

GOOD = """
name = "mood"
version = 3
title = "Mood"
question = "How does the author sound?"
answers = "one_of"
input = "issue"

[[categories]]
id = "calm"
definition = "Even-tempered."
aliases = ["Relaxed"]

[[categories]]
id = "angry"
definition = "Upset."

[[rules]]
category = "angry"
pattern = '\\bwhy on earth\\b'
"""


def read(content: str, name: str = "mood") -> Task:
    return parse_task(content.encode(), f"{name}.toml")


def test_a_short_file_is_read_with_the_documented_defaults() -> None:
    task = read(GOOD)
    assert (task.name, task.version, task.answers, task.at_most, task.input) == ("mood", 3, "one_of", 1, "issue")
    assert (task.abstain, task.guidance, task.applies_to.kinds) == ("uncertain", "", ("issue",))
    assert [category.id for category in task.categories] == ["calm", "angry"]
    assert (task.rules[0].weight, task.rules[0].field) == (1.0, "text")
    assert task.sha256 == sha256(GOOD.encode()).hexdigest()


def test_every_key_of_the_format_is_read() -> None:
    task = read(
        """
name = "mood"
version = 1
title = "Mood"
question = "Which?"
answers = "many_of"
at_most = 2
input = "issue_with_comments"
abstain = "no_idea"
guidance = "Read twice."

[applies_to]
kinds = ["issue", "pull_request"]
repositories = ["acme/*"]
labels = ["triaged"]
titles_except = ["DISABLED *"]
states = ["open"]

[[categories]]
id = "loud"
definition = "Noisy."
include = ["Capitals."]
exclude = ["Emoji."]
label = "tone: loud"

[[categories]]
id = "angry"
definition = "Upset."
parent = "loud"
deprecated = true
[[categories.examples]]
text = "WHY"
reason = "Capitals."

[[rules]]
category = "no_idea"
pattern = "^x$"
weight = -2
field = "title"
"""
    )
    assert (task.at_most, task.input, task.abstain, task.guidance) == (
        2,
        "issue_with_comments",
        "no_idea",
        "Read twice.",
    )
    applies_to = task.applies_to
    assert (applies_to.kinds, applies_to.repositories) == (("issue", "pull_request"), ("acme/*",))
    assert (applies_to.labels, applies_to.titles_except, applies_to.states) == (
        ("triaged",),
        ("DISABLED *",),
        ("open",),
    )
    loud, angry = task.categories
    assert (loud.include, loud.exclude, loud.label) == (("Capitals.",), ("Emoji.",), "tone: loud")
    assert (angry.parent, angry.deprecated, angry.examples[0].reason) == ("loud", True, "Capitals.")
    assert task.live_categories == (loud,)
    assert (task.rules[0].category, task.rules[0].weight, task.rules[0].field) == ("no_idea", -2.0, "title")


def changed(old: str, new: str) -> str:
    """GOOD with one thing made wrong."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


CALM = 'id = "calm"\ndefinition = "Even-tempered."'
BAD_FILES = [
    ("", "`answers` is missing"),
    (changed('"one_of"', '"some_of"'), "`answers` is 'some_of', allowed are one_of, many_of"),
    (changed("version = 3\n", ""), "`version` is missing"),
    (changed("version = 3", "version = true"), "`version` must be of type int, not bool"),
    (changed("version = 3", f"version = {10**20}"), "`version` and `at_most` must be from 1 to 1,000,000"),
    (changed("version = 3", "version = 0"), "`version` and `at_most` must be from 1 to 1,000,000"),
    (changed('"one_of"', '"many_of"'), "`at_most` is missing"),
    (changed('"one_of"', '"many_of"\nat_most = 0'), "`version` and `at_most` must be from 1 to 1,000,000"),
    (changed('"one_of"', '"one_of"\nat_most = 2'), "`at_most` belongs to `answers` = 'many_of' only"),
    (changed('"issue"', '"diff"'), "`input` is 'diff', allowed are issue, issue_with_comments"),
    (changed('title = "Mood"', 'title = " "'), "`title` is empty"),
    (changed('title = "Mood"', 'titel = "Mood"'), "`title` is missing"),
    (
        changed("version = 3", "version = 3\nnotes = 1"),
        "unknown key `notes` (docs/tasks.md lists them)",
    ),
    (changed('"mood"', '"Mood"'), "`name` must be lower snake_case of at most 63 characters"),
    (changed('"mood"', '"tone"'), "`name` is 'tone', the file must be called tone.toml"),
    (
        changed("version = 3", 'version = 3\nabstain = "Not sure"'),
        "`abstain` must be lower snake_case of at most 63 characters",
    ),
    (
        changed("version = 3", 'version = 3\nabstain = "relaxed"'),
        "'Relaxed' of 'calm' is already used by 'abstain'",
    ),
    (GOOD.split("[[categories]]", maxsplit=1)[0], "`categories` is missing"),
    (
        GOOD.split("[[categories]]", maxsplit=1)[0] + "categories = []",
        "no category is left that is not deprecated",
    ),
    (
        GOOD.split("[[categories]]", maxsplit=1)[0] + 'categories = ["calm"]',
        "`categories` must be a list of tables",
    ),
    (
        changed('"calm"', '"Calm"'),
        "category 'Calm': `id` must be lower snake_case of at most 63 characters",
    ),
    (
        changed('"calm"', '"abstained"'),
        "category 'abstained': `id` is reserved (abstained, unclassified)",
    ),
    (changed(CALM, 'id = "calm"'), "category 'calm': `definition` is missing"),
    (changed(CALM, CALM + '\nexample = "x"'), "category 'calm': unknown key `example` (docs/tasks.md lists them)"),
    (changed('["Relaxed"]', '"Relaxed"'), "category 'calm': `aliases` must be of type list, not str"),
    (changed('["Relaxed"]', "[1]"), "category 'calm': `aliases` must be a list of strings"),
    (changed('["Relaxed"]', '["Angry"]'), "'angry' of 'angry' is already used by 'calm'"),
    (changed(CALM, CALM + '\nexamples = ["x"]'), "category 'calm': `examples` must be a list of tables"),
    (changed(CALM, CALM + '\nexamples = [{text = "x"}]'), "category 'calm' example 1: `reason` is missing"),
    (changed(CALM, CALM + '\nparent = "happy"'), "`parent` 'happy' of 'calm' is no category here"),
    (changed(CALM, CALM + '\nparent = "calm"'), "`parent` of 'calm' leads back to 'calm'"),
    (
        changed(CALM, CALM + '\nparent = "angry"').replace('"Upset."', '"Upset."\nparent = "calm"'),
        "`parent` of 'calm' leads back to 'calm'",
    ),
    (
        changed('category = "angry"', 'category = "cross"'),
        "rule 1: `category` is 'cross', allowed are angry, calm, uncertain",
    ),
    (
        changed("'\\bwhy on earth\\b'", "'(why'"),
        "rule 1: `pattern` '(why' is no regular expression: missing ), unterminated subpattern at position 0",
    ),
    (
        changed("'\\bwhy on earth\\b'", "'a{99999999999}'"),
        "rule 1: `pattern` 'a{99999999999}' is no regular expression: the repetition number is too large",
    ),
    (changed("[[rules]]", "[[rules]]\nweight = nan"), "rule 1: `weight` is nan, it must be a finite number"),
    (changed("[[rules]]", '[[rules]]\nweight = "1"'), "rule 1: `weight` must be of type float, not str"),
    (changed("[[rules]]", '[[rules]]\nfield = "body"'), "rule 1: `field` is 'body', allowed are title, text"),
    (GOOD + '[applies_to]\nkinds = ["comment"]', "applies_to: `kinds` has 'comment', allowed are issue, pull_request"),
    (GOOD + '[applies_to]\nstates = ["merged"]', "applies_to: `states` has 'merged', allowed are closed, open"),
    (GOOD + '[applies_to]\nlabel = ["x"]', "applies_to: unknown key `label` (docs/tasks.md lists them)"),
]


@pytest.mark.parametrize(("content", "complaint"), BAD_FILES, ids=[complaint for _, complaint in BAD_FILES])
def test_a_bad_file_is_refused_with_its_name_its_key_and_what_is_wrong(content: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(content)
    assert str(caught.value) == f"mood.toml: {complaint}"


@pytest.mark.parametrize("content", [b"name = ", b"name = \xff", b"a = " + b"[" * 9000, GOOD.encode("utf-16")])
def test_bytes_that_are_no_toml_are_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"\Amood\.toml: is no TOML: [^\n]+\Z"):
        parse_task(content, "mood.toml")


@pytest.mark.parametrize(
    ("word", "category"),
    [("calm", "calm"), (" CALM\n", "calm"), ("relaxed", "calm"), ("Angry", "angry"), ("uncertain", None), ("", None)],
)
def test_a_word_means_a_category_by_id_or_alias_whatever_its_case(word: str, category: str | None) -> None:
    assert read(GOOD).resolve_category(word) == category


def test_a_task_of_ones_own_stands_beside_the_shipped_ones_and_wins_over_a_namesake(tmp_path: Path) -> None:
    (tmp_path / "mood.toml").write_text(GOOD)
    (tmp_path / "labels.toml").write_text(changed('"mood"', '"labels"'))
    (tmp_path / "notes.txt").write_text("not a task")
    tasks = load_tasks(tmp_path)
    assert set(tasks) == {"issue_kind", "labels", "mood", "user_error"}
    assert [category.id for category in tasks["labels"].categories] == ["calm", "angry"]
    assert tasks["user_error"] == SHIPPED["user_error"]


def test_a_missing_folder_of_tasks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ISSUETIDE_TASKS_DIR .*/nowhere is no folder"):
        load_tasks(tmp_path / "nowhere")


def test_a_task_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mood.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"/mood\.toml: cannot be read: Is a directory"):
        load_tasks(tmp_path)


def test_tasks_are_selected_in_order_and_once() -> None:
    assert [task.name for task in select_tasks(SHIPPED, ["labels", "issue_kind", "labels"])] == ["labels", "issue_kind"]


def test_an_unknown_task_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigurationError, match="'mod' is unknown; known are issue_kind, labels, user_error"):
        select_tasks(SHIPPED, ["mod"])


# -- the shipped tasks -------------------------------------------------------------------------------------------------


def test_three_tasks_are_shipped_as_they_were_promised() -> None:
    shown = {
        task.name: (task.answers, task.at_most, task.input, task.abstain, [category.id for category in task.categories])
        for task in SHIPPED.values()
    }
    assert shown == {
        "user_error": ("one_of", 1, "issue_with_comments", "uncertain", ["true", "false"]),
        "issue_kind": ("one_of", 1, "issue", "uncertain", ["bug", "feature", "question"]),
        "labels": (
            "many_of", 3, "issue", "uncertain",
            ["bug", "enhancement", "documentation", "question", "performance", "security", "build_ci", "dependency",
             "test", "ux"],
        ),
    }  # fmt: skip
    assert SHIPPED["user_error"].applies_to.titles_except == ("DISABLED *",)
    assert all(category.label for category in SHIPPED["labels"].categories)


@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_a_shipped_task_is_long_enough_to_be_cached_by_every_supported_model(task: Task) -> None:
    assert estimate_tokens(render_system(task)) > LARGEST_CACHE_MINIMUM


@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_every_category_of_a_shipped_task_has_rules_in_words_and_three_to_five_examples(task: Task) -> None:
    for category in task.categories:
        assert category.include, category.id
        assert category.exclude, category.id
        assert category.aliases, category.id
        assert 3 <= len(category.examples) <= 5, category.id
        titles = [example.text.partition("\n")[0] for example in category.examples]
        assert len(set(titles)) == len(titles), category.id


@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_every_category_of_a_shipped_task_can_be_answered_offline(task: Task) -> None:
    assert {category.id for category in task.categories} <= {rule.category for rule in task.rules if rule.weight > 0}


@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_the_log_of_prompts_has_an_entry_for_the_version_and_content_of_a_shipped_task(task: Task) -> None:
    entry = f"### {task.name} {task.version} (`{task.sha256[:12]}`)"
    assert entry in PROMPTS.read_text().splitlines(), (
        f"schemas/tasks/{task.name}.toml has no entry in docs/prompts.md. After a release, raise `version` "
        f"(stored answers name it). Then add the line: {entry}"
    )


# -- rules on hostile text ---------------------------------------------------------------------------------------------


def count_ways(tree: Any) -> float:
    """In how many ways at most a pattern can be tried from one place of a text; infinite with an unbounded repeat.

    tree: what `re._parser.parse` gives. The product over what follows each other, the sum over alternatives: an upper
    bound on backtracking. With a finite one, a search takes time in proportion to the length of the text.
    """
    ways: float = 1
    for operation, argument in tree:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            least, most, inner = argument
            if str(most) == "MAXREPEAT":
                return float("inf")
            ways *= sum(count_ways(inner) ** times for times in range(least, most + 1))
        elif name == "SUBPATTERN":
            ways *= count_ways(argument[-1])
        elif name == "BRANCH":
            ways *= sum(count_ways(branch) for branch in argument[1])
        elif name in {"ASSERT", "ASSERT_NOT"}:
            ways *= count_ways(argument[1])
    return ways


def ways_of(pattern: re.Pattern[str]) -> float:
    parser = importlib.import_module("re._parser")
    return count_ways(parser.parse(pattern.pattern, pattern.flags))


@pytest.mark.parametrize(
    ("pattern", "ways"),
    [
        ("abc", 1),
        ("a?b", 2),
        ("(?:ab|cd)e{1,3}", 6),
        ("a*", float("inf")),
        ("(?:a+)+$", float("inf")),
        ("(?:a?){3}", 8),
    ],
)
def test_ways_are_counted_as_an_upper_bound(pattern: str, ways: float) -> None:
    assert ways_of(re.compile(pattern)) == ways


@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_no_pattern_of_a_shipped_task_can_be_made_slow_by_a_text(task: Task) -> None:
    slow = {rule.pattern.pattern: ways_of(rule.pattern) for rule in task.rules if ways_of(rule.pattern) > 100_000}
    assert slow == {}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_the_patterns_of_a_shipped_task_get_through_long_hostile_texts(task: Task) -> None:
    """The time limit is for a pattern that backtracks for minutes; nothing is measured."""
    for shape in (
        "\n",
        " ",
        "[",
        "_",
        "a ",
        "a: ",
        "at a",
        "[a] ",
        "- ",
        "would be ",
        "am i a ",
        "eager ",
        "test_",
        "?",
    ):
        text = (shape * 20_000)[:20_000]
        for rule in task.rules:
            rule.pattern.search(text)


def test_the_shipped_files_hold_no_byte_that_looks_different_elsewhere() -> None:
    for path in (resource_folder("schemas") / "tasks").glob("*.toml"):
        content = path.read_bytes()
        assert b"\r" not in content, path.name
        assert b"\t" not in content, path.name
        assert content.endswith(b"\n"), path.name


# -- docs/tasks.md ------------------------------------------------------------------------------------------------


def test_the_docs_describe_every_key_of_the_format() -> None:
    described = set(re.findall(r"^\| `([a-z_]+)` \|", DOCS.read_text(), re.MULTILINE))
    keys = {field.name for kind in (Task, Category, AppliesTo, Rule) for field in fields(kind)} - {"sha256", "path"}
    assert keys <= described


def test_the_file_in_the_docs_is_a_valid_task() -> None:
    (content,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    task = read(content, "root_cause")
    assert task.rules[0].pattern.search("an Index out of bounds")
    assert task.categories[0].examples


def test_the_docs_show_every_shipped_task() -> None:
    text = DOCS.read_text().partition("## A whole file")[0]
    for task in SHIPPED.values():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{task.name}` |")]
        assert all(f"`{category.id}`" in row for category in task.categories)
