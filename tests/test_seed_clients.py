"""A client written for the ingestion API that was here before, under its paths, once it is given a key.

Its validation errors and its listing of the queue as `feedbacks` are not kept: errors have the one shape of all errors,
and the queue is called as the stream is.
"""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from ingestion.models import Doorbell
from tests.api import api, post, refusal
from tests.records import work_off

pytestmark = pytest.mark.django_db(transaction=True)

# As such clients send them: naive times, fields that are derived here, categories and flags left out.
TUTOR = {
    "tutor_id": "tutor_00001",
    "name": "John Doe",
    "email": "john.doe@example.com",
    "age": 28,
    "location": "New York",
    "education_level": "Master's Degree",
    "subjects": ["Mathematics", "Algebra"],
    "subject_type": "STEM",
    "onboarding_date": "2024-01-15T00:00:00",
    "tenure_days": 120,
    "behavioral_archetype": "high_performer",
    "baseline_sessions_per_week": 20,
    "status": "active",
}
SESSION = {
    "session_id": "session_00001",
    "tutor_id": "tutor_00001",
    "student_id": "student_00001",
    "session_number": 1,
    "scheduled_start": "2024-05-14T10:00:00",
    "actual_start": "2024-05-14T10:02:00",
    "duration_minutes": 60,
    "subject": "Mathematics",
    "session_type": "1-on-1",
    "tutor_initiated_reschedule": False,
    "no_show": False,
    "late_start_minutes": 2,
    "is_first_session": True,
    "engagement_score": 0.9,
    "learning_objectives_met": True,
    "technical_issues": False,
}
FEEDBACK = {
    "feedback_id": "feedback_00001",
    "session_id": "session_00001",
    "student_id": "student_00001",
    "tutor_id": "tutor_00001",
    "overall_rating": 5,
    "is_first_session": True,
    "subject_knowledge_rating": 5,
    "communication_rating": 5,
    "patience_rating": 5,
    "engagement_rating": 5,
    "helpfulness_rating": 5,
    "would_recommend": True,
    "improvement_areas": [],
    "free_text_feedback": "Great session!",
    "submitted_at": "2024-05-14T12:00:00",
}
RECORDS = [("tutors", "tutor_id", TUTOR), ("sessions", "session_id", SESSION), ("feedback", "feedback_id", FEEDBACK)]


def is_time(text: str) -> bool:
    return bool(datetime.fromisoformat(text))


@pytest.mark.parametrize(("stream", "key", "record"), RECORDS)
def test_one_record(stream: str, key: str, record: dict[str, Any]) -> None:
    response = post(api(), f"/api/{stream}", record)
    assert response.status_code // 100 == 2
    body = response.json()
    assert body["success"] is True
    assert body["message"]
    assert body["id"] == record[key]
    assert body["queued"] is True
    assert is_time(body["timestamp"])


@pytest.mark.parametrize(("stream", "key", "record"), RECORDS)
def test_a_batch(stream: str, key: str, record: dict[str, Any]) -> None:
    response = post(api(), f"/api/{stream}/batch", [record, {**record, key: "second"}])
    assert response.status_code // 100 == 2
    body = response.json()
    assert body["success"] is True
    assert (body["count"], body["queued"], body["errors"]) == (2, True, [])
    assert body["message"]
    assert is_time(body["timestamp"])


def test_a_batch_is_taken_in_part() -> None:
    body = post(api(), "/api/tutors/batch", [TUTOR, {**TUTOR, "email": "none"}]).json()
    assert (body["success"], body["count"]) == (True, 1)
    assert [error["index"] for error in body["errors"]] == [1]


@pytest.mark.parametrize(
    ("stream", "record"),
    [
        ("tutors", {**TUTOR, "email": "invalid-email"}),
        ("tutors", {**TUTOR, "behavioral_archetype": "unknown"}),
        ("sessions", {**SESSION, "engagement_score": 1.5}),
        ("feedback", {**FEEDBACK, "overall_rating": 6}),
    ],
)
def test_an_invalid_record_is_422(stream: str, record: dict[str, Any]) -> None:
    refusal(post(api(), f"/api/{stream}", record), 422)


def test_what_was_queued_is_in_the_queue_until_it_is_worked_on() -> None:
    client = api()
    for stream, _, record in RECORDS:
        post(client, f"/api/{stream}", record)
    stats = client.get("/api/queue/stats").json()
    assert is_time(stats["timestamp"])
    assert {name: stats["queues"][name] for name in ("tutors", "sessions", "feedback")} == {
        "tutors": 1,
        "sessions": 1,
        "feedback": 1,
    }
    work_off()
    assert not any(client.get("/api/queue/stats").json()["queues"].values())


def test_the_paths_that_need_no_key() -> None:
    health = Client().get("/health").json()
    assert health["status"] in ("healthy", "degraded")
    assert health["version"]
    assert is_time(health["timestamp"])
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": datetime.fromisoformat(health["timestamp"])})
    assert Client().get("/health").json()["status"] == "healthy"
    root = Client().get("/").json()
    assert root["name"] and root["version"] and root["status"]
    assert {f"/api/{stream}{rest}" for stream, _, _ in RECORDS for rest in ("", "/batch")} <= set(root["endpoints"])
    for path in ("/docs", "/redoc"):
        response = Client().get(path)
        assert response.status_code == 200
        assert response["Content-Type"].startswith("text/html")
