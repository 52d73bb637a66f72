"""Exports of another system over the API: a ZIP archive, or several of its files, is one upload with parts."""

import gzip
import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from enrichment.models import HeldRecord
from ingestion.files import uploads
from ingestion.models import Delivery, Doorbell, Upload
from movies.models import Entry, LibraryFilm
from movies.tests.exports import FIRST, HEADERS, SECOND, film, finish, table, viewing
from movies.tests.exports import archive as export_of
from tests.api import api, new_key, post, refusal
from tests.files import SHARED, read_csv, row, streamed, xlsx_of
from tests.records import assert_nothing_vanished

pytestmark = pytest.mark.django_db

ZIP = "application/zip"
PATH = "/api/uploads?name=letterboxd.zip"
FILMS = [film("The Matrix", 1999, "m"), film("None", 2004, "n"), film("★", None, "s")]
FILES: dict[str, list[dict[str, Any]]] = {
    "watched.csv": FILMS,
    "ratings.csv": [film("The Matrix", 1999, "m", Rating="4.5")],
    "diary.csv": [viewing("The Matrix", 1999, "d", Rating="4.5", Rewatch="Yes", Tags="cinema, with friends")],
    "reviews.csv": [viewing("The Matrix", 1999, "d", Review="Two\nlines, “quotes”")],
    "watchlist.csv": [film("Dune, Part Two", 2024, "w")],
    "likes/films.csv": FILMS,
    "orphaned/diary.csv": [viewing("Gone", None, "")],
    "deleted/diary.csv": [viewing("Deleted", 1990, "x")],
}
LEFT_OUT = {
    "profile.csv": b"Date Joined,Username\n2020-01-01,anna\n",
    "comments.csv": b"Date,Content,Comment\n",
    "deleted/comments.csv": b"Date,Content,Comment\n",
    "likes/reviews.csv": b"Date,Content\n",
    "likes/lists.csv": b"Date,Content\n",
    "lists/watched.csv": b"Letterboxd list export v7\nDate,Name,Tags,URL,Description\n",
    "deleted/lists/gone.csv": b"\0" * 208,
    "__MACOSX/._watched.csv": b"\0\5\x16\7",
    ".DS_Store": b"\0\0\0\1",
    "photo.jpg": b"\xff\xd8\xff",
}


@pytest.fixture
def client() -> Client:
    return api()


def zipped(files: Mapping[str, bytes | str], at: datetime = FIRST, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, at.timetuple()[:6]), content, method)
    return out.getvalue()


def tables(files: Mapping[str, list[dict[str, Any]]] = FILES) -> dict[str, bytes]:
    return {path: table(HEADERS[path], lines) for path, lines in files.items()}


def send(client: Client, body: bytes, path: str = PATH, status: int = 201, content_type: str = ZIP) -> dict[str, Any]:
    response = post(client, path, body, content_type)
    assert response.status_code == status, response.content
    [told] = response.json()["uploads"]
    return dict(told)


def form(files: Mapping[str, bytes], field: str = "file", **fields: str) -> dict[str, Any]:
    return {field: [SimpleUploadedFile(name, body) for name, body in files.items()], **fields}


