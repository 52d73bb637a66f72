"""How many queries each page of the admin makes: a number that is known, and the same whatever there is to show."""

from __future__ import annotations

import math
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import Failure, Schedule, Success

from enrichment.lookups.models import LookupUpload
from enrichment.models import BulkAction, HeldRecord, Pruning
from ingestion.models import ApiKey, Delivery, Upload
from ingestion.subjects import suppression
from movies.tests import factories as films
from music.tests import factories as songs
from tests.admin_pages import Page, fetch, pages
from tests.held import hold, wait
from tests.lookups import ask, doubt, oracle, person_of, registered
from tests.people import browser_of, person
from tests.records import deliver, send
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db

NOW = timezone.now()

QUERIES = {
    "control": 15,
    "enrichment_dataaccess_change": 4,
    "enrichment_dataaccess_changelist": 4,
    "enrichment_dataaccess_history": 5,
    "enrichment_deadletter_change": 18,
    "enrichment_deadletter_changelist": 8,
    "enrichment_deadletter_changelist, discard all": 12,
    "enrichment_deadletter_changelist, discard selected": 12,
    "enrichment_deadletter_changelist, fix all": 12,
    "enrichment_deadletter_changelist, fix selected": 12,
    "enrichment_deadletter_changelist, reprocess all": 13,
    "enrichment_deadletter_changelist, reprocess selected": 13,
    "enrichment_deadletter_export": 8,
    "enrichment_deadletter_fix": 7,
    "enrichment_heldrecord_change": 20,
    "enrichment_heldrecord_changelist": 8,
    "enrichment_heldrecord_changelist, discard all": 12,
    "enrichment_heldrecord_changelist, discard selected": 12,
    "enrichment_heldrecord_changelist, fix all": 10,
    "enrichment_heldrecord_changelist, fix selected": 10,
    "enrichment_heldrecord_changelist, reprocess all": 13,
    "enrichment_heldrecord_changelist, reprocess selected": 13,
    "enrichment_heldrecord_export": 8,
    "enrichment_heldrecord_fix": 12,
    "enrichment_ambiguouslookup_change": 9,
    "enrichment_ambiguouslookup_changelist": 8,
    "enrichment_ambiguouslookup_changelist, accept all": 10,
    "enrichment_ambiguouslookup_changelist, accept selected": 10,
    "enrichment_ambiguouslookup_changelist, ask_again all": 10,
    "enrichment_ambiguouslookup_changelist, ask_again selected": 10,
    "enrichment_lookup_change": 9,
    "enrichment_lookup_changelist": 7,
    "enrichment_lookup_changelist, ask_again all": 10,
    "enrichment_lookup_changelist, ask_again selected": 10,
    "enrichment_providerstate_changelist": 11,
    "enrichment_erasure_changelist": 4,
    "enrichment_erasure_person": 2,
    "enrichment_pruning_change": 4,
    "enrichment_pruning_changelist": 52,
    "enrichment_pruning_history": 5,
    "enrichment_bulkaction_change": 10,
    "enrichment_bulkaction_changelist": 6,
    "enrichment_bulkaction_history": 6,
    "enrichment_waitingrecord_change": 20,
    "enrichment_waitingrecord_changelist": 7,
    "enrichment_waitingrecord_changelist, discard all": 12,
    "enrichment_waitingrecord_changelist, discard selected": 12,
    "enrichment_waitingrecord_changelist, fix all": 12,
    "enrichment_waitingrecord_changelist, fix selected": 12,
    "enrichment_waitingrecord_changelist, reprocess all": 13,
    "enrichment_waitingrecord_changelist, reprocess selected": 13,
    "enrichment_waitingrecord_export": 8,
    "enrichment_waitingrecord_fix": 12,
    "enrichment_waitingrecord_missing": 8,
    "find": 2,
    "find, a question": 21,
    "index": 38,
    "ingestion_apikey_add": 3,
    "ingestion_apikey_change": 7,
    "ingestion_apikey_changelist": 5,
    "ingestion_apikey_history": 5,
    "ingestion_apikey_replace": 3,
    "ingestion_apikey_revoke": 3,
    "ingestion_delivery_change": 4,
    "ingestion_delivery_changelist": 5,
    "ingestion_delivery_history": 5,
    "ingestion_pausedstream_changelist": 15,
    "ingestion_upload_add": 4,
    "ingestion_upload_change": 7,
    "ingestion_upload_changelist": 6,
    "ingestion_upload_history": 5,
    "ingestion_upload_rejected": 7,
    "movies_entry_change": 8,
    "movies_entry_changelist": 5,
    "movies_entry_delete": 3,
    "movies_film_change": 5,
    "movies_film_changelist": 4,
    "movies_film_history": 5,
    "movies_library_change": 4,
    "movies_library_changelist": 4,
    "movies_libraryfilm_change": 7,
    "movies_libraryfilm_changelist": 4,
    "music_album_change": 7,
    "music_album_changelist": 6,
    "music_area_change": 5,
    "music_area_changelist": 5,
    "music_artist_change": 12,
    "music_artist_changelist": 5,
    "music_listen_change": 9,
    "music_listen_changelist": 7,
    "music_listen_delete": 3,
    "music_listener_change": 4,
    "music_listener_changelist": 4,
    "music_listener_delete": 4,
    "music_listener_history": 5,
    "retention_now": 23,
    "retention_rules": 5,
    "tutoring_feedback_change": 9,
    "tutoring_feedback_changelist": 5,
    "tutoring_feedback_delete": 3,
    "tutoring_student_change": 16,
    "tutoring_student_changelist": 5,
    "tutoring_student_delete": 7,
    "tutoring_subject_add": 3,
    "tutoring_subject_change": 4,
    "tutoring_subject_changelist": 4,
    "tutoring_subject_changelist, delete_selected all": 5,
    "tutoring_subject_changelist, delete_selected selected": 5,
    "tutoring_subject_delete": 3,
    "tutoring_subject_history": 5,
    "tutoring_tutor_change": 14,
    "tutoring_tutor_changelist": 5,
    "tutoring_tutor_delete": 7,
    "tutoring_tutoringsession_change": 11,
    "tutoring_tutoringsession_changelist": 5,
}
ON_SQLITE = {"enrichment_pruning_changelist": 51}


