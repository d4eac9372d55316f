"""The bundled sample and the judgements of it hold what the README and the demo promise of them."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from etl.demo import SAMPLE_ANNOTATORS, SAMPLE_REPOSITORIES, reviews_path, sample_path
from etl.evaluate.sheet import read_sheet
from etl.records import Item, Repository
from etl.sources.github_json import decode_json, parse_item
from etl.tasks import load_tasks

Record = dict[str, Any]
REPOSITORIES = {
    "tensorwell/tensorwell": 910000001,
    "millrace-build/millrace": 910000002,
    "lanternboard/lanternboard": 910000003,
}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [decode_json(line).value for line in sample_path().read_bytes().split(b"\n")[:-1]]


@pytest.fixture(scope="module")
def issues(records: list[Record]) -> list[Record]:
    return [record for record in records if "issue_url" not in record]


@pytest.fixture(scope="module")
def comments(records: list[Record]) -> list[Record]:
    return [record for record in records if "issue_url" in record]


def key(issue: Record) -> tuple[str, int]:
    return issue["repository"]["full_name"], issue["number"]


def newest_of_each(issues: Iterable[Record]) -> dict[tuple[str, int], Record]:
    newest: dict[tuple[str, int], Record] = {}
    for issue in issues:
        known = newest.get(key(issue))
        if known is None or issue["updated_at"] > known["updated_at"]:
            newest[key(issue)] = issue
    return newest


def month(stamp: str) -> str:
    return stamp[:7]


def body_of(issue: Record) -> str:
    return issue["body"] or ""


def test_the_file_is_small_utf8_with_one_object_per_line_for_any_reader() -> None:
    content = sample_path().read_bytes()
    assert len(content) <= 700_000
    assert content.endswith(b"}\n")
    assert b"\r" not in content
    text = content.decode("utf-8")
    assert len(text.splitlines()) == content.count(b"\n"), "a line separator that only some readers know is unescaped"


def test_no_raw_character_that_hides_from_a_reader_stands_in_the_file() -> None:
    hidden = re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", sample_path().read_text("utf-8")
    )
    assert hidden is None, hidden


def test_a_few_hundred_issues_and_their_comments_come_from_three_repositories(
    issues: list[Record], comments: list[Record]
) -> None:
    assert 300 <= len(issues) <= 400
    assert len(comments) >= 60
    assert {issue["repository"]["full_name"]: issue["repository"]["id"] for issue in issues} == REPOSITORIES
    assert {record["repository"]["full_name"] for record in comments} == set(REPOSITORIES)
    per_repository = Counter(issue["repository"]["full_name"] for issue in issues)
    assert min(per_repository.values()) >= 60


def test_the_repositories_that_the_demo_knows_as_its_own_are_those_of_the_sample() -> None:
    assert sorted(SAMPLE_REPOSITORIES) == sorted(REPOSITORIES)


def test_every_object_parses_as_an_item_and_only_the_planted_characters_are_replaced(records: list[Record]) -> None:
    items: list[Item] = []
    for line, record in zip(sample_path().read_bytes().splitlines(), records, strict=True):
        name = record["repository"]["full_name"]
        repository = Repository(REPOSITORIES[name], "github.com", REPOSITORIES[name], name)
        items.append(parse_item(record, repository, doubtful=decode_json(line).doubtful, now=datetime.now(UTC)))
    assert sum(item.replaced for item in items) == 5, "three NUL bytes and two lone surrogates"
    assert sum(item.replaced > 0 for item in items) == 2


def test_the_lines_are_in_the_order_of_updated_at(records: list[Record]) -> None:
    order = [(record["updated_at"], record["id"]) for record in records]
    assert order == sorted(order)


def test_the_times_are_utc_between_may_2025_and_20_november_2026_and_in_order_within_an_object(
    records: list[Record],
) -> None:
    for record in records:
        stamps = [record["created_at"], record.get("closed_at") or record["created_at"], record["updated_at"]]
        for stamp in stamps:
            assert datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z").tzname() == "UTC"
        assert "2025-05-01" <= stamps[0] <= stamps[1] <= stamps[2] < "2026-11-21", record["html_url"]


def test_the_state_and_the_close_fit_together(issues: list[Record]) -> None:
    for issue in issues:
        assert (issue["state"] == "closed") == (issue["closed_at"] is not None), key(issue)
        allowed = {"completed", "not_planned", "duplicate"} if issue["state"] == "closed" else {None}
        assert issue["state_reason"] in (allowed if "pull_request" not in issue else {None}), key(issue)
    reasons = {issue["state_reason"] for issue in issues}
    assert reasons == {None, "completed", "not_planned", "duplicate"}


def test_the_links_name_their_own_repository_and_number(issues: list[Record], comments: list[Record]) -> None:
    for issue in issues:
        name, number = key(issue)
        page = "pull" if "pull_request" in issue else "issues"
        assert issue["html_url"] == f"https://github.com/{name}/{page}/{number}"
        assert issue["url"] == f"https://api.github.com/repos/{name}/issues/{number}"
        assert issue["repository_url"] == f"https://api.github.com/repos/{name}"
    for comment in comments:
        name = comment["repository"]["full_name"]
        number = comment["issue_url"].rpartition("/")[2]
        assert comment["issue_url"] == f"https://api.github.com/repos/{name}/issues/{number}"
        assert comment["html_url"] == f"https://github.com/{name}/issues/{number}#issuecomment-{comment['id']}"


def test_each_comment_belongs_to_an_issue_that_counts_it_and_was_made_after_it(
    issues: list[Record], comments: list[Record]
) -> None:
    newest = newest_of_each(issues)
    counted = Counter(
        (comment["repository"]["full_name"], int(comment["issue_url"].rpartition("/")[2])) for comment in comments
    )
    assert len({comment["id"] for comment in comments}) == len(comments)
    for comment in comments:
        parent = newest[comment["repository"]["full_name"], int(comment["issue_url"].rpartition("/")[2])]
        assert parent["created_at"] <= comment["created_at"] <= parent["updated_at"]
    for issue in newest.values():
        assert issue["comments"] == counted[key(issue)], key(issue)


def test_numbers_rise_with_the_time_of_creation_and_ids_are_unique(issues: list[Record]) -> None:
    newest = newest_of_each(issues)
    assert len({issue["id"] for issue in newest.values()}) == len(newest)
    for name in REPOSITORIES:
        own = sorted(issue["number"] for issue in newest.values() if issue["repository"]["full_name"] == name)
        created = [newest[name, number]["created_at"] for number in own]
        assert created == sorted(created)


def test_at_least_four_issues_are_there_as_an_older_and_a_newer_edit(issues: list[Record]) -> None:
    edits: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
    for issue in issues:
        edits[key(issue)].append(issue)
    edited = [versions for versions in edits.values() if len(versions) > 1]
    assert len(edited) >= 4
    for versions in edited:
        for older, newer in pairwise(versions):
            assert older["id"] == newer["id"]
            assert older["updated_at"] < newer["updated_at"]
            assert (older["title"], older["body"]) != (newer["title"], newer["body"])


def test_there_are_twenty_pull_requests_some_merged_some_closed_some_open(issues: list[Record]) -> None:
    pulls = [issue for issue in issues if "pull_request" in issue]
    assert len(pulls) == 20
    fates = Counter((pull["state"], pull["pull_request"]["merged_at"] is not None) for pull in pulls)
    assert fates["closed", True] >= 10
    assert fates["closed", False] >= 1
    assert fates["open", False] >= 1
    assert fates["open", True] == 0


def test_twelve_or_more_disabled_tests_name_a_test_and_its_class(issues: list[Record]) -> None:
    disabled = [issue["title"] for issue in issues if issue["title"].startswith("DISABLED")]
    assert len(disabled) >= 12
    assert all(re.fullmatch(r"DISABLED test_\w+ \(__main__\.\w+\)", title) for title in disabled)
    assert len(set(disabled)) == len(disabled)


def test_at_least_two_hundred_texts_are_their_own_and_not_another_with_other_numbers(issues: list[Record]) -> None:
    def skeleton(issue: Record) -> str:
        return re.sub(r"[0-9a-f]{7,}|\d+|\s+", " ", f"{issue['title']} {body_of(issue)}".lower())

    own = {skeleton(issue) for issue in newest_of_each(issues).values() if len(body_of(issue)) > 80}
    assert len(own) >= 200


def test_some_texts_are_posted_again_word_for_word_and_some_with_other_numbers(issues: list[Record]) -> None:
    newest = list(newest_of_each(issues).values())
    exact = Counter((issue["title"], body_of(issue).replace("\r\n", "\n")) for issue in newest)
    assert sum(count > 1 for count in exact.values()) >= 3
    families = Counter(issue["title"] for issue in newest)
    recurring = {title: count for title, count in families.items() if count >= 4}
    assert len(recurring) >= 4, families.most_common(8)
    assert sum(recurring.values()) >= 25
    for title in recurring:
        assert len({issue["body"] for issue in newest if issue["title"] == title}) > 1, title


def test_null_empty_blank_and_template_only_bodies_are_all_there(issues: list[Record]) -> None:
    bodies = [issue["body"] for issue in issues]
    assert bodies.count(None) >= 3
    assert bodies.count("") >= 3
    assert any(body and not body.strip() for body in bodies)
    stripped = [
        re.sub(r"(?s:<!--.*?-->)|(?m:^(?:#+ |- \[[ x]\]|\*\*)[^\n]*$)|_No response_", "", body).strip()
        for body in bodies
        if body and "- [ ]" in body
    ]
    assert "" in stripped


def test_templates_left_their_headings_comments_and_checkboxes_in_many_bodies(issues: list[Record]) -> None:
    bodies = [body_of(issue) for issue in issues]
    assert sum("<!--" in body for body in bodies) >= 60
    assert sum("- [x]" in body for body in bodies) >= 60
    assert sum(body.startswith("## ") or "\n### " in body for body in bodies) >= 60
    assert sum("```" in body for body in bodies) >= 60
    assert sum("\r\n" in body for body in bodies) >= 30
    assert sum("\n" in body and "\r\n" not in body for body in bodies) >= 30


def test_authors_are_people_bots_and_accounts_that_are_gone(issues: list[Record], comments: list[Record]) -> None:
    users = [issue["user"] for issue in issues]
    assert users.count(None) >= 4
    assert any(comment["user"] is None for comment in comments)
    bots = {user["login"] for user in users if user and user["type"] == "Bot"}
    assert any(login.endswith("[bot]") for login in bots)
    assert any(not login.endswith("[bot]") for login in bots), "an app may lack the suffix; only `type` tells"
    assert len({user["login"] for user in users if user}) >= 150


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("an order to whoever classifies", r"ignore all previous instructions"),
        ("a forged end of the delimited text", r"</issue>"),
        ("an order hidden in a comment", r"<!-- note to automated triage"),
        ("a script", r"<script>alert\("),
        ("a NUL byte", "\x00"),
        ("a lone high surrogate", "\ud83d(?![\udc00-\udfff])"),
        ("a lone low surrogate", "(?<![\ud800-\udbff])\ude80"),
        ("a right-to-left override", "\u202e"),
        ("terminal escapes", "\x1b\\[2J"),
        ("a Unicode line separator", "\u2028"),
        ("nothing but zero-width characters", "^[\u200b\u200d\ufeff\\s]+$"),
        ("deep brackets", r"\[{500}"),
        ("a documented example of an access key", r"AKIAIOSFODNN7EXAMPLE"),
        ("a URL with a password", r"postgres://app:[\w-]+@db\.example\.com"),
        ("Japanese", "解放"),
        ("Chinese", "驱动"),
        ("Russian", "Сборка"),
        ("Spanish", "¿Cómo"),
        ("German", "Zeitumstellung"),
    ],
)
def test_the_sample_holds_a_text_with(issues: list[Record], what: str, pattern: str) -> None:
    found = [issue for issue in issues if re.search(pattern, f"{issue['title']}\n{body_of(issue)}", re.IGNORECASE)]
    assert found, what


def test_one_body_is_nearly_as_long_as_github_allows_and_not_one_line_repeated(issues: list[Record]) -> None:
    longest = sorted((body_of(issue) for issue in issues), key=len)
    assert 60_000 <= len(longest[-1]) <= 65_536
    lines = longest[-1].splitlines()
    assert len(set(lines)) > 0.95 * len(lines)
    assert len(longest[-2]) < 10_000


def test_no_string_looks_like_a_live_credential() -> None:
    text = sample_path().read_text("utf-8")
    shapes = (
        r"gh[pousr]_[0-9A-Za-z]{36}",
        r"github_pat_\w{20,}",
        r"sk-ant-[\w-]{60,}",
        r"xox[abprs]-[\w-]{10,}",
        r"AKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.",
    )
    for shape in shapes:
        assert re.search(shape, text) is None, shape
    for host in re.findall(r"\w@([\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|dev))\b", text):
        assert host.endswith(("example.com", "example.org")), host


def test_the_months_show_growth_a_spike_after_the_release_and_a_quiet_august(issues: list[Record]) -> None:
    newest = newest_of_each(issues).values()
    opened = Counter(month(issue["created_at"]) for issue in newest)
    months = [f"{2025 + m // 12}-{m % 12 + 1:02}" for m in range(4, 23)]
    assert sorted(opened) == months, "no month is without an issue"
    first, last = sum(opened[m] for m in months[:6]), sum(opened[m] for m in months[-6:])
    assert last > 1.25 * first
    release = opened["2026-02"]
    assert release == max(opened.values())
    assert release > 2 * opened["2026-01"]
    assert opened["2026-08"] < min(opened["2026-07"], opened["2026-09"])


def test_issues_close_after_hours_or_months_and_a_good_third_is_open(issues: list[Record]) -> None:
    newest = [issue for issue in newest_of_each(issues).values() if "pull_request" not in issue]
    delays = sorted(
        (datetime.fromisoformat(issue["closed_at"]) - datetime.fromisoformat(issue["created_at"])).total_seconds()
        / 86400
        for issue in newest
        if issue["closed_at"]
    )
    assert 0.25 <= 1 - len(delays) / len(newest) <= 0.6
    assert delays[0] < 1 < 3 < delays[len(delays) // 2] < 30 < 60 < delays[-1]


@pytest.fixture(scope="module")
def reviews() -> list[Record]:
    return [json.loads(line) for line in reviews_path().read_text(encoding="utf-8").splitlines()]


def test_every_task_has_twenty_to_thirty_judgements_by_two_annotators_who_are_named_as_invented(
    reviews: list[Record],
) -> None:
    assert all(name.endswith("(invented)") for name in SAMPLE_ANNOTATORS)
    for task in load_tasks():
        own = [row for row in reviews if row["document_id"].endswith(f"-{task}")]
        counts = Counter((row["role"], row["by"]) for row in own)
        assert 20 <= sum(counts["review", name] for name in SAMPLE_ANNOTATORS) <= 30
        assert {by for _, by in counts} == set(SAMPLE_ANNOTATORS)
        assert 2 <= sum(count for (role, _), count in counts.items() if role == "override") <= 5
        assert sum(counts.values()) == len(own)


def test_the_judgements_are_lines_of_a_sheet_on_issues_that_the_sample_has(
    reviews: list[Record], issues: list[Record]
) -> None:
    known = {
        (REPOSITORIES[name], number)
        for (name, number), issue in newest_of_each(issues).items()
        if "pull_request" not in issue
    }
    sheets: defaultdict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for row in reviews:
        sheets[row["document_id"].rpartition("-")[2], row["role"], row["by"]].append(row)
    for (task, _, _), rows in sheets.items():
        read = read_sheet("".join(json.dumps(row) + "\n" for row in rows), load_tasks()[task])
        assert len(read) == len(rows)
        assert {(row.repository_key, row.number) for row in read} <= known


def test_an_override_says_why_and_no_issue_is_overridden_twice(reviews: list[Record]) -> None:
    overrides = [row for row in reviews if row["role"] == "override"]
    assert all(row["why"] for row in overrides)
    assert len({row["document_id"] for row in overrides}) == len(overrides)
