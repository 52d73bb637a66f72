"""What programs and browsers do: ask for HTML with a key, read back at once, save a form of an old session."""

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from enrichment.models import HeldRecord
from tests.api import api, new_key, post, refusal
from tests.people import browser_of, person, text_of
from tests.records import deliver, send, work_off
from tutoring.tests.factories import feedback, student
from tutormax import lockout

pytestmark = pytest.mark.django_db
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class TestFormats:
    @pytest.mark.parametrize("accept", [BROWSER, "text/html", "text/html, image/gif, *; q=.2, */*; q=.2", "*/*"])
    def test_a_key_gets_json_whatever_it_accepts(self, accept: str) -> None:
        client = api(accept=accept)
        for response in (
            client.get("/api/students"),
            client.get("/api/students/nobody"),
            client.get("/api/deliveries"),
            client.get("/api/uploads"),
            post(client, "/api/students", student()),
            post(client, "/api/students", b"{"),
        ):
            assert response["Content-Type"].startswith("application/json"), (accept, response.status_code)

    def test_a_session_gets_html(self) -> None:
        response = browser_of(person("viewer")).get("/api/students", headers={"accept": BROWSER})
        assert response["Content-Type"].startswith("text/html")


class TestPending:
    def test_a_record_that_is_pending_says_in_which_delivery(self) -> None:
        key = new_key()
        client = api(key)
        answer = post(client, "/api/students", student(student_id="Zoë 1")).json()
        response = client.get("/api/students/Zoë 1")
        assert response.status_code == 404
        body = response.json()
        number = answer["delivery"]
        assert body["error"]["message"] == f"No such record (delivery {number} containing it is pending)."
        assert (body["delivery"], body["status_url"]) == (number, answer["status_url"])
        assert "delivery" not in client.get("/api/students/Zoë").json()
        assert "delivery" not in api().get("/api/students/Zoë 1").json(), "another client's is not told"
        work_off()
        assert client.get("/api/students/Zoë 1").status_code == 200


class TestPages:
    def test_an_unknown_filter_is_named(self) -> None:
        root = browser_of(person(superuser=True))
        for page in ("tutoring/tutor", "enrichment/deadletter", "auth/user", "ingestion/delivery", "django_q/success"):
            assert "Unknown filter “foo”." in text_of(root.get(f"/admin/{page}/?foo=bar"), 400)

    def test_who_may_not_gets_a_page_of_ours(self) -> None:
        send("students", student(student_id="S", age="x"), keep_invalid=True)
        held = HeldRecord.objects.get()
        page = text_of(browser_of(person("viewer")).get(f"/admin/enrichment/deadletter/{held.pk}/fix/"), 403)
        assert "page.css" in page and "ask an administrator" in page

    @pytest.mark.parametrize("value", ["a\0b", "", "one", "1.5", "9" * 30, "-" + "9" * 30])
    @pytest.mark.parametrize("page", ["auth_user", "auth_group", "enrichment_deadletter", "django_q_schedule"])
    def test_no_selection_is_an_error_of_ours(self, page: str, value: str) -> None:
        data = {"action": "delete_selected", "_selected_action": value, "index": "0"}
        response = browser_of(person(superuser=True)).post(reverse(f"admin:{page}_changelist"), data)
        assert "does not exist" in text_of(response, 400)


