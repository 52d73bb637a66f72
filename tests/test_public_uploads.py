"""The form for exports: who may use it, how much it takes, and where it leads."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ingestion import backlog
from ingestion.models import Delivery, Throttle, Upload
from movies.models import Entry, Library, LibraryFilm
from movies.pages import uploading
from movies.tests.exports import SECOND, archive, film, finish
from tests.people import browser_of, person, words_of
from tutormax import limits

pytestmark = pytest.mark.django_db(transaction=True)

HTML = {"accept": "text/html"}
EXPORT = archive({"watched.csv": [film("The Matrix", 1999, "2a1m"), film("Heat", 1995, "2b2n")]})


@pytest.fixture
def public(settings: Settings) -> None:
    settings.PUBLIC_UPLOADS = True


def zipped(content: bytes = EXPORT, name: str = "letterboxd.zip") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "application/zip")


def send(client: Client, *files: SimpleUploadedFile, **fields: str) -> Any:
    return client.post("/uploads", {"file": list(files), **fields}, headers=HTML)


def test_nobody_else_finds_the_form_or_fills_a_disk() -> None:
    viewer = browser_of(person("viewer"))
    for client in (Client(), viewer):
        for path in ("/uploads", "/uploads/"):
            assert client.get(path).status_code == 404
            assert client.post(path, {"file": zipped()}).status_code == 404
    large = zipped(b"x" * (limits.SMALL_BODY + 1))
    assert Client().post("/uploads", {"file": large}).status_code == 413
    assert (Upload.objects.count(), Throttle.objects.count()) == (0, 0)


def test_staff_upload_without_the_setting() -> None:
    client = browser_of(person("operator"))
    assert 'type="file"' in words_of(client.get("/uploads"))
    answer = send(client, zipped())
    library = Library.objects.get()
    assert answer["Location"] == reverse("library", args=[library.token])
    assert library.client == "user:operator"


@pytest.mark.usefixtures("public")
def test_everybody_is_led_from_the_file_to_their_films() -> None:
    client = Client()
    page = client.get("/uploads")
    assert page["X-Robots-Tag"] == "noindex, nofollow"
    assert "unsafe" not in page["Content-Security-Policy"]
    answer = send(client, zipped())
    assert answer.status_code == 302
    assert "letterboxd.zip: 0 of 2 lines read." in words_of(client.get(answer["Location"]))
    finish()
    text = words_of(client.get(answer["Location"]))
    assert "2</strong> still to look up" in text
    assert {row.title for row in LibraryFilm.objects.all()} == {"The Matrix", "Heat"}
    assert Library.objects.get().linked_at
    assert send(Client(), zipped())["Location"] == answer["Location"]  # the same file again
    assert Upload.objects.filter(part_of=None).count() == 1


@pytest.mark.usefixtures("public")
def test_single_files_of_an_export_do_too() -> None:
    diary = b"Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date\n2024-01-02,Heat,1995,,4.5,,,2024-01-01\n"
    first = send(Client(), SimpleUploadedFile("diary.csv", diary, "text/csv"))
    assert first.status_code == 302
    again = send(Client(), SimpleUploadedFile("diary.csv", diary, "text/csv"))
    assert again["Location"] == first["Location"]
    finish()
    assert Entry.objects.get().kind == "diary"


@pytest.mark.usefixtures("public")
def test_a_newer_export_goes_into_the_same_library() -> None:
    first = send(Client(), zipped())
    finish()
    library = Library.objects.get()
    assert f'name="to" value="{library.token}"' in words_of(Client().get("/uploads", {"to": library.token}))
    newer = archive({"watched.csv": [film("Heat", 1995, "2b2n"), film("Ran", 1985, "2c3p")]}, SECOND)
    assert send(Client(), zipped(newer, "newer.zip"), to=library.token)["Location"] == first["Location"]
    finish()
    assert Library.objects.count() == 1
    films = LibraryFilm.objects.filter(seen=True)
    assert {row.title for row in films} == {"Heat", "Ran"}
    assert Client().get("/uploads", {"to": "nobody's"}).status_code == 404
    assert send(Client(), zipped(), to="nobody's").status_code == 404


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("watched.csv", b"Date,Name,Year,Letterboxd URI\n" + b"0" * 50_000_000)
    return out.getvalue()


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([], "Choose a file first."),
        ([zipped(b"PK\x03\x04 broken")], "letterboxd.zip"),
        ([zipped(b"hello", "hello.txt")], "hello"),
        ([zipped(b"library,kind,title\nbob,watched,Heat\n", "entries.csv")], "entries.csv is no export of Letterboxd"),
        (
            [zipped(b"Bank,Amount\nA,1\n", "account.csv")],
            "account.csv is no export of Letterboxd. Choose the ZIP archive",
        ),
        ([zipped(b"Date,Name,Year,Letterboxd URI\n", "mine.csv")], "mine.csv is no export of Letterboxd"),
        ([zipped(EXPORT[:-30])], "letterboxd.zip"),
        ([zipped(bomb())], "watched.csv"),
        ([zipped(), zipped(archive({"watched.csv": [film("Ran", 1985, "2c3p")]}), "b.zip")], "one export at a time"),
    ],
)
def test_what_cannot_be_read_is_said(files: list[SimpleUploadedFile], word: str) -> None:
    for file in files:
        file.seek(0)
    answer = send(Client(), *files)
    text = words_of(answer, 422)
    assert word in text[text.index('role="alert"') :]
    assert "Fields:" not in text and "kind=" not in text
    assert (Upload.objects.count(), Library.objects.count(), Delivery.objects.count()) == (0, 0, 0)


@pytest.mark.usefixtures("public")
def test_an_older_export_says_that_it_changes_nothing() -> None:
    newer = archive({"watched.csv": [film("Heat", 1995, "2b2n")]}, SECOND)
    page = send(Client(), zipped(newer, "newer.zip"))["Location"]
    finish()
    assert "is older than" not in words_of(Client().get(page))
    token = Library.objects.get().token
    send(Client(), zipped(EXPORT, "older.zip"), to=token)
    says = "older.zip is older than the export that is shown: it changes nothing."
    text = words_of(Client().get(page))
    assert says in text
    assert "lines read" not in text
    finish()
    assert says in words_of(Client().get(page))
    assert {row.title for row in LibraryFilm.objects.filter(seen=True)} == {"Heat"}
    more = archive({"watched.csv": [film("Heat", 1995, "2b2n")], "watchlist.csv": [film("Ran", 1985, "2c3p")]})
    send(Client(), zipped(more, "more.zip"), to=token)
    finish()
    assert "is older than" not in words_of(Client().get(page))  # nothing newer has a watchlist
    assert LibraryFilm.objects.get(watchlist=True).title == "Ran"


@pytest.mark.usefixtures("public")
def test_it_takes_no_larger_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PUBLIC_BODY", 2_000)
    assert "At most 2.0" in words_of(send(Client(), zipped(b"x" * 3_000)), 413)
    elsewhere = Client().post("/admin/login/", {"file": zipped(b"x" * (limits.SMALL_BODY + 1))})
    assert elsewhere.status_code == 413
    monkeypatch.setattr(uploading, "MAX_UNPACKED", 100)
    assert "unpack" in words_of(send(Client(), zipped()), 422)


@pytest.mark.usefixtures("public")
def test_an_address_has_a_share_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUBLIC_BODIES", 3)
    here, there = Client(REMOTE_ADDR="192.0.2.1"), Client(REMOTE_ADDR="192.0.2.2")
    assert [send(here, zipped()).status_code for _ in range(4)] == [302, 302, 302, 429]
    assert send(there, zipped()).status_code == 302
    assert send(browser_of(person("operator")), zipped()).status_code == 302
    keys = list(Throttle.objects.values_list("key", flat=True))
    assert len(keys) == 2
    assert not any("192" in key for key in keys)


@pytest.mark.usefixtures("public")
def test_all_together_have_a_share_of_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "MAX_A_DAY", 10)
    assert send(Client(), zipped()).status_code == 302
    other = archive({"watched.csv": [film("Ran", 1985, "2c3p")]})
    assert "daily limit" in words_of(send(Client(), zipped(other)), 503)
    assert send(browser_of(person("operator")), zipped(other)).status_code == 302


@pytest.mark.usefixtures("public")
def test_a_full_queue_takes_nothing(settings: Settings) -> None:
    settings.MAX_PENDING_RECORDS = 1
    backlog.reset_cache()
    assert send(Client(), zipped()).status_code == 302
    backlog.reset_cache()
    other = archive({"watched.csv": [film("Ran", 1985, "2c3p")]})
    assert "pending" in words_of(send(Client(), zipped(other)), 503)
    backlog.reset_cache()


@pytest.mark.usefixtures("public")
def test_a_form_of_elsewhere_is_refused() -> None:
    assert send(Client(enforce_csrf_checks=True), zipped()).status_code == 403
    assert Upload.objects.count() == 0


def test_the_home_page_leads_to_the_form(settings: Settings) -> None:
    for is_public in (False, True):
        settings.PUBLIC_UPLOADS = is_public
        assert ("Upload your films" in words_of(Client().get("/", headers=HTML))) is is_public
