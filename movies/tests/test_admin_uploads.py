"""Exports of other systems in the admin: the form, the preview of a set of files, its page and the list."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from enrichment import previews
from ingestion.models import Delivery, Upload, UploadPreview
from movies.models import Entry
from movies.tests.exports import HEADERS as HEADER
from movies.tests.exports import archive, film, finish, table, viewing
from tests.files import read_csv, streamed
from tests.people import text_of

pytestmark = pytest.mark.django_db

LIST = "/admin/ingestion/upload/"
ADD = f"{LIST}add/"
FILES: dict[str, list[dict[str, Any]]] = {
    "watched.csv": [film("The Matrix", 1999, "m"), film("Alien", 1979, "a")],
    "ratings.csv": [film("The Matrix", 1999, "m", Rating="4.4")],
    "likes/films.csv": [],
}


def send(client: Client, *files: tuple[str, bytes], **fields: str) -> Any:
    return client.post(ADD, {"file": [SimpleUploadedFile(name, body) for name, body in files], **fields})


def export() -> tuple[str, bytes]:
    return "letterboxd.zip", archive(FILES)


def test_an_operator_uploads_an_export_and_sees_its_files(operator: Client) -> None:
    response = send(operator, export(), library="anna")
    upload = Upload.objects.get(part_of=None)
    page = f"{LIST}{upload.pk}/change/"
    assert response["Location"] == page
    assert LogEntry.objects.get().change_message == "Uploaded letterboxd.zip."
    finish()
    text = text_of(operator.get(page))
    for part in upload.parts.all():
        assert f'href="{LIST}{part.pk}/change/">{part.name}<' in text
    assert "completed" not in text or "1 rejected" in text
    assert "Download the 1 rejected row as CSV" in text and "anna" in text and "set of files" in text
    part = upload.parts.get(name="ratings.csv")
    text = text_of(operator.get(f"{LIST}{part.pk}/change/"))
    assert f"upload {upload.pk}</a>" in text and "ratings" in text
    rejected = read_csv(streamed(operator.get(f"{LIST}{upload.pk}/rejected/")).removeprefix("\ufeff".encode()))
    assert [row["file"] for row in rejected] == ["ratings.csv"]
    dead = text_of(operator.get("/admin/enrichment/deadletter/", {"upload": str(upload.pk)}))
    assert "rating" in dead and "No matches" not in dead
    deliveries = text_of(operator.get("/admin/ingestion/delivery/", {"upload": str(upload.pk)}))
    assert [f"/delivery/{each.pk}/change/" in deliveries for each in Delivery.objects.all()] == [True, True]


def test_the_files_of_a_set_are_renewed_until_it_is_completed(operator: Client) -> None:
    page = send(operator, ("letterboxd.zip", archive({"ratings.csv": FILES["ratings.csv"]})), library="anna")[
        "Location"
    ]
    assert re.findall(r'id="([^"]*)" data-refresh="3"', text_of(operator.get(page))) == [
        "upload-progress",
        "upload-parts",
    ]
    finish()
    assert "data-refresh" not in text_of(operator.get(page))


def test_the_list_shows_a_set_once(operator: Client, django_assert_max_num_queries: Any) -> None:
    for library in ("anna", "ben"):
        send(operator, export(), library=library)
    finish()
    with django_assert_max_num_queries(12):
        text = text_of(operator.get(LIST))
    assert text.count(">letterboxd.zip</a>") == 2 and "ratings.csv" not in text
    assert text.count("<progress") == 2


def test_an_export_is_previewed_before_it_is_uploaded(operator: Client) -> None:
    response = send(operator, export(), library="anna", _preview="1")
    preview = UploadPreview.objects.get(part_of=None)
    page = f"{LIST}preview/{preview.pk}/"
    assert response["Location"] == page
    assert 'data-refresh="2"' in text_of(operator.get(page))
    while previews.run_next_step():
        pass
    text = text_of(operator.get(page))
    assert "2 will be stored, 1 rejected" in text and "data-refresh" not in text
    for name, kind in (("watched.csv", "watched"), ("ratings.csv", "ratings"), ("likes/films.csv", "likes")):
        assert f'<th scope="row">{name}</th> <td>{kind}</td>' in " ".join(text.split())
    assert "must be a multiple of 0.5" in text
    assert not Upload.objects.exists() and not Delivery.objects.exists()
    response = operator.post(page, {"_upload": "1"})
    upload = Upload.objects.get(part_of=None)
    assert response["Location"] == f"{LIST}{upload.pk}/change/"
    assert not UploadPreview.objects.exists()
    assert (upload.given, upload.parts.count()) == ({"library": "anna"}, 3)
    finish()
    assert Entry.objects.filter(library="anna").count() == 2


def test_a_preview_says_what_is_left_out_and_can_be_discarded(operator: Client) -> None:
    files = [("watched.csv", table(HEADER["watched.csv"], FILES["watched.csv"])), ("profile.csv", b"a,b\n")]
    send(operator, *files, _preview="1")
    preview = UploadPreview.objects.get(part_of=None)
    text = text_of(operator.get(f"{LIST}preview/{preview.pk}/"))
    assert "profile.csv (the profile is not imported)" in text
    operator.post(f"{LIST}preview/{preview.pk}/", {"_discard": "1"})
    assert not UploadPreview.objects.exists()


def test_a_set_that_was_imported_before_is_shown(operator: Client) -> None:
    first = send(operator, export())["Location"]
    assert send(operator, export())["Location"] == first
    assert "Already imported: letterboxd.zip." in text_of(operator.get(first))
    send(operator, export(), again="on")
    assert Upload.objects.filter(part_of=None).count() == 2


def test_a_kind_that_a_file_does_not_tell_is_asked_for(operator: Client) -> None:
    mine = ("mine.csv", table(HEADER["watched.csv"], FILES["watched.csv"]))
    text = text_of(operator.get(ADD))
    assert '<select name="kind"' not in text
    for asked in ({}, {"_preview": "1"}):
        text = text_of(send(operator, mine, **asked))
        assert "mine.csv may be any of these kinds of file: watched, likes, watchlist." in text
        assert (
            '<select name="kind"' in text and '<option value="likes">' in text and '<option value="diary">' not in text
        )
    assert not Upload.objects.exists() and not UploadPreview.objects.exists()
    send(operator, mine, kind="likes", library="anna")
    assert Upload.objects.get().kind == "likes"


def test_a_single_exported_file_is_previewed_by_its_layout(operator: Client) -> None:
    diary = ("diary.csv", table(HEADER["diary.csv"], [viewing("Alien", 1979, "d", Tags="a, b")]))
    send(operator, diary, library="anna", _preview="1")
    preview = UploadPreview.objects.get()
    while previews.run_next_step():
        pass
    text = text_of(operator.get(f"{LIST}preview/{preview.pk}/"))
    assert "1 will be stored, 0 rejected" in text and "<select" not in text
    operator.post(f"{LIST}preview/{preview.pk}/", {"_upload": "1"})
    finish()
    assert Entry.objects.get().tags == ["a", "b"]


def test_a_library_that_is_no_identifier_is_refused(operator: Client) -> None:
    text = text_of(send(operator, export(), library="a/b"))
    assert "Library must be 1 to 64 printable characters" in text
    assert not Upload.objects.exists()
