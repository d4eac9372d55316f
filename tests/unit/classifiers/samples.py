"""Small tasks for the classifiers' tests, in the format of schemas/tasks."""

from etl.records import Text
from etl.tasks import Task, parse_task

_KIND = b"""
name = "kind"
version = 3
title = "What kind of issue is it?"
question = "Is the issue a report of a defect, a wish, or a question?"
answers = "one_of"
input = "issue"
abstain = "uncertain"
guidance = "Judge by what the author wants, not by the words in the title."

[[categories]]
id = "bug"
definition = "The software does something other than it promises."
include = ["A crash, a wrong result, a regression."]
exclude = ["Something that never was promised."]
aliases = ["defect"]
examples = [{ text = "Crash on start\\nIt ends with a segmentation fault.", reason = "a crash is never promised" }]

[[categories]]
id = "feature"
definition = "Something that is not there yet is asked for."

[[categories]]
id = "question"
definition = "Somebody wants to know something."

[[categories]]
id = "spam"
definition = "An old category that no new answer may use."
deprecated = true

[[rules]]
category = "bug"
pattern = '\\b(?:crash(?:es|ed)?|segfault)\\b'
weight = 2.0

[[rules]]
category = "bug"
pattern = '^Traceback'
weight = 1.0

[[rules]]
category = "feature"
pattern = '\\b(?:please add|feature request)\\b'
weight = 2.0

[[rules]]
category = "question"
pattern = '\\?\\s*$'
field = "title"
weight = 1.5

[[rules]]
category = "uncertain"
pattern = 'template not filled in'
weight = 5.0

[[rules]]
category = "spam"
pattern = 'casino'
weight = 9.0
"""

_AREAS = b"""
name = "areas"
version = 1
title = "Which areas does it touch?"
question = "Which areas of the project does the issue touch?"
answers = "many_of"
at_most = 2
input = "issue"

[[categories]]
id = "documentation"
definition = "Words for users are missing or wrong."

[[categories]]
id = "performance"
definition = "It works, but too slowly or with too much memory."

[[categories]]
id = "build_ci"
definition = "Building, packaging, continuous integration."
aliases = ["build", "ci"]

[[rules]]
category = "documentation"
pattern = '\\bdoc(?:s|umentation|string)?\\b'
weight = 1.5

[[rules]]
category = "performance"
pattern = '\\bslow\\b'
weight = 2.0

[[rules]]
category = "build_ci"
pattern = '\\bcmake\\b'
weight = 3.0
"""


def kind_task() -> Task:
    """A one-of task: bug, feature, question; uncertain abstains; spam is deprecated."""
    return parse_task(_KIND, "kind.toml")


def areas_task() -> Task:
    """A many-of task with at most two of documentation, performance, build_ci."""
    return parse_task(_AREAS, "areas.toml")


def make_text(number: int, body: str) -> Text:
    """A text with the given id."""
    return Text(id=number, text_hash=f"hash-{number}", body=body)


def make_texts(count: int, words: str = "the exporter crashed") -> list[Text]:
    """Texts with ids from 1, each naming its own: 'item 1 of many'."""
    return [make_text(number, f"item {number} of many\n{words}") for number in range(1, count + 1)]
