"""Which issues the text of a pull request settles."""

import pytest

from etl.records import Link
from etl.sources.github_links import MOST_LINKS, closing_links

HERE = "acme/rocket"
KEYWORDS = ("close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved")


def _links(body: str | None, host: str = "github.com") -> list[str]:
    return [f"{link.repository}#{link.number}" for link in closing_links(body, HERE, host)]


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("form", ["{} #12", "{}: #12", "{}:#12", "so {}  #12."])
def test_every_keyword_in_any_case_settles_an_issue(keyword: str, form: str) -> None:
    for written in (keyword, keyword.upper(), keyword.capitalize()):
        assert _links(form.format(written)) == ["acme/rocket#12"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("fixes octo-org/octo-repo#100", ["octo-org/octo-repo#100"]),
        (
            "Resolves #10, resolves #123, resolves octo-org/octo.repo#100",
            [f"{HERE}#10", f"{HERE}#123", "octo-org/octo.repo#100"],
        ),
        ("fixes GH-26 and closes gh-27", [f"{HERE}#26", f"{HERE}#27"]),
        ("Fixes https://github.com/o/n/issues/7", ["o/n#7"]),
        ("Fixes: https://GitHub.com/o/n/issues/7#issuecomment-99)", ["o/n#7"]),
        ("This does not fix #12", [f"{HERE}#12"]),
        ("(fixes #12)", [f"{HERE}#12"]),
        ("**Fixes #12**", [f"{HERE}#12"]),
        ("Fixes #12, #13", [f"{HERE}#12"]),
        ("- [x] Closes #1\n- closes #2\n1. fixes #3\n    - fixes #4", [f"{HERE}#{number}" for number in (1, 2, 3, 4)]),
        ("Title\r\n\r\nFixes #12\r\n", [f"{HERE}#12"]),
        ("Fixes #12. Fixes ACME/Rocket#12. Closes #12", [f"{HERE}#12"]),
        ("a `code span` fixes #12 `another`", [f"{HERE}#12"]),
        ("an unclosed ` fixes #12", [f"{HERE}#12"]),
        ("an escaped \\` fixes #12 `x`", [f"{HERE}#12"]),
        ("```\ncode\n```\nfixes #12", [f"{HERE}#12"]),
        ("``` not ` a fence\nfixes #12", [f"{HERE}#12"]),
        ("> fixes #11\n\nfixes #12", [f"{HERE}#12"]),
        ("> quoted\n# Heading\nfixes #12", [f"{HERE}#12"]),
        ("> quoted\n- fixes #12", [f"{HERE}#12"]),
        ("<!-- template --> fixes #12", [f"{HERE}#12"]),
        ("<!-- a\n\nfixes #11\n--> fixes #12", [f"{HERE}#12"]),
        ("text <!-- fixes #11 --> fixes #12", [f"{HERE}#12"]),
        ("text <!-- no end fixes #12", [f"{HERE}#12"]),
        ("a `<!--` fixes #12", [f"{HERE}#12"]),
        ("wrapped text\n    fixes #12", [f"{HERE}#12"]),
        ("- a list\n\n    fixes #12", [f"{HERE}#12"]),
    ],
)
def test_what_settles_an_issue(body: str, expected: list[str]) -> None:
    assert _links(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        "#12",
        "fixing #12",
        "closing #12",
        "fixes 12",
        "fixes#12",
        "fixes- #12",
        "fixes issue #12",
        "fixes [#12](https://github.com/acme/rocket/issues/12)",
        "see #12",
        "prefixes #12",
        "bug-fixes #12",
        "fixes #12abc",
        "fixes #0",
        "fixes #12345678901",
        "fixes\n#12",
        "fixes https://example.com/o/n/issues/7",
        "fixes https://github.com/o/n/pull/7",
        "fixes https://github.com.example.com/o/n/issues/7",
        "fixes -o/n#7",
        "`fixes #12`",
        "``fixes ` #12`` `a` `fixes #12`",
        "a `span over\nlines fixes #12`",
        "```\nfixes #12\n```",
        "```text\nfixes #12\n~~~\nfixes #12\n``\n",
        "~~~~\nfixes #12\n~~~\nfixes #12\n~~~~",
        "- ```\n  fixes #12\n  ```",
        "    fixes #12",
        "text\n\n\tfixes #12\n    fixes #13",
        "> fixes #12",
        "> quoted\nand on fixes #12",
        "- > fixes #12",
        "<!-- fixes #12 -->",
        "<!--\n```\nfixes #12",
        "text <!--\nfixes #12\n--> text",
        "fixes <!-- x --> #12",
    ],
)
def test_what_settles_nothing(body: str | None) -> None:
    assert _links(body) == []


def test_known_wrong_a_keyword_counts_though_the_pull_request_may_not_aim_at_the_default_branch() -> None:
    assert _links("Into the branch `next`. Fixes #12") == ["acme/rocket#12"]


def test_an_enterprise_address_counts_at_its_own_host_only() -> None:
    body = "Fixes https://ghe.example.com:8443/o/n/issues/7"
    assert _links(body, "ghe.example.com") == ["o/n#7"]
    assert _links(body) == []


def test_a_link_keeps_the_name_as_it_was_written() -> None:
    assert closing_links("fixes Octo/Repo#3", HERE, "github.com") == (Link("fixes", "Octo/Repo", 3),)


def test_a_list_of_changes_is_cut() -> None:
    body = "\n".join(f"- fixes #{number}" for number in range(1, 200))
    assert _links(body) == [f"{HERE}#{number}" for number in range(1, MOST_LINKS + 1)]


@pytest.mark.parametrize(
    "piece", ["`", "``a`", "<!--", "\\", "> ", "- ", "fixes ", "fixes o/", "-  ", "```\n", "`<!-- ", "* \t"]
)
def test_a_text_made_to_be_slow_is_read_in_time_linear_in_its_length(piece: str) -> None:
    # Sixteen times the longest text that GitHub takes: a reading in quadratic time would not come to an end here.
    assert "acme/rocket#1" in _links("fixes #1\n\n" + piece * (1_048_576 // len(piece)))