def kinds(told: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    return {part["name"]: (part["kind"], part["total"]) for part in told["parts"]}


def status(client: Client, told: Mapping[str, Any]) -> dict[str, Any]:
    finish()
    found: dict[str, Any] = client.get(f"/api/uploads/{told['id']}").json()
    assert_nothing_vanished()
    return found


def entries(**criteria: Any) -> list[tuple[str, str]]:
    return list(Entry.objects.filter(**criteria).order_by("kind", "title").values_list("kind", "title"))


# One upload with parts.


def test_a_zip_archive_is_one_upload_with_parts(client: Client) -> None:
    told = send(client, zipped(tables() | LEFT_OUT))
    assert kinds(told) == {
        "watched.csv": ("watched", 3),
        "ratings.csv": ("ratings", 1),
        "likes/films.csv": ("likes", 3),
        "watchlist.csv": ("watchlist", 1),
        "diary.csv": ("diary", 1),
        "reviews.csv": ("reviews", 1),
        "orphaned/diary.csv": ("diary", 1),
        "deleted/diary.csv": ("diary", 1),
    }
    assert (told["name"], told["stream"], told["kind"], told["total"], told["status"]) == (
        "letterboxd.zip",
        "entries",
        None,
        12,
        "enriching",
    )
    assert told["library"] and told["part_of"] is None
    told = status(client, told)
    assert (told["processed"], told["inserted"], told["dead"]) == (12, 12, 0)
    assert told["films"]["total"] == 5  # not the deleted one
    assert ("watched", "None") in entries() and ("watched", "★") in entries()
    matrix = Entry.objects.get(kind="diary", title="The Matrix")
    assert (matrix.library, matrix.tags, matrix.rating, matrix.rewatch) == (
        told["library"],
        ["cinema", "with friends"],
        4.5,
        True,
    )
    assert Entry.objects.get(kind="reviews").review == "Two\nlines, “quotes”"
    assert Entry.objects.get(title="Gone").orphaned and Entry.objects.get(title="Deleted").deleted
    at = FIRST.replace(tzinfo=UTC)
    assert set(Entry.objects.values_list("updated_at", "exported_on")) == {(at, at)}


def test_what_is_left_out_is_named(client: Client) -> None:
    [note] = send(client, zipped(tables() | LEFT_OUT))["file_warnings"]
    for name in ("profile.csv", "comments.csv", "likes/reviews.csv", "lists/watched.csv", "__MACOSX/", "photo.jpg"):
        assert name in note
    assert "lists are not imported" in note


def test_many_files_that_are_left_out_are_named_by_their_folder(client: Client) -> None:
    lists = {f"lists/{i}.csv": b"Letterboxd list export v7\n" for i in range(300)}
    [note] = send(client, zipped(tables() | lists))["file_warnings"]
    assert "lists/ (300 files)" in note


@pytest.mark.parametrize("folder", ["export/", "a/b/letterboxd-anna-2026/", "C:\\Users\\anna\\", "../../", "/etc/"])
def test_the_files_may_be_in_any_folder(client: Client, folder: str) -> None:
    told = send(client, zipped({f"{folder}{path}": content for path, content in tables().items()}))
    assert told["total"] == 12 and len(told["parts"]) == 8
    assert all(not name.startswith(("/", ".")) and ":" not in name for name in kinds(told))


def test_parts_have_a_status_of_their_own_and_are_not_listed(client: Client) -> None:
    told = send(client, zipped(tables()))
    part = told["parts"][0]
    found = client.get(f"/api/uploads/{part['id']}").json()
    assert (found["part_of"], found["kind"], found["total"], found["parts"]) == (told["id"], "watched", 3, [])
    listed = client.get("/api/uploads").json()["results"]
    assert [each["id"] for each in listed] == [told["id"]]
    assert kinds(listed[0]) == kinds(told)


def test_several_files_of_a_form_are_one_upload(client: Client) -> None:
    files = {name: content for name, content in tables().items() if "/" not in name}
    response = client.post("/api/uploads", form(files, "files", library="anna"))
    assert response.status_code == 201, response.content
    [told] = response.json()["uploads"]
    assert (told["name"], told["library"], told["total"]) == ("watched.csv and 4 more", "anna", 7)
    assert status(client, told)["inserted"] == 7


def test_a_form_may_name_its_files_by_their_paths(client: Client) -> None:
    """As browsers name those of a folder, and programs where they are told to."""
    body = b""
    for name, content in (tables() | LEFT_OUT).items():
        path = name.replace("/", "\\") if name.startswith("likes") else f"../letterboxd/{name}"
        head = f'Content-Disposition: form-data; name="file"; filename="{path}"'
        body += b"--x\r\n" + head.encode() + b"\r\nContent-Type: text/csv\r\n\r\n" + content + b"\r\n"
    response = post(client, "/api/uploads?library=anna", body + b"--x--\r\n", "multipart/form-data; boundary=x")
    assert response.status_code == 201, response.content
    [told] = response.json()["uploads"]
    assert len(told["parts"]) == 8 and told["total"] == 12
    assert kinds(told)["letterboxd/orphaned/diary.csv"] == ("diary", 1)


def test_a_form_names_what_it_leaves_out(client: Client) -> None:
    files = {"watched.csv": tables()["watched.csv"], "profile.csv": LEFT_OUT["profile.csv"]}
    [told] = client.post("/api/uploads", form(files)).json()["uploads"]
    assert list(kinds(told)) == ["watched.csv"]
    assert "profile.csv" in told["file_warnings"][0]


def test_files_that_a_form_sends_without_their_folders_are_told_by_their_columns(client: Client) -> None:
    files = {
        "films.csv": tables()["likes/films.csv"],
        "reviews.csv": b"Date,Content\n",
        "diary.csv": b"",
        "a.csv": b"x",
    }
    [told] = client.post("/api/uploads", form(files)).json()["uploads"]
    assert kinds(told) == {"films.csv": ("likes", 3)}
    assert "likes of reviews and lists" in told["file_warnings"][0] and "diary.csv (empty)" in told["file_warnings"][0]


def test_a_single_file_is_an_upload_of_its_kind(client: Client) -> None:
    told = send(client, tables()["diary.csv"], "/api/uploads?name=diary.csv&library=anna", content_type="text/csv")
    assert (told["kind"], told["parts"], told["library"], told["total"]) == ("diary", [], "anna", 1)
    assert status(client, told)["films"]["total"] == 1
    again = refusal(post(client, "/api/uploads?name=diary.csv&library=anna", tables()["diary.csv"], "text/csv"), 409)
    assert f"upload {told['id']}" in again["message"]
    other = send(client, tables()["diary.csv"], "/api/uploads?name=diary.csv&library=ben", content_type="text/csv")
    assert other["id"] != told["id"]


def test_a_library_that_is_not_named_is_a_new_one(client: Client) -> None:
    first, second = send(client, zipped(tables(), FIRST)), send(client, zipped(tables(), SECOND))
    assert len(first["library"]) >= 16
    assert first["library"] != second["library"]


@pytest.mark.parametrize("name", ["a/b", "x" * 65, " anna", "batch", "a\nb"])
def test_a_library_must_be_an_identifier(client: Client, name: str) -> None:
    response = client.post("/api/uploads", form(tables({"watched.csv": FILMS}), library=name))
    assert refusal(response, 422)["fields"]["library"]
    assert not Upload.objects.exists()


def test_a_header_alone_is_a_file_without_rows(client: Client) -> None:
    empty: dict[str, list[dict[str, Any]]] = {path: [] for path in HEADERS}
    told = send(client, zipped(tables(empty)))
    assert set(kinds(told).values()) == {(kind, 0) for kind in ("watched", "ratings", "diary", "reviews")} | {
        ("likes", 0),
        ("watchlist", 0),
    }
    assert (told["total"], told["status"]) == (0, "enriching")
    told = status(client, told)
    assert (told["status"], told["progress_percent"]) == ("completed", 100)
    assert not Delivery.objects.exists()


def test_a_single_file_may_be_a_header_alone(client: Client) -> None:
    told = send(client, table(HEADERS["watchlist.csv"], []), "/api/uploads?name=watchlist.csv", content_type="text/csv")
    assert told["total"] == 0
    assert status(client, told)["status"] == "completed"


# Which kind it is.


@pytest.mark.parametrize(
    "name",
    ["watched (1).csv", "Watched.CSV", "export/watched(12).csv", "watched.txt", "watched.csv.gz"],
)
def test_a_copy_is_known_by_its_name(client: Client, name: str) -> None:
    content = tables()["watched.csv"]
    body = gzip.compress(content) if name.endswith(".gz") else content
    [told] = client.post("/api/uploads", form({name: body})).json()["uploads"]
    assert (told["kind"], told["total"]) == ("watched", 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b",", b";"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: b"sep=;\r\n" + text.replace(b",", b";"),
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.replace(b"Letterboxd URI", b"letterboxd_uri").replace(b"Name", b"NAME"),
    ],
)
def test_a_file_may_be_resaved(client: Client, change: Any) -> None:
    files = {"watched.csv": [film("A", 2001, "a")], "ratings.csv": [film("A", 2001, "a", Rating="4.5")]}
    told = send(client, zipped({path: change(content) for path, content in tables(files).items()}))
    assert status(client, told)["inserted"] == 2
    assert Entry.objects.get(kind="ratings").rating == 4.5


