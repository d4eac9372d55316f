"""GitHub's JSON objects as items."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from etl.errors import ConfigurationError, SkipError
from etl.records import Event, Item, Link, Repository
from etl.sources.github_json import (
    check_full_name,
    decode_json,
    list_filter,
    parse_event,
    parse_item,
    rejected,
    rejected_bytes,
    web_host,
)
from tests.loopback.github_world import Comment, Issue, Renderer, Repo

REPOSITORY = Repository(7, "github.com", 7, "acme/rocket")
RENDERER = Renderer("https://api.github.com", "https://github.com")
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def _issue(**fields: Any) -> dict[str, Any]:
    given = {"labels": ("bug", "Area: engine"), "assignees": ("zoe", "adam"), "comments": 2, **fields}
    issue = Issue(12, 900, "Engine stalls", "It stalls at 80 %.", 1_700_000_000, 1_700_000_100, **given)
    return RENDERER.issue(Repo(7, "acme/rocket"), issue)


def _comment(body: str = "Same here") -> dict[str, Any]:
    return RENDERER.comment(Repo(7, "acme/rocket"), Comment(555, 12, body, 1_700_000_000, 1_700_000_050))


def _parse(record: Any) -> Item:
    decoded = decode_json(json.dumps(record).encode())
    return parse_item(decoded.value, REPOSITORY, doubtful=decoded.doubtful, now=NOW)


def test_an_issue_becomes_an_item_with_every_column() -> None:
    item = _parse(_issue(state="closed", state_reason="not_planned", closed_at=1_700_000_090))
    assert replace(item, payload="", content_hash="") == Item(
        repository=REPOSITORY,
        kind="issue",
        external_id=12,
        parent_number=None,
        title="Engine stalls",
        body="It stalls at 80 %.",
        state="closed",
        state_reason="not_planned",
        author="alice",
        author_type="User",
        author_association="NONE",
        labels=("Area: engine", "bug"),
        assignees=("adam", "zoe"),
        comments=2,
        created_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        updated_at=datetime(2023, 11, 14, 22, 15, tzinfo=UTC),
        closed_at=datetime(2023, 11, 14, 22, 14, 50, tzinfo=UTC),
        url="https://github.com/acme/rocket/issues/12",
        payload="",
        content_hash="",
    )


def test_a_comment_knows_its_issue() -> None:
    item = _parse(_comment())
    assert (item.kind, item.external_id, item.parent_number) == ("comment", 555, 12)
    assert (item.title, item.body, item.author, item.state, item.labels) == (None, "Same here", "bob", None, ())
    assert item.url == "https://github.com/acme/rocket/issues/12#issuecomment-555"


def test_a_pull_request_is_told_by_its_key() -> None:
    assert _parse(_issue(is_pull=True)).kind == "pull_request"
    assert _parse({**_issue(), "pull_request": None}).kind == "issue"


def test_the_payload_keeps_everything_but_texts_and_links() -> None:
    record = {
        **_issue(),
        "assignee": {"login": "zoe"},
        "repository": {"full_name": "acme/rocket"},
        "new_field": {"a": [1]},
    }
    payload = json.loads(_parse(record).payload)
    assert payload["reactions"]["+1"] == 0
    assert payload["user"]["login"] == "alice"
    assert payload["labels"][0]["color"] == "d73a4a"
    assert payload["new_field"] == {"a": [1]}
    assert not {"title", "body", "assignee", "repository", "node_id", "url", "html_url"} & payload.keys()
    text = json.dumps(payload)
    assert "http" not in text
    assert "node_id" not in text


def test_the_same_object_gives_the_same_hash_whatever_the_order_of_its_keys() -> None:
    record = _issue()
    assert _parse(record).content_hash == _parse(dict(reversed(record.items()))).content_hash
    assert len(_parse(record).content_hash) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Engine stops"},
        {"body": None},
        {"body": "It stalls at 90 %."},
        {"labels": []},
        {"state": "closed"},
        {"comments": 3},
        {"html_url": "https://github.com/acme/starship/issues/12"},
        {"reactions": {"+1": 1}},
        {"milestone": {"title": "1.0"}},
        {"updated_at": "2024-01-01T00:00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_stored_change_changes_the_hash(change: dict[str, Any]) -> None:
    assert _parse({**_issue(), **change}).content_hash != _parse(_issue()).content_hash


def test_a_text_that_moves_from_title_to_body_changes_the_hash() -> None:
    one = _parse({**_issue(), "title": "ab", "body": "c"})
    assert one.content_hash != _parse({**_issue(), "title": "a", "body": "bc"}).content_hash


@pytest.mark.parametrize(
    ("body", "expected", "replaced"),
    [
        (b'"a\\u0000b"', "a\ufffdb", 1),
        (b'"\\u0000\\u0000"', "\ufffd\ufffd", 2),
        (b'"half \\ud83d here"', "half \ufffd here", 1),
        (b'"half \\uDE00 here"', "half \ufffd here", 1),
        (b'"whole \\ud83d\\ude00 here"', "whole \U0001f600 here", 0),
        (b'"raw \xed\xa0\xbd here"', "raw \ufffd here", 1),
        (b'"backslash \\\\u0000 text"', "backslash \\u0000 text", 0),
        ('"한국어"'.encode(), "한국어", 0),
    ],
)
def test_what_postgresql_refuses_is_replaced_and_counted(body: bytes, expected: str, replaced: int) -> None:
    data = orjson.dumps({**_issue(), "body": "BODY"}).replace(b'"BODY"', body)
    decoded = decode_json(data)
    item = parse_item(decoded.value, REPOSITORY, doubtful=decoded.doubtful, now=NOW)
    assert (item.body, item.replaced) == (expected, replaced)


def test_title_labels_names_and_payload_are_cleaned_too() -> None:
    record = _issue(labels=("bad\x00label",), author="gho\x00st")
    record |= {"title": "nul \x00", "new\x00key": ["lone \ud800"]}
    item = _parse(record)
    assert item.title == "nul \ufffd"
    assert item.labels == ("bad\ufffdlabel",)
    assert item.author == "gho\ufffdst"
    assert json.loads(item.payload)["new\ufffdkey"] == ["lone \ufffd"]
    assert "\x00" not in item.payload
    assert item.replaced >= 5
    item.payload.encode()


def test_a_ghost_has_neither_name_nor_type() -> None:
    item = _parse({**_issue(), "user": None})
    assert (item.author, item.author_type) == (None, None)
    assert _parse(_issue(author="dependabot", author_type="Bot")).author_type == "Bot"


def test_labels_may_be_texts_and_repeat() -> None:
    assert _parse({**_issue(), "labels": ["b", "a", "b", {"name": "a"}, {"name": None}]}).labels == ("a", "b")


def test_an_empty_body_and_none_stay_apart() -> None:
    assert _parse({**_issue(), "body": ""}).body == ""
    assert _parse({**_issue(), "body": None}).body is None


def test_the_longest_body_is_kept_whole() -> None:
    body = "é" * 65_536
    assert _parse({**_issue(), "body": body}).body == body


def test_another_zone_becomes_utc() -> None:
    item = _parse({**_issue(), "created_at": "2024-05-01T12:00:00+02:00"})
    assert item.created_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert item.created_at.tzinfo is UTC


def test_an_object_without_updated_at_was_last_changed_when_it_was_opened() -> None:
    record = _issue()
    del record["updated_at"]
    assert _parse(record).updated_at == _parse(record).created_at


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": None}, "issue 12: title is missing"),
        ({"title": 5}, "issue 12: title is not a text"),
        ({"body": ["x"]}, "issue 12: body is not a text"),
        ({"number": None}, "issue without a number: number is missing"),
        ({"number": "12"}, "issue without a number: number is not a positive whole number"),
        ({"number": True}, "issue without a number: number is not a positive whole number"),
        ({"number": 2**63}, "number is not a positive whole number"),
        ({"created_at": None}, "issue 12: created_at is missing"),
        ({"created_at": "2024-01-01"}, "issue 12: created_at is not a time with its zone"),
        ({"created_at": 5}, "issue 12: created_at is not a time with its zone"),
        ({"updated_at": "0001-01-01T00:00:00+09:00"}, "issue 12: updated_at is not a time with its zone"),
        (
            {"created_at": "0001-01-01T00:00:00Z"},
            "issue 12: created_at 0001-01-01T00:00:00+00:00 cannot be",
        ),
        ({"created_at": "1989-12-31T23:59:59Z"}, "1989-12-31T23:59:59+00:00 cannot be: it is before 1990"),
        ({"updated_at": "2024-06-02T12:00:01Z"}, "updated_at 2024-06-02T12:00:01+00:00 cannot be: it is later than"),
        ({"closed_at": "9999-12-31T23:59:59Z"}, "closed_at 9999-12-31T23:59:59+00:00 cannot be: it is later than"),
        ({"closed_at": "soon"}, "issue 12: closed_at is not a time with its zone"),
        ({"user": "alice"}, "issue 12: user is not an object"),
        ({"user": {"login": 1}}, "issue 12: login is not a text"),
        ({"labels": {"name": "bug"}}, "issue 12: labels is not a list"),
        ({"labels": [5]}, "issue 12: labels holds something without a name"),
        ({"labels": [["x"]]}, "issue 12: labels holds something without a name"),
        ({"comments": -1}, "issue 12: comments is not a count"),
        ({"comments": "3"}, "issue 12: comments is not a count"),
        ({"state": 1}, "issue 12: state is not a text"),
        ({"pull_request": {}, "title": None}, "pull request 12: title is missing"),
        (
            {"issue_url": "https://api.github.com/repos/a/b/issues/x", "id": 5},
            "comment 5: issue_url does not end in a number",
        ),
        (
            {"issue_url": "https://api.github.com/repos/a/b/issues/1", "id": None},
            "comment without a number: id is missing",
        ),
    ],
)
def test_a_malformed_object_is_named_with_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipError) as caught:
        _parse({**_issue(), **change})
    assert message in str(caught.value)


@pytest.mark.parametrize("moment", ["1990-01-01T00:00:00Z", "2024-06-02T12:00:00Z"])
def test_the_oldest_and_the_newest_time_that_can_be_are_taken(moment: str) -> None:
    item = _parse({**_issue(), "created_at": moment, "updated_at": moment, "closed_at": moment})
    assert item.created_at == item.updated_at == item.closed_at == datetime.fromisoformat(moment)


def test_a_comment_of_an_unbelievable_day_is_named_too() -> None:
    with pytest.raises(SkipError, match=r"comment 555: created_at 3024-\S+ cannot be"):
        _parse({**_comment(), "created_at": "3024-01-01T00:00:00Z"})


def test_an_issue_closed_before_it_was_opened_counts_as_closed_when_it_was() -> None:
    item = _parse({**_issue(state="closed"), "closed_at": "2010-01-01T00:00:00Z"})
    assert item.closed_at == item.created_at
    assert json.loads(item.payload)["closed_at"] == "2010-01-01T00:00:00Z"


@pytest.mark.parametrize("record", [[], "text", 5, None])
def test_what_is_no_object_is_skipped(record: Any) -> None:
    with pytest.raises(SkipError, match="not a JSON object"):
        parse_item(record, REPOSITORY, doubtful=False, now=NOW)


def test_a_number_beyond_64_bits_and_deep_nesting_are_skips_not_crashes() -> None:
    big = decode_json(orjson.dumps(_issue())[:-1] + b',"big":' + b"9" * 30 + b',"x":"\\ud800"}')
    with pytest.raises(SkipError, match="issue 12"):
        parse_item(big.value, REPOSITORY, doubtful=big.doubtful, now=NOW)
    deep = decode_json(orjson.dumps(_issue())[:-1] + b',"deep":' + b"[" * 900 + b"]" * 900 + b"}")
    with pytest.raises(SkipError, match="issue 12"):
        parse_item(deep.value, REPOSITORY, doubtful=deep.doubtful, now=NOW)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"a": 1', b"nope", b"[1, NaN]", b'["\\ud800", NaN]', b'{"\\ud800": ', b'"\xed\xa0"', b"[" * 5000],
)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_json(data)


def test_many_unknown_keys_do_not_pile_up() -> None:
    for number in range(3):
        record = _issue() | {f"key_{number}_{i}": i for i in range(5000)}
        assert len(json.loads(_parse(record).payload)) > 5000


@pytest.mark.parametrize("name", ["pytorch/pytorch", "a/b.c", "A-1/_x"])
def test_a_repositorys_name_is_owner_and_name(name: str) -> None:
    assert check_full_name(name) == name


@pytest.mark.parametrize(
    "name", ["pytorch", "a/b/c", "", "/b", "a/", "a b/c", "a/b?x=1", "a/..", "https://github.com/a/b", "a/b\n"]
)
def test_another_name_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ConfigurationError, match="owner/name"):
        check_full_name(name)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.github.com/repos/a/b", "github.com"),
        ("https://github.com/a/b/issues/1", "github.com"),
        ("https://api.acme.ghe.com", "acme.ghe.com"),
        ("https://GHE.example.com/api/v3", "ghe.example.com"),
        ("http://127.0.0.1:8081", "127.0.0.1"),
        ("not a url", ""),
        ("http://[::1/x", ""),
    ],
)
def test_the_host_of_an_api_is_the_one_that_people_see(url: str, host: str) -> None:
    assert web_host(url) == host


def test_a_filter_is_written_the_same_way_every_time() -> None:
    assert list_filter((), ("issue",)) == ""
    assert list_filter(("Oncall: PT2", "bug", "BUG"), ("issue",)) == "label=bug,label=oncall: pt2"
    assert list_filter((), ("pull_request", "issue")) == list_filter((), ("issue", "pull_request"))
    assert list_filter((), ("issue", "pull_request")) != ""


def _pull(**fields: Any) -> dict[str, Any]:
    record = _issue(is_pull=True)
    return {**record, "pull_request": {**record["pull_request"], **fields}}


def test_a_pull_request_says_when_it_was_merged() -> None:
    assert _parse(_pull(merged_at="2024-05-01T12:00:00Z")).merged_at == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert _parse(_pull(merged_at=None)).merged_at is None
    assert _parse({**_issue(), "pull_request": {}}).merged_at is None
    with pytest.raises(SkipError, match="pull request 12: merged_at is not a time"):
        _parse(_pull(merged_at="soon"))


def test_only_a_pull_request_settles_issues() -> None:
    body = {"body": "Fixes #3 and closes https://github.com/o/n/issues/4"}
    assert _parse({**_pull(), **body}).links == (Link("fixes", "acme/rocket", 3), Link("fixes", "o/n", 4))
    assert _parse({**_issue(), **body}).links == ()
    assert _parse({**_pull(), "body": None}).links == ()


def test_links_are_part_of_the_hash_only_through_the_text() -> None:
    one, other = ({**_pull(), "body": f"Fixes #3{end}"} for end in ("", "."))
    assert _parse(one).links == _parse(other).links
    assert _parse(one).content_hash != _parse(other).content_hash


@pytest.mark.parametrize(
    "value",
    [{"a": [1, None, True, "é\x00\ud800"], "b": {}}, [], "text", 5, None, {"a": {"b": [{}, [[]]]}}],
)
def test_what_is_rejected_is_kept_as_ascii_json(value: Any) -> None:
    kept = rejected(value, "a line")
    assert kept.line == "a line"
    assert kept.payload.isascii()
    assert json.loads(kept.payload) == value


def test_what_is_rejected_for_its_depth_is_kept_too() -> None:
    deep = b'{"a":' + b'[{"b":1,"c":' * 450 + b'"\\u00e9"' + b"}]" * 450 + b',"d":[1,2]}'
    value: Any = {"a": None}
    for _ in range(5000):
        value = [value, {"k": 1}]
    assert rejected(json.loads(deep), "").payload == deep
    payload = rejected(value, "").payload
    assert payload.startswith(b"[" * 5000 + b'{"a":null}')
    assert payload.count(b',{"k":1}]') == 5000


def test_a_long_rejected_object_is_cut() -> None:
    assert len(rejected({"body": "é" * 1_000_000}, "").payload) == 1 << 20
    assert rejected_bytes(b"\xff" * 2_000_000, "a line").payload == b"\xff" * (1 << 20)


EVENT = {"id": 5, "event": "closed", "created_at": "2024-05-01T12:00:00Z", "actor": None}


def _event(record: object, *, doubtful: bool = False) -> Event | None:
    return parse_event(record, REPOSITORY, 12, doubtful=doubtful, now=NOW)


@pytest.mark.parametrize("kind", ["closed", "reopened"])
def test_a_change_of_state_becomes_an_event(kind: Any) -> None:
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert _event({**EVENT, "event": kind}) == Event(REPOSITORY, 12, kind, at, None, "timeline", 5)


@pytest.mark.parametrize("kind", ["labeled", "unlabeled"])
def test_a_change_of_labels_becomes_an_event_with_its_label(kind: str) -> None:
    event = _event({**EVENT, "event": kind, "label": {"name": "b\x00ug", "color": "red"}}, doubtful=True)
    assert event is not None
    assert (event.kind, event.label) == (kind, "b\ufffdug")


@pytest.mark.parametrize("record", [{**EVENT, "event": "commented"}, {"sha": "1", "event": "committed"}, {}, [], None])
def test_other_entries_of_a_timeline_are_no_events(record: object) -> None:
    assert _event(record) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"created_at": None}, "closed event of #12: created_at is missing"),
        ({"id": None}, "closed event of #12: id is missing"),
        ({"event": "labeled"}, "labeled event of #12: label is missing"),
        ({"event": "unlabeled", "label": {"name": 5}}, "unlabeled event of #12: name is not a text"),
    ],
)
def test_a_malformed_event_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipError) as caught:
        _event({**EVENT, **change})
    assert str(caught.value) == message
