"""What the loopback GitHub answers to a request: the right thing, or what a fault makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from tests.loopback.github_world import (
    IssueQuery,
    Repo,
    decode_cursor,
    encode_cursor,
    list_comments,
    list_issues,
    render,
    seconds_of,
)

if TYPE_CHECKING:
    from tests.loopback.github import LoopbackGitHub

FaultKind = Literal[
    "status",
    "primary",
    "secondary",
    "hang",
    "slow",
    "close",
    "truncated",
    "broken",
    "html",
    "bytes",
    "redirect",
    "link",
]
_SORTS = {"created", "updated", "comments"}
_SINCE_1980 = 315_532_800
_DEEPEST_ROW = 10_000


@dataclass(slots=True)
class Request:
    """A request as it came, and what it was answered with.

    path: below the API root. headers: names in lower case. token: as sent, '' for none. status: 0 until answered, or
    when no answer was sent.
    """

    method: str
    path: str
    query: dict[str, str]
    target: str
    headers: dict[str, str]
    token: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent. cut: send only half of the body, then close. link: the Link header's value."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass(slots=True)
class Fault:
    """Something to go wrong with the next requests whose target contains `on`; see `LoopbackGitHub.fail_next`."""

    kind: FaultKind
    on: str
    times: int
    skip: int
    options: dict[str, Any]


def _said(status: int, message: str, **headers: str) -> Answer:
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return Answer(status, render(body), {name.replace("_", "-"): value for name, value in headers.items()})


def faulty(github: "LoopbackGitHub", request: Request, fault: Fault) -> Answer | None:
    options = fault.options
    if fault.kind in {"hang", "slow", "close"}:
        github.stopping.wait(options.get("seconds", 30.0) if fault.kind != "close" else 0)
        return answered(github, request) if fault.kind == "slow" else None
    if fault.kind in {"truncated", "broken", "link"}:
        return _spoilt(answered(github, request), fault)
    if fault.kind == "primary":
        github.spend_all(options.get("seconds", 60.0), options.get("status", 403))
        return answered(github, request)
    if fault.kind == "secondary":
        headers = {"Retry_After": str(options["retry_after"])} if "retry_after" in options else {}
        text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
        return _said(options.get("status", 403), text, **headers)
    if fault.kind == "html":
        return Answer(200, b"<html><body>Unicorn!</body></html>", {"Content-Type": "text/html"})
    if fault.kind == "bytes":
        return Answer(200, options["body"])
    if fault.kind == "redirect":
        return _said(options.get("status", 302), "Found", Location=options["location"])
    return _said(options["status"], options.get("message", f"fault {options['status']}"), **options.get("headers", {}))


def _spoilt(answer: Answer, fault: Fault) -> Answer:
    if fault.kind == "truncated":
        return replace(answer, cut=True)
    if fault.kind == "broken":
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    return replace(answer, headers={**answer.headers, "Link": f'<{fault.options["location"]}>; rel="next"'})


def answered(github: "LoopbackGitHub", request: Request) -> Answer:
    """The answer of a GitHub in good health."""
    is_valid = github.tokens is None or request.token in github.tokens
    if request.token and not is_valid:
        return _said(401, "Bad credentials")
    if request.path == "/rate_limit":
        window = {"limit": github.limit, "remaining": github.remaining, "reset": int(github.reset_at), "used": 0}
        return Answer(200, render({"resources": {"core": window}}))
    if not github.spend():
        return _said(github.limit_status, "API rate limit exceeded for user ID 1.")
    if request.path == "/":
        root = {"current_user_url": f"{github.url}/user", "repository_url": f"{github.url}/repos/{{owner}}/{{repo}}"}
        return Answer(200, render(root))
    if request.path == "/user":
        return (
            Answer(200, render(github.render.user("tester", "User")))
            if request.token
            else _said(401, "Requires authentication")
        )
    with github.lock:
        repo, rest, moved = github.find(request.path)
        if repo is None or (repo.private and not (request.token and is_valid)):
            return _said(404, "Not Found")
        if moved is not None:
            query = f"?{urlencode(request.query)}" if request.query else ""
            return _said(301, "Moved Permanently", Location=f"{github.url}{moved}{query}")
        answer = _tagged(request, _of_repository(github, request, repo, rest))
        github.remaining += answer.status == 304  # GitHub does not count those.
        return answer


def _tagged(request: Request, answer: Answer) -> Answer:
    """With the ETag of body and token, or as 304 if the client holds just that."""
    if answer.status != 200:
        return answer
    etag = f'W/"{blake2b(answer.body, digest_size=16, key=request.token.encode()[:64]).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        return Answer(304, headers={"ETag": etag})
    return replace(answer, headers={**answer.headers, "ETag": etag})


def _of_repository(github: "LoopbackGitHub", request: Request, repo: Repo, rest: str) -> Answer:
    if rest == "":
        return Answer(200, render(github.render.repository(repo)))
    parts = rest.split("/")
    if parts[0] != "issues":
        return _said(404, "Not Found")
    if not repo.has_issues:
        return _said(410, "Issues are disabled for this repo")
    key = (repo.id, repo.version, request.target)
    if github.kept_pages is not None and key in github.kept_pages:
        return github.kept_pages[key]
    if len(parts) == 1:
        answer = _issue_page(github, request, repo)
    elif parts[1:] == ["comments"]:
        answer = _comment_page(github, request, repo, None)
    else:
        answer = _one_issue(github, request, repo, parts[1:])
    if github.kept_pages is not None:
        github.kept_pages[key] = answer
    return answer


def _one_issue(github: "LoopbackGitHub", request: Request, repo: Repo, parts: list[str]) -> Answer:
    number = int(parts[0]) if parts[0].isdecimal() else 0
    status, location = repo.gone.get(number, (404, ""))
    is_comments = parts[1:] == ["comments"]
    if number not in repo.issues:
        if status == 301:
            # What hangs on a transferred issue answers without saying where it went.
            return _said(301, "Moved Permanently", Location="" if is_comments else github.url + location)
        return _said(410, "This issue was deleted") if status == 410 else _said(404, "Not Found")
    if is_comments:
        return _comment_page(github, request, repo, number)
    if len(parts) > 1:
        return _said(404, "Not Found")
    return Answer(200, render(github.render.issue(repo, repo.issues[number])))


def _issue_page(github: "LoopbackGitHub", request: Request, repo: Repo) -> Answer:
    query = _issue_query(request.query)
    if query is None:
        return _said(422, "Validation Failed")
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


def _issue_query(query: dict[str, str]) -> IssueQuery | None:
    """The parameters as GitHub takes them; None where it answers 422."""
    state = query.get("state", "open")
    page = _number(query.get("page"), 1)
    per_page = min(_number(query.get("per_page"), 30), 100)
    if state not in {"open", "closed", "all"} or page * per_page > _DEEPEST_ROW:
        return None
    sort, direction = _sorting(query, "desc")
    labels = frozenset(label.lower() for label in query.get("labels", "").split(",") if label)
    after = decode_cursor(query["after"]) if "after" in query else None
    before = decode_cursor(query["before"]) if "before" in query else None
    return IssueQuery(state, labels, sort, direction, _since(query), per_page, after, before, page)


def _comment_page(github: "LoopbackGitHub", request: Request, repo: Repo, number: int | None) -> Answer:
    sort, direction = _sorting(request.query, "asc")
    since = _since(request.query)
    if since is not None and since < _SINCE_1980:
        return Answer(200, b"[]")
    rows = list_comments(repo, sort, direction, since, number, since_inclusive=github.since_inclusive)
    per_page = min(_number(request.query.get("per_page"), 30), 100)
    page = _number(request.query.get("page"), 1)
    last = max(1, -(-len(rows) // per_page))
    pages = [
        ("prev", page - 1, page > 1),
        ("next", page + 1, page < last),
        ("last", last, page < last),
        ("first", 1, page > 1),
    ]
    links = [(name, {**request.query, "page": str(target)}) for name, target, is_shown in pages if is_shown]
    rest = "issues/comments" if number is None else f"issues/{number}/comments"
    shown = [github.render.comment(repo, row) for row in rows[(page - 1) * per_page : page * per_page]]
    return _page(shown, f"{github.url}/repositories/{repo.id}/{rest}", links)


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


def _number(text: str | None, default: int) -> int:
    return max(int(text), 1) if text is not None and text.isdecimal() else default