def test_a_spreadsheets_dates_and_decimal_commas_are_read(client: Client) -> None:
    content = "Date;Name;Year;Letterboxd URI;Rating\r\n31.12.2025;Ä;2001;https://boxd.it/a;4,5\r\n".encode("cp1252")
    told = send(client, zipped({"ratings.csv": content}))
    assert "Windows-1252" in " ".join(told["file_warnings"])
    assert status(client, told)["inserted"] == 1
    rating = Entry.objects.get()
    assert (rating.title, rating.rating, str(rating.added_on)) == ("Ä", 4.5, "2025-12-31")


@pytest.mark.parametrize("in_archive", [True, False])
def test_a_file_that_excel_has_saved_is_one_of_them(client: Client, in_archive: bool) -> None:
    cells = ["Date", "Name", "Year", "Letterboxd URI"]
    book = xlsx_of(watched=[row(1, *cells), row(2, "2025-01-01", SHARED[0], 2001, "https://boxd.it/a")])
    if in_archive:
        told = send(client, zipped({"watched.xlsx": book, "ratings.csv": tables()["ratings.csv"]}))
        assert kinds(told)["watched.xlsx"] == ("watched", 1)
    else:
        told = send(client, book, "/api/uploads?name=watched.xlsx", content_type="application/octet-stream")
        assert told["kind"] == "watched"
    status(client, told)
    assert ("watched", "Zoë") in entries()


