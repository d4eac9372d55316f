"""The text of an item: what somebody wrote, without what a template, a mail program or a bot added."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.dedup import COMMENT_CHARS, COMMENTS_IN_TEXT, clean, issue_text, issue_with_comments_text, text_hash


@dataclass(frozen=True)
class Said:
    """A comment as the text builder looks at it."""

    body: str | None
    author: str | None = "someone"
    author_type: str | None = "User"


CLEANED = [
    ("HTML comment", "before <!-- hidden --> after", "before  after"),
    ("HTML comment over lines", "a\n<!-- x\ny\n-->\nb", "a\n\nb"),
    ("two HTML comments in a line", "a<!--1-->b<!--2-->c", "abc"),
    ("HTML comment that nobody ends", "a <!-- b\nc", "a <!-- b\nc"),
    ("HTML comment in a code block", "```html\n<!-- kept -->\n```", "```html\n<!-- kept -->\n```"),
    ("carriage returns", "a\r\nb\rc", "a\nb\nc"),
    ("question of a template", "### Describe the bug\n\nIt hangs.", "It hangs."),
    ("question with an emoji and a colon", "## \U0001f41b Describe the bug:\nIt hangs.", "It hangs."),
    ("question in bold", "**To Reproduce**\nRun it.", "Run it."),
    ("question with a hint in brackets", "### Steps to reproduce (required)\n1. run", "1. run"),
    ("heading of the author", "## Deadlock in the scheduler\nSee below.", "## Deadlock in the scheduler\nSee below."),
    (
        "heading of the author that begins like a question",
        "## Why does it fail\nNo idea.",
        "## Why does it fail\nNo idea.",
    ),
    ("heading with nothing below", "## Deadlock\n\n## Cause\nA lock.", "## Cause\nA lock."),
    (
        "answered with nothing",
        "### Mobile device\n\n_No response_\n\n### Python version\n\n3.12",
        "### Python version\n3.12",
    ),
    ("not applicable", "### Logs\nN/A\n### Cause\nA lock.", "### Cause\nA lock."),
    ("tick boxes", "- [x] I searched\n- [ ] I read\n* [X] done\n1. [ ] more\ntext", "text"),
    ("list that is no tick box", "- [link](https://x.test)\n- [a]b", "- [link](https://x.test)\n- [a]b"),
    ("image", "see ![shot](https://x.test/a.png) here", "see  here"),
    ("badge", "[![ci](https://x.test/b.svg)](https://x.test/ci)\ntext", "text"),
    ("image as HTML", 'a <img width="3" src="x.png"> b', "a  b"),
    ("details", "<details><summary>Log</summary>\nboom\n</details>", "Log\nboom"),
    ("quoted mail", "Agreed.\n\nOn Mon, Jul 6, 2026 at 9:00 AM Al <a@b.test> wrote:\n> text\n> more\n", "Agreed."),
    ("footer of a mail program", "Yes.\n\n\u2014\nReply to this email directly, view it on GitHub", "Yes.\n\n\u2014"),
    ("signature", "It fails.\n-- \nBob\nAcme Inc.", "It fails."),
    ("quote in Markdown", "> RuntimeError: boom\n\nwhy?", "> RuntimeError: boom\n\nwhy?"),
    ("trace without a fence", 'Traceback:\n  File "a.py", line 3\nE: x', 'Traceback:\n  File "a.py", line 3\nE: x'),
    ("code with headings and boxes", "```\n# one\n- [ ] two\n![x](y)\n```", "```\n# one\n- [ ] two\n![x](y)\n```"),
    ("longer fence around a shorter one", "````\n```\n# a\n````\n### Logs\nx", "````\n```\n# a\n````\n\nx"),
    ("code block that nobody ends", "a\n```\n### Logs\n\n\n", "a\n```\n### Logs"),
    ("many empty lines", "a\n\n\n\n\nb", "a\n\nb"),
    ("only a template", "<!-- x -->\n### Describe the bug\n\n### Logs\n_No response_\n- [ ] read", ""),
    ("nothing", None, ""),
]


@pytest.mark.parametrize(("markdown", "expected"), [row[1:] for row in CLEANED], ids=[row[0] for row in CLEANED])
def test_cleaning_keeps_what_somebody_wrote(markdown: str | None, expected: str) -> None:
    assert clean(markdown) == expected


@given(
    st.lists(
        st.sampled_from(
            ["<!--", "-->", "```", "~~~~", "# a", "**b**", "- [ ] c", "![d](e)", "> f", "-- ", "\n", "\r\n", "g", " "]
        )
    )
)
@settings(max_examples=300, deadline=None)
def test_cleaning_takes_any_markdown_and_cleaning_again_adds_nothing(pieces: list[str]) -> None:
    once = clean("".join(pieces))
    assert not once.startswith("\n")
    assert not once.endswith("\n")
    assert len(clean(once)) <= len(once)


def test_a_title_alone_is_a_text_and_nothing_at_all_is_none() -> None:
    assert issue_text("  It\thangs \n", None) == "It hangs"
    assert issue_text(None, "<!-- only a template -->") == ""
    assert issue_text(" ", "\n") == ""
    assert issue_text("It hangs", "always") == "It hangs\n\nalways"


def test_ticking_a_box_or_filling_in_a_hidden_comment_makes_no_other_text() -> None:
    before = "<!-- read this -->\n### Describe the bug\nIt hangs.\n- [ ] I searched"
    after = "<!-- read that -->\n### Describe the bug\nIt hangs.\n- [x] I searched"
    assert text_hash(issue_text("t", before)) == text_hash(issue_text("t", after))


def test_comments_by_bots_and_empty_ones_neither_appear_nor_count() -> None:
    comments = [
        Said("I am a bot", "ci", "Bot"),
        Said("cc @you", "pytorch-bot[bot]"),
        Said("merged", "acme-bot"),
        Said("stale", "github-actions"),
        Said("<!-- nothing -->"),
        Said(None),
        Said("same here", None, None),
    ]
    assert issue_with_comments_text("t", "b", comments) == "t\n\nb\n\nComment:\nsame here"


def test_only_the_first_comments_belong_to_the_text() -> None:
    text = issue_with_comments_text("t", None, [Said(f"word{number}") for number in range(COMMENTS_IN_TEXT + 3)])
    assert f"word{COMMENTS_IN_TEXT - 1}" in text
    assert f"word{COMMENTS_IN_TEXT}" not in text
    assert text.count("Comment:") == COMMENTS_IN_TEXT


def test_as_many_comments_belong_to_an_issue_that_has_nothing_else() -> None:
    text = issue_with_comments_text(None, None, [Said(f"word{number}") for number in range(COMMENTS_IN_TEXT + 3)])
    assert text.count("Comment:") == COMMENTS_IN_TEXT


def test_a_long_comment_keeps_its_beginning_and_its_end() -> None:
    text = issue_with_comments_text("t", None, [Said("start " + "x" * 9000 + " RuntimeError: boom")])
    assert "start" in text
    assert text.endswith("RuntimeError: boom")
    assert len(text) < COMMENT_CHARS + 100


def test_who_comments_makes_no_other_text() -> None:
    assert issue_with_comments_text("t", "b", [Said("x", "al")]) == issue_with_comments_text(
        "t", "b", [Said("x", "bo")]
    )
