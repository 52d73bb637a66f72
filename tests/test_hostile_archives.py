"""Archives and exported files that are damaged, or made to hurt: a clear word, and nothing is stored."""

import io
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from pytest_django import Settings

from ingestion.files.formats import zip_reader
from ingestion.models import Delivery, Upload
from movies.models import Entry
from movies.tests.exports import HEADERS, film, finish, table, viewing
from tests.api import api, post, refusal
from tests.commands import run
from tests.files import read_csv, streamed
from tests.people import text_of
from tests.records import assert_nothing_vanished

pytestmark = pytest.mark.django_db

PATH = "/api/uploads?name=export.zip"
WATCHED = table(HEADERS["watched.csv"], [film("The Matrix", 1999, "m")])
DIARY = table(HEADERS["diary.csv"], [viewing("The Matrix", 1999, "d")])
MEGABYTE = 1_000_000


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def changed(archive: bytes, signature: bytes, offset: int, value: bytes, number: int = 0) -> bytes:
    """The archive with other bytes in the header that has this signature."""
    position = -1
    for _ in range(number + 1):
        position = archive.index(signature, position + 1)
    position += offset
    return archive[:position] + value + archive[position + len(value) :]


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def encrypted() -> bytes:
    body = zipped(("watched.csv", WATCHED))
    return changed(changed(body, LOCAL, 6, b"\1\0"), CENTRAL, 8, b"\1\0")


def damaged(*before: tuple[str, bytes]) -> bytes:
    """The contents of the last member are not those that were packed."""
    body = zipped(*before, ("watched.csv", WATCHED))
    position = body.rindex(LOCAL) + 30 + len("watched.csv") + 5
    return body[:position] + bytes(byte ^ 255 for byte in body[position : position + 20]) + body[position + 20 :]


def understated() -> bytes:
    """A member that states to be ten bytes long, and is not."""
    body = zipped(("watched.csv", WATCHED))
    return changed(changed(body, LOCAL, 22, struct.pack("<I", 10)), CENTRAL, 24, struct.pack("<I", 10))


def flat_bomb() -> bytes:
    return zipped(("watched.csv", WATCHED), *((f"{i}.csv", bytes(10 * MEGABYTE)) for i in range(20)))


def overlapping_bomb() -> bytes:
    """Many members of the directory are one and the same in the archive."""
    body = zipped(("watched.csv", bytes(10 * MEGABYTE)))
    start, end = body.index(CENTRAL), body.index(b"PK\x05\x06")
    entries = body[start:end] * 100
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 100, 100, len(entries), start, 0)
    return body[:start] + entries + tail


def nested_bomb() -> bytes:
    inner = zipped(("watched.csv", bytes(10 * MEGABYTE)))
    for _ in range(3):
        inner = zipped(*((f"{i}.zip", inner) for i in range(5)))
    return inner


def huge_directory() -> bytes:
    """Whose directory alone would take a hundred times as much memory."""
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = entry * 100_000
    tail = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 65535, 65535, len(entries), 0, 0)
    return LOCAL + bytes(26) + entries + tail.replace(struct.pack("<I", 0), struct.pack("<I", 30), 0)


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (zipped, "has no file that can be imported"),
    "of nothing known": (lambda: zipped(("a.txt", b"x"), ("b.jpg", b"y")), "It has: a.txt (not recognised), b.jpg"),
    "truncated": (lambda: zipped(("watched.csv", WATCHED))[:-30], "damaged or cut off"),
    "cut in the middle": (lambda: zipped(("watched.csv", WATCHED))[:60], "damaged or cut off"),
    "encrypted": (encrypted, "password"),
    "damaged": (damaged, "watched.csv: The file is damaged in the ZIP archive"),
    "understated": (understated, "watched.csv: The file is damaged in the ZIP archive"),
    "flat bomb": (flat_bomb, "unpacks to more than 200 times its size"),
    "overlapping bomb": (overlapping_bomb, "unpacks to more than 200 times its size"),
    "nested bomb": (nested_bomb, "has no file that can be imported"),
    "huge directory": (huge_directory, "The directory of the ZIP archive has more than"),
    "an archive as a member": (lambda: zipped(("watched.csv", zipped(("a", b"b")))), "itself an archive"),
    "gzip as a member": (lambda: zipped(("watched.csv", b"\x1f\x8b\x08\0")), "itself an archive"),
    "not text": (lambda: zipped(("watched.csv", b"Date,Name\0")), "watched.csv: The file is not text"),
    "no encoding": (
        lambda: zipped(("watched.csv", WATCHED + b"2025-01-01,\xc3\x01,2001,\n")),
        "watched.csv: The file is not UTF-8",
    ),
    "cut in a character": (
        lambda: zipped(("watched.csv", WATCHED + b"2025-01-01,\xc3")),
        "watched.csv: The file is not",
    ),
    "a workbook of a huge directory": (
        lambda: huge_directory().replace(LOCAL + bytes(26), LOCAL + bytes(26) + b"[Content_Types].xml"),
        "The directory of the ZIP archive has more than",
    ),
    "LZMA": (lambda: zipped(("watched.csv", WATCHED), method=zipfile.ZIP_LZMA), "not supported"),
    "a million characters in a line": (
        lambda: zipped(("watched.csv", WATCHED + b"2025-01-01," + b"x" * MEGABYTE + b",,\n")),
        "watched.csv: Line 3 has more than 1000000 bytes",
    ),
    "empty lines": (lambda: zipped(("watched.csv", WATCHED + b"\n" * 400_000)), "empty lines"),
    "merge conflict": (
        lambda: zipped(("diary.csv", b"<<<<<<< HEAD\n" + DIARY)),
        "diary.csv: The file has unresolved merge conflicts: it begins with <<<<<<<.",
    ),
    "no columns": (lambda: zipped(("watched.csv", b"a,b\n1,2\n")), "is no watched file"),
    "too many members": (
        lambda: zipped(*((f"{i}.csv", b"a,b\n1,2\n") for i in range(401))),
        "more than 400 files to read",
    ),
    "too many entries": (
        lambda: zipped(*((f"lists/{i}.csv", b"") for i in range(zip_reader.MAX_ENTRIES + 1))),
        "more than 10000 files",
    ),
}