def test_an_excel_workbook_is_no_archive_of_files(client: Client) -> None:
    book = xlsx_of(tutors=[row(1, "tutor_id", "name"), row(2, "T-1", "Ada")])
    error = refusal(post(client, "/api/uploads?stream=tutors&name=tutors.xlsx", book, ZIP), 422)
    assert "lacks required columns of tutors" in error["message"]


def test_a_kind_that_the_name_does_not_tell_is_asked_for(client: Client) -> None:
    body = tables()["watched.csv"]
    for path, content, content_type in (
        ("/api/uploads", body, "text/csv"),
        ("/api/uploads?name=mine.csv&library=anna", body, "text/csv"),
        (PATH, zipped({"mine.csv": body, "diary.csv": tables()["diary.csv"]}), ZIP),
    ):
        error = refusal(post(client, path, content, content_type), 422)
        assert error["fields"] == {"kind": ["must be one of: watched, likes, watchlist"]}
        assert "watched, likes, watchlist" in error["message"]
        told = send(client, content, f"{path}{'&' if '?' in path else '?'}kind=likes", content_type=content_type)
        assert "likes" in (told["kind"], *(part["kind"] for part in told["parts"]))
    assert Upload.objects.filter(part_of=None).count() == 3


def test_a_kind_that_the_header_tells_is_not_asked_for(client: Client) -> None:
    for name, kind in (("ratings.csv", "ratings"), ("diary.csv", "diary"), ("reviews.csv", "reviews")):
        assert send(client, tables()[name], "/api/uploads?name=mine.csv", content_type="text/csv")["kind"] == kind


def test_a_name_that_the_header_contradicts_is_asked_about(client: Client) -> None:
    error = refusal(post(client, "/api/uploads?name=watched.csv", tables()["ratings.csv"], "text/csv"), 422)
    assert error["fields"] == {"kind": ["must be one of: watched, ratings"]}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("kind=nothing", "must be one of: watched, ratings"),
        ("kind=diary", "lacks Rating, Rewatch, Tags, Watched Date"),
        ("stream=tutors&kind=watched", "is not used"),
        ("stream=tutors&library=anna", "library is not used for tutors"),
    ],
)
def test_a_kind_or_field_that_does_not_fit_is_refused(client: Client, query: str, message: str) -> None:
    assert (
        message in refusal(post(client, f"/api/uploads?{query}", tables()["watched.csv"], "text/csv"), 422)["message"]
    )
    assert not Upload.objects.exists()


def test_a_file_that_is_not_imported_says_why(client: Client) -> None:
    error = refusal(post(client, "/api/uploads?name=profile.csv", LEFT_OUT["profile.csv"], "text/csv"), 422)
    assert error["message"] == "profile.csv is not imported: the profile is not imported."


