from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from enrichment.models import HeldRecord
from ingestion import backlog
from ingestion.models import Delivery, Doorbell
from tests.api import api, ask
from tests.records import deliver, send, work_off
from tests.servers import PostgreSQL, WebServer, manage
from tutoring.tests.factories import session, tutor
from tutormax import __version__

POST_ONLY = ("/batch", "/upload")
"""Ends of paths that are not read."""


@pytest.fixture
def cluster() -> None:
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})


@pytest.mark.django_db
class TestHealth:
    @pytest.mark.parametrize("path", ["/health", "/health/"])
    def test_it_is_healthy_when_a_cluster_is_alive(self, cluster: None, path: str) -> None:
        response = Client().get(path)
        health = response.json()
        assert response.status_code == 200
        assert health.pop("timestamp").endswith("Z")
        well = {"database": True, "queue": True, "redis_connected": True, "cluster": True, "accepting": True}
        assert health == {"status": "healthy", "version": __version__, **well}

    def test_it_is_degraded_without_a_cluster(self) -> None:
        health = Client().get("/health").json()
        assert (health["status"], health["cluster"]) == ("degraded", False)

    def test_it_is_degraded_when_the_last_sign_of_life_is_old(self, cluster: None) -> None:
        Doorbell.objects.update(answered_at=timezone.now() - timedelta(minutes=3, seconds=1))
        assert Client().get("/health").json()["status"] == "degraded"

    def test_it_is_degraded_by_a_mistake_of_ours(self, cluster: None) -> None:
        deliver("tutors", tutor())
        Delivery.objects.update(last_error="code: KeyError")
        health = Client().get("/health").json()
        assert (health["status"], health["cluster"]) == ("degraded", True)

    def test_trouble_that_is_over_or_not_ours_is_no_matter(self, cluster: None) -> None:
        deliver("tutors", tutor())
        Delivery.objects.update(last_error="store: the database was busy")
        assert Client().get("/health").json()["status"] == "healthy"
        Delivery.objects.update(last_error="code: KeyError", processed_at=timezone.now(), inserted=1)
        assert Client().get("/health").json()["status"] == "healthy"

    def test_it_says_when_too_much_is_pending_to_take_in_more(self, cluster: None, settings: Settings) -> None:
        deliver("tutors", tutor(tutor_id="a"), tutor(tutor_id="b"))
        settings.MAX_PENDING_RECORDS = 2
        backlog.reset_cache()
        response = Client().get("/health")
        health = response.json()
        assert (response.status_code, health["status"], health["accepting"]) == (200, "degraded", False)
        work_off()
        backlog.reset_cache()
        assert Client().get("/health").json()["status"] == "healthy"

    def test_it_asks_no_more_than_it_must(
        self, cluster: None, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_max_num_queries(4):
            Client().get("/health", headers={"authorization": "Api-Key wrong.key"})


def test_it_is_alive_whatever_the_database_does() -> None:
    assert Client().get("/health/live").json()["status"] == "alive"


@pytest.mark.django_db
class TestHome:
    def test_a_client_gets_the_endpoints(self) -> None:
        home = Client().get("/").json()
        assert (home["name"], home["version"]) == ("TutorMax", __version__)
        assert {"/api/tutors", "/api/feedback/batch", "/api/deliveries/{id}", "/health"} <= set(home["endpoints"])

    def test_what_it_tells_of_is_there(self) -> None:
        client = api()
        for path in client.get("/").json()["endpoints"]:
            if "{" not in path:
                status = client.get(path).status_code
                assert status == (405 if path.endswith(POST_ONLY) else 302 if path == "/admin/" else 200), path

    def test_a_browser_shows_the_same_as_a_client_gets(self) -> None:
        page = Client().get("/", headers={"accept": "text/html"}).content.decode()
        told = [path for path in Client().get("/").json()["endpoints"] if path.startswith("/api/") and "{" not in path]
        links = [path for path in told if not path.endswith(POST_ONLY)]
        assert "/api/uploads/{id}/errors" in Client().get("/").json()["endpoints"]
        assert [path for path in [*links, "/metrics"] if f'href="{path}"' not in page] == []

    def test_where_nothing_is_there_is_a_way_home(self) -> None:
        response = Client().get("/nope")
        assert response.status_code == 404
        assert "default-src 'self'" in response["Content-Security-Policy"]
        page = response.content.decode()
        assert '<a href="/">Home</a>' in page and "page.css" in page

    def test_a_browser_is_shown_links(self) -> None:
        response = Client().get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        page = response.content.decode()
        assert response["Content-Type"].startswith("text/html")
        assert all(
            f'href="{path}"' in page for path in ("/admin/", "/guide", "/docs", "/redoc", "/health", "/api/tutors")
        )


@pytest.mark.django_db(transaction=True)
def test_queue_stats_count_what_is_pending_waiting_and_dead() -> None:
    client = api()
    idle = client.get("/api/queue/stats").json()
    nothing = dict.fromkeys(("tutors", "students", "sessions", "feedback", "entries", "listens"), 0)
    assert idle["queues"] == {**nothing, "feedbacks": 0}
    assert set(idle["oldest_age_seconds"].values()) == {None}
    assert (set(idle["waiting"].values()), idle["dead_letters"]) == ({0}, 0)
    send("sessions", session())
    send("tutors", tutor(tutor_id="x", age=1), keep_invalid=True)
    deliver("tutors", tutor(tutor_id="a"), tutor(tutor_id="b"))
    stats = client.get("/api/queue/stats/").json()
    assert stats["queues"] == {**nothing, "feedbacks": 0, "tutors": 2}
    assert 0 <= stats["oldest_age_seconds"]["tutors"] < 60
    assert stats["waiting"] == {**nothing, "sessions": 1}
    assert stats["dead_letters"] == 1 == HeldRecord.objects.dead().count()
    assert stats["timestamp"].endswith("Z")


@pytest.mark.postgresql
def test_without_its_database_it_says_so_and_recovers(postgres: PostgreSQL) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE away")
    url = postgres.url("away")
    manage("migrate", "--verbosity=0", database_url=url)
    key = manage("create_api_key", "test", database_url=url).stdout.strip()
    with WebServer(url) as server:
        assert ask(f"{server.url}/health")[0] == 200
        assert ask(f"{server.url}/api/tutors", key)[0] == 200
        postgres.stop("immediate")
        status, _, health = ask(f"{server.url}/health")
        assert (status, health["status"], health["database"]) == (503, "unhealthy", False)
        for path in ("/api/tutors", "/api/tutors/T1", "/api/queue/stats", "/api/stats", "/api/worker", "/metrics", ""):
            status, headers, answer = ask(server.url + (path or "/api/tutors"), key, None if path else tutor())
            assert (status, answer["error"]["code"]) == (503, "unavailable")
            assert int(headers["Retry-After"]) > 0
        assert ask(f"{server.url}/health/live")[0] == 200
        assert ask(f"{server.url}/")[0] == 200
        postgres.start()
        assert ask(f"{server.url}/health")[0] == 200
        assert ask(f"{server.url}/api/tutors", key, tutor())[0] == 202
