"""The pages of the loopback GitHub's lists: issues by keyset, everything else by page numbers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

from tests.loopback.github_http import Answer, Request, said
from tests.loopback.github_lists import (
    IssueQuery,
    decode_cursor,
    encode_cursor,
    list_comments,
    list_events,
    list_issues,
    list_timeline,
)
from tests.loopback.github_world import Comment, Event, Issue, Repo, render, seconds_of

if TYPE_CHECKING:
    from tests.loopback.github import LoopbackGitHub

Row = TypeVar("Row")
_SORTS = {"created", "updated", "comments"}
_SINCE_1980 = 315_532_800
_TOO_DEEP = "In order to keep the API fast for all users, pagination is limited for this resource."


def issue_page(github: "LoopbackGitHub", request: Request, repo: Repo) -> Answer:
    """A page of a repository's issues, with `next` and `prev` alone in its Link."""
    query = _issue_query(request.query)
    if query is None:
        return said(422, "Validation Failed")
    if query.after is None and query.before is None and query.page * query.per_page > github.deepest_row:
        return said(422, _TOO_DEEP)
    if query.since is not None and query.since < _SINCE_1980:
        return Answer(200, b"[]")
    rows, after, before = list_issues(repo, query, github.now(), since_inclusive=github.since_inclusive)
    base = f"{github.url}/repositories/{repo.id}/issues"
    kept = {name: value for name, value in request.query.items() if name not in {"after", "before", "page"}}
    links = []
    if before is not None:
        links.append(("prev", {**kept, "before": encode_cursor(before)}))
    if after is not None:
        links.append(("next", {**kept, "after": encode_cursor(after)}))
    return _page([github.render.issue(repo, row) for row in rows], base, links)


def comment_page(github: "LoopbackGitHub", request: Request, repo: Repo, number: int | None) -> Answer:
    """A page of the comments of a repository, which can time out, or of one issue."""
    sort, direction = _sorting(request.query, "asc")
    since = _since(request.query)
    if since is not None and since < _SINCE_1980:
        return Answer(200, b"[]")
    rows = list_comments(repo, sort, direction, since, number, since_inclusive=github.since_inclusive)
    if number is None and _times_out(github, request, len(rows)):
        return said(502, "Server Error")
    rest = "issues/comments" if number is None else f"issues/{number}/comments"
    return _numbered_page(github, request, f"repositories/{repo.id}/{rest}", rows, _comments_of(github, repo))


def event_page(github: "LoopbackGitHub", request: Request, repo: Repo, number: int) -> Answer:
    """A page of an issue's events."""
    path = f"repositories/{repo.id}/issues/{number}/events"
    rows = list_events(repo, number)
    return _numbered_page(github, request, path, rows, lambda event: github.render.event(repo, event))


def timeline_page(github: "LoopbackGitHub", request: Request, repo: Repo, issue: Issue) -> Answer:
    """A page of an issue's timeline: events, comments, mentions from elsewhere, a pull request's commit."""
    rows: list[Issue | Event | Comment] = [entry.what for entry in list_timeline(repo, issue.number)]
    if issue.is_pull:
        rows.insert(0, issue)

    def shown(what: Issue | Event | Comment) -> dict[str, Any]:
        if isinstance(what, Issue):
            return github.render.commit(repo, what)
        if isinstance(what, Comment):
            comment = github.render.comment(repo, what)
            return {**comment, "event": "commented", "actor": comment["user"]}
        source = github.mentioned_at(what) if what.kind == "cross-referenced" else None
        return github.render.event(repo, what) if source is None else github.render.mention(what, *source)

    def is_shown(row: Issue | Event | Comment) -> bool:
        return not isinstance(row, Event) or row.kind != "cross-referenced" or github.mentioned_at(row) is not None

    rows = [row for row in rows if is_shown(row)]
    return _numbered_page(github, request, f"repositories/{repo.id}/issues/{issue.number}/timeline", rows, shown)


def _comments_of(github: "LoopbackGitHub", repo: Repo) -> Callable[[Comment], dict[str, Any]]:
    return lambda comment: github.render.comment(repo, comment)


def _times_out(github: "LoopbackGitHub", request: Request, rows: int) -> bool:
    """Whether the repository-wide comment list is too much for GitHub today."""
    most, widest = github.comment_window_rows, github.comment_window_per_page
    return (most is not None and rows > most) or (widest is not None and _per_page(request.query) > widest)


def _issue_query(query: dict[str, str]) -> IssueQuery | None:
    """The parameters as GitHub takes them; None where it answers 422."""
    state = query.get("state", "open")
    if state not in {"open", "closed", "all"}:
        return None
    sort, direction = _sorting(query, "desc")
    labels = frozenset(label.lower() for label in query.get("labels", "").split(",") if label)
    after = decode_cursor(query["after"]) if "after" in query else None
    before = decode_cursor(query["before"]) if "before" in query else None
    page = _number(query.get("page"), 1)
    return IssueQuery(state, labels, sort, direction, _since(query), _per_page(query), after, before, page)


def _numbered_page(
    github: "LoopbackGitHub", request: Request, path: str, rows: Sequence[Row], shown: Callable[[Row], dict[str, Any]]
) -> Answer:
    """A page by its number, with all four links; too deep a one is refused, though `last` may have named it."""
    per_page, page = _per_page(request.query), _number(request.query.get("page"), 1)
    if page * per_page > github.deepest_row:
        return said(422, _TOO_DEEP)
    last = max(1, -(-len(rows) // per_page))
    pages = [
        ("prev", page - 1, page > 1),
        ("next", page + 1, page < last),
        ("last", last, page < last),
        ("first", 1, page > 1),
    ]
    links = [(name, {**request.query, "page": str(target)}) for name, target, is_shown in pages if is_shown]
    objects = [shown(row) for row in rows[(page - 1) * per_page : page * per_page]]
    return _page(objects, f"{github.url}/{path}", links)


def _page(shown: list[dict[str, Any]], base: str, links: Sequence[tuple[str, dict[str, str]]]) -> Answer:
    header = ", ".join(f'<{base}?{urlencode(query, quote_via=quote)}>; rel="{name}"' for name, query in links)
    return Answer(200, render(shown), {"Link": header} if header else {})


def _sorting(query: dict[str, str], default: str) -> tuple[str, str]:
    """Unknown words are ignored, both of them."""
    sort, direction = query.get("sort", "created"), query.get("direction", default)
    return (sort, direction) if sort in _SORTS and direction in {"asc", "desc"} else ("created", default)


def _since(query: dict[str, str]) -> int | None:
    try:
        return seconds_of(query["since"]) if "since" in query else None
    except ValueError:
        return None


def _per_page(query: dict[str, str]) -> int:
    return min(_number(query.get("per_page"), 30), 100)


def _number(text: str | None, default: int) -> int:
    return max(int(text), 1) if text is not None and text.isdecimal() else default