def test_missing_columns_are_named(client: Client) -> None:
    files = tables() | {"watchlist.csv": b"Date,Name\n2025-01-01,A\n"}
    error = refusal(post(client, PATH, zipped(files), ZIP), 422)
    assert error["message"] == (
        "watchlist.csv is no watchlist file: it lacks Year, Letterboxd URI. Its header: “Date”, “Name”."
    )
    assert set(error["fields"]) == {"Year", "Letterboxd URI"}
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    "header",
    [
        "LetterboxdURI,Title,Year",
        "Title,Year,Directors,Rating10,WatchedDate,Rewatch,Tags,Review",
        "url,Rating",
        "Rating,tmdbID",
        "imdbID",
        "Year,Title,Note",
    ],
)
def test_the_import_format_is_known_by_any_of_its_columns(client: Client, header: str) -> None:
    cells = {"Title": "A", "Year": "2001", "tmdbID": "603", "imdbID": "tt0133093", "Rating10": "9", "Rating": "4.5"}
    cells |= {"LetterboxdURI": "https://boxd.it/a", "url": "https://boxd.it/a", "WatchedDate": "2025-01-01"}
    line = ",".join(cells.get(name, "") for name in header.split(","))
    told = send(client, f"{header}\n{line}\n".encode(), "/api/uploads?name=mine.csv", content_type="text/csv")
    assert (told["kind"], status(client, told)["inserted"]) == ("import", 1)
    assert Entry.objects.get().exported_on is None


def test_several_files_of_the_import_format_are_one_upload(client: Client) -> None:
    files = {f"part-{i}.csv": f"Title,Year\nA{i},2001\n".encode() for i in range(3)}
    [told] = client.post("/api/uploads", form(files)).json()["uploads"]
    assert kinds(told) == {f"part-{i}.csv": ("import", 1) for i in range(3)}


def test_two_exports_in_one_archive_are_refused(client: Client) -> None:
    files = {"a/watched.csv": tables()["watched.csv"], "b/watched.csv": table(HEADERS["watched.csv"], FILMS[:1])}
    error = refusal(post(client, PATH, zipped(files), ZIP), 422)
    assert "a/watched.csv and b/watched.csv are both watched files" in error["message"]


def test_the_same_file_twice_in_an_archive_counts_once(client: Client) -> None:
    files = {"watched.csv": tables()["watched.csv"], "watched (1).csv": tables()["watched.csv"]}
    told = send(client, zipped(files))
    assert list(kinds(told)) == ["watched.csv"]
    assert "watched (1).csv (the same file twice)" in told["file_warnings"][0]


def test_records_of_a_stream_beside_an_export_are_uploads_of_their_own(client: Client) -> None:
    entry = b'{"library": "anna", "kind": "watched", "title": "B", "year": 2002}\n'
    files = {"watched.csv": tables()["watched.csv"], "diary.csv": tables()["diary.csv"], "more.ndjson": entry}
    told = client.post("/api/uploads", form(files)).json()["uploads"]
    assert [(each["name"], len(each["parts"]), each["total"]) for each in told] == [
        ("more.ndjson", 0, 1),
        ("watched.csv and 1 more", 2, 4),
    ]


def test_a_file_of_records_may_leave_the_library_to_the_upload(client: Client) -> None:
    body = b'{"kind": "watched", "title": "A"}\n{"kind": "watched", "title": "B", "library": "anna"}\n'
    told = send(client, body, "/api/uploads?stream=entries&library=anna", content_type="application/x-ndjson")
    assert status(client, told)["inserted"] == 2
    body = b"kind,title,library\nwatched,C,\nwatched,D,anna\n"
    told = send(client, body, "/api/uploads?stream=entries&library=anna", content_type="text/csv")
    assert status(client, told)["inserted"] == 2
    of_anna = {("anna", title) for title in "ABCD"}
    assert set(Entry.objects.values_list("library", "title")) == of_anna


def test_a_file_of_records_may_name_no_other_library_than_the_upload(client: Client) -> None:
    body = b"kind,title,library\nwatched,C,\nwatched,D,ben\n"
    response = post(client, "/api/uploads?stream=entries&library=anna", body, "text/csv")
    assert "library" in refusal(response, 422)["fields"]
    assert not Entry.objects.exists()


# When it was made.


def test_a_name_tells_the_time_of_an_export_whose_archive_does_not(client: Client) -> None:
    body = zipped(tables(), datetime(1980, 1, 1))  # noqa: DTZ001
    told = send(client, body, "/api/uploads?name=letterboxd-anna-2025-03-01-18-30-utc.zip")
    status(client, told)
    assert set(Entry.objects.values_list("updated_at", flat=True)) == {datetime(2025, 3, 1, 18, 30, tzinfo=UTC)}


def test_without_any_time_it_is_that_of_arrival(client: Client) -> None:
    told = send(client, zipped(tables(), datetime(1980, 1, 1)))  # noqa: DTZ001
    status(client, told)
    [at] = {entry.updated_at or FIRST for entry in Entry.objects.all()}
    assert timezone.now() - timedelta(minutes=1) < at <= timezone.now()


