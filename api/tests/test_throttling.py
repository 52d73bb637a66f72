"""THROTTLE by itself. That processes share it: tests/test_throttle.py."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from api.throttling import take
from ingestion.models import Delivery, Throttle
from tests.api import api, post, refusal
from tests.servers import wait_until

PATH = "/api/queue/stats"


def rest(seconds: float) -> None:
    """As if the keys had not been used for so long."""
    Throttle.objects.update(due=F("due") - seconds)


def exhaust(key: str, per_second: int) -> None:
    wait_until(lambda: not take(key, per_second), "its share is used up", every=0)


@pytest.mark.django_db
class TestTake:
    @pytest.mark.parametrize("per_second", [1, 3, 7])
    def test_a_key_that_has_rested_may_send_as_many_at_once_as_in_a_second(self, per_second: int) -> None:
        for _ in range(2):
            began = time.monotonic()
            assert all(take("a", per_second) for _ in range(per_second))
            exhaust("a", per_second)
            rest(1 + time.monotonic() - began)

    def test_it_may_send_again_when_it_has_rested_for_one_request(self) -> None:
        exhaust("a", 1)
        rest(1)
        assert take("a", 1)

    def test_what_was_refused_is_not_counted(self) -> None:
        exhaust("a", 2)
        due = Throttle.objects.get().due
        wait_until(lambda: not take("a", 2), "it is refused", every=0)
        assert Throttle.objects.get().due < due + 60
        rest(30)
        assert take("a", 2)

    def test_one_key_does_not_use_up_the_share_of_another(self) -> None:
        exhaust("a", 1)
        assert take("b", 1)

    def test_a_clock_that_is_put_back_shuts_nobody_out(self) -> None:
        assert take("a", 1)
        rest(-3600)
        assert take("a", 1)
        assert abs(Throttle.objects.get().due - time.time()) < 600


@pytest.mark.django_db(transaction=True)
def test_many_at_once_get_no_more_than_the_limit() -> None:
    limit = 20

    def send(_: int) -> int:
        try:
            return sum(take("a", limit) for _ in range(50))
        finally:
            connection.close()

    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        taken = sum(threads.map(send, range(8)))
    assert limit <= taken <= limit + limit * (time.monotonic() - began) + 1


@pytest.mark.postgresql
@pytest.mark.django_db
def test_no_request_waits_for_the_disk() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'ingestion_throttle'")
        assert cursor.fetchall() == [("u",)]


@pytest.mark.django_db
class TestRequests:
    def test_more_than_the_limit_is_429(self, settings: Settings) -> None:
        settings.THROTTLE = 1
        client = api()
        assert client.get(PATH).status_code == 200
        response = wait_until(lambda: (answer := client.get(PATH)).status_code != 200 and answer, "it is refused")
        assert refusal(response, 429)["code"] == "throttled"
        assert response["Retry-After"] == "1"
        assert api().get(PATH).status_code == 200  # with another key

    def test_nothing_is_read_of_what_is_refused(self, settings: Settings) -> None:
        settings.THROTTLE = 1
        client = api()

        def refused() -> bool:
            response = post(client, "/api/tutors/batch", b"not JSON", "text/plain")
            return bool(response.status_code == 429)

        wait_until(refused, "it is refused for its number, not for what it is", every=0)
        assert not Delivery.objects.exists()

    def test_it_is_off_without_the_setting(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        client = api()
        client.get(PATH)
        with django_assert_num_queries(3):  # the key, what is pending, what is held
            assert client.get(PATH).status_code == 200
        assert not Throttle.objects.exists()

    def test_members_of_staff_are_not_throttled(self, settings: Settings) -> None:
        settings.THROTTLE = 1
        client = Client()
        client.force_login(User.objects.create_superuser("ada"), "django.contrib.auth.backends.ModelBackend")
        assert {client.get(PATH).status_code for _ in range(5)} == {200}
        assert not Throttle.objects.exists()

    def test_what_is_open_to_all_is_not_throttled(self, settings: Settings) -> None:
        settings.THROTTLE = 1
        client = api()
        assert {client.get("/health/live").status_code for _ in range(5)} == {200}
