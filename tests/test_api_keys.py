"""Who may do what: API keys, their scopes and streams; members of staff."""

from datetime import date, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from api.auth import ApiKeyAuthentication
from ingestion.management.commands import create_api_key
from ingestion.models import ApiKey, Delivery
from tests.api import api, new_key, post, refusal
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Api-Key",
        "Api-Key ",
        "Api-Key nodot",
        "Api-Key prefix.secret",
        "Api-Key .",
        "Api-Key \0.\0",
        "Api-Key é.é",
        "Api-Key ' OR 1=1 --.x",
        "Api-Key " + "a" * 8000,
        "Basic dXNlcjpwYXNz",
        "Bearer abc.def",
    ],
)
def test_no_key_or_a_wrong_one_is_401(authorization: str | None) -> None:
    client = Client(headers={} if authorization is None else {"authorization": authorization})
    for response in (client.get("/api/tutors"), post(client, "/api/tutors", tutor())):
        assert refusal(response, 401)["code"] == "unauthenticated"
        assert response["WWW-Authenticate"] == "Api-Key"
    assert not Delivery.objects.exists()


def test_it_takes_a_key_however_the_scheme_is_written() -> None:
    key = new_key()
    for scheme in ("Api-Key", "api-key", "API-KEY"):
        assert Client(headers={"authorization": f"{scheme} {key}"}).get("/api/tutors").status_code == 200


def test_the_secret_must_be_right_to_its_last_character() -> None:
    key = new_key()
    for wrong in (key[:-1], key + "x", key[:-1] + ("x" if key[-1] != "x" else "y"), key.swapcase()):
        refusal(api(wrong).get("/api/tutors"), 401)


def test_a_revoked_key_is_refused_at_once() -> None:
    key = new_key()
    client = api(key)
    assert client.get("/api/tutors").status_code == 200
    ApiKey.objects.update(revoked=True)
    assert "revoked" in refusal(client.get("/api/tutors"), 401)["message"]


def test_an_expired_key_is_refused() -> None:
    client = api(new_key(expiry_date=timezone.now() + timedelta(hours=1)))
    assert client.get("/api/tutors").status_code == 200
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert "expired" in refusal(client.get("/api/tutors"), 401)["message"]


def test_a_key_may_do_what_its_scopes_say() -> None:
    reader, writer = api(new_key(can_ingest=False)), api(new_key(can_read=False))
    assert reader.get("/api/tutors").status_code == 200
    assert "ingest" in refusal(post(reader, "/api/tutors", tutor()), 403)["message"]
    assert "ingest" in refusal(post(reader, "/api/tutors/batch", [tutor()]), 403)["message"]
    assert post(writer, "/api/tutors", tutor()).status_code == 202
    for path in ("/api/tutors", "/api/tutors/T1", "/api/queue/stats"):
        assert "read" in refusal(writer.get(path), 403)["message"]
    assert writer.get(f"/api/deliveries/{Delivery.objects.get().pk}").json()["count"] == 1  # what became of its own
    refusal(reader.get(f"/api/deliveries/{Delivery.objects.get().pk}"), 404)


def test_a_key_may_be_limited_to_streams() -> None:
    client = api(new_key(streams=["tutors"]))
    assert client.get("/api/tutors").status_code == 200
    assert post(client, "/api/tutors", tutor()).status_code == 202
    for response in (client.get("/api/students"), post(client, "/api/students/batch", [])):
        assert "tutors" in refusal(response, 403)["message"]


