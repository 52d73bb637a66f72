import os
import subprocess
import sys

import pytest

from tests.servers import ROOT


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
