"""The values of a file in every form that files of JSON come in."""

import gzip
import io
import json
from typing import Any

import pytest

from etl.sources import json_records
from etl.sources.json_records import Record, read_records

OBJECTS = [{"number": 1, "title": "é"}, {"number": 2, "title": 'two\nlines, [brackets] and "quotes"'}, {"number": 3}]
LINES = "".join(json.dumps(each) + "\n" for each in OBJECTS)


def _read(data: bytes | str, *, is_lines: bool = False) -> list[Record]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_records(io.BytesIO(raw), is_lines=is_lines))


def _values(data: bytes | str, *, is_lines: bool = False) -> list[Any]:
    records = _read(data, is_lines=is_lines)
    assert [record.fault for record in records] == [None] * len(records)
    return [record.value for record in records]


@pytest.mark.parametrize("is_lines", [True, False])
@pytest.mark.parametrize(
    "data",
    [
        LINES,
        LINES.rstrip("\n"),
        LINES.replace("\n", "\n\n  \n"),
        LINES.replace("\n", "\r\n"),
        "\ufeff" + LINES,
    ],
    ids=["plain", "no end", "empty lines", "windows", "byte order mark"],
)
def test_lines_are_read_whatever_the_name_of_the_file_says(data: str, is_lines: bool) -> None:
    assert _values(data, is_lines=is_lines) == OBJECTS


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2),
        json.dumps(OBJECTS, ensure_ascii=False),
        "\ufeff \n" + json.dumps(OBJECTS),
        json.dumps(OBJECTS[:1]) + json.dumps(OBJECTS[1:]),
        json.dumps(OBJECTS[:1]) + "\n" + json.dumps([]) + json.dumps(OBJECTS[1:], indent=1) + "\n",
        json.dumps([OBJECTS[:2], OBJECTS[2:]]),
        "".join(json.dumps(each, indent=2) for each in OBJECTS),
        json.dumps({"total_count": 3, "incomplete_results": False, "items": OBJECTS}),
        json.dumps({"total_count": 3, "incomplete_results": False, "items": OBJECTS}, indent=2),
    ],
    ids=[
        "array",
        "indented",
        "not escaped",
        "mark",
        "arrays in a row",
        "lines of arrays",
        "nested",
        "objects",
        "search",
        "search indented",
    ],
)
def test_arrays_and_objects_are_told_by_their_content(data: str) -> None:
    assert _values(data) == OBJECTS


@pytest.mark.parametrize("data", [LINES, json.dumps(OBJECTS)], ids=["lines", "array"])
def test_gzip_is_told_by_its_first_bytes(data: str) -> None:
    assert _values(gzip.compress(data.encode())) == OBJECTS
    half = len(data) // 2
    assert _values(gzip.compress(data[:half].encode()) + gzip.compress(data[half:].encode())) == OBJECTS


@pytest.mark.parametrize("data", [b"", b"\n", b"[]", b" [ ] ", gzip.compress(b"", mtime=0)])
def test_an_empty_file_has_nothing(data: bytes) -> None:
    assert _read(data) == []


def test_a_malformed_line_is_named_and_the_later_ones_go_on() -> None:
    records = _read('{"a": 1}\n{"a": \n\n{"a": 3}\n{"a": 4', is_lines=True)
    assert [(record.place, record.value, record.fault) for record in records] == [
        ("line 1", {"a": 1}, None),
        ("line 2", None, "not JSON"),
        ("line 4", {"a": 3}, None),
        ("line 5", None, "not JSON"),
    ]


def test_what_cannot_be_decoded_is_kept_as_it_came() -> None:
    assert [record.raw for record in _read(b'{"a": 1}\n{"a": \xff}\n', is_lines=True)] == [b"", b'{"a": \xff}\n']
    assert (
        _read('[{"a": 1}, {"a" "é\ud83d"}]'.encode(errors="surrogatepass"))[-1].raw == b'{"a" "\xc3\xa9\xed\xa0\xbd"}]'
    )
    long = _read(b'{"a": ' + b"x" * 3_000_000 + b"\n", is_lines=True)
    assert len(long[0].raw) == 1 << 20


def test_the_elements_of_an_array_are_counted() -> None:
    assert [record.place for record in _read(json.dumps(OBJECTS))] == ["object 1", "object 2", "object 3"]