def test_a_time_to_come_is_that_of_arrival(client: Client) -> None:
    told = send(client, zipped(tables(), datetime(2099, 1, 1)))  # noqa: DTZ001
    assert status(client, told)["dead"] == 0


def test_an_older_export_that_comes_later_changes_nothing(client: Client) -> None:
    new = zipped(tables({"watched.csv": [film("New", 2001, "a")]}), SECOND)
    old = zipped(tables({"watched.csv": [film("Old", 2001, "a")]}), FIRST)
    for body in (new, old):
        told = status(client, send(client, body, f"{PATH}&library=anna"))
    assert (told["stale"], Entry.objects.get().title) == (1, "New")


# The same again.


def test_the_same_set_again_is_answered_with_the_first(client: Client) -> None:
    body = zipped(tables())
    first = send(client, body)
    assert send(client, body, status=200)["id"] == first["id"]
    packed_anew = zipped(tables(), method=zipfile.ZIP_STORED)
    assert packed_anew != body and send(client, packed_anew, status=200)["id"] == first["id"]
    assert send(client, body, f"{PATH}&again=true")["id"] != first["id"]
    assert send(client, body, f"{PATH}&library=anna")["id"] != first["id"]
    assert send(api(), body)["id"] != first["id"]


def test_the_same_form_again_is_answered_with_the_first(client: Client) -> None:
    files = {name: content for name, content in tables().items() if "/" not in name}
    first = client.post("/api/uploads", form(files))
    second = client.post("/api/uploads", form(dict(reversed(files.items()))))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["uploads"][0]["id"] == second.json()["uploads"][0]["id"]