@pytest.fixture
def client() -> Client:
    return api()


@pytest.fixture(params=list(ARCHIVES))
def archive(request: pytest.FixtureRequest) -> Iterator[tuple[bytes, str]]:
    make, message = ARCHIVES[request.param]
    yield make(), message
    assert not Upload.objects.exists() and not Delivery.objects.exists()


def test_an_archive_that_cannot_be_imported_is_refused_by_the_api(client: Client, archive: tuple[bytes, str]) -> None:
    body, message = archive
    for path in (PATH, f"{PATH}&dry_run=true", f"{PATH}&stream=entries"):
        response = post(client, path, body, "application/zip")
        assert response.status_code in (400, 413, 422), response.content
        assert message in refusal(response, response.status_code)["message"]
    response = client.post("/api/uploads", {"file": SimpleUploadedFile("export.zip", body)})
    assert message in refusal(response, response.status_code)["message"]


def test_an_archive_that_cannot_be_imported_is_refused_by_the_command(
    tmp_path: Path, archive: tuple[bytes, str]
) -> None:
    body, message = archive
    file = tmp_path / "export.zip"
    file.write_bytes(body)
    for options in ((), ("--dry-run",)):
        with pytest.raises(CommandError) as refused:
            run("ingest_file", str(file), *options)
        assert message in str(refused.value)


def test_bombs_take_no_memory(client: Client) -> None:
    for make in (flat_bomb, overlapping_bomb, nested_bomb, huge_directory):
        body = make()
        post(client, PATH, body[:100], "application/zip")  # what is loaded once
        tracemalloc.start()
        post(client, PATH, body, "application/zip")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * len(body) + 30 * MEGABYTE, (make.__name__, peak)


def test_an_archive_may_not_unpack_to_more_than_an_upload_may_have(client: Client, settings: Settings) -> None:
    settings.MAX_UPLOAD_BYTES = MEGABYTE
    rows = b"".join(b"2025-01-01,Film %d,2001,https://boxd.it/%d\n" % (i, i) for i in range(30_000))
    body = zipped(("watched.csv", WATCHED + rows))
    assert len(body) < MEGABYTE < len(rows)
    assert "more than 1000000 bytes" in refusal(post(client, PATH, body, "application/zip"), 413)["message"]
    assert not Upload.objects.exists()


def test_damage_to_what_is_not_needed_does_not_matter(client: Client) -> None:
    body = zipped(("watched.csv", WATCHED), ("lists/mine.csv", b"x" * 100), ("notes.csv", b"y" * 100))
    for name in ("lists/mine.csv", "notes.csv"):
        position = body.index(LOCAL + b"", body.index(name.encode()) - 31) + 30 + len(name)
        body = body[:position] + b"\xff\xff" + body[position + 2 :]
    response = post(client, PATH, body, "application/zip")
    assert response.status_code == 201, response.content
    [told] = response.json()["uploads"]
    assert [part["name"] for part in told["parts"]] == ["watched.csv"]
    assert "notes.csv (not readable)" in told["file_warnings"][0]


@pytest.mark.parametrize("content", [b"", b"\0" * 208, b" \r\n\r\n", b"\xef\xbb\xbf"])
def test_a_file_with_nothing_in_it_is_left_out(client: Client, content: bytes) -> None:
    response = post(client, PATH, zipped(("watched.csv", WATCHED), ("reviews.csv", content)), "application/zip")
    assert response.status_code == 201, response.content
    [told] = response.json()["uploads"]
    assert [part["name"] for part in told["parts"]] == ["watched.csv"]
    assert "reviews.csv (empty)" in told["file_warnings"][0]


