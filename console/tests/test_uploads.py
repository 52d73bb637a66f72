"""Uploads in the admin: the list, one upload, the form and its preview."""

import gzip
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.models import Delivery, Upload
from tests.files import csv_of, streamed
from tests.held import valid
from tests.people import browser_of, person, text_of
from tests.records import stored, work_off

pytestmark = pytest.mark.django_db

LIST = "/admin/ingestion/upload/"
ADD = f"{LIST}add/"


def people(number: int, bad: int = 0) -> bytes:
    ages = [7] * bad + [30] * (number - bad)
    return csv_of([valid(tutor_id=f"T-{i}", age=age) for i, age in enumerate(ages)])


def send(client: Client, body: bytes, **fields: str) -> Any:
    file = SimpleUploadedFile("people.csv", body, "text/csv")
    return client.post(ADD, {"stream": "tutors", "file": file, **fields})


def uploaded(client: Client, number: int = 3, bad: int = 0) -> Upload:
    assert send(client, people(number, bad)).status_code == 302
    return Upload.objects.latest("pk")


def test_an_operator_uploads_a_file_and_sees_its_result(operator: Client) -> None:
    response = send(operator, people(3, bad=1))
    upload = Upload.objects.get()
    page = f"{LIST}{upload.pk}/change/"
    assert response["Location"] == page
    assert (upload.client, upload.name, LogEntry.objects.get().change_message) == (
        "user:operator",
        "people.csv",
        "Uploaded people.csv.",
    )
    text = text_of(operator.get(page))
    assert "processing" in text and 'data-refresh="3"' in text
    assert "waiting for a worker" in text
    Delivery.objects.update(inserted=1)
    text = text_of(operator.get(page))
    assert "no progress in the last minute" in text and "waiting for a worker" not in text
    Delivery.objects.update(inserted=0)
    work_off()
    text = text_of(operator.get(page))
    assert "completed" in text and "data-refresh" not in text
    assert f'href="/admin/enrichment/deadletter/?upload={upload.pk}">1<' in text
    assert "Download the 1 rejected row as CSV" in text


@pytest.mark.parametrize(
    ("bad", "status", "kind"),
    [(0, "completed", "processed"), (2, "completed, 2 rejected", "waiting"), (3, "completed, all rejected", "failing")],
)
def test_an_upload_with_rejected_rows_does_not_look_like_a_success(
    operator: Client, bad: int, status: str, kind: str
) -> None:
    upload = uploaded(operator, 3, bad)
    work_off()
    for page in (LIST, f"{LIST}{upload.pk}/change/"):
        text = text_of(operator.get(page))
        assert f'<span class="badge is-{kind}">{status}</span>' in text
        assert f'<progress class="is-{kind}"' in text


def test_an_upload_whose_rows_wait_says_so(operator: Client) -> None:
    file = SimpleUploadedFile("sessions.csv", csv_of([valid("sessions")]), "text/csv")
    operator.post(ADD, {"stream": "sessions", "file": file})
    work_off()
    assert '<span class="badge is-waiting">completed, 1 waiting</span>' in text_of(operator.get(LIST))


def test_the_rejected_rows_are_downloaded(operator: Client) -> None:
    upload = uploaded(operator, 3, bad=2)
    work_off()
    body = streamed(operator.get(f"{LIST}{upload.pk}/rejected/"))
    assert body.startswith("\ufeffrow,error,tutor_id".encode())
    assert body.count(b"\r\n") == 3
    assert send(operator, body.replace(b",7,", b",27,")).status_code == 302
    work_off()
    assert not HeldRecord.objects.open().exists()


def test_the_list_shows_progress_in_as_many_queries_however_long_it_is(
    operator: Client, django_assert_num_queries: Any
) -> None:
    for number in range(3, 6):
        uploaded(operator, number, bad=1)
        work_off()
    with django_assert_num_queries(8):
        text = text_of(operator.get(LIST))
    assert text.count("<progress") == 3
    assert re.findall(r'<td class="field-dead"><a href="[^"]*\?upload=\d+">(\d)</a>', text) == ["1", "1", "1"]
    assert "data-refresh" not in text
    uploaded(operator, 9)
    with django_assert_num_queries(8):
        assert "data-refresh" in text_of(operator.get(LIST))


def test_dead_letters_and_deliveries_are_filtered_by_upload(operator: Client) -> None:
    first, second = uploaded(operator, 3, bad=1), uploaded(operator, 4, bad=2)
    work_off()

    def found(page: str, upload: object) -> int:
        text = text_of(operator.get(page, {"upload": str(upload)}))
        return len(re.findall(r'<th class="field-\w+"><a', text))

    dead, deliveries = "/admin/enrichment/deadletter/", "/admin/ingestion/delivery/"
    assert [found(dead, each) for each in (first.pk, second.pk, 0, "x")] == [1, 2, 0, 0]
    assert [found(deliveries, each) for each in (first.pk, second.pk, 0, "x")] == [1, 1, 0, 0]
    delivery = Delivery.objects.get(upload=second)
    assert f"upload {second.pk}</a>" in text_of(operator.get(f"{deliveries}{delivery.pk}/change/"))


