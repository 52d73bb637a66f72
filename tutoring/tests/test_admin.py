"""The admin's pages of stored records."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from console.stored.rows import RecordPaginator
from ingestion.streams import all_streams, get
from tests.people import browser_of, person
from tests.records import send
from tutoring.models import Feedback, Student, Subject, Tutor, TutoringSession
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db

MODELS = ["tutor", "student", "tutoringsession", "feedback"]
KEYS = dict(zip(MODELS, ["T-1001", "ST-2001", "S-3001", "F-4001"], strict=True))


@pytest.fixture
def records() -> None:
    send("tutors", tutor(), tutor(tutor_id="T-2", onboarding_date="2020-01-01"), tutor(tutor_id="T-3", age=99))
    send("students", student(), student(student_id="ST-2"))
    no_show: Any = {"no_show": True, "actual_start": None, "actual_end": None, "late_start_minutes": None}
    send(
        "sessions",
        session(),
        session(session_id="S-2", late_start_minutes=6),
        session(session_id="S-3", **no_show, engagement_score=0),
        session(session_id="S-4", tutor_id="T-2", scheduled_start="2025-03-05T22:00:00+05:30", actual_start=None),
    )
    send("feedback", feedback(), feedback(feedback_id="F-2", session_id="S-2", overall_rating=2, would_recommend=False))


def keys(client: Client, model: str, **query: Any) -> set[str]:
    """The keys of the rows that a list shows."""
    response = client.get(reverse(f"admin:tutoring_{model}_changelist"), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def page(client: Client, model: str, key: str = "") -> str:
    response = client.get(reverse(f"admin:tutoring_{model}_change", args=[key or KEYS[model]]))
    assert response.status_code == 200
    return response.content.decode()


@pytest.mark.parametrize("group", ["viewer", "operator", "administrator"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.usefixtures("records")
def test_everyone_reads_and_nobody_writes(group: str, model: str) -> None:
    client = browser_of(person(group))
    assert KEYS[model] in keys(client, model)
    text = page(client, model)
    assert 'name="_save"' not in text
    assert "<input type=" not in text.partition('id="content-main"')[2].replace('type="hidden"', "")
    assert client.post(reverse(f"admin:tutoring_{model}_change", args=[KEYS[model]]), {}).status_code == 403
    assert client.get(reverse(f"admin:tutoring_{model}_add")).status_code == 403


@pytest.mark.usefixtures("records")
def test_every_column_is_shown(administrator: Client) -> None:
    for stream, model in zip(map(get, ("tutors", "students", "sessions", "feedback")), MODELS, strict=True):
        text = page(administrator, model)
        for field in stream.model._meta.concrete_fields:
            if field.name not in ("warnings", "delivery", "position"):
                assert f"field-{field.name}" in text, field
        row = stream.model._default_manager.get(pk=KEYS[model])
        assert reverse("admin:ingestion_delivery_change", args=[row.delivery]) in text  # type: ignore[attr-defined]


def test_a_key_is_shown_as_it_was_sent(administrator: Client) -> None:
    key = 'Tutor_No. 1?<b>&"Ä'
    send("tutors", tutor(tutor_id=key))
    url = reverse("admin:tutoring_tutor_change", args=[quote(key)])
    assert f"<h1>{escape(f'Tutor {key}')}</h1>" in administrator.get(url).content.decode()
    response = administrator.get(reverse("admin:tutoring_tutor_changelist"))
    assert url in response.content.decode()
    assert "<b>" not in response.content.decode()


@pytest.mark.parametrize(
    ("model", "query", "found"),
    [
        ("tutor", {"experience_level__exact": "senior"}, {"T-1001", "T-2", "T-3"}),
        ("tutor", {"experience_level__exact": "junior"}, set()),
        ("tutor", {"is_new_tutor__exact": "0", "status__exact": "active"}, {"T-1001", "T-2", "T-3"}),
        ("tutor", {"is_active_today__exact": "1"}, set()),
        ("tutor", {"warnings": "some"}, {"T-3"}),
        ("tutor", {"warnings": "none"}, {"T-1001", "T-2"}),
        ("tutor", {"warnings": "other"}, set()),
        ("tutor", {"q": "T-1"}, {"T-1001"}),
        ("tutor", {"q": "1001"}, set()),
        ("student", {"is_stub__exact": "0"}, {"ST-2001", "ST-2"}),
        ("tutoringsession", {"is_late_start__exact": "1"}, {"S-2"}),
        ("tutoringsession", {"no_show__exact": "1"}, {"S-3"}),
        ("tutoringsession", {"time_of_day__exact": "night"}, {"S-4"}),
        ("tutoringsession", {"is_weekend__exact": "0"}, {"S-4"}),
        ("tutoringsession", {"month_of_year": "3"}, {"S-3001", "S-2", "S-3", "S-4"}),
        ("tutoringsession", {"month_of_year": "13"}, set()),
        ("tutoringsession", {"tutor_id": "T-2"}, {"S-4"}),
        ("tutoringsession", {"tutor_id": "T-\n"}, set()),
        ("tutoringsession", {"tutor_id": "T-1001", "no_show__exact": "1"}, {"S-3"}),
        ("tutoringsession", {"no_show__exact": "perhaps"}, set()),
        ("tutoringsession", {"warnings": "some"}, {"S-4"}),
        ("tutoringsession", {"q": "T-2"}, {"S-4"}),
        ("tutoringsession", {"q": "ST-2001", "no_show__exact": "1"}, {"S-3"}),
        ("tutoringsession", {"q": "S-3"}, {"S-3001", "S-3"}),
        ("feedback", {"is_poor__exact": "1"}, {"F-2"}),
        ("feedback", {"is_positive__exact": "1"}, {"F-4001"}),
        ("feedback", {"overall_rating": "2"}, {"F-2"}),
        ("feedback", {"overall_rating": "x"}, set()),
        ("feedback", {"session_id": "S-2"}, {"F-2"}),
        ("feedback", {"q": "S-3001"}, {"F-4001"}),
        ("feedback", {"has_text_feedback__exact": "0"}, set()),
    ],
)
@pytest.mark.usefixtures("records")
def test_lists_are_filtered_and_searched(
    administrator: Client, model: str, query: dict[str, str], found: set[str]
) -> None:
    assert keys(administrator, model, **query) == found


@pytest.mark.usefixtures("records")
def test_a_session_shows_its_start_in_the_offset_it_was_sent_with(administrator: Client) -> None:
    assert "2025-03-05 22:00:00 +05:30" in page(administrator, "tutoringsession", "S-4")
    response = administrator.get(reverse("admin:tutoring_tutoringsession_changelist"))
    assert "2025-03-01 15:00:00 -05:00" in response.content.decode()


@pytest.mark.parametrize("model", MODELS)
def test_a_list_costs_the_same_however_many_rows_it_has(administrator: Client, model: str) -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", session())
    send("feedback", feedback())

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            keys(administrator, model)
        return len(found)

    few = queries()
    stream = next(stream for stream in all_streams() if stream.model._meta.model_name == model)
    send(stream.name, *[{**stream.example, stream.key: f"more-{i}"} for i in range(20)])
    assert len(keys(administrator, model)) == 21
    assert queries() == few
    assert few <= 7


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("upcoming", {"tomorrow", "in an hour"}),
        ("today", {"an hour ago", "in an hour"}),
        ("7d", {"an hour ago", "six days ago"}),
        ("30d", {"an hour ago", "six days ago", "seven days ago"}),
        ("90d", {"an hour ago", "six days ago", "seven days ago", "sixty days ago"}),
        ("other", set()),
    ],
)
def test_sessions_are_listed_by_when_they_are(administrator: Client, value: str, found: set[str]) -> None:
    hours = {"tomorrow": 24, "in an hour": 1, "an hour ago": -1, "six days ago": -6 * 24, "seven days ago": -7 * 24}
    with time_machine.travel("2026-05-05T12:00:00Z", tick=False):
        send("tutors", tutor())
        send("students", student())
        for key, ahead in {**hours, "sixty days ago": -60 * 24}.items():
            start = timezone.now() + timedelta(hours=ahead)
            send("sessions", session(session_id=key, **only_scheduled(start)))
        assert keys(administrator, "tutoringsession", scheduled=value) == found


def only_scheduled(start: datetime) -> dict[str, Any]:
    ends: Any = dict.fromkeys(("actual_start", "actual_end", "created_at", "updated_at"))
    return {**ends, "scheduled_start": start.isoformat()}


def test_feedback_is_listed_by_when_it_was_submitted(administrator: Client) -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", session())
    now = timezone.now().isoformat()
    send("feedback", feedback(), feedback(feedback_id="F-new", submitted_at=now, created_at=now))
    assert keys(administrator, "feedback", submitted="30d") == {"F-new"}
    assert keys(administrator, "feedback") == {"F-new", "F-4001"}


def test_a_filtered_list_has_the_order_and_pages_of_the_whole(administrator: Client) -> None:
    send("tutors", tutor())
    send("students", student())
    days = [f"2025-{month:02}-{day:02}" for month in (1, 2, 3) for day in range(1, 26)]
    send("sessions", *[session(session_id=f"S {day}", **only_scheduled(parsed(day))) for day in days])

    def in_order(**query: Any) -> list[str]:
        response = administrator.get(reverse("admin:tutoring_tutoringsession_changelist"), query)
        return [row.pk for row in response.context["cl"].result_list]

    newest = [f"S {day}" for day in reversed(days)]
    for filters in ({}, {"tutor_id": "T-1001"}, {"q": "S 2025"}):
        assert in_order(**filters) == newest[:50]
        assert in_order(**filters, p=2) == newest[50:]
        assert in_order(**filters, all="") == newest
        assert in_order(**filters, o="5") == newest[:50]
    assert in_order(q="S 2025-02-03") == ["S 2025-02-03"]
    assert in_order(month_of_year="2") == newest[25:50]


@pytest.mark.parametrize("today", ["2026-12-05", "2026-01-01", "2026-01-31", "2026-11-23"])
def test_of_a_month_also_those_of_other_years_and_the_furthest_ahead_are_listed(
    administrator: Client, today: str
) -> None:
    with time_machine.travel(parsed(today), tick=False):
        administrator.force_login(User.objects.get())  # the session of the other day has ended
        send("tutors", tutor(onboarding_date="2020-01-01", created_at=None, updated_at=None))
        send("students", student(created_at=None, updated_at=None))
        ahead = parsed(today) + timedelta(days=30)
        times = {"ahead": ahead.astimezone(ZoneInfo("Etc/GMT+12")), "before": ahead.replace(year=ahead.year - 2)}
        for name, time in times.items():
            send("sessions", session(session_id=name, **only_scheduled(time)))
            assert name in keys(administrator, "tutoringsession", month_of_year=str(time.month))


def parsed(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T12:00:00+00:00")


@pytest.mark.parametrize("filters", [{}, {"tutor_id": "T-1001"}])
def test_of_many_the_first_are_listed(
    administrator: Client, monkeypatch: pytest.MonkeyPatch, filters: dict[str, str]
) -> None:
    monkeypatch.setattr(RecordPaginator, "max_rows", 60)
    send("tutors", tutor())
    send("students", student())
    send("sessions", *[session(session_id=f"S-{number:02}") for number in range(70)])
    url = reverse("admin:tutoring_tutoringsession_changelist")
    response = administrator.get(url, {**filters, "p": "2"})
    assert [row.pk for row in response.context["cl"].result_list] == [f"S-{number:02}" for number in range(19, 9, -1)]
    assert "The list ends after 60 rows" in response.content.decode()


def test_an_empty_list_says_what_to_do(administrator: Client) -> None:
    url = reverse("admin:tutoring_tutoringsession_changelist")
    assert "No sessions yet" in administrator.get(url).content.decode()
    text = administrator.get(url, {"q": "S-9"}).content.decode()
    assert "No sessions match" in text
    assert "/admin/enrichment/heldrecord/?stream=sessions" in text


@pytest.mark.usefixtures("records")
def test_a_list_notes_what_is_not_as_it_should_be(administrator: Client) -> None:
    text = administrator.get(reverse("admin:tutoring_tutoringsession_changelist")).content.decode()
    assert "6 min late</span>" in text
    assert "no-show</span>" in text
    assert "1 warning</span>" in text
    assert "icon-no" not in text


# One that nothing refers to may be deleted, by an administrator.


def delete(client: Client, model: str, key: str = "") -> int:
    url = reverse(f"admin:tutoring_{model}_delete", args=[key or KEYS[model]])
    status: int = client.post(url, {"post": "yes"}).status_code
    return status


@pytest.mark.usefixtures("records")
def test_an_administrator_deletes_what_nothing_refers_to(administrator: Client) -> None:
    assert "deletelink" in page(administrator, "feedback")
    assert delete(administrator, "feedback") == 302
    assert not Feedback.objects.filter(pk="F-4001").exists()
    assert delete(administrator, "tutoringsession") == 302
    assert delete(administrator, "tutor", "T-3") == 302
    assert delete(administrator, "student", "ST-2") == 302
    assert set(Tutor.objects.values_list("pk", flat=True)) == {"T-1001", "T-2"}


@pytest.mark.parametrize("model", ["tutor", "student", "tutoringsession"])
@pytest.mark.usefixtures("records")
def test_what_others_refer_to_stays(administrator: Client, model: str) -> None:
    assert "deletelink" not in page(administrator, model)
    assert delete(administrator, model) == 403
    assert TutoringSession.objects.filter(pk="S-3001").exists()


@pytest.mark.parametrize("group", ["viewer", "operator"])
@pytest.mark.usefixtures("records")
def test_others_delete_nothing(group: str) -> None:
    client = browser_of(person(group))
    assert "deletelink" not in page(client, "feedback")
    assert delete(client, "feedback") == 403


@pytest.mark.django_db(transaction=True)
def test_a_record_that_comes_to_be_referred_to_meanwhile_stays(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", session())
    # Looked before the session was stored.
    monkeypatch.setattr("console.stored.admin.is_referred_to", lambda row: False)
    monkeypatch.setattr("django.contrib.admin.options.get_deleted_objects", lambda *_: ([], {}, set(), []))
    assert delete(administrator, "tutor") == 302
    assert Tutor.objects.filter(pk="T-1001").exists()


# The catalogue.


def test_an_administrator_edits_the_catalogue(administrator: Client) -> None:
    assert administrator.post(reverse("admin:tutoring_subject_add"), {"name": "Alchemy"}).status_code == 302
    assert "Alchemy" in get("tutors").facts()["subjects"]
    subject = Subject.objects.get(name="Alchemy")
    administrator.post(reverse("admin:tutoring_subject_delete", args=[subject.pk]), {"post": "yes"})
    assert "Alchemy" not in get("tutors").facts()["subjects"]


def test_an_operator_reads_the_catalogue() -> None:
    client = browser_of(person("operator"))
    assert client.get(reverse("admin:tutoring_subject_changelist")).status_code == 200
    assert client.post(reverse("admin:tutoring_subject_add"), {"name": "Alchemy"}).status_code == 403


def test_a_stub_names_no_delivery(administrator: Client) -> None:
    stub = Student(student_id="ST-9", is_stub=True, version_at="1970-01-01T00:00:00Z", delivery=0, position=0)
    stub.stored_at = "2025-01-01T00:00:00Z"
    stub.save()
    assert "ingestion/delivery" not in page(administrator, "student", "ST-9").partition('id="content-main"')[2]
    assert keys(administrator, "student", is_stub__exact="1") == {"ST-9"}
