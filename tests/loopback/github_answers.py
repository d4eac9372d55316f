"""What a GitHub in good health answers: who may not ask, which resource is meant, what it says."""

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.loopback.github_app import app_answer, is_app_path
from tests.loopback.github_http import Answer, Request, said
from tests.loopback.github_pages import comment_page, event_page, issue_page, timeline_page
from tests.loopback.github_world import Repo, render

if TYPE_CHECKING:
    from tests.loopback.github import LoopbackGitHub

__all__ = ["Answer", "Request", "answered", "secondary_refusal"]

_PARTS = {"comments", "timeline", "events"}
"""What hangs on an issue."""


def answered(github: "LoopbackGitHub", request: Request) -> Answer:
    """The right answer, as things stand now."""
    with github.lock:
        if is_app_path(request.path):
            return app_answer(github.app, request, github.now(), lambda: github.find(request.path)[0])
        refusal = _refusal(github, request)
        if refusal is not None:
            return refusal
        if request.path == "/":
            root = {
                "current_user_url": f"{github.url}/user",
                "repository_url": f"{github.url}/repos/{{owner}}/{{repo}}",
            }
            return Answer(200, render(root))
        if request.path == "/user":
            return _user(github, request)
        repo, rest, moved = github.find(request.path)
        if repo is None or repo.blocked or (repo.private and not _is_known(github, request)):
            return said(404, "Not Found")
        if not github.reaches(request.token, repo):
            return _out_of_scope(github, request)
        if moved is not None:
            query = f"?{urlencode(request.query)}" if request.query else ""
            return said(301, "Moved Permanently", Location=f"{github.url}{moved}{query}")
        answer = _tagged(request, _of_repository(github, request, repo, rest))
        github.window_of(request.token).remaining += answer.status == 304  # GitHub does not count those.
        return answer


def secondary_refusal(status: int, retry_after: object = None, *, limited_by: bool = False) -> Answer:
    """A secondary limit: named by Retry-After, or by `gh-limited-by`, or by its text alone."""
    headers = {"Retry_After": str(retry_after)} if retry_after is not None else {}
    if limited_by:
        headers["gh_limited_by"] = "octokit-cost"
        return said(status, "Forbidden", **headers)
    text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    return said(status, text, **headers)


def _refusal(github: "LoopbackGitHub", request: Request) -> Answer | None:
    """What a request is answered before it is looked at, and all of /rate_limit, which is free; else spends a call."""
    if not github.allows(request.token):
        github.spend("")
        return said(401, "Bad credentials")
    limited = github.secondary.get(request.token)
    if limited is not None and github.now() < limited.until:
        wait = int(limited.until - github.now()) + 1 if limited.form == "retry-after" else None
        return secondary_refusal(limited.status, wait, limited_by=limited.form == "limited-by")
    if request.path == "/rate_limit":
        window = github.window_of(request.token)
        used = window.limit - window.remaining
        core = {"limit": window.limit, "used": used, "remaining": window.remaining, "reset": int(window.reset_at)}
        return Answer(200, render({"resources": {"core": core}}))
    if not github.spend(request.token):
        whose = "user ID 1" if request.token else "127.0.0.1"
        return said(github.window_of(request.token).status, f"API rate limit exceeded for {whose}.")
    return said(404, "Not Found") if request.method != "GET" else None


def _is_known(github: "LoopbackGitHub", request: Request) -> bool:
    return bool(request.token) and github.allows(request.token)


def _user(github: "LoopbackGitHub", request: Request) -> Answer:
    if not request.token:
        return said(401, "Requires authentication")
    if github.app is not None and request.token in github.app.tokens:
        return said(403, "Resource not accessible by integration")
    return Answer(200, render(github.render.user("tester", "User")))


def _out_of_scope(github: "LoopbackGitHub", request: Request) -> Answer:
    if github.out_of_scope_status == 404:
        return said(404, "Not Found")
    is_app = github.app is not None and request.token in github.app.tokens
    who = "integration" if is_app else "personal access token"
    return said(403, f"Resource not accessible by {who}", X_Accepted_GitHub_Permissions="issues=read")


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
    if parts[0] == "pulls" and len(parts) == 2:
        return _pull(github, repo, parts[1])
    if parts[0] != "issues":
        return said(404, "Not Found")
    if not repo.has_issues:
        return said(410, "Issues are disabled for this repo")
    key = (repo.id, repo.version, request.target)
    if github.kept_pages is not None and key in github.kept_pages:
        return github.kept_pages[key]
    if len(parts) == 1:
        answer = issue_page(github, request, repo)
    elif parts[1] == "comments":
        answer = _comments(github, request, repo, parts[2:])
    else:
        answer = _one_issue(github, request, repo, parts[1:])
    if github.kept_pages is not None:
        github.kept_pages[key] = answer
    return answer


def _comments(github: "LoopbackGitHub", request: Request, repo: Repo, parts: list[str]) -> Answer:
    """The comments of a repository, or one of them."""
    if not parts:
        return comment_page(github, request, repo, None)
    comment = repo.comments.get(int(parts[0])) if len(parts) == 1 and parts[0].isdecimal() else None
    return said(404, "Not Found") if comment is None else Answer(200, render(github.render.comment(repo, comment)))


def _one_issue(github: "LoopbackGitHub", request: Request, repo: Repo, parts: list[str]) -> Answer:
    number = int(parts[0]) if parts[0].isdecimal() else 0
    part = "/".join(parts[1:])
    if part and part not in _PARTS:
        return said(404, "Not Found")
    issue = repo.issues.get(number)
    if issue is None:
        return _gone(github, repo, number, part)
    if part == "comments":
        return comment_page(github, request, repo, number)
    if part == "timeline":
        return timeline_page(github, request, repo, issue)
    if part == "events":
        return event_page(github, request, repo, number)
    return Answer(200, render(github.render.issue(repo, issue)))


def _gone(github: "LoopbackGitHub", repo: Repo, number: int, part: str) -> Answer:
    gone = repo.gone.get(number)
    if gone is None or gone.reason == "hidden":
        return said(404, "Not Found")
    if gone.to is None:
        return said(410, "This issue was deleted")
    if not part:
        return said(301, "Moved Permanently", Location="{}/repositories/{}/issues/{}".format(github.url, *gone.to))
    # What hangs on a transferred issue answers without saying where it went.
    is_moved = github.transferred_parts_status == 301
    return said(301, "Moved Permanently", Location="") if is_moved else said(404, "Not Found")


def _pull(github: "LoopbackGitHub", repo: Repo, number: str) -> Answer:
    issue = repo.issues.get(int(number)) if number.isdecimal() else None
    if issue is None or not issue.is_pull:
        return said(404, "Not Found")
    return Answer(200, render(github.render.pull(repo, issue)))
