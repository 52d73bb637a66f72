"""CSV: cells by the type of the field, columns by name, rows as records, and where each ends in the file."""

import csv
import io
import json
import re
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ingestion import streams
from ingestion.cells import (
    cell_of,
    cell_reader,
    escape_formula,
    escape_mark,
    read_boolean,
    read_number,
    readers_of,
    unescape,
)
from ingestion.files.formats.csv_reader import CHUNK_BYTES, Column, CsvFile, map_columns
from ingestion.files.record_file import format_of
from ingestion.payloads import ParseError, parse_accepted

FORMULA = tuple("=+-@\t\r＝＋－＠")
TEXTS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0")) | st.text(
    alphabet="=+-@\t\r\n,;|\"'¬ ax5＝\u200b\u2028"
)
HEADER = b"tutor_id,name,age,subjects,extra\r\n"


def opened(content: bytes) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(io.BytesIO(content)))


def csv_file(content: bytes) -> CsvFile:
    return CsvFile(opened(content), streams.get("tutors"))


def records(content: bytes, **how: int) -> list[Any]:
    return [record for chunk in csv_file(content).chunks(0, how.get("most", 2000)) for record in read(chunk)]


def read(chunk: Any) -> list[Any]:
    found = parse_accepted(chunk.body, ndjson=True)
    assert len(found) == chunk.count
    return found


class Everything(BaseModel):
    text: str
    whole: int | None = None
    number: float | None = None
    flag: bool | None = None
    texts: list[str] | None = None
    numbers: list[int] = []
    either: str | int | None = None


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("text", "30", "30"),
        ("text", 'say "é"\n', 'say "é"\n'),
        ("whole", "30", 30),
        ("whole", " -5 ", -5),
        ("whole", "+7", 7),
        ("whole", "007", 7),
        ("whole", "60.0", 60.0),
        ("whole", "3.5", 3.5),
        ("whole", "1e3", 1000.0),
        ("whole", "1,000", "1,000"),
        ("whole", "1_000", "1_000"),
        ("whole", "٣", "٣"),
        ("whole", "NaN", "NaN"),
        ("whole", "1e999", "1e999"),
        ("whole", "9" * 400, int("9" * 400)),
        ("whole", "9" * 5000, "9" * 5000),
        ("number", "0.85", 0.85),
        ("number", ".5", 0.5),
        ("number", "0,85", "0,85"),
        ("number", "inf", "inf"),
        ("flag", "TRUE", True),
        ("flag", " yes", True),
        ("flag", "1", True),
        ("flag", "No", False),
        ("flag", "0", False),
        ("flag", "maybe", "maybe"),
        ("texts", "a", ["a"]),
        ("texts", "a, b ,c", ["a", "b", "c"]),
        ("texts", "a\nb, c\r\n\nd", ["a", "b, c", "d"]),
        ("texts", "a, b; c", ["a, b", "c"]),
        ("texts", "a,", ["a"]),
        ("texts", "a; b ;c", ["a", "b", "c"]),
        ("texts", "a|b", ["a", "b"]),
        ("texts", "a|b;c", ["a|b", "c"]),
        ("texts", '["a;b","c"]', ["a;b", "c"]),
        ("texts", "[]", []),
        ("texts", "[a", "[a"),
        ("texts", "[" * 5000, "[" * 5000),
        ("numbers", "1;2;x", [1, 2, "x"]),
        ("either", "5", "5"),
    ],
)
def test_a_cell_is_read_as_the_type_of_its_field(field: str, cell: str, value: Any) -> None:
    found = json.loads(readers_of(Everything)[field](cell))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("field", Everything.model_fields)
def test_an_empty_cell_is_absent(field: str) -> None:
    assert readers_of(Everything)[field]("") == ""
    assert field in ("text", "either") or readers_of(Everything)[field](" ") == ""


@settings(deadline=None)
@given(st.text())
def test_no_text_ends_in_what_is_no_json(text: str) -> None:
    for read_cell in (*readers_of(Everything).values(), read_number, read_boolean):
        found = read_cell(text)
        assert not found or json.loads(found) is not None


@settings(deadline=None)
@given(TEXTS)
def test_an_escaped_text_is_no_formula_and_can_be_read_back(text: str) -> None:
    escaped = escape_formula(text)
    assert unescape(escaped)[0] == text
    assert escaped[:1] not in FORMULA


