"""The secret of a key is in no log, on no page and in no column, however it is used; nor is a body in a log."""

import json
import re
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from typing import Any

import psycopg
import pytest
from django.core import signing

from conftest import NewDatabase
from tests.api import ask
from tests.servers import PATIENCE, WebServer, manage
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.postgresql

PASSWORD = "correct horse battery"
MARKER = "MARKER-of-a-body"
MAKE = f"""
import json
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from ingestion.models import ApiKey
User.objects.create_superuser("ada", password={PASSWORD!r})
soon, past = (timezone.now() + timedelta(days=days) for days in (3, -3))
keys = {{
    "good": {{}}, "expiring": {{"expiry_date": soon}}, "expired": {{"expiry_date": past}},
    "revoked": {{"revoked": True}}, "reader": {{"can_ingest": False}}, "limited": {{"streams": ["tutors"]}},
}}
print(json.dumps({{name: ApiKey.objects.create_key(name=name, **fields)[1] for name, fields in keys.items()}}))
"""


class Browser:
    """A person at the admin, and all that was shown to them."""

    def __init__(self, url: str) -> None:
        self.url, self.shown, self.jar = url, "", CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def open(self, path: str, **form: str) -> str:
        if form:
            form["csrfmiddlewaretoken"] = next(cookie.value or "" for cookie in self.jar if cookie.name == "csrftoken")
        data = urllib.parse.urlencode(form).encode() if form else None
        with self.opener.open(self.url + path, data, timeout=PATIENCE) as response:
            text = response.read().decode()
        self.shown += text + "".join(str(cookie) for cookie in self.jar)
        return str(text)

    def log_in(self) -> None:
        self.open("/admin/login/")
        self.open("/admin/login/", username="ada", password=PASSWORD, next="/admin/")

    def make_key(self, path: str) -> str:
        """The key that is shown; it is not counted as shown."""
        before = self.shown
        answer = self.open(path, name="by hand", can_ingest="on", can_read="on", expiry_date_0="", expiry_date_1="")
        (key,) = re.findall(r'<code class="secret">(.*?)</code>', answer)
        self.shown = before + answer.replace(key, "") + "".join(str(cookie) for cookie in self.jar)
        return str(key)


def use(url: str, keys: dict[str, str]) -> None:
    """Each key in every way that there is, right and wrong."""
    body = tutor(name=MARKER)
    for name, key in keys.items():
        read, posted = {"expired": (401, 401), "revoked": (401, 401), "reader": (200, 403)}.get(name, (200, 202))
        assert ask(f"{url}/api/tutors?search=x", key)[0] == read
        assert ask(f"{url}/api/tutors", key, body)[0] == posted
        assert ask(f"{url}/api/students/batch", key, [student(name=MARKER)])[0] == (
            403 if name == "limited" else posted
        )
        prefix, _, secret = key.partition(".")
        for wrong in (secret, f"{prefix}.{secret[:-1]}", f"{prefix}:{secret}", f"{key} {key}", f"{prefix}x.{secret}"):
            assert ask(f"{url}/api/tutors", wrong, body)[0] == 401
        for header in (f"Bearer {key}", f"Basic {key}", key):
            assert ask(f"{url}/api/tutors", body=body, Authorization=header)[0] == 401
        assert ask(f"{url}/api/tutors?api_key={key}", key)[0] == (401 if read == 401 else 400)
        assert ask(f"{url}/api/nothing?key={key}", X_Api_Key=key, Cookie=f"key={key}", X_Request_ID=key)[0] == 404
        for broken in ([MARKER], {"tutor_id": MARKER}, MARKER):
            assert ask(f"{url}/api/tutors", key, broken)[0] in (401, 403, 422)


def text_of(database: str) -> str:
    """Every row of every table; binary columns and sessions readable."""
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(tables) > 20
        rows = [row for (table,) in tables for row in connection.execute(f'SELECT t::text FROM "{table}" t'.encode())]
        bodies = connection.execute("SELECT body FROM ingestion_delivery").fetchall()
        sessions = connection.execute("SELECT session_data FROM django_session").fetchall()
    assert bodies and sessions
    salt = "django.contrib.sessions.SessionStore"
    return "\n".join(
        [
            *(row[0] for row in rows),
            *(bytes(body).decode() for (body,) in bodies),
            *(json.dumps(signing.loads(data, salt=salt)) for (data,) in sessions),
        ]
    )


def test_secrets_are_nowhere(new_database: NewDatabase) -> None:
    database = new_database()
    made = manage("shell", "-c", MAKE, database_url=database)
    keys: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
    command = manage("create_api_key", "command", database_url=database)
    keys["command"] = command.stdout.strip()
    told = made.stderr + command.stderr
    with WebServer(database, LOG_LEVEL="DEBUG", THROTTLE="100000") as server:
        use(server.url, keys)
        browser = Browser(server.url)
        browser.log_in()
        keys["by hand"] = browser.make_key("/admin/ingestion/apikey/add/")
        keys["replacing"] = browser.make_key(f"/admin/ingestion/apikey/{keys['good'].partition('.')[0]}/replace/")
        use(server.url, {name: keys[name] for name in ("by hand", "replacing")})
        for key in keys.values():
            for page in ("change", "history", "replace", "revoke"):
                browser.open(f"/admin/ingestion/apikey/{key.partition('.')[0]}/{page}/")
        for page in ("", "ingestion/apikey/", "ingestion/delivery/", "ingestion/delivery/1/change/"):
            browser.open(f"/admin/{page}")
        _break(database)
        assert ask(f"{server.url}/api/tutors?page_size=7", keys["good"])[0] == 500
    log, rows = server.log(), text_of(database)
    assert "Internal Server Error: /api/tutors" in log  # and its traceback
    assert MARKER in rows and MARKER not in log
    assert keys["good"].partition(".")[0] in log and keys["good"].partition(".")[0] in rows
    for name, key in keys.items():
        secret = key.partition(".")[2]
        assert len(secret) == 32
        for where, text in {"log": log, "output": told, "page": browser.shown, "database": rows}.items():
            assert secret not in text, f"{name} in the {where}"


def _break(database: str) -> Any:
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE tutoring_tutor CASCADE")
