"""The text of an item: what a task is asked of and what is shown to a classifier. Cleaned, not masked.

Cleaning takes away what the author did not write (HTML comments, prompts and tick boxes of an issue template, quoted
mail) or what has no words (images). Traces and code blocks stay as they are. It is a pure function of title, body and
comments: no template of a repository is looked up, so the same words have the same text everywhere.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

COMMENTS_IN_TEXT: Final = 5
"""How many comments by people, the first ones, belong to the text of an issue with comments."""

COMMENT_CHARS: Final = 2_000
"""Longer comments keep their first three quarters and their last quarter of this; traces end with what matters."""


class Comment(Protocol):
    """What is looked at of a comment; `etl.records.Item` is one."""

    @property
    def author(self) -> str | None:
        """The login, None where the account is gone."""

    @property
    def author_type(self) -> str | None:
        """GitHub's word for the account: User, Bot, Organization."""

    @property
    def body(self) -> str | None:
        """Markdown."""


_BOT_ENDINGS = ("[bot]", "-bot", "-robot", "mergebot", "-commenter")
_BOT_NAMES = frozenset((
    "github-actions", "dependabot", "renovate", "codecov", "stale", "netlify", "vercel", "coveralls",
))  # fmt: skip

_PROMPTS: Final = frozenset((
    "acceptance criteria", "additional context", "additional info", "additional information", "additional notes",
    "alternatives", "any other comments", "anything else", "any other info", "bug", "bug description", "bug report",
    "build info", "checklist", "code of conduct", "code to reproduce", "comments", "contact details", "context",
    "debug log", "description", "detailed description", "details", "environment", "environment information",
    "error", "error log", "error message", "error trace", "feature", "feature description", "feature request",
    "further information", "info", "introduction", "issue", "issue description", "issue submission checklist",
    "log output", "logs", "minimal reproducible example", "minimal reproduction", "motivation", "notes", "other",
    "other comments", "other info", "pitch", "possible solution", "prerequisites", "problem", "problem description",
    "proposal", "proposed solution", "pull request readiness checklist", "readiness checklist", "related problem",
    "relevant log output", "relevant logs", "relevant log output or errors", "repro", "repro steps",
    "reporter info", "reproducer", "reproducible example", "reproduction", "reproduction steps", "requester info",
    "screenshot", "screenshots", "solution", "stack trace", "stacktrace", "steps", "suggested solution", "summary",
    "system info", "system information", "system setup", "terms", "the feature, motivation and pitch",
    "the problem", "traceback", "use case", "use cases", "usage example", "versions", "version information",
    "your environment",
))  # fmt: skip
"""Headings of issue templates, lower case, without marks, brackets and what stands in them."""

_PROMPT_STARTS: Final = (
    "a clear and concise description", "actual behavior", "actual behaviour", "actual result", "before submitting",
    "before you", "code to reproduce", "current behavior", "current behaviour", "describe alternatives",
    "describe any alternatives", "describe the ", "describe your", "descripe the ", "did this work in",
    "do you want to request", "does this issue occur", "expected behavior", "expected behaviour", "expected result",
    "have you reproduced", "have you searched", "how can we reproduce", "how often does this", "how to reproduce",
    "if the current behavior", "is there an existing issue", "is your feature", "is your issue", "link to code",
    "minimal repro", "please describe", "please provide", "search before asking", "standalone code to reproduce",
    "steps to repro", "step to repro", "system on which", "the current behavior", "the expected behavior",
    "to reproduce", "what browsers are", "what did you do", "what did you expect", "what did you see",
    "what do you expect", "what happened", "what is the actual", "what is the bug", "what is the current",
    "what is the expected", "what is the motivation", "what steps", "what went wrong", "what were you",
    "what you expected", "when did this", "which version", "who will benefit", "why is this needed",
    "will this change the current", "would you be willing",
)  # fmt: skip
"""How the longer questions of issue templates begin."""

_PROMPT_WORDS: Final = 14
"""A heading of more words is a sentence that somebody wrote, unless it ends like a question or a list."""