def uploaded(client: Client, *members: tuple[str, bytes]) -> dict[str, Any]:
    response = post(client, PATH, zipped(*members), "application/zip")
    assert response.status_code == 201, response.content
    finish()
    assert_nothing_vanished()
    told: dict[str, Any] = client.get(response.json()["uploads"][0]["status_url"]).json()
    return told


def test_bad_rows_are_dead_letters_and_harm_no_others(client: Client) -> None:
    rows = [
        b"2025-01-01,Good,2001,https://boxd.it/a",
        b"<<<<<<< HEAD",
        b"2025-01-01,Ours,2001,https://boxd.it/b",
        b"=======",
        b">>>>>>> other, branch",
        b"2025-01-01,Nul\0,2001,https://boxd.it/c",
        b'2025-01-01,"unclosed,2001,https://boxd.it/d',
        b"2025-01-01,Year,twothousand,https://boxd.it/e",
        b"2025-02-30,Day,2001,https://boxd.it/f",
        b"2025-01-01,,,",
        b"2025-01-01," + b"x" * 300 + b",2001,https://boxd.it/g",
    ]
    told = uploaded(client, ("watched.csv", WATCHED + b"\n".join(rows) + b"\n"))
    assert (told["total"], told["inserted"], told["dead"]) == (12, 3, 9)
    errors = {each["row"]: each["error"] for each in read_csv(streamed(client.get(told["errors_url"])))}
    assert "<<<<<<< marks an unresolved merge conflict" in errors["4"]
    assert "merge conflict" in errors["6"] and "merge conflict" in errors["7"]
    assert "NUL" in errors["8"] and "Unclosed quotation mark" in errors["9"]
    assert set(Entry.objects.values_list("title", flat=True)) == {"The Matrix", "Good", "Ours"}


def test_a_field_of_a_million_characters_is_a_dead_letter(client: Client) -> None:
    for review in (b"word \n" * 160_000, (b"word " * 30_000 + b"\n") * 8):
        line = b'2025-01-01,A,2001,https://boxd.it/a,,,"' + review + b'",,2025-01-01\n'
        short = b"2025-01-01,A,2001,https://boxd.it/b,,,x,,2025-01-01\n"
        told = uploaded(client, ("reviews.csv", table(HEADERS["reviews.csv"], []) + line + short))
        assert told["inserted"] == 1 and told["dead"] >= 1


def test_a_large_export_is_read_in_flat_memory(client: Client, tmp_path: Path) -> None:
    rows = b"".join(b"2025-01-01,Film %d,2001,https://boxd.it/%d\n" % (i, i) for i in range(40_000))
    body = zipped(("watched.csv", WATCHED + rows))
    tracemalloc.start()
    response = post(client, f"{PATH}&library=anna", body, "application/zip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert response.json()["uploads"][0]["total"] == 40_001
    assert peak < len(body) + 30 * MEGABYTE


@pytest.mark.parametrize(
    "folder", ["../../etc", "/etc", "..\\..", "C:\\", "a\0b", "\u202e", "🎬" * 300, "." * 50 + "/x"]
)
def test_names_are_labels(client: Client, folder: str) -> None:
    members = [("watched.csv", WATCHED), (f"{folder}/passwd.csv", b"x,y\n1,2\n"), (f"{folder}/diary.csv", DIARY)]
    told = uploaded(client, *(member for member in members if "\0" not in folder or "passwd" not in member[0]))
    assert told["total"] == told["inserted"] >= 1
    for name in (*(part["name"] for part in told["parts"]), *told["file_warnings"]):
        assert not name.startswith(("/", "..", "C:")) and "\0" not in name and "\u202e" not in name
    assert not Path("passwd.csv").exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_with_the_same_set_at_once_one_takes_it_in(client: Client) -> None:
    body, together = zipped(("watched.csv", WATCHED), ("diary.csv", DIARY)), threading.Barrier(4)

    def send() -> int:
        try:
            together.wait()
            return int(post(client, PATH, body, "application/zip").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as senders:
        statuses = [each.result() for each in [senders.submit(send) for _ in range(4)]]
    assert set(statuses) <= {200, 201, 409, 429, 503} and statuses.count(201) >= 1  # no slot was free
    whole = Upload.objects.get(part_of=None)
    assert whole.finished_at and [part.name for part in whole.parts.order_by("pk")] == ["watched.csv", "diary.csv"]
    assert sorted(Delivery.objects.values_list("count", flat=True)) == [1, 1]


def test_the_admin_says_what_is_wrong(operator: Client) -> None:
    for make, message in (ARCHIVES["encrypted"], ARCHIVES["damaged"], ARCHIVES["flat bomb"]):
        file = SimpleUploadedFile("export.zip", make(), "application/zip")
        response = operator.post("/admin/ingestion/upload/add/", {"stream": "entries", "file": file})
        assert response.status_code == 200
        assert message in text_of(response)
    assert not Upload.objects.exists()
