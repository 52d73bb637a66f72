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
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("WORKERS", "0"),
        ("MAX_BODY_BYTES", "9" * 5000),
        ("TIME_ZONE", "Mars/Olympus"),
        ("TIME_ZONE", "../../etc/passwd"),
        ("LOG_LEVEL", "loud"),
        ("THROTTLE", "1.5"),
        ("CORS_ORIGINS", "https://app.example, *"),
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