class TestOldForms:
    @pytest.fixture
    def browser(self) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(person("operator"))
        return client

    def save(self, client: Client, path: str, origin: str = "http://testserver", **fields: Any) -> str:
        data = {"csrfmiddlewaretoken": "a" * 64, **fields}
        return text_of(client.post(path, data, headers={"origin": origin}), 403)

    def test_what_was_typed_can_be_sent_again(self, browser: Client) -> None:
        send("students", student(student_id="S", age="x"), keep_invalid=True)
        path = f"/admin/enrichment/deadletter/{HeldRecord.objects.get().pk}/fix/"
        payload = '{"student_id": "S",\n "name": "<b>"}'
        page = self.save(browser, path, payload=payload, payload_version="0", _save="")
        assert "logged in again" in page and f'action="{path}"' in page
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
        shown = html.unescape(re.search(r'<textarea name="payload"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)[1])  # type: ignore[index]
        assert shown == payload
        again = browser.post(path, {**fields, "payload": shown}, headers={"origin": "http://testserver"})
        assert again.status_code in (200, 302)
        assert HeldRecord.objects.get().payload != ""

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("/admin/password_change/", {"old_password": "secret text"}),
            ("/admin/auth/user/add/", {"username": "secret text", "password1": "secret text"}),
            ("/admin/ingestion/apikey/add/", {"name": "secret text"}),
            ("/nothing", {"name": "secret text"}),
        ],
    )
    def test_no_password_and_no_key_is_shown(self, browser: Client, path: str, fields: dict[str, str]) -> None:
        response = browser.post(
            path, {**fields, "csrfmiddlewaretoken": "a" * 64}, headers={"origin": "http://testserver"}
        )
        assert "secret text" not in response.content.decode()

    def test_neither_what_another_site_sent_nor_what_nobody_did(self, browser: Client) -> None:
        path = "/admin/enrichment/deadletter/"
        assert "typed text" not in self.save(browser, path, origin="https://evil.example", text="typed text")
        stranger = Client(enforce_csrf_checks=True)
        assert "typed text" not in self.save(stranger, path, text="typed text")
        assert "reload the page" in self.save(stranger, path, text="typed text")


class TestLockout:
    @pytest.mark.parametrize(
        ("address", "counted"),
        [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
        ],
    )
    def test_an_ipv6_address_is_its_network(self, rf: Any, address: str, counted: str) -> None:
        assert lockout.client_address(rf.get("/", REMOTE_ADDR=address)) == counted

    def test_an_address_has_so_many_failures_whatever_the_names(self, settings: Settings) -> None:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the others take their time
        user = User.objects.create_user("late", password="right", is_staff=True)
        url = "/admin/login/"
        for number in range(lockout.MAX_FAILURES):
            client = Client(REMOTE_ADDR=f"2001:db8::{number + 1:x}")
            assert client.post(url, {"username": f"user{number}", "password": "x"}).status_code == 200
        right = {"username": user.username, "password": "right"}
        assert Client(REMOTE_ADDR="2001:db8::ffff").post(url, right).status_code == 429
        assert Client(REMOTE_ADDR="2001:db8:0:1::1").post(url, right).status_code == 302


class TestRights:
    def test_uploads_need_the_right_to_view_uploads(self) -> None:
        user = person()
        user.user_permissions.add(Permission.objects.get(codename="view_delivery"))
        client = browser_of(user)
        assert client.get("/api/deliveries").status_code == 200
        for path in ("/api/uploads", "/api/uploads/1", "/api/uploads/1/errors"):
            refusal(client.get(path), 403)
        user.user_permissions.add(Permission.objects.get(codename="view_upload"))
        assert browser_of(user).get("/api/uploads").status_code == 200

    def test_a_key_for_some_streams_learns_nothing_of_the_machines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from enrichment import workers

        cluster = {"id": "1", "host": "tutormax-1", "pid": 4711, "status": "idle", "workers": 2, "reincarnations": 0}
        monkeypatch.setattr(workers, "clusters", lambda: [cluster])
        limited = api(new_key(streams=["tutors"])).get("/api/worker").json()
        assert [(each["host"], each["pid"], each["workers"]) for each in limited["clusters"]] == [(None, None, 2)]
        assert limited["schedules"] == []
        assert api().get("/api/worker").json()["clusters"][0]["host"] == "tutormax-1"


def test_the_queue_of_feedback_has_its_earlier_name_too() -> None:
    deliver("feedback", feedback(feedback_id="a"), feedback(feedback_id="b"))
    queues = api().get("/api/queue/stats").json()["queues"]
    assert queues["feedbacks"] == queues["feedback"] == 2