def test_it_notes_the_day_of_the_last_use_and_asks_the_database_once(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    client = api()
    with time_machine.travel("2026-03-01T12:00Z"):
        client.get("/api/tutors")
        assert ApiKey.objects.get().last_used_on == date(2026, 3, 1)
        with django_assert_num_queries(2):  # the key, the rows
            client.get("/api/tutors")
    with time_machine.travel("2026-03-02T12:00Z"):
        client.get("/api/tutors")
        assert ApiKey.objects.get().last_used_on == date(2026, 3, 2)


def test_what_is_done_to_a_key_counts_from_the_next_request_on() -> None:
    key = new_key()
    client = api(key)
    assert client.get("/api/tutors").status_code == 200
    mine = ApiKey.objects.filter(prefix=key.partition(".")[0])
    mine.update(can_read=False)
    refusal(client.get("/api/tutors"), 403)
    mine.update(can_read=True, revoked=True)
    refusal(client.get("/api/tutors"), 401)
    mine.delete()
    refusal(client.get("/api/tutors"), 401)


def test_a_refused_use_is_not_noted() -> None:
    refusal(api(new_key(revoked=True)).get("/api/tutors"), 401)
    assert ApiKey.objects.get().last_used_on is None


def test_that_a_key_is_about_to_expire_is_logged_once_a_day(caplog: pytest.LogCaptureFixture) -> None:
    with time_machine.travel("2026-03-01T12:00Z"):
        end = timezone.now() + timedelta(days=8)
        clients = [api(new_key(expiry_date=end)), api(new_key())]

    def warnings(day: str) -> list[str]:
        caplog.clear()
        with time_machine.travel(f"{day}T13:00Z"):
            for client in clients * 2:
                client.get("/api/tutors")
        return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    assert warnings("2026-03-01") == []
    for day in ("2026-03-03", "2026-03-08"):
        (warning,) = warnings(day)
        assert "expires at 2026-03-09 12:00:00+00:00" in warning
        assert ApiKey.objects.get(expiry_date=end).prefix in warning
    assert warnings("2026-03-10") == []


def test_whoever_notes_the_day_first_warns(caplog: pytest.LogCaptureFixture) -> None:
    new_key(expiry_date=timezone.now() + timedelta(days=1))
    seen_by_two = [ApiKey.objects.get(), ApiKey.objects.get()]
    for key in seen_by_two:
        ApiKeyAuthentication().note_use(key)
    assert len([record for record in caplog.records if "expires at" in record.getMessage()]) == 1


def test_deliveries_name_the_key_by_its_prefix() -> None:
    key = new_key()
    post(api(key), "/api/tutors", tutor())
    assert Delivery.objects.get().client == f"key:{key.partition('.')[0]}"


class TestStaff:
    @pytest.fixture
    def user(self) -> User:
        user = User.objects.create_user("ada", password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name="operator"))
        return user

    @pytest.mark.parametrize(("group", "reads"), [("viewer", 200), ("", 403)])
    def test_a_member_of_staff_may_do_what_the_group_may(self, user: User, group: str, reads: int) -> None:
        user.groups.set(Group.objects.filter(name=group))
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        own = Delivery.objects.create(stream="tutors", client="user:ada", body=b"[]", count=0)
        for path in ("/api/tutors", "/api/feedback/F1", f"/api/deliveries/{own.pk}", "/api/queue/stats"):
            assert client.get(path).status_code in (reads, 404 if group else reads), path
        refusal(post(client, "/api/tutors", tutor()), 403)
        assert Delivery.objects.count() == 1

    def test_a_member_of_staff_may_use_the_api_with_a_session(self, user: User) -> None:
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        assert client.get("/api/tutors").status_code == 200
        assert post(client, "/api/tutors", tutor()).status_code == 202
        assert Delivery.objects.get().client == "user:ada"

    def test_a_session_needs_the_csrf_token(self, user: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        assert "CSRF" in refusal(post(client, "/api/tutors", tutor()), 403)["message"]
        client.get("/api/tutors", headers={"accept": "text/html"})
        token = {"x-csrftoken": client.cookies["csrftoken"].value}
        assert post(client, "/api/tutors", tutor(), headers=token).status_code == 202
        assert Delivery.objects.count() == 1

    def test_a_key_needs_no_csrf_token(self) -> None:
        client = Client(enforce_csrf_checks=True, headers={"authorization": f"Api-Key {new_key()}"})
        assert post(client, "/api/tutors", tutor()).status_code == 202

    @pytest.mark.parametrize("change", [{"is_staff": False}, {"is_active": False}])
    def test_others_are_401(self, user: User, change: dict[str, Any]) -> None:
        client = Client()
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        User.objects.update(**change)
        refusal(client.get("/api/tutors"), 401)

    def test_a_wrong_key_is_not_made_up_for_by_a_session(self, user: User) -> None:
        client = api("wrong.key")
        client.force_login(user, "django.contrib.auth.backends.ModelBackend")
        refusal(client.get("/api/tutors"), 401)


class TestDocs:
    PATHS = ("/guide", "/docs", "/redoc", "/openapi.json")

    def test_they_are_open_to_all(self) -> None:
        for path in self.PATHS:
            assert Client().get(path).status_code == 200

    def test_they_can_be_closed_to_all_but_staff(self, settings: Settings) -> None:
        settings.DOCS_PUBLIC = False
        client = Client()
        for path in self.PATHS:
            response = client.get(path)
            assert response.status_code == 401
            assert "/admin/login/" in response.content.decode() or path == "/openapi.json"
        client.force_login(User.objects.create_user("ada", is_staff=True), "django.contrib.auth.backends.ModelBackend")
        for path in self.PATHS:
            assert client.get(path).status_code == 200


class TestCommand:
    def test_the_key_stands_alone_on_standard_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("create_api_key", "billing")
        out, err = capsys.readouterr()
        assert out.count("\n") == 1
        assert "billing" in err
        assert out.strip() not in err
        assert api(out.strip()).get("/api/tutors").status_code == 200
        key = ApiKey.objects.get()
        assert (key.name, key.can_ingest, key.can_read, key.streams, key.expiry_date) == (
            "billing",
            True,
            True,
            [],
            None,
        )

    def test_it_takes_scopes_streams_and_an_end(self) -> None:
        day = timezone.localdate() + timedelta(days=10)
        scope, streams = ["--scope", "read"], ["--stream", "tutors", "--stream", "students"]
        call_command("create_api_key", "reader", *scope, *streams, "--expires", day.isoformat())
        key = ApiKey.objects.get()
        assert (key.can_ingest, key.can_read, key.streams) == (False, True, ["tutors", "students"])
        assert key.expiry_date and timezone.localtime(key.expiry_date).isoformat().startswith(f"{day}T00:00:00")

    def test_a_key_that_replaces_another_is_of_the_same_client(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("create_api_key", "billing", "--scope", "ingest", "--stream", "tutors")
        old = capsys.readouterr().out.strip()
        prefix = old.partition(".")[0]
        delivery = post(api(old), "/api/tutors", tutor()).json()["delivery"]
        call_command("create_api_key", "billing 2", "--replaces", prefix)
        out, err = capsys.readouterr()
        new = ApiKey.objects.get(prefix=out.partition(".")[0])
        assert (new.name, new.client, new.can_ingest, new.can_read, new.streams) == (
            "billing 2",
            prefix,
            True,
            False,
            ["tutors"],
        )
        assert f"instead of {prefix}" in err
        for key in (old, out.strip()):  # both work, and what either sent is the client's
            assert api(key).get(f"/api/deliveries/{delivery}").status_code == 200
        refusal(api().get(f"/api/deliveries/{delivery}"), 404)
        ApiKey.objects.filter(prefix=prefix).update(revoked=True)
        assert api(out.strip()).get(f"/api/deliveries/{delivery}").status_code == 200

    def test_its_help_says_how_a_key_ends_and_what_a_prefix_is(self) -> None:
        told = " ".join(create_api_key.Command().create_parser("manage.py", "create_api_key").format_help().split())
        assert "default: never" in told
        assert "prefix of the key to replace (the part before the dot" in told

    def test_what_a_new_key_takes_over_is_not_chosen_again(self) -> None:
        prefix = new_key().partition(".")[0]
        for more in (["--scope", "read"], ["--stream", "tutors"]):
            with pytest.raises(CommandError, match="leave --scope and --stream out"):
                call_command("create_api_key", "a", "--replaces", prefix, *more)
        with pytest.raises(CommandError, match="No key has the prefix unknown"):
            call_command("create_api_key", "a", "--replaces", "unknown")
        assert ApiKey.objects.count() == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["x" * 51],
            [""],
            ["a", "--scope", "write"],
            ["a", "--stream", "films"],
            ["a", "--expires", "soon"],
            ["a", "--expires", "2020-01-01"],
        ],
    )
    def test_it_refuses_what_makes_no_sense(self, arguments: list[str]) -> None:
        with pytest.raises(CommandError):
            call_command("create_api_key", *arguments)
        assert not ApiKey.objects.exists()

    def test_the_secret_is_in_no_column(self, capsys: pytest.CaptureFixture[str]) -> None:
        call_command("create_api_key", "billing")
        secret = capsys.readouterr().out.strip().partition(".")[2]
        assert all(secret not in str(value) for row in ApiKey.objects.values() for value in row.values())
