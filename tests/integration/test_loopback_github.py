"""The loopback GitHub is judged by plain HTTP: what it shows, hides, moves, refuses, and that a seed repeats itself."""

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import jwt
import pytest
import requests

from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_app import make_keys
from tests.loopback.github_life import Life
from tests.loopback.github_world import seconds_of

HERE, THERE = "acme/rocket", "acme/starship"
BEGIN = 1_750_000_000


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(clock=lambda: float(BEGIN)) as server:
        server.add_repository(HERE)
        server.add_repository(THERE)
        yield server


def get(github: LoopbackGitHub, path: str, token: str = "", **query: Any) -> requests.Response:
    """One request, redirects not followed; `path` may be a whole address."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = path if "://" in path else github.url + path
    return requests.get(url, params=query, headers=headers, timeout=60, allow_redirects=False)


def pages(github: LoopbackGitHub, path: str, **query: Any) -> list[Any]:
    """All rows of a list."""
    rows: list[Any] = []
    reply = get(github, path, **query)
    while True:
        assert reply.status_code == 200
        rows += reply.json()
        if "next" not in reply.links:
            return rows
        reply = get(github, reply.links["next"]["url"])


def said(reply: requests.Response) -> str:
    message: str = reply.json()["message"]
    return message


def test_an_issue_keeps_what_was_done_to_it_and_shows_it_in_pages(github: LoopbackGitHub) -> None:
    number = github.add_issue(HERE, labels=("bug",))
    other = github.add_issue(THERE)
    github.advance(10)
    github.close_issue(HERE, number, "not_planned")
    github.advance(10)
    comment = github.add_comment(HERE, number)
    github.reopen_issue(HERE, number)
    github.relabel_issue(HERE, number, "docs")
    github.edit_issue(HERE, number, title="Another")
    github.mention_issue(HERE, number, THERE, other)
    path = f"/repos/{HERE}/issues/{number}"
    first = get(github, f"{path}/timeline", per_page=3)
    assert set(first.links) == {"next", "last"}
    assert f"/repositories/{github.repository(HERE).id}/issues/{number}/timeline" in first.links["next"]["url"]
    timeline = pages(github, f"{path}/timeline", per_page=3)
    kinds = ["labeled", "closed", "commented", "reopened", "labeled", "unlabeled", "renamed", "cross-referenced"]
    assert [entry["event"] for entry in timeline] == kinds
    assert timeline[1]["state_reason"] == "not_planned"
    assert seconds_of(timeline[1]["created_at"]) == BEGIN + 10
    assert timeline[2]["id"] == comment
    assert [entry["label"]["name"] for entry in timeline[4:6]] == ["docs", "bug"]
    assert timeline[7]["source"]["issue"]["repository"]["full_name"] == THERE
    events = pages(github, f"{path}/events")
    assert [event["event"] for event in events] == [kind for kind in kinds if kind not in {"commented", kinds[-1]}]
    assert [event["id"] for event in github.truth(HERE)["events"][number]] == [
        event["id"] for event in events if event["event"] != "renamed"
    ]
    assert (get(github, path).json()["closed_at"], get(github, path).json()["state_reason"]) == (None, "reopened")


def test_an_issue_that_comes_closed_was_closed_at_that_time(github: LoopbackGitHub) -> None:
    closed = {"title": "t", "html_url": "x", "state": "closed", "closed_at": "2024-05-06T07:08:09Z"}
    github.load([{**closed, "number": 9, "created_at": "2024-01-01T00:00:00Z"}], HERE)
    (event,) = pages(github, f"/repos/{HERE}/issues/9/events")
    assert (event["event"], event["created_at"]) == ("closed", "2024-05-06T07:08:09Z")


def test_a_hidden_issue_is_404_and_comes_back_as_it_was(github: LoopbackGitHub) -> None:
    number = github.add_issue(HERE)
    github.add_comment(HERE, number)
    before = github.truth(HERE)
    github.hide_issue(HERE, number)
    assert get(github, f"/repos/{HERE}/issues/{number}").status_code == 404
    assert pages(github, f"/repos/{HERE}/issues") == pages(github, f"/repos/{HERE}/issues/comments") == []
    assert github.truth(HERE)["gone"][number]["reason"] == "hidden"
    github.advance(50)
    github.unhide_issue(HERE, number)
    assert github.truth(HERE) == before
    github.delete_issue(HERE, number)
    assert get(github, f"/repos/{HERE}/issues/{number}").status_code == 410


@pytest.mark.parametrize("parts_status", [301, 404])
def test_a_transferred_issue_says_where_to_and_what_hangs_on_it_does_not(
    github: LoopbackGitHub, parts_status: Any
) -> None:
    github.transferred_parts_status = parts_status
    number = github.add_issue(HERE, labels=("bug",))
    comment = github.add_comment(HERE, number)
    github.add_issue(THERE)
    new = github.transfer_issue(HERE, number, THERE)
    reply = get(github, f"/repos/{HERE}/issues/{number}")
    assert (reply.status_code, new) == (301, 2)
    assert get(github, reply.headers["Location"]).json()["repository_url"].endswith(THERE)
    for part in ("comments", "timeline", "events"):
        reply = get(github, f"/repos/{HERE}/issues/{number}/{part}")
        assert (reply.status_code, reply.headers.get("Location", "")) == (parts_status, "")
    assert github.truth(HERE)["gone"][number] == {"reason": "transferred", "to": (THERE, new), "path": [(THERE, new)]}
    assert github.truth(THERE)["comments"][comment]["number"] == new
    assert next(entry["event"] for entry in pages(github, f"/repos/{THERE}/issues/{new}/events")) == "labeled"
    assert github.transfer_back(THERE, new) == (HERE, number)
    assert get(github, f"/repos/{HERE}/issues/{number}").status_code == 200
    assert get(github, f"/repos/{THERE}/issues/{new}").headers["Location"].endswith(f"/issues/{number}")
    assert github.truth(HERE)["gone"] == {}


def test_issues_can_be_switched_off_and_a_repository_can_be_out_of_reach(github: LoopbackGitHub) -> None:
    number = github.add_issue(HERE)
    github.switch_issues(HERE, on=False)
    assert get(github, f"/repos/{HERE}").json()["has_issues"] is False
    assert get(github, f"/repos/{HERE}/issues").status_code == 410
    github.switch_issues(HERE, on=True)
    github.before_response = lambda _: github.block_repository(HERE)
    for path in (f"/repos/{HERE}", f"/repositories/{github.repository(HERE).id}/issues/{number}"):
        assert get(github, path).status_code == 404
    github.before_response = None
    github.unblock_repository(HERE)
    assert get(github, f"/repos/{HERE}/issues/{number}").status_code == 200


def test_a_new_repository_takes_over_the_name_that_another_has_left(github: LoopbackGitHub) -> None:
    old = github.repository(HERE).id
    github.rename_repository(HERE, "acme/moon")
    assert get(github, f"/repos/{HERE}").headers["Location"].endswith(f"/repositories/{old}")
    new = github.add_repository(HERE).id
    assert get(github, f"/repos/{HERE}").json()["id"] == new != old
    assert get(github, f"/repositories/{old}").json()["full_name"] == "acme/moon"


def test_what_changes_silently_leaves_updated_at_alone(github: LoopbackGitHub) -> None:
    number = github.add_issue(HERE, labels=("bug", "docs"))
    comment = github.add_comment(HERE, number)
    github.advance(100)
    github.rename_label(HERE, "bug", "defect")
    github.edit_comment(HERE, comment, "edited")
    github.relabel_issue(HERE, number, "defect", bump=False)
    shown = get(github, f"/repos/{HERE}/issues/{number}").json()
    assert ([label["name"] for label in shown["labels"]], shown["comments"]) == (["defect"], 1)
    assert seconds_of(get(github, f"/repos/{HERE}/issues/comments/{comment}").json()["updated_at"]) == BEGIN + 100
    github.delete_comment(HERE, comment)
    shown = get(github, f"/repos/{HERE}/issues/{number}").json()
    assert (shown["comments"], seconds_of(shown["updated_at"])) == (0, BEGIN)
    assert [event["kind"] for event in github.truth(HERE)["events"][number]] == ["labeled", "labeled", "unlabeled"]


def test_a_merged_pull_request_says_so_in_lists_and_on_its_own(github: LoopbackGitHub) -> None:
    issue, pull = github.add_issue(HERE), github.add_issue(HERE, is_pull=True)
    github.advance(5)
    github.merge_pull(HERE, pull)
    listed = {row["number"]: row for row in pages(github, f"/repos/{HERE}/issues", state="all")}
    merged = listed[pull]["pull_request"]["merged_at"]
    assert seconds_of(merged) == BEGIN + 5
    assert "pull_request" not in listed[issue]
    assert "/pull/" in listed[pull]["html_url"]
    shown = get(github, f"/repos/{HERE}/pulls/{pull}").json()
    assert (shown["merged"], shown["merged_at"], shown["state"]) == (True, merged, "closed")
    assert shown["id"] != listed[pull]["id"]
    assert get(github, f"/repos/{HERE}/pulls/{issue}").status_code == 404
    timeline = pages(github, f"/repos/{HERE}/issues/{pull}/timeline")
    assert [entry["event"] for entry in timeline] == ["committed", "merged", "closed"]


def test_each_token_has_its_own_window_and_its_own_secondary_limit(github: LoopbackGitHub) -> None:
    github.set_window("", limit=60, remaining=1, reset_in=600)
    github.set_window("one", remaining=0, reset_in=600, status=429)
    anonymous, spent = get(github, f"/repos/{HERE}"), get(github, f"/repos/{HERE}", "one")
    assert (anonymous.status_code, anonymous.headers["X-RateLimit-Limit"]) == (200, "60")
    assert (spent.status_code, spent.headers["X-RateLimit-Remaining"]) == (429, "0")
    assert get(github, f"/repos/{HERE}").status_code == 403
    assert get(github, f"/repos/{HERE}", "two").headers["X-RateLimit-Remaining"] == "4999"
    assert get(github, "/rate_limit", "one").json()["resources"]["core"]["used"] == 5000
    github.advance(601)
    assert get(github, f"/repos/{HERE}", "one").status_code == 200
    for form, expected in (("retry-after", "61"), ("limited-by", None), ("text", None)):
        github.limit_secondary("one", 60, form)  # type: ignore[arg-type]
        limited = get(github, f"/repos/{HERE}", "one")
        assert (limited.status_code, limited.headers.get("Retry-After")) == (403, expected)
        assert ("gh-limited-by" in limited.headers) == (form == "limited-by") == ("secondary" not in said(limited))
        assert limited.headers["X-RateLimit-Remaining"] != "0"
    assert get(github, f"/repos/{HERE}", "two").status_code == 200
    github.advance(61)
    assert get(github, f"/repos/{HERE}", "one").status_code == 200


def test_a_token_reaches_what_it_may_until_it_is_revoked(github: LoopbackGitHub) -> None:
    github.token_scopes["one"] = {HERE}
    github.rename_repository(HERE, "acme/moon")
    assert get(github, "/repos/acme/moon", "one").status_code == 200
    assert get(github, f"/repos/{THERE}", "one").status_code == 404
    github.out_of_scope_status = 403
    assert said(get(github, f"/repos/{THERE}", "one")) == "Resource not accessible by personal access token"
    assert get(github, f"/repos/{THERE}", "two").status_code == 200
    github.revoke_token("two")
    assert get(github, f"/repos/{THERE}", "two").status_code == 401


def _signed(github: LoopbackGitHub, **changes: Any) -> str:
    now = int(github.now())
    return jwt.encode({"iss": "77", "iat": now - 60, "exp": now + 540, **changes}, make_keys()[0], algorithm="RS256")


def test_an_app_gets_tokens_for_an_hour_with_a_window_of_their_own(github: LoopbackGitHub) -> None:
    installation = github.add_app(77, make_keys()[1]).install(HERE)
    found = get(github, f"/repos/{HERE}/installation", _signed(github))
    assert found.json()["id"] == installation
    assert get(github, f"/repos/{THERE}/installation", _signed(github)).status_code == 404
    assert [row["id"] for row in get(github, "/app/installations", _signed(github)).json()] == [installation]
    url = f"{github.url}/app/installations/{installation}/access_tokens"
    made = requests.post(url, headers={"Authorization": f"Bearer {_signed(github)}"}, timeout=60)
    assert made.status_code == 201
    assert seconds_of(made.json()["expires_at"]) == BEGIN + 3600
    token = made.json()["token"]
    github.spend_all(reset_in=600)
    assert get(github, f"/repos/{HERE}", token).headers["X-RateLimit-Remaining"] == "4999"
    assert get(github, f"/repos/{THERE}", token).status_code == 404
    github.advance(3600)
    assert get(github, f"/repos/{HERE}", token).status_code == 401


@pytest.mark.parametrize(
    ("claims", "problem"),
    [({"iss": "78"}, "Issuer"), ({"iat": BEGIN + 5}, "Issued at"), ({"exp": BEGIN + 601}, "too far in the future")],
)
def test_a_jwt_with_wrong_claims_is_refused(github: LoopbackGitHub, claims: Any, problem: str) -> None:
    github.add_app(77, make_keys()[1])
    assert problem in said(get(github, "/app", _signed(github, **claims)))
    expired = _signed(github)
    github.advance(541)
    assert "Expiration time" in said(get(github, "/app", expired))
    assert get(github, "/app", "ghp_token").status_code == get(github, "/user", _signed(github)).status_code == 401


def test_lists_refuse_what_is_too_deep_or_too_much(github: LoopbackGitHub) -> None:
    number = github.add_issue(HERE)
    for second in range(30):
        github.add_comment(HERE, number, created_at=BEGIN + second)
    github.deepest_row = 20
    own = f"/repos/{HERE}/issues/{number}/comments"
    assert get(github, own, per_page=10, page=2).status_code == 200
    assert get(github, own, per_page=10, page=3).status_code == 422
    github.comment_window_rows = 10
    path = f"/repos/{HERE}/issues/comments"
    assert get(github, path, per_page=5).status_code == 502
    assert get(github, path, per_page=5, since="2025-06-15T15:07:00Z").status_code == 200
    github.comment_window_rows, github.comment_window_per_page = None, 10
    assert get(github, path, per_page=11).status_code == 502
    assert get(github, path, per_page=10).status_code == get(github, own, per_page=11).status_code == 200


def _lived(seed: int) -> tuple[list[str], list[dict[str, Any]]]:
    """A life of 150 changes, some of them during requests; what every list showed at its end is what is true."""
    with LoopbackGitHub(clock=lambda: float(BEGIN)) as github:
        life = Life(github, (HERE, THERE), Random(seed))
        github.before_response = life.during
        life.populate(20)
        for _ in range(15):
            for _ in range(10):
                life.step()
            get(github, f"/repos/{HERE}/issues")
        life.calm()
        for name in life.names:
            truth = github.truth(name)
            shown = {row["number"]: row for row in pages(github, f"/repos/{name}/issues", state="all", per_page=7)}
            assert {number: row["title"] for number, row in shown.items()} == {
                number: issue["title"] for number, issue in truth["issues"].items()
            }
            assert {row["id"] for row in pages(github, f"/repos/{name}/issues/comments")} == set(truth["comments"])
            for number, issue in truth["issues"].items():
                assert issue["comments"] == sum(row["number"] == number for row in truth["comments"].values())
                states = [event["kind"] for event in truth["events"][number] if event["label"] is None]
                assert all(one != other for one, other in pairwise(["reopened", *states]))
                assert issue["state"] == ("closed" if states[-1:] == ["closed"] else "open")
        return life.log, [github.truth(name) for name in life.names]


def test_a_life_is_believable_and_the_same_for_the_same_seed() -> None:
    log, truths = _lived(7)
    assert (log, truths) == _lived(7)
    assert log != _lived(8)[0]
    told = "\n".join(log)
    for word in ("opened", "transferred to", "transferred back", "hidden", "in sight", "merged", "deleted", "was answ"):
        assert word in told