def test_equal_parts_are_no_conflict(client: Client) -> None:
    files = {path: table(HEADERS[path], FILMS) for path in ("watched.csv", "likes/films.csv", "watchlist.csv")}
    told = send(client, zipped(files))
    assert status(client, told)["inserted"] == 9


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("number", range(1, 5))
def test_an_interrupted_set_continues_with_what_it_has_given(
    client: Client, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """After every delivery once; what the first attempt has decided stays: the library, and the time of arrival."""
    monkeypatch.setattr(uploads, "DELIVERY_RECORDS", {"postgresql": 2, "sqlite": 2})
    body = zipped(tables(), datetime(1980, 1, 1))  # noqa: DTZ001
    store, left = uploads._store, number

    def interrupted(*args: Any) -> None:
        nonlocal left
        if left == 0:
            raise Interrupted
        left -= 1
        store(*args)

    monkeypatch.setattr(uploads, "_store", interrupted)
    for _ in range(2):
        left = number
        with pytest.raises(Interrupted):
            post(client, PATH, body, ZIP)
    monkeypatch.setattr(uploads, "_store", store)
    [begun] = client.get("/api/uploads").json()["results"]
    assert begun["status"] == "receiving" and 0 < begun["total"] < 12
    told = send(client, body)
    assert (told["id"], told["total"]) == (begun["id"], 12)
    assert len({name for name, _ in kinds(told).items()}) == 8
    told = status(client, told)
    assert (told["inserted"], told["status"], told["library"]) == (12, "enriching", begun["library"])
    assert len(set(Entry.objects.values_list("library", "updated_at", "exported_on"))) == 1


# Rejected rows.


def test_the_rejected_rows_of_a_set_are_one_file_that_can_be_uploaded_again(client: Client) -> None:
    files = FILES | {
        "ratings.csv": [film("=A", 2001, "a", Rating="4.4"), film("B", 2002, "b", Rating="4")],
        "diary.csv": [viewing("None", 2001, "d", "2025-13-01", Tags="one, two")],
    }
    told = send(client, zipped(tables(files)), f"{PATH}&library=anna")
    told = status(client, told)
    assert told["dead"] == 2
    rejected = streamed(client.get(told["errors_url"]))
    rows = read_csv(rejected)
    assert [(each["file"], each["row"], each["kind"], each["library"]) for each in rows] == [
        ("ratings.csv", "2", "ratings", "anna"),
        ("diary.csv", "2", "diary", "anna"),
    ]
    assert rows[0]["error"].startswith("rating: ") and rows[1]["tags"] == "one;two"
    fixed = rejected.replace(b",4.4,", b",4.5,").replace(b"2025-13-01", b"2025-12-01")
    again = send(client, fixed, "/api/uploads?name=rejected.csv", content_type="text/csv")
    assert (again["kind"], status(client, again)["inserted"]) == (None, 2)
    assert Entry.objects.get(rating=4.5, kind="ratings").title == "=A"
    assert Entry.objects.get(kind="diary", title="None").tags == ["one", "two"]
    assert not HeldRecord.objects.open().exists()
    part = client.get(f"/api/uploads/{told['parts'][1]['id']}").json()
    assert read_csv(streamed(client.get(part["errors_url"]))) == []


def test_a_set_is_previewed_part_by_part(client: Client) -> None:
    files = FILES | {"ratings.csv": [film("A", 2001, "a", Rating="4.4")]}
    response = post(client, f"{PATH}&dry_run=true", zipped(tables(files) | LEFT_OUT), ZIP)
    assert response.status_code == 200, response.content
    [found] = response.json()["uploads"]
    assert (found["format"], found["checked"], found["valid"], found["invalid"]) == ("set", 12, 11, 1)
    parts = {part["name"]: (part["kind"], part["checked"], part["invalid"]) for part in found["parts"]}
    assert parts["ratings.csv"] == ("ratings", 1, 1)
    assert parts["likes/films.csv"] == ("likes", 3, 0)
    assert "profile.csv" in found["file_warnings"][-1]
    assert not Upload.objects.exists() and not Delivery.objects.exists()


def test_an_export_may_only_be_sent_by_a_key_for_its_stream() -> None:
    client = api(new_key(streams=["tutors"]))
    refusal(post(client, PATH, zipped(tables()), ZIP), 403)
    assert not Upload.objects.exists()


def test_a_demo_export_is_read(client: Client) -> None:
    told = send(client, export_of(FILES))
    assert status(client, told)["inserted"] == 12


# The paths of an earlier API.


def test_clients_of_an_earlier_api_upload_and_poll(client: Client) -> None:
    keys = ["session_id", "status", "total_movies", "enriched_count", "progress_percent"]
    keys += ["created_at", "expires_at", "error_message"]
    response = client.post("/api/upload", form({"export.zip": zipped(tables())}))
    assert response.status_code == 201, response.content
    session = response.json()
    assert list(session) == keys and session["status"] == "enriching"
    finish()
    found = client.get(f"/api/session/{session['session_id']}/status").json()
    assert list(found) == keys
    assert (found["session_id"], found["status"], found["total_movies"]) == (session["session_id"], "enriching", 5)
    assert (found["enriched_count"], found["progress_percent"]) == (0, 10)
    link = client.get(f"/api/uploads/{session['session_id']}").json()["link"]
    assert link.startswith("http://testserver/uploads/")
    found = client.get(f"/api/session/{session['session_id']}/status").json()
    assert datetime.fromisoformat(found["expires_at"]) > timezone.now() + timedelta(days=29)
    again = client.post("/api/upload", form({"export.zip": zipped(tables())}))
    assert (again.status_code, again.json()["session_id"]) == (200, session["session_id"])
    refusal(api().get(f"/api/session/{session['session_id']}/status"), 404)
    refusal(client.get("/api/upload"), 405)


def test_a_session_counts_the_films_that_are_found(client: Client) -> None:
    session = client.post("/api/upload", form({"export.zip": zipped(tables())})).json()
    finish()
    LibraryFilm.objects.filter(title="The Matrix").update(match="found")
    LibraryFilm.objects.exclude(title="The Matrix").update(match="not_found")
    found = client.get(f"/api/session/{session['session_id']}/status").json()
    assert (found["status"], found["total_movies"], found["enriched_count"]) == ("completed", 5, 1)
    assert (found["progress_percent"], found["error_message"]) == (100, None)


def test_the_worker_has_its_earlier_name(client: Client) -> None:
    found = client.get("/worker/status").json()
    assert found == {"worker_status": "stopped", "running": False, "last_run": None, "next_run": None, "interval": 60}
    Doorbell.objects.update_or_create(defaults={"answered_at": timezone.now()})
    found = client.get("/worker/status").json()
    assert (found["worker_status"], found["running"]) == ("running", True)
    assert found["last_run"] <= found["next_run"]
    assert Client().get("/worker/status").status_code == 401
