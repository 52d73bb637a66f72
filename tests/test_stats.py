"""/api/stats and /api/worker: sums that add up, and who is at work."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import signing
from django.test import Client
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import Schedule
from django_q.signing import PickleSerializer, SignedPackage
from django_q.status import Stat, Status

from enrichment.lookups import providers
from enrichment.models import ClusterStatus, MinuteStat
from ingestion.models import Delivery, Doorbell
from ingestion.streams import names
from tests.api import api, new_key, refusal
from tests.held import reprocess
from tests.records import deliver, send, work_off
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)


def stats(client: Client | None = None) -> Any:
    response = (client or api()).get("/api/stats")
    assert response.status_code == 200
    return response.json()


class TestStats:
    def test_at_first_there_is_nothing(self) -> None:
        answer = stats()
        assert list(answer["streams"]) == names()
        assert set(answer["total"].values()) == {0, None}
        assert {minute["records"] for minute in answer["per_minute"]} == {0}
        assert len(answer["per_minute"]) == 60

    def test_the_sums_are_those_of_the_deliveries(self) -> None:
        send("tutors", tutor(tutor_id="a"), tutor(tutor_id="b"), tutor(tutor_id="bad", age=1), keep_invalid=True)
        send("tutors", tutor(tutor_id="a", updated_at="2025-03-02T00:00:00Z"))
        send("tutors", tutor(tutor_id="a", updated_at="2025-03-01T00:00:00Z"))
        send("sessions", session(tutor_id="a"))
        deliver("feedback", feedback(), feedback(feedback_id="other"))
        answer = stats()
        told = {name: {key: value for key, value in answer["streams"][name].items() if value} for name in names()}
        for numbers in told.values():
            for measured in ("rate_per_second", "latency_p50_seconds", "latency_p95_seconds"):
                numbers.pop(measured, None)
        assert {name: numbers for name, numbers in told.items() if numbers} == {
            "tutors": {"accepted": 5, "processed": 5, "inserted": 2, "updated": 1, "stale": 1, "dead": 1},
            "sessions": {"accepted": 1, "processed": 1, "waiting": 1},
            "feedback": {"accepted": 2, "pending": 2},
        }
        assert answer["total"]["accepted"] == 8 == sum(row.count for row in Delivery.objects.filter(source=2))

    def test_a_record_that_was_held_is_accepted_and_processed_once(self) -> None:
        send("sessions", session(tutor_id="a", student_id="u"))
        send("students", student(student_id="u"))
        send("tutors", tutor(tutor_id="a"), tutor(tutor_id="bad", age=1), keep_invalid=True)
        work_off()
        reprocess({"status": "dead"}, by="command")
        deliver("sessions", session(session_id="next", tutor_id="absent", student_id="u"))
        pending = stats()
        assert pending["streams"]["tutors"] | {"accepted": 2, "pending": 1, "dead": 1} == pending["streams"]["tutors"]
        assert [pending["streams"][name]["processed"] for name in ("tutors", "sessions")] == [1, 1]
        work_off()
        answer = stats()
        for name, accepted, processed, waiting, dead in [("sessions", 2, 2, 1, 0), ("tutors", 2, 2, 0, 1)]:
            expected = {"accepted": accepted, "processed": processed, "waiting": waiting, "dead": dead, "pending": 0}
            assert answer["streams"][name] | expected == answer["streams"][name]

    def test_a_part_of_a_delivery_is_accepted_once(self) -> None:
        delivery = deliver("tutors", *[tutor(tutor_id=f"t{n}") for n in range(5)])
        Delivery.objects.filter(pk=delivery.pk).update(inserted=2)
        minute = timezone.now() - timedelta(hours=2)
        MinuteStat.objects.create(minute=minute, stream="tutors", inserted=2, within_1s=2)
        numbers = stats()["streams"]["tutors"]
        assert (numbers["accepted"], numbers["pending"], numbers["processed"]) == (5, 3, 2)

    def test_rate_and_latency_are_of_the_last_minutes_and_hour(self) -> None:
        now = timezone.now().replace(second=0, microsecond=0)
        for ago, took in [(2, {"within_250ms": 900}), (4, {"within_5s": 100}), (30, {}), (90, {"over_1h": 5000})]:
            minute = now - timedelta(minutes=ago)
            MinuteStat.objects.create(minute=minute, stream="tutors", inserted=300, **took)
        MinuteStat.objects.create(minute=now - timedelta(minutes=2), stream="students", dead=60)
        answer = stats()
        numbers = answer["streams"]["tutors"]
        # A minute may have begun since; the hour and the five minutes are then one further on.
        assert numbers["rate_per_second"] == 2
        assert numbers["latency_p50_seconds"] == pytest.approx(0.25 * 500 / 900)
        assert numbers["latency_p95_seconds"] == pytest.approx(3.5)
        assert answer["total"]["rate_per_second"] == pytest.approx(2.2)
        assert sorted(minute["records"] for minute in answer["per_minute"])[-3:] == [300, 300, 360]
        assert numbers["inserted"] == 1200

    def test_a_key_limited_to_streams_sees_no_other(self) -> None:
        send("tutors", tutor(tutor_id="bad", age=1), keep_invalid=True)
        send("sessions", session())
        limited = api(new_key(streams=["sessions", "feedback"]))
        answer = stats(limited)
        assert list(answer["streams"]) == ["sessions", "feedback"]
        assert (answer["total"]["accepted"], answer["total"]["dead"]) == (1, 0)
        assert {minute["records"] for minute in answer["per_minute"]} <= {0, 1}
        queue = limited.get("/api/queue/stats").json()
        assert queue["queues"] == {"sessions": 0, "feedback": 0, "feedbacks": 0}
        assert (queue["waiting"], queue["dead_letters"]) == ({"sessions": 1, "feedback": 0}, 0)

    def test_it_takes_a_key_that_may_read_and_no_parameter(self) -> None:
        refusal(Client().get("/api/stats"), 401)
        refusal(api(new_key(can_read=False)).get("/api/stats"), 403)
        refusal(api().get("/api/stats?stream=tutors"), 400)

    def test_its_queries_are_few(self, django_assert_max_num_queries: Any) -> None:
        client = api()
        stats(client)
        with django_assert_max_num_queries(5):  # the key, and four tables
            stats(client)


def worker() -> Any:
    response = api().get("/api/worker")
    assert response.status_code == 200
    return response.json()


def tell(stat: Any) -> None:
    """Stores what a cluster says of itself."""
    defaults = {"status": stat, "expires_at": timezone.now() + timedelta(minutes=1)}
    ClusterStatus.objects.update_or_create(key=Stat.get_key("c1"), defaults=defaults)


def a_stat() -> Stat:
    stat = Stat.__new__(Stat)
    Status.__init__(stat, 4711, "c1")
    stat.tob, stat.status, stat.workers, stat.broker = timezone.now(), Conf.IDLE, [4712, 4713], None
    return stat


class TestWorker:
    def test_without_a_cluster_nobody_is_at_work(self) -> None:
        answer = worker()
        assert answer.pop("timestamp").endswith("Z")
        assert [schedule["func"] for schedule in answer.pop("schedules")] == ["enrichment.tasks.prune"]
        assert [provider["name"] for provider in answer.pop("providers")] == providers.names()
        assert answer == {
            "alive": False,
            "last_run": None,
            "next_run": None,
            "interval_seconds": 60,
            "clusters": [],
            "workers": 0,
            "paused_streams": [],
            "paused_providers": [],
        }

    def test_a_heartbeat_is_a_sign_of_life_even_when_no_cluster_tells_of_itself(self) -> None:
        Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})
        answer = worker()
        assert (answer["alive"], answer["clusters"]) == (True, [])
        assert answer["timestamp"] < answer["next_run"]
        Doorbell.objects.update(answered_at=timezone.now() - timedelta(minutes=4))
        answer = worker()
        assert (answer["alive"], answer["next_run"]) == (False, None)
        assert answer["last_run"]

    def test_a_cluster_tells_of_itself(self) -> None:
        tell(SignedPackage.dumps(a_stat(), True))
        answer = worker()
        assert answer["workers"] == 2
        cluster = answer["clusters"][0]
        assert cluster.pop("started_at").endswith("Z")
        assert cluster.pop("host")
        assert cluster == {"id": "c1", "pid": 4711, "status": "idle", "workers": 2, "reincarnations": 0}

    @pytest.mark.parametrize("what", ["text", "17", "", "a:b:c"])
    def test_garbage_is_no_cluster(self, what: Any) -> None:
        tell(what)
        assert not worker()["clusters"]

    def test_what_another_installation_signed_is_no_cluster_of_ours(self) -> None:
        tell(signing.dumps(a_stat(), key="another", salt=Conf.PREFIX, serializer=PickleSerializer, compress=True))
        assert worker()["clusters"] == []

    @pytest.mark.parametrize("what", [None, "no Stat", {"cluster_id": 1}])
    def test_what_some_other_version_signed_is_said_to_be_unreadable(self, what: Any) -> None:
        tell(SignedPackage.dumps(what, True))
        answer = worker()
        assert (answer["clusters"], answer["workers"]) == (None, None)

    def test_a_cluster_that_says_nothing_more_is_gone(self) -> None:
        tell(SignedPackage.dumps(a_stat(), True))
        ClusterStatus.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert worker()["clusters"] == []

    def test_it_lists_the_schedules(self) -> None:
        Schedule.objects.all().delete()
        Schedule.objects.create(name="nightly", func="enrichment.tasks.drain", schedule_type=Schedule.DAILY)
        schedule = worker()["schedules"][0]
        assert schedule.pop("next_run").endswith("Z")
        assert schedule == {"name": "nightly", "func": "enrichment.tasks.drain", "repeats": -1}

    def test_it_takes_a_key_that_may_read_and_no_parameter(self) -> None:
        refusal(Client().get("/api/worker"), 401)
        refusal(api(new_key(can_read=False)).get("/api/worker"), 403)
        refusal(api().get("/api/worker?x=1"), 400)