def test_a_rejected_file_says_why(operator: Client, settings: Settings) -> None:
    uploaded(operator)
    assert "was already imported as upload" in text_of(send(operator, people(3)))
    assert send(operator, people(3), again="on").status_code == 302
    assert "The file is empty" in text_of(send(operator, b""))
    assert "lacks required columns" in text_of(send(operator, b"tutor_id\nT-1"))
    settings.MAX_UPLOAD_BYTES = 10_000
    assert "10000 bytes" in text_of(send(operator, gzip.compress(people(400))))


def test_names_in_files_are_no_markup(operator: Client) -> None:
    body = csv_of([valid(age=7) | {"<b>column</b>": "<i>cell</i>"}])
    file = SimpleUploadedFile("<u>name</u>.csv", body, "text/csv")
    operator.post(ADD, {"stream": "tutors", "file": file})
    for page in (LIST, f"{LIST}{Upload.objects.get().pk}/change/"):
        text = text_of(operator.get(page))
        assert "<b>" not in text and "<u>" not in text


def test_a_viewer_sees_and_cannot_upload(viewer: Client, operator: Client) -> None:
    upload = uploaded(operator)
    assert "Upload a file" not in text_of(viewer.get(LIST))
    assert viewer.get(f"{LIST}{upload.pk}/change/").status_code == 200
    assert viewer.get(ADD).status_code == 403
    assert send(viewer, people(4)).status_code == 403
    assert Upload.objects.count() == 1


def test_who_has_no_right_sees_nothing(operator: Client) -> None:
    upload = uploaded(operator)
    nobody = browser_of(person())
    for page in (LIST, ADD, f"{LIST}{upload.pk}/change/", f"{LIST}{upload.pk}/rejected/"):
        assert nobody.get(page).status_code == 403
    assert operator.post(f"{LIST}{upload.pk}/change/").status_code == 403
    assert operator.get(f"{LIST}9999/rejected/").status_code == 404


def test_an_empty_list_says_what_to_do(operator: Client, viewer: Client) -> None:
    assert ">Upload one</a>, or use" in text_of(operator.get(LIST))
    assert "No uploads yet" in text_of(viewer.get(LIST))
    assert "No uploads match" in text_of(viewer.get(LIST, {"stream": "students"}))


def test_before_a_file_is_chosen_the_page_names_its_columns(operator: Client, viewer: Client) -> None:
    """And what is filled into the template is imported."""
    text = text_of(operator.get(ADD))
    for stream in streams.all_streams():
        part = text[text.index(f"<h3>{stream.name.capitalize()}</h3>") :]
        required = re.findall(r"<code>(\w+)</code>", part[: part.index("Download a template")])
        fields = stream.schema.model_fields
        assert required == [name for name, field in fields.items() if field.is_required()]
        link = f"{LIST}template/{stream.name}/"
        assert f'href="{link}"' in part
        template = operator.get(link)
        assert template["Content-Disposition"] == f'attachment; filename="{stream.name}-template.csv"'
        assert template.content.decode("utf-8-sig").strip().split(",") == [*fields]
        assert viewer.get(link).status_code == 403
    assert operator.get(f"{LIST}template/planets/").status_code == 404
    header = operator.get(f"{LIST}template/tutors/").content
    names = header.decode("utf-8-sig").strip().split(",")
    row = csv_of([{name: valid().get(name, "") for name in names}]).splitlines()[1]
    assert send(operator, header + row).status_code == 302
    work_off()
    assert stored("tutors", valid()["tutor_id"])


def test_warnings_and_ignored_columns_are_named(operator: Client) -> None:
    rows = [valid(tutor_id=f"T-{i}", subjects=subjects) for i, subjects in enumerate((["Alchemy"], ["Algebra"]))]
    send(operator, csv_of([{**row, "birthday": "1990-01-01"} for row in rows]))
    upload = Upload.objects.get()
    page = f"{LIST}{upload.pk}/change/"
    assert "With warnings" not in text_of(operator.get(page))  # not yet known
    work_off()
    text = " ".join(text_of(operator.get(page)).split())
    assert "Ignored, since tutors have no such field:</span> <code>birthday</code>" in text
    [(link, number)] = re.findall(r'<dt>With warnings</dt> <dd> <a href="([^"]+)">(\d+)</a>', text)
    listed = operator.get(link.replace("&amp;", "&")).context["cl"]
    assert int(number) == listed.result_count > 0
    send(operator, csv_of([valid(tutor_id="T-8", subjects=["Alchemy"])]))
    work_off()
    assert f">{number}</a>" in text_of(operator.get(page))  # of this upload alone
    assert operator.get(f"/admin/tutoring/tutor/?upload={upload.pk}").context["cl"].result_count == 2
    assert operator.get("/admin/tutoring/tutor/?upload=x").context["cl"].result_count == 0