def test_a_malformed_element_ends_an_array_and_says_so() -> None:
    records = _read('[{"a": 1}, {"a" 2}, ' + ", ".join(['{"a": 3}'] * 50) + "]")
    assert [record.value for record in records] == [{"a": 1}, None]
    assert records[-1].place == "object 2"
    assert "what follows it in the file cannot be read" in str(records[-1].fault)


@pytest.mark.parametrize("end", ["", ",", ', {"a"', ', {"a": "text', ', {"a": "\\u00', ', {"a": tru'])
def test_an_array_that_breaks_off_keeps_what_was_whole(end: str) -> None:
    records = _read('[{"a": 1}, {"a": 2}' + end)
    assert [record.value for record in records] == [{"a": 1}, {"a": 2}, None]
    assert records[-1].fault is not None


@pytest.mark.parametrize("data", [LINES * 2000, json.dumps(OBJECTS * 2000)], ids=["lines", "array"])
def test_gzip_that_breaks_off_keeps_what_was_read_and_says_so(data: str) -> None:
    whole = gzip.compress(data.encode(), compresslevel=0)
    records = _read(whole[: len(whole) // 2])
    good = [record for record in records if record.fault is None]
    assert 2000 < len(good) < 4000
    assert [record.value for record in good[:3]] == OBJECTS
    assert records[-1].fault == "the gzip data breaks off after this: get the file again"
    assert len(good) == len(records) - 1


def test_gzip_that_is_corrupt_is_a_fault() -> None:
    whole = bytearray(gzip.compress(LINES.encode() * 50))
    whole[len(whole) // 2] ^= 0xFF
    assert _read(bytes(whole))[-1].fault is not None


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_reads_the_same_wherever_its_pieces_end(
    chunk: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "_CHUNK", chunk)
    values = [*OBJECTS, {"text": "é😀" * 5, "number": -1.5e3, "flags": [True, False, None], "empty": {}}]
    data = json.dumps(values, indent=indent, ensure_ascii=False)
    assert _values(data) == values


@pytest.mark.parametrize("pattern", ["[%s]", "%s"])
def test_an_object_longer_than_a_piece_is_read_whole(pattern: str) -> None:
    long = {"title": "t", "body": 'x"\\é' * 700_000}
    assert _values(pattern % json.dumps(long, indent=1)) == [long]


@pytest.mark.parametrize("text", ['"\\ud83d"', '"\\uD83D"', '"\\u0000"'])
@pytest.mark.parametrize("form", ['{"a": %s}\n', '[{"a": %s}]'])
def test_texts_that_postgresql_refuses_are_marked(text: str, form: str) -> None:
    assert [record.doubtful for record in _read(form % text)] == [True]


@pytest.mark.parametrize("form", [b'{"a": "%s"}\n', b'[{"a": "%s"}]'])
def test_raw_lone_surrogates_are_read_and_marked(form: bytes) -> None:
    records = _read(form % b"\xed\xa0\xbd")
    assert [(record.value, record.doubtful) for record in records] == [({"a": "\ud83d"}, True)]


def test_bytes_that_are_no_text_are_a_fault_not_a_crash() -> None:
    assert [record.fault is None for record in _read(b'{"a": 1}\n{"a": "\xff"}\n{"a": 2}\n')] == [True, False, True]
    assert _read(b'[{"a": 1}, {"a": "\xff"}]')[-1].fault is not None


def test_a_line_without_end_is_skipped_and_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "_LONGEST", 50)
    monkeypatch.setattr(json_records, "_CHUNK", 16)
    records = _read('{"a": 1}\n{"a": "' + "x" * 500 + '"}\n{"a": 3}\n', is_lines=True)
    assert records[1].raw == b'{"a": "' + b"x" * 43
    assert [(record.place, record.value) for record in records] == [
        ("line 1", {"a": 1}),
        ("line 2", None),
        ("line 3", {"a": 3}),
    ]


def test_nesting_without_end_is_a_fault_not_a_crash() -> None:
    assert _read(b'[{"a": ' + b"[" * 100_000)[-1].fault is not None
    assert _read(b'{"a": ' + b"[" * 100_000 + b"\n", is_lines=True)[-1].fault == "not JSON"
