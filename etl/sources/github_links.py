"""Which issues a pull request says that it settles: GitHub's closing keywords in its text.

By GitHub's documents ("Linking a pull request to an issue using a keyword") a keyword, in any case and with or without
a colon, stands right before each issue: `#12`, `owner/name#12`. Its users found besides: `GH-12` and an issue's address
count, also with an anchor; a keyword in code does nothing, and "does not fix #12" fixes it.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import urlsplit

from etl.records import Link

MOST_LINKS = 50
"""A pull request that settles more than this is a list of its release's changes."""

_KEYWORD = r"(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)"
_CLOSING = re.compile(
    rf"(?<![\w/-]){_KEYWORD}(?::[ \t]*|[ \t]+)"
    r"(?:(?P<repository>[a-z0-9][a-z0-9_-]*/[a-z0-9._-]+)?\#(?P<number>[0-9]{1,10})"
    r"|gh-(?P<gh>[0-9]{1,10})"
    r"|(?P<root>https?://[a-z0-9.:-]+)/(?P<path>[a-z0-9_-]+/[a-z0-9._-]+)/issues/(?P<there>[0-9]{1,10}))"
    r"(?!\w)",
    re.IGNORECASE | re.ASCII,
)
_LIST_MARKER = re.compile(r"[ ]{0,3}(?:[-*+]|[0-9]{1,9}[.)])(?:[ \t]+|$)")
_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_BLOCK_BEGINNING = re.compile(r"#{1,6}(?:\s|$)|(?:[-*_][ \t]*){3,}$")
_INLINE = re.compile(r"\\.|(`+)|<!--")
_INDENTED = ("    ", "\t")


def closing_links(body: str | None, full_name: str, host: str) -> tuple[Link, ...]:
    """The issues that the text of a pull request settles, each once, in their order, at most 50.

    Args:
        body: the text, in Markdown. What stands in code, in quotes and in HTML comments does not count.
        full_name: 'owner/name' of the pull request's repository, which a bare number means.
        host: the host of its page ('github.com'); addresses at another do not count.
    """
    if not body or _CLOSING.search(body) is None:
        return ()
    links: dict[tuple[str, int], Link] = {}
    for paragraph in _paragraphs(body):
        for found in _CLOSING.finditer(_without_spans(paragraph)):
            if found["root"] is not None and urlsplit(found["root"]).hostname != host:
                continue
            repository = found["repository"] or found["path"] or full_name
            number = int(found["number"] or found["gh"] or found["there"])
            if number > 0:
                links.setdefault((repository.lower(), number), Link("fixes", repository, number))
            if len(links) == MOST_LINKS:
                return tuple(links.values())
    return tuple(links.values())


class _Reader:
    """Tells of one line after the other what of it is text, by the block that it stands in."""

    def __init__(self) -> None:
        self._fence: str | None = None
        self._in_comment = False
        self._in_quote = False
        self._in_list = False
        self._after_blank = True

    def text_of(self, line: str) -> str:
        """The text of a line; '' for an empty one and for one of code, of a quote or of a comment."""
        if self._fence is not None:
            closing = line.strip()
            if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
                self._fence = None
            return ""
        if self._in_comment:
            _, end, line = line.partition("-->")
            self._in_comment = not end
            if not line.strip():
                return ""
        if not line.strip():
            self._in_quote, self._after_blank = False, True
            return ""
        was_blank, self._after_blank = self._after_blank, False
        return self._text_of_block(line, was_blank=was_blank)

    def _text_of_block(self, line: str, *, was_blank: bool) -> str:
        if line.startswith(_INDENTED) and was_blank and not self._in_list:
            self._after_blank = True  # The lines of a block of code follow each other without an empty one.
            return ""
        marker = _LIST_MARKER.match(line)
        if marker is not None:
            self._in_list = True
        elif was_blank and not line.startswith((" ", "\t")):
            self._in_list = False
        content = (line[marker.end() :] if marker else line).lstrip()
        if content.startswith(">"):
            self._in_quote = True
            return ""
        if fence := _FENCE.match(content):
            self._fence, self._in_quote = fence[1] or fence[2], False
            return ""
        if self._in_quote and marker is None and _BLOCK_BEGINNING.match(content) is None:
            return ""  # A quoted paragraph goes on without its mark.
        self._in_quote = False
        if content.startswith("<!--"):
            _, end, rest = content[4:].partition("-->")
            self._in_comment = not end
            return rest
        return content


def _paragraphs(body: str) -> Iterator[str]:
    """The text of each run of lines that is neither code nor a quote nor a comment."""
    reader = _Reader()
    lines: list[str] = []
    for line in body.splitlines():
        if text := reader.text_of(line):
            lines.append(text)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _without_spans(paragraph: str) -> str:
    """A paragraph with code spans and comments blanked out, in time linear in its length."""
    runs: defaultdict[int, list[int]] = defaultdict(list)
    for run in re.finditer("`+", paragraph):
        runs[run.end() - run.start()].append(run.start())
    if not runs and "<!--" not in paragraph:
        return paragraph
    last_end = paragraph.rfind("-->")
    kept: list[str] = []
    begin = position = 0
    while (token := _INLINE.search(paragraph, position)) is not None:
        position = end = token.end()
        if token[1]:
            starts = runs[len(token[1])]
            later = bisect_right(starts, token.start())
            end = starts[later] + len(token[1]) if later < len(starts) else end
        elif token[0] == "<!--" and position <= last_end:
            end = paragraph.index("-->", position) + 3
        if end > position:
            kept += (paragraph[begin : token.start()], "\n")
            begin = position = end
    kept.append(paragraph[begin:])
    return "".join(kept)