_FENCE = re.compile(r"[ \t>]{0,12}(`{3,}|~{3,})(?![^\n]*`)|[ \t>]{0,12}(~{3,})")
_HIDDEN = re.compile(r"<!--.*?-->")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?[ \t]*#*[ \t]*$")
_BOLD_LINE = re.compile(r" {0,3}(?:\*\*|__)(?![\s*_])([^\n]{1,200}?)(?:\*\*|__):?[ \t]*$")
_TICK_BOX = re.compile(r"[ \t>]{0,20}(?:[-*+]|\d{1,3}[.)])[ \t]{1,4}\[[ xX]?\](?:[ \t]|$)")
_IMAGE = re.compile(
    r"\[!\[[^\]\n]{0,300}\]\([^()\s]{0,2000}(?: [^()\n]{0,200})?\)\]\([^()\s]{0,2000}\)"
    r"|!\[[^\]\n]{0,300}\]\([^()\s]{0,2000}(?:\([^()\s]{0,200}\)[^()\s]{0,200})?(?: [^()\n]{0,200})?\)"
    r"|<img\b[^<>]{0,2000}>|</?(?:details|summary|picture|source|p|div|center|br)\b[^<>]{0,500}>",
    re.IGNORECASE,
)
_NOTHING = frozenset((
    "no response", "n/a", "na", "none", "-", "no", "nothing", "not applicable", "nil", "tbd", ".", "...",
))  # fmt: skip
_WROTE = re.compile(r"(?:On|Am|Le|El) .{0,200}(?:wrote|writes|schrieb|\u00e9crit|escribi\u00f3)\s?:\s*$")
_MAIL = re.compile(
    r"(?:\u2014|--)?\s*(?:Reply to this email directly|You are receiving this because|Sent from my |Get Outlook for )"
    r"|-{3,} ?(?:Original Message|Forwarded message) ?-{3,}",
    re.IGNORECASE,
)
_SIGNATURE_LINES: Final = 8
_MARKS = re.compile(r"^[\W\d]+|\W+$")
_BRACKETS = re.compile(r"\([^()]{0,100}\)|\[[^\[\]]{0,100}\]")
_GAPS = re.compile(r"\n{3,}")

_Line = tuple[str, bool]


def _lines(markdown: str) -> Iterator[_Line]:
    """Each line with whether it is code; HTML comments outside of code are left out, also over several lines."""
    lines = markdown.split("\n")
    last_end = max((index for index, line in enumerate(lines) if "-->" in line), default=-1)
    fence, hidden = "", False
    for index, line in enumerate(lines):
        if fence:
            yield line, True
            bare = line.strip(" \t>")
            fence = "" if bare.startswith(fence) and not bare.strip(fence[0]) else fence
            continue
        if hidden:
            _, end, line = line.partition("-->")
            if not end:
                continue
            hidden = False
        if "<!--" in line:
            line, hidden = _visible(line, index < last_end)
        opened = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if opened:
            fence = opened[1] or opened[2]
        yield line, bool(opened)


def _visible(line: str, ends_later: bool) -> tuple[str, bool]:
    """A line without its HTML comments, and whether it opens one that a later line ends."""
    end = line.rfind("-->") + 3 if "-->" in line else 0
    line = _HIDDEN.sub("", line[:end]) + line[end:]
    start = line.find("<!--")
    return (line[:start], True) if start >= 0 and ends_later else (line, False)


def _without_mail(lines: Iterable[_Line]) -> Iterator[_Line]:
    """The lines without quoted mail, the footers of mail programs, and a signature at the end."""
    kept = list(lines)
    for back in range(1, min(_SIGNATURE_LINES, len(kept)) + 1):
        line, is_code = kept[-back]
        if is_code:
            break
        if line == "-- " or (line == "--" and back > 1):
            kept = kept[:-back]
            break
    quoted = False
    for line, is_code in kept:
        if is_code:
            quoted = False
        elif ":" in line and _WROTE.match(line):
            quoted = True
            continue
        elif (quoted and (line.startswith(">") or not line.strip())) or _MAIL.match(line):
            continue
        else:
            quoted = False
        yield line, is_code


