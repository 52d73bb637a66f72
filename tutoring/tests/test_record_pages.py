"""The pages of one stored record: its numbers, what belongs to it, where it came from, and its refresh."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console.stored import weekly
from enrichment.held.fixing import fix
from enrichment.models import HeldRecord
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from tests.held import hold, reprocess, wait
from tests.people import browser_of, person, text_of
from tests.records import send, work_off
from tutoring import statistics
from tutoring.admin import TutorAdmin
from tutoring.models import Feedback, Student, Tutor, TutoringSession
from tutoring.streams import TUTORS
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db

TUTOR = "/admin/tutoring/tutor/T-1001/change/"
STUDENT = "/admin/tutoring/student/ST-2001/change/"
SESSION = "/admin/tutoring/tutoringsession/S-3001/change/"
FEEDBACK = "/admin/tutoring/feedback/F-4001/change/"
PAGES = [TUTOR, STUDENT, SESSION, FEEDBACK]
MONDAY = datetime(2025, 3, 3, 12, tzinfo=UTC)


@pytest.fixture
def records() -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", session())
    send("feedback", feedback())


def held_on(day: datetime, key: str, **changes: Any) -> dict[str, Any]:
    """A session of 50 minutes on that day."""
    return session(
        session_id=key,
        scheduled_start=day.isoformat(),
        actual_start=day.isoformat(),
        actual_end=(day + timedelta(minutes=50)).isoformat(),
        late_start_minutes=changes.pop("late", 0),
        **changes,
    )


def missed_on(day: datetime, key: str) -> dict[str, Any]:
    gone: Any = {"no_show": True, "actual_start": None, "actual_end": None, "late_start_minutes": None}
    return session(session_id=key, scheduled_start=day.isoformat(), **gone, engagement_score=0)


def rated_on(day: datetime, key: str, rating: int, **changes: Any) -> dict[str, Any]:
    at = day.isoformat()
    return feedback(feedback_id=key, submitted_at=at, created_at=at, overall_rating=rating, **changes)


def plain_text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def charts(text: str) -> dict[str, list[list[str]]]:
    """title → the rows of its table."""
    found = {}
    for figure in re.findall(r'<figure class="chart">(.*?)</figure>', text, re.DOTALL):
        title = re.search(r"<figcaption>([^<]*)", figure)
        assert title
        rows = re.findall(r"<tr>(.*?)</tr>", figure)
        found[title[1].strip()] = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in rows]
    return found


# A tutor.


@pytest.fixture
def weeks() -> None:
    """Three weeks of a tutor, the second without a session."""
    send("tutors", tutor())
    send("students", student())
    later = MONDAY + timedelta(weeks=2)
    send(
        "sessions",
        held_on(MONDAY, "S-1"),
        held_on(MONDAY + timedelta(days=6), "S-2", late=9, tutor_initiated_reschedule=True),
        missed_on(MONDAY, "S-3"),
        held_on(later, "S-4"),
    )
    send(
        "feedback",
        rated_on(MONDAY, "F-1", 5, session_id="S-1", free_text_feedback="<b>Good</b> \u202eevil"),
        rated_on(MONDAY, "F-2", 2, session_id="S-2", free_text_feedback="Not at all good."),
        rated_on(later, "F-3", 3, session_id="S-4", free_text_feedback=" "),
    )


@pytest.mark.usefixtures("weeks")
def test_a_tutors_numbers(viewer: Client) -> None:
    text = plain_text(text_of(viewer.get(TUTOR)))
    for told in (
        "4 sessions 0 upcoming",
        "2.5 hours taught",
        "33.3 % late 1 of 3",
        "25 % no-show 1 of 4",
        "1 rescheduled by the tutor 25 % of sessions",
        "3.33 average rating 3 entries, 1 poor",
    ):
        assert told in text, told


@pytest.mark.usefixtures("weeks")
def test_a_tutors_weeks_as_charts(viewer: Client) -> None:
    found = charts(text_of(viewer.get(TUTOR)))
    assert found["Sessions per week"] == [
        ["Time", "on time", "late", "no-show"],
        ["2025-03-03", "1", "1", "1"],
        ["2025-03-10", "0", "0", "0"],
        ["2025-03-17", "1", "0", "0"],
    ]
    assert found["Hours per week"][1:] == [
        ["2025-03-03", "1.7 h"],
        ["2025-03-10", "0 h"],
        ["2025-03-17", "0.8 h"],
    ]
    assert found["Late and no-show"][1:] == [
        ["2025-03-03", "50 %", "33.3 %"],
        ["2025-03-10", "–", "–"],
        ["2025-03-17", "0 %", "0 %"],
    ]
    assert found["Rescheduled by the tutor"][1] == ["2025-03-03", "1"]
    assert found["Average rating"][1:] == [["2025-03-03", "3.5"], ["2025-03-10", "–"], ["2025-03-17", "3"]]
    assert found["Feedback per week"][1] == ["2025-03-03", "1", "0", "1"]


@pytest.mark.usefixtures("weeks")
def test_a_tutors_last_texts_are_shown_harmless(operator: Client) -> None:
    text = text_of(operator.get(TUTOR))
    assert "&lt;b&gt;Good&lt;/b&gt; \\u202eevil" in text
    assert "Not at all good." in text
    assert "F-3" not in text  # it says nothing


@pytest.mark.usefixtures("weeks")
def test_each_number_of_a_tutor_leads_to_its_rows(viewer: Client) -> None:
    text = text_of(viewer.get(TUTOR))
    links = re.findall(r'<li>\s*<a href="([^"]*)"><strong>[^<]*</strong> ([^<]*)</a>', text)
    found = {}
    for link, name in links:
        listed = text_of(viewer.get(link.replace("&amp;", "&")))
        found[name] = set(re.findall(r'<th class="field-\w+_id"><a [^>]*>([^<]*)</a>', listed))
    assert found == {
        "sessions": {"S-1", "S-2", "S-3", "S-4"},
        "hours taught": {"S-1", "S-2", "S-4"},
        "late": {"S-2"},
        "no-show": {"S-3"},
        "rescheduled by the tutor": {"S-2"},
        "average rating": {"F-1", "F-2", "F-3"},
    }


@pytest.mark.usefixtures("weeks")
def test_who_may_see_tutors_alone_finds_no_dead_links() -> None:
    user = person()
    user.user_permissions.add(Permission.objects.get(codename="view_tutor"))
    text = text_of(browser_of(user).get(TUTOR))
    assert "33.3 %" in text
    assert not re.findall(r'href="/admin/(?:tutoring/(?!tutor/|")|ingestion|enrichment)', text)


def test_a_tutor_without_sessions(viewer: Client) -> None:
    send("tutors", tutor())
    text = text_of(viewer.get(TUTOR))
    for told in ("No sessions yet.", "No feedback yet.", "No comments yet."):
        assert told in text
    assert "<figure" in text and "<svg" not in text.partition("<figure")[2].partition("</main>")[0]


def test_what_lies_ahead_is_no_part_of_the_numbers() -> None:
    send("tutors", tutor())
    send("students", student())
    ahead = (timezone.now() + timedelta(days=9)).isoformat()
    send(
        "sessions",
        held_on(MONDAY, "S-1"),
        session(session_id="S-2", scheduled_start=ahead, actual_start=None, actual_end=None),
    )
    found = statistics.tutor_stats(Tutor.objects.get())
    assert (found.sessions.all, found.upcoming, found.weeks) == (1, 1, [date(2025, 3, 3)])


def test_the_last_26_weeks_are_drawn() -> None:
    mondays = [date(2025, 1, 6) + timedelta(weeks=number) for number in range(40)]
    assert weekly.last_weeks([mondays[0], mondays[39]]) == mondays[14:]
    assert weekly.last_weeks([mondays[3], mondays[5]]) == mondays[3:6]
    assert weekly.last_weeks([]) == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("records")
def test_a_page_costs_the_same_however_much_belongs_to_it(operator: Client, page: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            text_of(operator.get(page))
        return len(found)

    queries()
    few = queries()
    send("sessions", *[held_on(MONDAY + timedelta(days=i), f"S-{i}") for i in range(40)])
    send("feedback", *[rated_on(MONDAY, f"F-{i}", 4, session_id="S-3001") for i in range(40)])
    for number in range(3):
        hold(stream="sessions", key="S-3001", position=number)
    assert queries() == few
    assert few <= 16


# A student, a session, feedback.


@pytest.mark.usefixtures("weeks")
def test_a_students_page(operator: Client) -> None:
    send("tutors", tutor(tutor_id="T-2", name="Grace Hopper"))
    send("sessions", held_on(MONDAY + timedelta(weeks=3), "S-5", tutor_id="T-2"))
    html = text_of(operator.get(STUDENT))
    text = plain_text(html)
    for told in ("5 sessions 0 upcoming", "3.3 hours taught", "1 no-show", "3.33 average rating given 3 entries"):
        assert told in text, told
    tutors = re.findall(r'<th scope="row">\s*<a href="[^"]*">([^<]*)</a>.*?<td>(\d+)</td>', html, re.DOTALL)
    assert tutors == [("Ada Lovelace", "4"), ("Grace Hopper", "1")]
    assert re.findall(r">(S-\d)</a>", html) == ["S-5", "S-4", "S-2", "S-3", "S-1"]  # the last first
    assert re.findall(r">(F-\d)</a>", html) == ["F-3", "F-2", "F-1"]


@pytest.mark.usefixtures("records")
def test_a_sessions_page_leads_to_tutor_student_and_feedback(operator: Client) -> None:
    text = text_of(operator.get(SESSION))
    for link in (TUTOR, STUDENT, FEEDBACK):
        assert link in text
    assert "Ada Lovelace" in text and "Charles Babbage" in text
    assert "2025-03-01 15:00:00 -05:00" in text


@pytest.mark.usefixtures("records")
def test_feedbacks_page_leads_to_session_tutor_and_student(viewer: Client) -> None:
    text = text_of(viewer.get(FEEDBACK))
    for link in (SESSION, TUTOR, STUDENT):
        assert link in text
    assert "2025-03-01 15:00:00 -05:00" in text


def test_a_placeholder_says_so(viewer: Client) -> None:
    at = timezone.now()
    Student.objects.create(student_id="ST-2001", is_stub=True, version_at=at, delivery=0, position=0)
    text = text_of(viewer.get(STUDENT))
    assert "Placeholder: this student" in text
    assert "no delivery" in text


def test_a_key_that_is_not_stored_is_not_found(viewer: Client) -> None:
    assert viewer.get(SESSION).status_code == 404
    assert viewer.get("/admin/tutoring/tutoringsession/S%00/change/").status_code == 404


# Where it came from, and what is held.


@pytest.mark.usefixtures("records")
def test_the_delivery_that_last_wrote_a_row_is_linked_while_it_is_there(viewer: Client) -> None:
    number = Tutor.objects.get().delivery
    text = " ".join(text_of(viewer.get(TUTOR)).split())
    assert f'<a href="/admin/ingestion/delivery/{number}/change/">delivery {number}</a>, record 1' in text
    Delivery.objects.filter(pk=number).delete()
    text = text_of(viewer.get(TUTOR))
    assert f"delivery {number}, record 1" in text
    assert "(deleted by retention)" in text
    assert "/admin/ingestion/delivery/" not in text.partition('id="content-main"')[2]


def without_tags(html: str) -> str:
    return re.sub("<[^>]*>", "", html)


def test_a_row_that_failed_first_says_how_it_was_stored(operator: Client) -> None:
    delivery = send("tutors", tutor(tutor_id="T-7", email="none"), keep_invalid=True)
    held = HeldRecord.objects.get()
    fix(held, ascii_json(tutor(tutor_id="T-7")), 0)
    bulk_action = reprocess({"ids": [held.pk]}, by="test")
    work_off()
    stored_by = bulk_action.deliveries.get().pk
    text = text_of(operator.get("/admin/tutoring/tutor/T-7/change/"))
    page = f"/admin/enrichment/heldrecord/{held.pk}/change/"
    words = without_tags(text)
    stored = f"stored by delivery {stored_by} (bulk action {bulk_action.pk})"
    assert f"It failed at first, was fixed once, and was {stored}." in words
    for link in (
        page,
        f"{page}#history",
        f"/admin/ingestion/delivery/{delivery.pk}/change/",
        f"/admin/ingestion/delivery/{stored_by}/change/",
        f"/admin/enrichment/bulkaction/{bulk_action.pk}/change/",
    ):
        assert f'href="{link}"' in text
    Delivery.objects.filter(pk=stored_by).delete()
    assert f"stored by delivery {stored_by}." in without_tags(
        text_of(operator.get("/admin/tutoring/tutor/T-7/change/"))
    )
    send("tutors", tutor(tutor_id="T-7", name="Newer"))
    assert "failed at first" not in text_of(operator.get("/admin/tutoring/tutor/T-7/change/"))


@pytest.mark.usefixtures("records")
def test_warnings_are_shown(viewer: Client) -> None:
    Tutor.objects.update(warnings=["age: <i>odd</i>"])
    text = text_of(viewer.get(TUTOR))
    assert "1 warning</h2>" in text
    assert "age: &lt;i&gt;odd&lt;/i&gt;" in text


@pytest.mark.usefixtures("records")
def test_held_records_that_belong_to_a_row_are_shown(viewer: Client) -> None:
    same = hold(stream="sessions", key="S-3001")
    waiting = wait(stream="feedback", missing_stream="sessions", missing_key="S-3001", key="F-9")
    hold(stream="sessions", key="S-3001", status="discarded")
    hold(stream="tutors", key="S-3001")
    text = text_of(viewer.get(SESSION))
    told = re.findall(r'<a href="/admin/enrichment/heldrecord/(\d+)/change/">', text)
    assert told == [str(same.pk), str(waiting.pk)]
    assert "waiting for this record" in text
    user = person()
    user.user_permissions.add(Permission.objects.get(codename="view_tutoringsession"))
    assert "heldrecord" not in text_of(browser_of(user).get(SESSION))


# Refresh.


@pytest.mark.usefixtures("records")
def test_an_operator_refreshes_one(operator: Client) -> None:
    Tutor.objects.update(tenure_days=1, experience_level="junior", is_new_tutor=True)
    before = Tutor.objects.get()
    assert "Refresh derived fields" in text_of(operator.get(TUTOR))
    response = operator.post(TUTOR.replace("change", "refresh"), follow=True)
    text = text_of(response)
    after = Tutor.objects.get()
    assert after.experience_level == "senior"
    assert (after.version, after.name) == (before.version, before.name)
    assert after.stored_at > before.stored_at
    assert f"tenure_days 1 → {after.tenure_days}" in text
    assert "experience_level junior → senior" in text
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("operator", "T-1001")
    assert "experience_level junior → senior" in entry.get_change_message()
    assert text.count("experience_level junior → senior") == 2  # the message, and the history


@pytest.mark.usefixtures("records")
def test_a_refresh_that_changes_nothing_says_so(operator: Client) -> None:
    stored_at = Feedback.objects.get().stored_at
    assert "no changes" in text_of(operator.post(FEEDBACK.replace("change", "refresh"), follow=True))
    assert Feedback.objects.get().stored_at == stored_at


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("records")
def test_a_viewer_refreshes_nothing(viewer: Client, page: str) -> None:
    Tutor.objects.update(tenure_days=1)
    assert "Refresh" not in text_of(viewer.get(page))
    assert viewer.post(page.replace("change", "refresh")).status_code == 403
    selected = {"action": "refresh_selected", "_selected_action": ["T-1001"]}
    assert viewer.post("/admin/tutoring/tutor/", selected).status_code == 403
    assert Tutor.objects.get().tenure_days == 1
    assert not LogEntry.objects.exists()


@pytest.mark.usefixtures("records")
def test_a_refresh_is_a_post_of_our_own_form(operator: Client) -> None:
    assert operator.get(TUTOR.replace("change", "refresh")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person("administrator"))
    assert strict.post(TUTOR.replace("change", "refresh")).status_code == 403
    assert operator.post("/admin/tutoring/tutor/T-9/refresh/").status_code == 404


@pytest.mark.usefixtures("records")
def test_a_row_that_cannot_be_enriched_is_named(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(record: Any, context: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(TutorAdmin, "stream", replace(TUTORS, enrich=mistaken))
    text = text_of(operator.post(TUTOR.replace("change", "refresh"), follow=True))
    assert '<li class="error">Refreshed: no changes. Failed (see the log)' in text
    assert "T-1001" in LogEntry.objects.get().get_change_message()


def test_an_operator_refreshes_the_selected(operator: Client) -> None:
    send("tutors", *[tutor(tutor_id=f"T-{number}") for number in range(3)])
    Tutor.objects.update(tenure_days=1)
    selected = {"action": "refresh_selected", "_selected_action": ["T-0", "T-2"]}
    text = text_of(operator.post("/admin/tutoring/tutor/", selected, follow=True))
    assert "Refreshed: 2 selected, 2 changed." in text
    assert set(Tutor.objects.filter(tenure_days=1).values_list("pk", flat=True)) == {"T-1"}
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {"T-0", "T-2"}


def test_all_that_match_are_not_refreshed_in_a_request(operator: Client) -> None:
    send("tutors", *[tutor(tutor_id=f"T-{number}") for number in range(60)])
    Tutor.objects.update(tenure_days=1)
    text = text_of(operator.get("/admin/tutoring/tutor/"))
    assert "0 of 50 selected" in text
    assert "Select all 60" not in text
    every = {"action": "refresh_selected", "_selected_action": ["T-0"], "select_across": "1"}
    assert operator.post("/admin/tutoring/tutor/", every).status_code == 400
    assert Tutor.objects.filter(tenure_days=1).count() == 60


@pytest.mark.usefixtures("records")
def test_a_refresh_reads_what_the_row_refers_to(operator: Client) -> None:
    TutoringSession.objects.update(scheduled_start=F("scheduled_start") - timedelta(hours=1))  # by hand, past the rules
    delay = Feedback.objects.get().feedback_delay_hours
    assert delay is not None
    text_of(operator.post(FEEDBACK.replace("change", "refresh"), follow=True))
    assert Feedback.objects.get().feedback_delay_hours == pytest.approx(delay + 1)


def test_the_weeks_are_those_of_the_time_zone(settings: Any) -> None:
    settings.TIME_ZONE = "America/New_York"
    send("tutors", tutor())
    send("students", student())
    send("sessions", held_on(datetime(2025, 3, 3, 2, tzinfo=UTC), "S-1"))  # still Sunday there
    with timezone.override("America/New_York"), time_machine.travel("2025-04-01T00:00:00Z"):
        assert statistics.tutor_stats(Tutor.objects.get()).weeks == [date(2025, 2, 24)]