@settings(deadline=None)
@given(TEXTS)
def test_what_is_written_for_programs_is_read_back(text: str) -> None:
    assert unescape(escape_mark(text))[0] == text
    assert "¬" in text or escape_mark(text) == text


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, max_size=3)), min_size=1, max_size=3))
def test_no_spreadsheet_finds_a_formula_and_all_comes_back(rows: list[tuple[str, list[str]]]) -> None:
    """By whichever separator it is read: the cells of the file, and those that another separator makes of it."""
    out = io.StringIO()
    csv.writer(out).writerows([["name", "subjects"], *([cell_of(text), cell_of(items)] for text, items in rows)])
    for delimiter in ",;\t|":
        for row in csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=delimiter):
            assert not [cell for cell in row if cell[:1] in FORMULA]
    for line in out.getvalue().splitlines():
        assert not [cell for cell in re.split("[,;\t|]", line) if cell[:1] in FORMULA]
    found = records(b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "surrogatepass"))
    assert found == [{"name": text, "subjects": items} for text, items in rows]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (-5, "-5"),
        (0.85, "0.85"),
        ("-5", "¬-5"),
        ("=1+1", "¬=1+1"),
        ("'=1", "'=1"),
        ("¬=1", "¬¬=1"),
        ("+1 555", "¬+1 555"),
        ("a;=b", "a;¬=b"),
        ("- one\n- two", "¬- one\n¬- two"),
        (" a", "¬ a"),
        ("NULL", "¬NULL"),
        ("", "¬"),
        (["a", "b"], "a;b"),
        (["=a", "b"], "¬=a;b"),
        (["a", "=b"], "a;¬=b"),
        (["a, b"], '["a, b"]'),
        (["a;b"], '["a;b"]'),
        ([], "[]"),
        ([" a"], '[" a"]'),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_a_value_as_a_cell(value: Any, cell: str) -> None:
    assert cell_of(value) == cell


@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"))))
def test_a_list_comes_back(items: list[str]) -> None:
    found = cell_reader(readers_of(Everything)["texts"], "list")(cell_of(items))
    assert json.loads(found) == items


# Columns.


@pytest.mark.parametrize("name", ["tutor_id", "Tutor ID", "tutorId", "TUTOR-ID", " tutor  id ", "TutorId", "tutor.id"])
def test_names_match_forgivingly(name: str) -> None:
    [column] = map_columns([name.strip()], streams.get("tutors"))
    assert (column.field, column.key) == ("tutor_id", "tutor_id")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["tutor_id", "Tutor ID"], "“tutor_id” and “Tutor ID”"),
        (["tutor_id", "x", "x"], "“x” and “x”"),
        (["tutor_id", ""], "Column 2"),
        (["tutor_id", "x" * 101], "column 2"),
        (["tutor_id", "a\0b"], "column 2"),
        ([f"c{i}" for i in range(1001)], "1001 columns"),
    ],
)
def test_columns_that_cannot_be_are_refused(names: list[str], told: str) -> None:
    with pytest.raises(ParseError, match=told):
        map_columns(names, streams.get("tutors"))


def test_our_own_columns_are_ignored_only_where_they_are_ours() -> None:
    [ours] = records("row,error,tutor_id\n7,bad,¬=T\n".encode())
    assert ours == {"tutor_id": "=T"}
    [moved] = records(b"tutor_id,row,error\n'=T,7,bad\n")
    assert moved == {"tutor_id": "'=T"}
    [theirs] = records(b"tutor_id,row\n'=T,7\n")
    assert theirs == {"tutor_id": "'=T", "row": "7"}


# Rows.


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
def test_the_delimiter_is_found(delimiter: bytes) -> None:
    content = HEADER.replace(b",", delimiter) + delimiter.join([b"T-1", b'"a,b;c\td"', b"30", b"x|y", b""])
    assert records(content) == [{"tutor_id": "T-1", "name": "a,b;c\td", "age": 30, "subjects": ["x", "y"]}]


def test_quotes_hold_delimiters_quotes_and_lines() -> None:
    [record] = records(HEADER + b'T-1,"a ""b"",\r\nc",30,,"\xc3\xa9"\r\n')
    assert record == {"tutor_id": "T-1", "name": 'a "b",\r\nc', "age": 30, "extra": "é"}


def test_rows_that_cannot_be_read_say_why_and_the_rest_goes_on() -> None:
    rows = [
        b"T-1,a,1,,",
        b"T-2,b",
        b"T-3,c,1,,,",
        b"T-4,d,1,,,x",
        b'T-5,"e"e,1,,',
        b"",
        b",,,,",
        b"T-6,f,1,,",
        b'T-7,"g',
    ]
    found = records(HEADER + b"\r\n".join(rows))
    assert [record.get("tutor_id") for record in found] == ["T-1", "T-2", "T-3", "T-4", None, "T-6", None]
    reasons = [record.get("(unreadable)", "") for record in found]
    assert reasons[1] == "The row has 2 cells, the header 5."
    assert reasons[3] == "The row has 6 cells, the header 5."
    assert "expected after" in reasons[4]
    assert reasons[6] == "Unclosed quotation mark."
    assert [reason for i, reason in enumerate(reasons) if i in (0, 2, 5)] == ["", "", ""]
    assert found[3]["(raw)"] == ["T-4", "d", "1", "", "", "x"]
    assert found[4]["(raw)"] == 'T-5,"e"e,1,,'
    assert found[6]["(raw)"] == 'T-7,"g'