def _heading(line: str) -> str | None:
    """The words of a heading, as Markdown or as a bold line on its own; None for any other line."""
    if "#" in line:
        found = _HEADING.match(line)
        if found is not None:
            return found[2] or ""
    if "**" in line or "__" in line:
        found = _BOLD_LINE.match(line)
        if found is not None:
            return found[1]
    return None


def _is_prompt(heading: str) -> bool:
    """Whether a heading is a question of a template: known words, and no more of them than such questions have."""
    words = " ".join(
        _BRACKETS.sub(" ", heading.replace("*", "").replace("`", "").replace("\u2019", "'")).split()
    ).lower()
    words = _MARKS.sub("", words)
    if words in _PROMPTS:
        return True
    if not words.startswith(_PROMPT_STARTS):
        return False
    return len(words.split()) <= _PROMPT_WORDS or heading.rstrip(" *_").endswith(("?", ":"))


def _sections(lines: Iterable[_Line]) -> Iterator[str]:
    """The text of each section below its heading; without headings that are a template's or have nothing below them."""
    heading: str | None = None
    section: list[str] = []
    for line, is_code in lines:
        words = None if is_code else _heading(line)
        if words is None:
            section.append(line)
            continue
        yield _section(heading, section)
        heading, section = (None if _is_prompt(words) or not words else line), []
    yield _section(heading, section)


def _section(heading: str | None, lines: Sequence[str]) -> str:
    """One section as text: '' where nobody wrote anything into it."""
    text = "\n".join(lines).strip("\n")
    if not text.strip() or text.strip(" \t\n_*.").lower() in _NOTHING:
        return ""
    return text if heading is None else f"{heading}\n{text}"


def clean(markdown: str | None) -> str:
    """What somebody wrote into an issue or comment, as Markdown; '' where nothing is left.

    Without: HTML comments, lines with a tick box (ticked or not: ticking must not make another text), images, HTML tags
    of layout, quoted mail with the line that announces it, signatures below `--`, headings that are a template's
    question or have nothing below them, sections answered with nothing (`_No response_`, `N/A`). Code blocks stay.
    """
    if not markdown:
        return ""
    text = markdown.replace("\r\n", "\n").replace("\r", "\n")
    lines: list[_Line] = []
    for line, is_code in _without_mail(_lines(text)):
        if not is_code:
            if "[" in line and _TICK_BOX.match(line):
                continue
            if "![" in line or "<" in line:
                line = _IMAGE.sub("", line)
            line = line.rstrip()
        lines.append((line, is_code))
    sections = (section for section in _sections(lines) if section)
    return _GAPS.sub("\n\n", "\n\n".join(sections)).strip("\n")


def issue_text(title: str | None, body: str | None) -> str:
    """The text of an issue: its title, and its cleaned body below; '' where nothing is left, and nobody is asked."""
    return "\n\n".join(part for part in (" ".join((title or "").split()), clean(body)) if part.strip())


def _is_person(comment: Comment) -> bool:
    """Whether a person wrote the comment, by the account's type and, for bots with a user's account, its name."""
    name = (comment.author or "").lower()
    return comment.author_type != "Bot" and not name.endswith(_BOT_ENDINGS) and name not in _BOT_NAMES


def _shortened(text: str) -> str:
    """A comment within its length; what is left out of the middle leaves a mark without a number."""
    if len(text) <= COMMENT_CHARS:
        return text
    return text[: COMMENT_CHARS * 3 // 4].rstrip() + "\n[...]\n" + text[-COMMENT_CHARS // 4 :].lstrip()


def issue_with_comments_text(title: str | None, body: str | None, comments: Iterable[Comment]) -> str:
    """The text of an issue with the first comments by people below, given oldest first.

    Comments by bots and those with nothing left after cleaning neither appear nor count. The author is no part of it.
    """
    said: list[str] = []
    for comment in comments:
        if len(said) == COMMENTS_IN_TEXT:
            break
        words = clean(comment.body) if _is_person(comment) else ""
        if words:
            said.append(f"Comment:\n{_shortened(words)}")
    return "\n\n".join(part for part in (issue_text(title, body), *said) if part)