def more_of_all(numbers: range) -> None:
    """One of each kind for each number: all of one tutor and student, whose pages have the more to show."""
    send("tutors", tutor(), *(tutor(tutor_id=f"U-{n}") for n in numbers))
    send("students", student(), *(student(student_id=f"SU-{n}") for n in numbers))
    send("sessions", *(session(session_id=f"S-{n}") for n in numbers))
    send("feedback", *(feedback(feedback_id=f"F-{n}", session_id=f"S-{n}") for n in numbers))
    for n in numbers:
        upload = Upload.objects.create(
            stream="tutors", client="user:root", name=f"{n}.csv", format="csv", size=1, sha256=f"{n}", finished_at=NOW
        )
        of_upload = Delivery.objects.create(
            stream="tutors", client="user:root", upload=upload, first_row=1, count=1, held=1, processed_at=NOW
        )
        dead, waiting = hold(key=f"U-{n}"), wait(missing_key=f"T-missing-{n}")
        HeldRecord.objects.filter(pk=dead.pk).update(delivery=of_upload)
        bulk_action = BulkAction.objects.create(
            kind="reprocess", filter={"ids": [dead.pk]}, by="user:root", total=1, count=1
        )
        sent_on = {"source": Delivery.Source.BULK_ACTION, "format": "held", "body": f"[{dead.pk}]".encode()}
        bulk_action.deliveries.add(
            Delivery.objects.create(stream="tutors", count=1, skipped=1, processed_at=NOW, **sent_on)
        )
        following = ask(kind="city", key=f"of {n}")
        lookup = doubt(*map(person_of, range(n % 5 + 1)), next=following)
        LookupUpload.objects.create(lookup=lookup, upload=upload)
        of_artist = songs.artist(f"Artist {n}", country_code="GB")
        songs.play(of_artist)
        songs.album(f"Album {n}", of_artist)
        songs.area(f"City {n}", country_code="GB")
        of_library = films.library_film(films.library(f"library {n}"), f"Film {n}")
        films.viewing(of_library, None)
        for thing in (dead, waiting, bulk_action, lookup, following, of_library.lookup):
            log(thing)
        ApiKey(name=f"key {n}").issue()
        Pruning.objects.create(by="schedule", before=NOW, finished_at=NOW, deleted={"deliveries": n})
        User.objects.create_user(f"user {n}", is_staff=True).groups.set(Group.objects.all())
        for model in (Success, Failure):
            model.objects.create(
                id=f"{model.__name__} {n}", func="f", started=NOW, stopped=NOW, success=model is Success
            )
        Schedule.objects.create(func="f", name=f"{n}", next_run=NOW)
        deliver("students", student(student_id=f"SU-{n}"))  # it stays pending


def log(thing: Any) -> None:
    LogEntry.objects.create(
        user=User.objects.get(username="root"),
        content_type=ContentType.objects.get_for_model(thing),
        object_id=str(thing.pk),
        object_repr=str(thing),
        action_flag=CHANGE,
        change_message="Looked at.",
    )


def counted(client: Client) -> dict[str, int]:
    """kind of page → queries of the first such page; what is left out are the filters and later pages of lists."""
    found: dict[str, int] = {}
    for page in pages(client, [Page("find, a question", "/admin/find/?q=U-1")]):
        of_others = page.kind.startswith(("auth_", "axes_", "django_q_"))
        is_part = page.kind.endswith(("filter", "filters", "search", "later page"))
        if not (page.kind in found or of_others or is_part):
            ContentType.objects.clear_cache()  # or whoever asks first has more
            number, status = queries_of(client, page)
            found |= {page.kind: number} if status == 200 else {}
    return found


def queries_of(client: Client, page: Page) -> tuple[int, int]:
    """(how many, the status of the answer)."""
    made = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        made.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        response = fetch(client, page)
        if response.streaming:
            list(response.streaming_content)
    return len(made), response.status_code


def test_each_page_makes_as_many_queries_whatever_there_is_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "_due", math.inf)  # whether anybody was erased is asked every few seconds
    client = browser_of(person(superuser=True))
    with registered(oracle()):
        more_of_all(range(5))
        few = counted(client)
        more_of_all(range(5, 50))
        assert counted(client) == few
    assert few == QUERIES | ({} if connection.vendor == "postgresql" else ON_SQLITE)