def test_a_quote_that_never_closes_takes_one_line_only() -> None:
    rest = b"".join(b"T-%d,x,1,,\r\n" % i for i in range(200_000))
    found = records(HEADER + b'T-x,"open,1,,\r\n' + rest)
    assert len(found) == 200_001
    assert found[0]["(raw)"] == 'T-x,"open,1,,'
    assert found[-1]["tutor_id"] == "T-199999"


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.text(alphabet='ab,;"\n\r é=', max_size=4), min_size=1, max_size=4).map(",".join), max_size=8
    ).map("\n".join),
    st.integers(1, 3),
)
def test_reading_goes_on_at_the_end_of_any_chunk(text: str, most: int) -> None:
    """What makes an upload resumable: from each chunk's end on, the rest is read as it would have been."""
    content = b"tutor_id,name\n" + text.encode()
    whole = records(content)
    done = 0
    for chunk in csv_file(content).chunks(0, most):
        done += chunk.count
        rest = [record for later in csv_file(content).chunks(chunk.end, most) for record in read(later)]
        assert rest == whole[done:]
    assert done == len(whole)


def test_of_a_short_row_no_more_than_its_cells_are_read() -> None:
    """A header of many columns above many short rows would cost their product."""

    def read_none(cell: str) -> str:
        raise AssertionError("There is no such cell.")

    file = csv_file(HEADER + b"T-1,a\n" * 3)
    file.columns[2:] = [Column(column.name, column.field, "text", read_none) for column in file.columns[2:]]
    [chunk] = file.chunks(0, 2000)
    assert [record["name"] for record in read(chunk)] == ["a"] * 3


def test_what_is_read_in_vain_is_bounded() -> None:
    lines = b'",a","\n'
    csv_file(HEADER + lines * 1000).survey(len(lines) * 1000)
    for before, line in [(b"", 2), (b"T-1,a,1,,\n" * 3, 5), (b'T-1,"a\n\nb",1,,\n', 5)]:
        content = HEADER + before + lines * 2000
        with pytest.raises(ParseError, match=f"the first in line {line}\\."):
            csv_file(content).survey(len(content))


def test_chunks_are_bounded_in_rows_bytes_and_names() -> None:
    content = HEADER + b"T,x,1,,\r\n" * 5000
    assert [chunk.count for chunk in csv_file(content).chunks(0, 2000)] == [2000, 2000, 1000]
    content = HEADER + b"".join(b"T,%s,1,,\r\n" % (b"x" * 100_000) for _ in range(25))
    assert max(len(chunk.body) for chunk in csv_file(content).chunks(0, 2000)) < 2 * CHUNK_BYTES
    names = ",".join(["tutor_id", *(f"{'c' * 90}{i}" for i in range(900))]).encode()
    content = names + b"\n" + (b"T" + b",1" * 900 + b"\n") * 100
    assert max(len(chunk.body) for chunk in csv_file(content).chunks(0, 2000)) < 3_000_000
    [chunk] = csv_file(names + b"\n" + b"T\n" * 1000).chunks(0, 2000)  # which have but one of the names each
    assert chunk.count == 1000


@pytest.mark.parametrize(
    ("name", "content_type", "head", "fmt"),
    [
        ("a.csv", "", b"[1]", "csv"),
        ("a.csv", "", b'[{"a": 1}]', "json"),
        ("a.jsonl", "", b'[\n{"a": 1}', "json"),
        ("a.ndjson", "text/csv", b' [{"a": 1}]', "json"),
        ("a", "application/x-ndjson", b'\xef\xbb\xbf[{"a": 1},', "json"),
        ("a.jsonl", "", b'{\n  "a": 1\n}', "json"),
        ("a.TSV.gz", "", b"[1]", "csv"),
        ("a.jsonl", "text/csv", b"{}", "ndjson"),
        ("a.json", "", b'{"a": 1}\n{"a": 2}', "ndjson"),
        ("a.json", "", b'{\n"a": 1}', "json"),
        ("a.json", "", b' [{"a": 1}]', "json"),
        ("a", "application/x-ndjson; charset=utf-8", b"", "ndjson"),
        ("a.txt", "text/plain", b'\xef\xbb\xbf{"a": 1}', "ndjson"),
        ("a", "", b"[", "json"),
        ("a", "application/octet-stream", b"a,b", "csv"),
    ],
)
def test_the_format_is_found(name: str, content_type: str, head: bytes, fmt: str) -> None:
    assert format_of(name, content_type, head) == fmt
