import os
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.servers import ROOT
from tutormax import env


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS", "maybe"),
        ("TRANSACTION_POOLING", "1"),
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("SESSION_IDLE_TIME", "59"),
        ("SECOND_FACTOR", "true"),
        ("WEB_PROCESSES", "0"),
        ("DRAIN_TIME", "301"),
        ("MAX_BODY_BYTES", "9" * 5000),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("LOG_LEVEL", "loud"),
        ("THROTTLE", "1.5"),
        ("CORS_ORIGINS", "https://app.example, *"),
        ("TMDB_RATE", "fast"),
        ("TMDB_URL", "https://api.themoviedb.org/3"),
        ("TMDB_LANGUAGE", "English"),
        ("TMDB_EXPIRY", "15552001"),
        ("TMDB_API_KEY", "two words"),
        ("SPOTIFY_CLIENT_SECRET", "two words"),
        ("SPOTIFY_URL", "https://api.spotify.com/v1"),
        ("MUSICBRAINZ_CONTACT", "music@example.org (me)"),
        ("MUSICBRAINZ_RATE", "1"),
        ("OPENWEATHER_URL", "api.openweathermap.org"),
        ("POSTERS", "some"),
        ("PUBLIC_UPLOADS", "1"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "redis://:secret word@localhost"),
        ("REDIS_URL", "redis://:secret#1@localhost"),
        ("REDIS_URL", "redis://:secret?@localhost"),
        ("REDIS_URL", "redis://localhost:65536/0"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql://localhost/tutormax"),
        ("DATABASE_URL", "postgres://localhost:port/tutormax"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named_in_a_sentence(name: str, value: str) -> None:
    command = [sys.executable, "manage.py", "check"]
    environment = {**os.environ, name: value}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{name} must ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr


def test_origins_are_read_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://App.example, http://localhost:5173,https://[::1]:8443,")
    assert env.origins("CORS_ORIGINS") == ["https://app.example", "http://localhost:5173", "https://[::1]:8443"]
    monkeypatch.delenv("CORS_ORIGINS")
    assert env.origins("CORS_ORIGINS") == []


@pytest.mark.parametrize(
    "value",
    [
        *("*", "null", "app.example", "//app.example", "ftp://app.example", "https://", "https://*.app.example"),
        *("https://app.example/", "https://app.example/path", "https://app.example?a=1", "https://a b"),
        *("https://user@app.example", "https://app.example:port", "https://app.example:123456", "https://-"),
    ],
)
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CORS_ORIGINS", f"https://app.example,{value}")
    with pytest.raises(ImproperlyConfigured, match="CORS_ORIGINS must be origins such as https://"):
        env.origins("CORS_ORIGINS")


def test_a_rate_is_requests_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.rate("TMDB_RATE", "40/10") == (40, 10)
    monkeypatch.setenv("TMDB_RATE", " 1/1 ")
    assert env.rate("TMDB_RATE", "40/10") == (1, 1)


@pytest.mark.parametrize(
    "value", ["40", "40/", "/10", "0/10", "40/0", "-1/1", "4.5/1", "40 / 10", "40/10s", "٤/١", "1/1/1", "9999999/1"]
)
def test_what_is_no_rate_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TMDB_RATE", value)
    with pytest.raises(ImproperlyConfigured, match="TMDB_RATE must be requests/seconds"):
        env.rate("TMDB_RATE", "40/10")


def test_a_key_that_cannot_be_read_is_not_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMDB_API_KEY", "eyJhbGciOi\nsecret")
    with pytest.raises(ImproperlyConfigured) as refused:
        env.credential("TMDB_API_KEY")
    assert "secret" not in str(refused.value)


def test_an_address_ends_without_a_slash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMDB_URL", "http://127.0.0.1:9000/")
    assert env.address("TMDB_URL", "https://api.themoviedb.org") == "http://127.0.0.1:9000"
    monkeypatch.delenv("TMDB_URL")
    assert env.address("TMDB_URL", "https://api.themoviedb.org") == "https://api.themoviedb.org"
