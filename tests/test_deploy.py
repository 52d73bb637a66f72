"""What deploy/ is made of fits the rest: its settings exist, its metrics are ours, and each alert says what to do."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from prometheus_client.metrics_core import Metric

from api.metrics import TutorMaxCollector
from tests.api import api
from tests.forks import setting_names
from tests.servers import ROOT
from tutormax import limits

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = ("migrate", "web", "qcluster")
NGINX = (DEPLOY / "nginx" / "tutormax.conf").read_text()
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
NOT_OURS = {"POSTGRES_PASSWORD"}
TASK_TIMEOUT = int(str(settings.Q_CLUSTER["timeout"]))


def given_to(service: str) -> set[str]:
    return set(COMPOSE["services"][service].get("environment", {}))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    shutil.copy(DEPLOY / "prepare", tmp_path)
    subprocess.run([tmp_path / "prepare", "tutormax.example"], check=True, capture_output=True)
    return tmp_path


def read_settings(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_all_settings_of_the_containers_exist(prepared: Path) -> None:
    written = set(read_settings(prepared / ".env"))
    assert {"SECRET_KEY", "ALLOWED_HOSTS", "HTTPS", "POSTGRES_PASSWORD"} <= written
    assert written - NOT_OURS <= set(setting_names())
    for service in OURS:
        assert given_to(service) <= set(setting_names())


def test_prepared_settings_start_and_stay_as_they_are(prepared: Path) -> None:
    before = {path.name: path.read_bytes() for path in (prepared / ".env", prepared / "tls" / "privkey.pem")}
    assert all((prepared / "tls" / name).stat().st_mode & 0o077 == 0 for name in ("privkey.pem", "../.env"))
    subprocess.run([prepared / "prepare", "other.example"], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (prepared / ".env", prepared / "tls" / "privkey.pem")} == before
    environment = {**os.environ, **read_settings(prepared / ".env")}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level=WARNING"]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_git_ignores_the_secrets_that_prepare_writes(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(DEPLOY / "prepare", tmp_path / "deploy")
    shutil.copy(DEPLOY.parent / ".gitignore", tmp_path)
    subprocess.run([tmp_path / "deploy" / "prepare", "tutormax.example"], check=True, capture_output=True)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    untracked = ["git", "ls-files", "--others", "--exclude-standard"]
    found = subprocess.run(untracked, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert found.split() == [".gitignore", "deploy/prepare"]


def test_what_the_containers_share_is_declared() -> None:
    services = COMPOSE["services"]
    assert set(OURS) | {"postgres", "nginx"} == set(services)
    for name, service in services.items():
        assert set(service.get("networks", [])) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", {})) <= set(services), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            exists = (DEPLOY / source).exists() or source == "./tls"  # which deploy/prepare makes
            assert exists if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_only_nginx_can_be_reached_from_outside() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["nginx"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert COMPOSE["services"]["postgres"]["networks"] == ["inside"]


def test_nginx_starts_anew_with_a_new_web_server() -> None:
    """It looks up addresses only then."""
    assert COMPOSE["services"]["nginx"]["depends_on"]["web"] == {"condition": "service_healthy", "restart": True}


def test_our_containers_have_no_rights_and_time_to_stop() -> None:
    for name in OURS:
        service = COMPOSE["services"][name]
        assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert seconds(COMPOSE["services"]["web"]["stop_grace_period"]) > settings.DRAIN_TIME + 6
    assert seconds(COMPOSE["services"]["qcluster"]["stop_grace_period"]) > TASK_TIMEOUT


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_image_has_every_package_and_no_test() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    there = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench", "faults", "fuzz"}
    assert packages | {"manage.py", "requirements.txt", "static", "templates", "docs/client-guide.md"} == there
    assert lines.index("*") < min(lines.index(f"!{name}") for name in there)
    assert lines.index("**/tests") > max(lines.index(f"!{name}") for name in there)


def test_the_image_is_installed_by_hash_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert "--require-hashes" in text
    instructions = re.findall(r"^(\w+) (.*)$", text, re.MULTILINE)
    assert [value for name, value in instructions if name == "USER"] == ["10001"]
    last = [name for name, _ in instructions]
    assert last.index("USER") > max(i for i, name in enumerate(last) if name in ("COPY", "RUN"))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_are_hardened_alike_and_stop_the_main_process_alone(path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(path)
    service = unit["Service"]
    assert (service["User"], service["EnvironmentFile"]) == ("tutormax", "/etc/tutormax.env")
    hardened = {"NoNewPrivileges": "true", "ProtectSystem": "strict", "PrivateTmp": "true", "ProtectHome": "true"}
    assert hardened.items() <= dict(service).items()
    assert (service["CapabilityBoundingSet"], service["UMask"]) == ("", "0077")
    if "Restart" in service:
        assert (service["Restart"], service["KillMode"]) == ("always", "mixed")
        assert int(service["TimeoutStopSec"]) > settings.DRAIN_TIME + 6
    if "qcluster" in path.stem:
        assert int(service["TimeoutStopSec"]) > TASK_TIMEOUT


def names_of(metrics: list[Metric]) -> set[str]:
    """As Prometheus stores them."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {metric.name + suffix for metric in metrics for suffix in suffixes.get(metric.type, [""])}


@pytest.mark.django_db
def test_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    metrics = list(TutorMaxCollector().collect())
    labels = {label for metric in metrics for label in getattr(metric, "_labelnames", ())}
    for rule in RULES:
        used = set(re.findall(r"\btutormax_\w+", rule["expr"]))
        assert used <= names_of(metrics), rule["alert"]
        assert used or "up{" in rule["expr"], rule["alert"]
        asked = set(re.findall(r"(\w+)=\"", rule["expr"])) | set(re.findall(r"on \((\w+)\)", rule["expr"]))
        assert asked - {"job"} <= labels, rule["alert"]


def test_every_alert_says_what_to_do_and_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "deployment.md").read_text()
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "runbook"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.search(rf"^\| {rule['alert']} \| .+ \|$", guide, re.MULTILINE), rule["alert"]


def sizes() -> dict[str, int]:
    """location → bytes that nginx lets pass, of those with a limit of their own."""
    units = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
    found = re.findall(r"location ([^{]+) \{\s+client_max_body_size (\d+)([kmg]);", NGINX)
    return {location: int(number) * units[unit] for location, number, unit in found}


def test_nginx_lets_pass_what_we_take() -> None:
    passed = sizes()
    assert passed["/api/"] >= settings.MAX_BODY_BYTES
    assert passed["~ ^/api/uploads?/?$"] >= settings.MAX_UPLOAD_BYTES
    assert passed["/admin/ingestion/upload/"] >= settings.MAX_UPLOAD_BYTES
    assert passed["= /uploads"] > limits.MAX_PUBLIC_BODY
    assert passed["/admin/"] > limits.SMALL_BODY
    blocks = re.findall(r"location [^{@]+ \{(.*?)\n    \}", NGINX, re.DOTALL)
    assert len([block for block in blocks if "proxy_pass http://tutormax;" in block]) == 7


@pytest.mark.django_db
@pytest.mark.parametrize(("status", "code"), [(413, "too_large"), (503, "unavailable")])
def test_errors_of_nginx_have_our_shape(status: int, code: str) -> None:
    found = re.search(rf"return {status} '(.*)';", NGINX)
    assert found
    error: dict[str, Any] = yaml.safe_load(found[1])
    ours = api().get("/api/nothing").json()
    assert (error.keys(), error["error"].keys()) == (ours.keys(), ours["error"].keys())
    assert (error["success"], error["error"]["code"]) == (False, code)
