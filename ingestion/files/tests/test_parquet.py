"""Parquet files of any stream: what is read of them, and what is refused before anything is kept."""

import io
import json
import random
import struct
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ingestion.files import uploads
from ingestion.files.formats import parquet_reader
from ingestion.files.record_file import RecordFile, inspect_file
from ingestion.models import Delivery, Upload
from ingestion.payloads import UNREADABLE_MEMBER, ParseError, TooLarge
from ingestion.streams import get
from tests.api import api, post, refusal
from tests.files import streamed
from tests.records import work_off

LISTENED = datetime(2024, 5, 1, 12, 30, 0, 123_000, tzinfo=UTC)


def parquet(columns: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    frame = columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(columns)
    frame.write_parquet(out, **options)
    return out.getvalue()


def listens(number: int = 3, **columns: Any) -> pl.DataFrame:
    """Plays; a column that is None is left out."""
    found = {
        "user_id": ["ada"] * number,
        "played_at": [LISTENED + timedelta(seconds=200 * i) for i in range(number)],
        "track_name": [f"Söng “{i}”\n" for i in range(number)],
        "duration_ms": [1000 * i for i in range(number)],
        **columns,
    }
    return pl.DataFrame({name: values for name, values in found.items() if values is not None})


def inspect(body: bytes, stream: str = "listens", **options: Any) -> RecordFile:
    opened = ExitStack()
    return inspect_file(io.BytesIO(body), "x.parquet", get(stream), opened, **options)


def records(body: bytes, stream: str = "listens", **options: Any) -> list[Any]:
    return [json.loads(line) for chunk in inspect(body, stream, **options).chunks() for line in chunk.lines]


def test_types_become_those_of_json() -> None:
    [first, second, third] = records(
        parquet(
            listens(
                track_id=pl.Series(["a", None, "a"], dtype=pl.Categorical),
                album=pl.Series(["x", "y", "x"], dtype=pl.Enum(["x", "y"])),
                popularity=[1.0, float("nan"), None],
                ms_played=pl.Series([Decimal("5.00"), None, Decimal("7.00")]),
                artist=pl.Series([None] * 3, dtype=pl.Null),
            )
        )
    )
    assert datetime.fromisoformat(first.pop("played_at")) == LISTENED
    assert first == {
        "user_id": "ada",
        "track_name": "Söng “0”\n",
        "duration_ms": 0,
        "track_id": "a",
        "album": "x",
        "popularity": 1.0,
        "ms_played": 5.0,
    }
    assert (second["popularity"], second["track_id"], second["album"]) == (None, None, "y")
    assert third["track_id"] == "a"


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_times_are_utc(unit: Any, zone: str | None) -> None:
    """Those without a zone are; those with one are converted."""
    times = pl.Series([LISTENED.replace(tzinfo=None)], dtype=pl.Datetime(unit))
    if zone:
        times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    [record] = records(parquet(listens(1, played_at=times)))
    assert datetime.fromisoformat(record["played_at"]) == LISTENED
    assert record["played_at"].endswith("+00:00")


def int96(times: list[datetime]) -> bytes:
    """A file of one INT96 column “played_at”, as Spark and Impala write it, with plain pages and no compression."""
    data = b""
    for time in times:
        since = time - datetime(1970, 1, 1, tzinfo=UTC)
        nanoseconds = (since.seconds * 1_000_000 + since.microseconds) * 1000
        data += struct.pack("<qi", nanoseconds, since.days + 2_440_588)
    number = len(times)

    def varint(value: int) -> bytes:
        out = b""
        while True:
            out += bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
            value >>= 7
            if not value:
                return out

    def zig(value: int) -> bytes:
        return varint(value << 1)

    page = b"\x15\x00\x15" + zig(len(data)) + b"\x15" + zig(len(data))
    page += b"\x2c\x15" + zig(number) + b"\x15\x00\x15\x06\x15\x06\x00\x00"
    at = 4
    name = b"played_at"
    size = len(page) + len(data)
    column = b"\x15\x06\x19\x15\x00\x19\x18" + varint(len(name)) + name + b"\x15\x00"
    column += b"\x16" + zig(number) + b"\x16" + zig(size) + b"\x16" + zig(size) + b"\x26" + zig(at) + b"\x00"
    chunk = b"\x26" + zig(at) + b"\x1c" + column + b"\x00"
    group = b"\x19\x1c" + chunk + b"\x16" + zig(size) + b"\x16" + zig(number) + b"\x00"
    root = b"\x48\x06schema\x15\x02\x00"
    leaf = b"\x15\x06\x25\x00\x18" + varint(len(name)) + name + b"\x00"
    footer = b"\x15\x02\x19\x2c" + root + leaf + b"\x16" + zig(number) + b"\x19\x1c" + group + b"\x00"
    return b"PAR1" + page + data + footer + struct.pack("<i", len(footer)) + b"PAR1"


def test_int96_is_a_time() -> None:
    times = [LISTENED, LISTENED - timedelta(days=9000)]
    found = records(int96(times), mapping={})
    assert [datetime.fromisoformat(record["played_at"]) for record in found] == times


def test_times_as_text_are_times_where_all_of_them_are() -> None:
    [record] = records(parquet(listens(1, played_at=["2024-05-01T12:30:00.123Z"])))
    assert record["played_at"] == "2024-05-01T12:30:00.123Z"
    with pytest.raises(ParseError, match=r"“played_at” is of the type String, with “yesterday” in row 2"):
        inspect(parquet(listens(2, played_at=["2024-05-01T12:30:00Z", "yesterday"])))


@pytest.mark.parametrize(
    ("column", "values", "theirs", "ours"),
    [
        ("duration_ms", ["1", "2", "3"], "String", "a number"),
        ("played_at", [1, 2, 3], "Int64", "a time (timestamp)"),
        ("played_at", [date(2024, 1, 1)] * 3, "Date", "a time (timestamp)"),
        ("track_name", [1, 2, 3], "Int64", "text (string)"),
        ("track_name", [b"a", b"b", b"c"], "Binary", "text (string)"),
        ("artist", [["a"], ["b"], []], "List", "text (string)"),
        ("duration_ms", [True, False, None], "Boolean", "a number"),
        ("album", [{"name": "x"}] * 3, "Struct", "text (string)"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_a_column_of_the_wrong_type_is_refused(column: str, values: Any, theirs: str, ours: str) -> None:
    body = parquet(listens(**{column: values}))
    message = refusal(post(api(), "/api/uploads?stream=listens", body, "application/octet-stream"), 400)["message"]
    assert f"“{column}”" in message and theirs in message and ours in message
    assert not Upload.objects.exists() and not Delivery.objects.exists()


def test_lists_days_and_booleans_of_another_stream() -> None:
    tutor = dict(get("tutors").example)
    columns = {name: [value] for name, value in tutor.items()}
    [record] = records(parquet(pl.DataFrame(columns, strict=False)), "tutors")
    assert record == tutor
    entry = {
        "library": ["a"],
        "kind": ["watched"],
        "title": ["Heat"],
        "watched_on": [date(2024, 2, 29)],
        "rewatch": [True],
    }
    [record] = records(parquet({**entry, "tags": [["x", "y"]]}), "entries")
    assert (record["watched_on"], record["rewatch"], record["tags"]) == ("2024-02-29", True, ["x", "y"])
    with pytest.raises(ParseError, match="it must be a day"):
        inspect(parquet({**entry, "watched_on": [LISTENED]}), "entries")


@pytest.mark.django_db
def test_columns_are_mapped_as_those_of_tables() -> None:
    body = parquet(
        listens().rename({"track_name": "Track Name", "duration_ms": "Length"}).with_columns(pl.lit(1).alias("x"))
    )
    file = inspect(body)
    assert [(column.name, column.field) for column in file.own_columns][2:] == [
        ("Track Name", "track_name"),
        ("Length", ""),
        ("x", ""),
    ]
    assert file.ignored == ["Length", "x"]
    assert "Length" not in records(body)[0]
    assert records(body, mapping={"Length": "duration_ms"})[1]["duration_ms"] == 1000
    with pytest.raises(ParseError, match="No column matches"):
        inspect(parquet({"a": [1]}))


def test_what_is_given_goes_where_there_is_nothing() -> None:
    file = inspect(parquet(listens(2, user_id=["bob", None]))).with_given({"user_id": "ada", "artist": "X"})
    found = [json.loads(line) for chunk in file.chunks() for line in chunk.lines]
    assert [(each["user_id"], each["artist"]) for each in found] == [("bob", "X"), ("ada", "X")]


def test_an_infinite_number_is_a_row_that_cannot_be_read() -> None:
    first, second = records(parquet(listens(2, duration_ms=[float("inf"), 2.0])))
    assert first[UNREADABLE_MEMBER] == "duration_ms is infinite."
    assert second["duration_ms"] == 2.0


def test_rows_without_anything_are_records_without_anything() -> None:
    columns = {"user_id": [None, "ada"], "played_at": [None, LISTENED], "track_name": [None, "a"]}
    assert records(parquet(columns))[0] == dict.fromkeys(columns)


@pytest.mark.parametrize("row_group_size", [100, 1000, 100_000])
def test_every_row_once_in_order_from_any_row_on(monkeypatch: pytest.MonkeyPatch, row_group_size: int) -> None:
    monkeypatch.setattr(parquet_reader, "FIRST_ROWS", 150)
    monkeypatch.setattr(parquet_reader, "SLICE_ROWS", 700)
    file = inspect(parquet(listens(5000), row_group_size=row_group_size))
    for done in (0, 1, 1499, 4999, 5000):
        chunks = list(file.chunks(0, done, max_rows=200))
        rows = [row for chunk in chunks for row in chunk.rows]
        assert rows == list(range(done + 1, 5001))
        numbers = [json.loads(line)["duration_ms"] for chunk in chunks for line in chunk.lines]
        assert numbers == [1000 * row for row in range(done, 5000)]
        assert [chunk.end for chunk in chunks] == sorted(chunk.end for chunk in chunks)
        assert not chunks or chunks[-1].end == file.size


def test_long_texts_make_short_chunks() -> None:
    chunks = list(inspect(parquet(listens(50, track_name=["x" * 900_000] * 50))).chunks())
    assert sum(chunk.count for chunk in chunks) == 50
    assert max(len(chunk.body) for chunk in chunks) < 3_000_000


def test_a_text_of_ten_megabytes_is_refused_with_its_row() -> None:
    with pytest.raises(TooLarge, match="Row 2 has more than 1000000 bytes"):
        inspect(parquet(listens(track_name=["a", "x" * 10_000_000, "b"])))


def test_a_file_without_rows_is_refused() -> None:
    with pytest.raises(ParseError, match="The file has no rows"):
        inspect(parquet(listens(0)))


def test_a_file_of_nothing_but_equal_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_reader, "FREE_ROWS", 1000)
    body = parquet(pl.DataFrame({"user_id": ["ada"]}).select(pl.col("user_id").repeat_by(1_000_000).explode()))
    with pytest.raises(TooLarge, match="1000000 rows in"):
        inspect(body)


@pytest.mark.parametrize("cut", [5, 100, -1, -4, -9])
def test_a_truncated_file_is_refused(cut: int) -> None:
    with pytest.raises(ParseError, match=r"truncated|damaged"):
        inspect(parquet(listens(1000))[:cut])


def test_damage_anywhere_is_refused_or_harmless() -> None:
    """No damage kills the process, and none is found only when a part has been kept."""
    body, chance = parquet(listens(3000), row_group_size=500), random.Random(5)
    refused = 0
    for _ in range(60):
        damaged = bytearray(body)
        for _ in range(chance.choice((1, 20))):
            damaged[chance.randrange(4, len(body) - 4)] = chance.randrange(256)
        try:
            file = inspect(bytes(damaged))
        except (ParseError, TooLarge):
            refused += 1
            continue
        assert sum(chunk.count for chunk in file.chunks()) == file.parquet.rows if file.parquet else False
    assert refused > 10


def test_a_sheet_is_not_asked_of_parquet() -> None:
    with pytest.raises(ParseError, match="Only an Excel file"):
        inspect(parquet(listens()), sheet="x")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("content_type", ["application/vnd.apache.parquet", "application/octet-stream"])
def test_an_upload(content_type: str) -> None:
    client = api()
    body = parquet(listens(2500, popularity=[40.0, None] * 1250))
    [upload] = post(client, "/api/uploads?name=plays.parquet", body, content_type).json()["uploads"]
    assert (upload["stream"], upload["total"], upload["encoding"], upload["kind"]) == ("listens", 2500, "", None)
    work_off()
    status = client.get(f"/api/uploads/{upload['id']}").json()
    assert (status["inserted"], status["dead"], status["status"]) == (2500, 0, "completed")
    assert Upload.objects.get().format == "parquet"
    assert refusal(post(client, "/api/uploads", body, content_type), 409)


@pytest.mark.django_db(transaction=True)
def test_a_dry_run() -> None:
    body = parquet(
        listens(3, played_at=[LISTENED, LISTENED, datetime(1970, 1, 1, tzinfo=UTC)], user_id=["a", None, "a"])
    )
    [found] = post(api(), "/api/uploads?dry_run=true", body, "application/octet-stream").json()["uploads"]
    assert (found["format"], found["checked"], found["valid"], found["invalid"]) == ("parquet", 3, 2, 1)
    assert found["errors"][0]["samples"][0]["row"] == 2
    assert found["with_warnings"] == 1
    assert [column["field"] for column in found["columns"]] == ["user_id", "played_at", "track_name", "duration_ms"]
    assert found["columns"][0]["samples"] == ["a"]


@pytest.mark.django_db(transaction=True)
def test_rejected_rows_come_back_as_csv() -> None:
    body = parquet(listens(3, user_id=["a", None, "a"]))
    client = api()
    [upload] = post(client, "/api/uploads", body, "application/octet-stream").json()["uploads"]
    work_off()
    lines = streamed(client.get(upload["errors_url"])).decode().splitlines()
    assert lines[0] == "row,error,user_id,played_at,track_name,duration_ms"
    assert lines[1].startswith("2,")


@pytest.mark.django_db(transaction=True)
def test_it_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    real, number = uploads._store, 0

    def store(*args: Any) -> None:
        nonlocal number
        number += 1
        if number > 2:
            raise OSError("killed")
        real(*args)

    monkeypatch.setattr(uploads, "DELIVERY_RECORDS", {"postgresql": 300, "sqlite": 300})
    body, client = parquet(listens(1000)), api()
    client.raise_request_exception = False
    monkeypatch.setattr(uploads, "_store", store)
    assert post(client, "/api/uploads", body, "application/octet-stream").status_code == 500
    monkeypatch.setattr(uploads, "_store", real)
    [upload] = post(client, "/api/uploads", body, "application/octet-stream").json()["uploads"]
    assert upload["total"] == 1000
    assert list(Delivery.objects.order_by("pk").values_list("first_row", "count")) == [
        (1, 300),
        (301, 300),
        (601, 300),
        (901, 100),
    ]
