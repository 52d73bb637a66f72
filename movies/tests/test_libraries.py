"""Libraries as a whole: their links, their deletion, and when they expire."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from enrichment import retention
from enrichment.models import HeldRecord, RetentionRule
from ingestion.models import Delivery, Upload
from movies import libraries
from movies.models import Entry, Library, LibraryFilm, UploadFilm
from movies.tests.exports import archive, film, finish, send, upload_export
from tests.records import send as post

pytestmark = pytest.mark.django_db(transaction=True)


def entry(library: str, title: str = "Alien") -> dict[str, object]:
    return {"library": library, "kind": "watched", "title": title, "letterboxd_uri": f"https://boxd.it/{title}"}


def test_only_who_sent_the_first_record_gets_the_link() -> None:
    upload = upload_export({"watched.csv": [film("Alien", 1979, "a")]})
    link = libraries.link_of(upload)
    assert link == f"/uploads/{Library.objects.get().token}" == libraries.link_of(upload)
    upload.client = "key:other"
    assert libraries.link_of(upload) == ""


def test_a_link_is_there_before_the_first_record_is_stored() -> None:
    upload = send(archive({"watched.csv": [film("Alien", 1979, "a")]}))
    assert libraries.link_of(upload)
    finish()
    assert Library.objects.get().client == "test"


def test_deletion_leaves_nothing_of_a_library_and_nothing_else_goes() -> None:
    for name in ("anna", "ben"):
        upload_export({"watched.csv": [film("Alien", 1979, "a"), film("", 1979, "")]}, library=name)
        post("entries", entry(name, "Heat"))
    held = HeldRecord.objects.count()
    assert (held, Entry.objects.count()) == (2, 4)
    found = libraries.delete("anna")
    assert found["entries"] == 2
    assert set(Entry.objects.values_list("library", flat=True)) == {"ben"}
    assert set(LibraryFilm.objects.values_list("library", flat=True)) == {"ben"}
    assert [upload.given["library"] for upload in Upload.objects.filter(part_of=None)] == ["ben"]
    assert not Delivery.objects.filter(upload__given__library="anna").exists()
    assert HeldRecord.objects.count() == 1
    assert UploadFilm.objects.count() == 1
    assert [library.name for library in Library.objects.all()] == ["ben"]


def test_a_library_deleted_with_lines_pending_stays_deleted() -> None:
    send(archive({"watched.csv": [film("Alien", 1979, "a")]}))
    libraries.delete("anna")
    finish()
    assert not Library.objects.exists() and not Entry.objects.exists()


def test_a_library_goes_30_days_after_the_last_look_at_its_link() -> None:
    post("entries", entry("looked-at"), entry("forgotten"), entry("never-linked"))
    now = timezone.now()
    old = now - timedelta(days=30, minutes=1)
    Library.objects.exclude(name="never-linked").update(linked_at=old)
    Library.objects.update(last_seen_at=old)
    libraries.seen(Library.objects.get(name="looked-at"))
    run = retention.run_to_completion(retention.create_run(by="test"))
    assert run.deleted["libraries"] == 1
    assert set(Library.objects.values_list("name", flat=True)) == {"looked-at", "never-linked"}
    assert set(Entry.objects.values_list("library", flat=True)) == {"looked-at", "never-linked"}


def test_films_are_computed_again_when_retention_deletes_their_entries() -> None:
    post("entries", entry("anna", "Heat"), entry("anna", "Alien"), entry("ben", "Heat"))
    Entry.objects.filter(library="anna", title="Heat").update(version_at="2020-01-01T00:00:00Z")
    RetentionRule.objects.create(stream="entries", stored_days=30)
    run = retention.run_to_completion(retention.create_run(by="test"))
    assert run.deleted["stored entries"] == 1
    films = set(LibraryFilm.objects.values_list("library", "title"))
    assert films == {("anna", "Alien"), ("ben", "Heat")} == set(Entry.objects.values_list("library", "title"))


@pytest.mark.postgresql
def test_a_batch_waits_longer_for_a_library_than_for_a_row() -> None:
    Library.objects.create(name="anna", client="test")
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        libraries.lock(["anna"])
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone()[0] == "5s"
