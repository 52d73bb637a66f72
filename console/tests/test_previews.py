"""Previews in the admin: a chosen file is kept, mapped, checked by the workers, then uploaded or discarded."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from enrichment import previews
from enrichment.models import HeldRecord
from enrichment.sweep import sweep
from enrichment.tasks import drain
from ingestion.models import ColumnMapping, Delivery, PreviewChunk, PreviewPart, Upload, UploadPreview
from tests.files import csv_of, ndjson_of
from tests.held import valid
from tests.people import browser_of, person, text_of
from tests.records import stored, work_off

pytestmark = pytest.mark.django_db

ADD = "/admin/ingestion/upload/add/"
FORGET = "/admin/ingestion/upload/forget/"


def choose(browser: Client, body: bytes, stream: str = "tutors", name: str = "people.csv", **fields: str) -> Any:
    return browser.post(ADD, {"stream": stream, "file": SimpleUploadedFile(name, body), "_preview": "1", **fields})


def previewed(browser: Client, body: bytes, stream: str = "tutors", name: str = "people.csv") -> str:
    """The address of its preview."""
    response = choose(browser, body, stream, name)
    assert response.status_code == 302, text_of(response)
    return str(response["Location"])


def check() -> None:
    """What the workers do, however slow they are."""
    drain()
    while UploadPreview.objects.filter(finished_at=None).exists():
        drain()


def words_of(response: Any) -> str:
    return " ".join(re.sub("<[^>]+>", " ", text_of(response)).split())


def people(number: int, bad: int = 0) -> bytes:
    return csv_of([valid(tutor_id=f"T-{i}", age=7 if i < bad else 30) for i in range(number)])


def test_all_rows_are_checked_by_the_workers_and_then_uploaded(operator: Client) -> None:
    page = previewed(operator, people(5000, bad=300))
    assert "already imported" not in words_of(operator.get(page)).replace("even if already imported", "")
    assert not Upload.objects.exists()
    text = text_of(operator.get(page))
    assert 'data-refresh="2"' in text and "0 of 5,000 rows checked" in text
    assert "T-19" in text and "must be at least 18; got 7" in text  # the first rows, at once
    check()
    text = text_of(operator.get(page))
    assert "data-refresh" not in text
    words = words_of(operator.get(page))
    assert "4,700 will be stored, 300 rejected" in words
    assert re.search(r"300 age must be at least 18 row 2: 7 , row 3: 7 , row 4: 7 , row 5: 7 , row 6: 7 …", words)
    response = operator.post(page, {"_upload": "1"})
    upload = Upload.objects.get()
    assert response["Location"] == f"/admin/ingestion/upload/{upload.pk}/change/"
    assert (upload.client, upload.name) == ("user:operator", "people.csv")
    for model in (UploadPreview, PreviewPart, PreviewChunk):
        assert not model.objects.exists()
    assert operator.get(page).status_code == 404
    work_off()
    assert HeldRecord.objects.dead().count() == 300


def test_a_step_is_all_or_nothing_and_another_worker_goes_on(operator: Client, monkeypatch: Any) -> None:
    """As after a crash in the middle: what a step has checked is counted once."""
    monkeypatch.setattr(previews, "STEP_SECONDS", dict.fromkeys(previews.STEP_SECONDS, 0.0))
    page = previewed(operator, people(9000, bad=5))
    assert previews.run_next_step()
    assert "2,000 of 9,000 rows checked" in words_of(operator.get(page))

    def die(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(UploadPreview, "save", die)
        with pytest.raises(KeyboardInterrupt):
            previews.run_next_step()
    while previews.run_next_step():
        pass
    assert "8,995 will be stored, 5 rejected" in words_of(operator.get(page))


def test_an_error_of_the_check_is_said_and_the_file_can_be_uploaded(operator: Client, monkeypatch: Any) -> None:
    page = previewed(operator, people(3))
    monkeypatch.setattr("enrichment.previews.Checker", None)
    check()
    text = text_of(operator.get(page))
    assert "The check failed (TypeError)" in text and "data-refresh" not in text
    assert operator.post(page, {"_upload": "1"}).status_code == 302


def test_without_workers_the_page_says_so_and_the_file_can_be_uploaded(operator: Client) -> None:
    page = previewed(operator, people(3))
    assert "No workers running , so the rows are not being checked" in words_of(operator.get(page))
    assert operator.post(page, {"_upload": "1"}).status_code == 302
    work_off()
    assert stored("tutors", "T-2")


def test_missing_records_are_counted(operator: Client) -> None:
    page = previewed(operator, csv_of([valid("sessions")]), "sessions")
    check()
    words = words_of(operator.get(page))
    assert "0 will be stored, 0 rejected , 1 waiting for a missing record" in words
    assert "tutor_id tutor does not exist (yet)" in words and "student_id student does not exist (yet)" in words


@pytest.mark.parametrize("name", ["people.ndjson", "people.json"])
def test_files_without_columns_are_checked_too(operator: Client, name: str) -> None:
    rows = [valid(tutor_id="T-1"), valid(tutor_id="T-2", age=7)]
    body = ndjson_of(rows) if name.endswith("ndjson") else b"[" + b",".join(ndjson_of(rows).splitlines()) + b"]"
    page = previewed(operator, body, name=name)
    check()
    words = words_of(operator.get(page))
    assert "1 will be stored, 1 rejected" in words and "Column mapping" not in words
    assert operator.post(page, {"_upload": "1"}).status_code == 302


def test_what_stored_records_would_lose_is_said_and_decided(operator: Client) -> None:
    choose(operator, csv_of([valid(tutor_id="T-1", location="Bern")]), _preview="")
    operator.post(ADD, {"stream": "tutors", "file": SimpleUploadedFile("a.csv", csv_of([valid(location="Bern")]))})
    work_off()
    row = valid(updated_at="2025-06-01T00:00:00Z")
    row.pop("location", None)
    page = previewed(operator, csv_of([row]))
    check()
    assert "1 stored record would lose location" in words_of(operator.get(page))
    refused = operator.post(page, {"_upload": "1"})
    assert refused.status_code == 200 and "Tick to clear them" in text_of(refused)
    assert UploadPreview.objects.exists()
    assert operator.post(page, {"_upload": "1", "clear_missing": "on"}).status_code == 302


def test_a_file_that_was_imported_already_is_decided_on_its_preview(operator: Client) -> None:
    operator.post(ADD, {"stream": "tutors", "file": SimpleUploadedFile("a.csv", people(3))})
    page = previewed(operator, people(3))
    assert "This file was already imported as upload" in words_of(operator.get(page))
    assert "Tick to import it again" in text_of(operator.post(page, {"_upload": "1"}))
    assert operator.post(page, {"_upload": "1", "again": "on"}).status_code == 302


def test_an_unreadable_file_is_refused_on_the_form(operator: Client) -> None:
    assert "UTF-32" in text_of(choose(operator, b"\xff\xfe\0\0"))
    assert "This field is required" in text_of(operator.post(ADD, {"stream": "tutors", "_preview": "1"}))
    assert not UploadPreview.objects.exists()


def test_names_in_files_are_no_markup(operator: Client) -> None:
    body = csv_of([valid(age=7) | {"<b>column</b>": "<i>cell</i>", "Ag": "<u>1</u>"}])
    page = previewed(operator, body, name="<u>name</u>.csv")
    check()
    text = text_of(operator.get(page))
    assert not re.search("<[bui]>", text)
    assert "<u>" not in text_of(operator.get(ADD))


# Mapping.


GERMAN = csv_of(
    [
        {
            "Nr": f"T-{i}",
            "Name": "Ada",
            "Mail": "a@example.org",
            "subject": "Algebra",
            "Beginn": "2024-05-01",
            "Alter": 30,
        }
        for i in range(3)
    ]
)
MAPPING = {"column-0": "tutor_id", "column-4": "onboarding_date", "column-5": "age"}


def test_columns_are_mapped_by_choice_and_remembered(operator: Client) -> None:
    page = previewed(operator, GERMAN)
    text = text_of(operator.get(page))
    assert "Cannot import: required columns" in text and 'name="_upload"' not in text
    assert "Did you mean <code>email</code>?" in text and "Did you mean <code>subjects</code>?" in text
    assert not re.search("<option[^>]*selected", text)  # nothing is taken
    response = operator.post(page, {**MAPPING, "_suggested": "1"})
    other = response["Location"]
    assert other != page and operator.get(page).status_code == 404
    check()
    assert "3 will be stored, 0 rejected" in words_of(operator.get(other))
    assert "“Nr” to tutor_id" in text_of(operator.get(other))
    assert operator.post(other, {"_upload": "1"}).status_code == 302
    work_off()
    upload = Upload.objects.get()
    assert upload.reading["mapped_columns"] == {
        "Nr": "tutor_id",
        "Mail": "email",
        "subject": "subjects",
        "Beginn": "onboarding_date",
        "Alter": "age",
    }
    tutor: Any = stored("tutors", "T-2")
    assert (tutor.age, tutor.email) == (30, "a@example.org")

    # The next file with these columns needs no choice, and says so.
    page = previewed(operator, GERMAN.replace(b"T-", b"U-"))
    text = text_of(operator.get(page))
    assert text.count("mapped by you") == 5 and "“Nr” to tutor_id" in text
    operator.post(ADD, {"stream": "tutors", "file": SimpleUploadedFile("b.csv", GERMAN.replace(b"T-", b"V-"))})
    work_off()
    assert stored("tutors", "V-0")


def test_the_record_type_is_recognised_by_remembered_columns(operator: Client) -> None:
    """As with the rejected rows of a file whose columns have once been mapped."""
    body = people(2, bad=1).replace(b"name", b"Full name", 1)
    words = words_of(choose(operator, body, stream=""))
    assert "people.csv does not tell what its records are: for tutors it lacks name. Choose the record type" in words
    ColumnMapping.objects.create(client="user:operator", stream="tutors", column="Full name", field="name")
    page = previewed(operator, b"row,error," + body.replace(b"\r\nT-", b"\r\n1,,T-"), stream="")
    check()
    assert "1 will be stored, 1 rejected" in words_of(operator.get(page))


def test_a_mapping_is_taken_back_on_the_preview(operator: Client) -> None:
    page = previewed(operator, GERMAN)
    page = operator.post(page, {**MAPPING, "_map": "1"})["Location"]
    page = operator.post(page, {**MAPPING, "column-5": "", "_map": "1"})["Location"]
    kept = dict(ColumnMapping.objects.values_list("column", "field"))
    assert kept == {"Nr": "tutor_id", "Beginn": "onboarding_date"}
    assert "(3 ignored)" in text_of(operator.get(page))


def test_a_mapping_is_forgotten_on_the_upload_page(operator: Client) -> None:
    operator.post(previewed(operator, GERMAN), {**MAPPING, "_map": "1"})
    text = text_of(operator.get(ADD))
    assert "tutors: Nr → <code>tutor_id</code>" in text
    pk = ColumnMapping.objects.get(column="Nr").pk
    assert operator.post(FORGET, {"mapping": str(pk)})["Location"] == ADD
    for other in ("x", "9" * 5000):
        assert operator.post(FORGET, {"mapping": other}).status_code == 302
    assert operator.get(FORGET).status_code == 403
    assert sorted(ColumnMapping.objects.values_list("column", flat=True)) == ["Alter", "Beginn"]


def test_two_columns_for_one_field_are_not_both_mapped(operator: Client) -> None:
    page = previewed(operator, GERMAN)
    page = operator.post(page, {**MAPPING, "column-2": "age", "_map": "1"})["Location"]
    assert UploadPreview.objects.get().mapping == {"Nr": "tutor_id", "Beginn": "onboarding_date", "Mail": "age"}
    assert "mapped by you" in text_of(operator.get(page))


def test_what_is_no_field_is_not_mapped(operator: Client) -> None:
    page = previewed(operator, GERMAN)
    operator.post(page, {"column-0": "planet", "_map": "1"})
    assert UploadPreview.objects.get().mapping == {} and not ColumnMapping.objects.exists()


def test_mappings_are_each_persons_own(operator: Client) -> None:
    operator.post(previewed(operator, GERMAN), {**MAPPING, "_map": "1"})
    other = browser_of(person("operator", "viewer"))
    assert "Nr →" not in text_of(other.get(ADD))
    assert "mapped by you" not in text_of(other.get(previewed(other, GERMAN)))
    other.post(FORGET, {"mapping": str(ColumnMapping.objects.get(column="Nr").pk)})
    assert ColumnMapping.objects.filter(column="Nr").exists()


# Whose they are, and how long.


def test_a_preview_is_seen_by_its_owner_alone(operator: Client, viewer: Client) -> None:
    page = previewed(operator, people(3))
    other = browser_of(person("operator", "viewer"))
    assert other.get(page).status_code == 404 and other.post(page, {"_upload": "1"}).status_code == 404
    assert viewer.get(page).status_code == 403
    assert operator.get("/admin/ingestion/upload/preview/999/").status_code == 404
    assert page in text_of(operator.get(ADD)) and page not in text_of(other.get(ADD))


def test_a_preview_is_discarded(operator: Client) -> None:
    page = previewed(operator, people(3))
    assert operator.post(page, {"_discard": "1"})["Location"] == ADD
    assert not PreviewPart.objects.exists() and not Delivery.objects.exists()


def test_previews_expire(operator: Client) -> None:
    page = previewed(operator, people(3))
    UploadPreview.objects.update(created_at=timezone.now() - previews.LIFETIME + timedelta(minutes=1))
    sweep()
    assert operator.get(page).status_code == 200
    UploadPreview.objects.update(created_at=timezone.now() - previews.LIFETIME - timedelta(minutes=1), ready_at=None)
    sweep()
    for model in (UploadPreview, PreviewPart, PreviewChunk):
        assert not model.objects.exists()


def test_a_persons_oldest_preview_makes_room(operator: Client) -> None:
    pages = [previewed(operator, people(3 + i)) for i in range(previews.MAX_FILES + 2)]
    assert [operator.get(page).status_code for page in pages] == [404] * 2 + [200] * previews.MAX_FILES


def test_the_bytes_of_previews_are_bounded(operator: Client, settings: Settings) -> None:
    body = people(10)
    settings.MAX_PREVIEW_BYTES = 3 * len(body)
    first = previewed(operator, body)
    second = previewed(operator, body.replace(b"T-", b"U-"))  # the first makes room
    assert [operator.get(page).status_code for page in (first, second)] == [404, 200]
    groups: list[list[str]] = [[], ["viewer"], ["viewer", "operator"]]
    others = [browser_of(person("administrator", *more)) for more in groups]
    assert [choose(other, body).status_code for other in others[:2]] == [302, 302]
    text = text_of(choose(others[2], body))
    assert "Too many files are being previewed at the moment." in text and "T-1" in text
    text = text_of(choose(operator, people(30)))
    assert "is too large for a preview of all rows" in text and "choose the file again" in text
    assert UploadPreview.objects.count() == 3
