"""/metrics, read as Prometheus does."""

import re
from datetime import timedelta

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from enrichment.models import HeldRecord, MinuteStat
from ingestion import backlog
from ingestion.models import Delivery, Doorbell
from tests.api import api, new_key, refusal
from tests.held import hold, reprocess
from tests.records import deliver, send, work_off
from tests.servers import ROOT
from tutoring.tests.factories import session, tutor
from tutormax import __version__

pytestmark = pytest.mark.django_db(transaction=True)

Samples = dict[str, float]


def scrape(client: Client | None = None, accept: str = "*/*") -> Samples:
    """`name`, or `name{label=value,…}` by the labels' names → value."""
    response = (client or api()).get("/metrics", headers={"accept": accept})
    assert response.status_code == 200, response.content
    is_open = response["Content-Type"].startswith("application/openmetrics-text")
    parse = openmetrics.text_string_to_metric_families if is_open else text_string_to_metric_families
    samples = [sample for family in parse(response.content.decode()) for sample in family.samples]
    found = {_named(sample.name, sample.labels): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def _named(name: str, labels: dict[str, str]) -> str:
    told = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{name}{{{told}}}" if told else name


def test_it_tells_of_records_on_every_way() -> None:
    send("tutors", tutor(tutor_id="a"), tutor(tutor_id="bad", age=1), keep_invalid=True)
    send("sessions", session(tutor_id="absent"))
    waits = deliver("tutors", tutor(tutor_id="b"), tutor(tutor_id="c"))
    Delivery.objects.filter(pk=waits.pk).update(received_at=timezone.now() - timedelta(hours=1))
    found = scrape()
    assert found["tutormax_records_total{outcome=inserted,stream=tutors}"] == 1
    assert found["tutormax_records_total{outcome=dead,stream=tutors}"] == 1
    assert found["tutormax_records_total{outcome=waiting,stream=sessions}"] == 1
    assert found["tutormax_pending_records{stream=tutors}"] == 2
    assert found["tutormax_pending_records{stream=sessions}"] == 0
    assert 3600 <= found["tutormax_oldest_pending_seconds{stream=tutors}"] < 3700
    assert found["tutormax_oldest_pending_seconds{stream=students}"] == 0
    assert found["tutormax_held_records{code=invalid,status=dead,stream=tutors}"] == 1
    assert found["tutormax_held_records{code=missing_reference,status=waiting,stream=sessions}"] == 1
    assert found[f"tutormax_build_info{{version={__version__}}}"] == 1


def test_its_histogram_is_one() -> None:
    minute = timezone.now()
    MinuteStat.objects.create(minute=minute, stream="tutors", within_250ms=5, within_2s=3, over_1h=2, seconds=9000.5)
    MinuteStat.objects.create(minute=minute - timedelta(days=40), stream="tutors", within_250ms=1, seconds=0.125)
    found = scrape()
    start = "tutormax_latency_seconds_bucket{le="
    buckets = {name.removeprefix(start): value for name, value in found.items() if name.startswith(start)}
    bounds = ["0.25", "0.5", "1.0", "2.0", "5.0", "10.0", "30.0", "60.0", "300.0", "1800.0", "3600.0", "+Inf"]
    assert list(buckets) == [f"{bound},stream=tutors}}" for bound in bounds]
    assert list(buckets.values()) == [6, 6, 6, 9, 9, 9, 9, 9, 9, 9, 9, 11]
    assert found["tutormax_latency_seconds_count{stream=tutors}"] == 11
    assert found["tutormax_latency_seconds_sum{stream=tutors}"] == pytest.approx(9000.625)


def test_counters_never_fall() -> None:
    send("tutors", tutor(tutor_id="a"), tutor(tutor_id="bad", age=1), keep_invalid=True)
    first = counters()
    HeldRecord.objects.update(payload=HeldRecord.objects.get().payload.replace('"age":1,', ""))
    reprocess({}, by="command")
    work_off()
    send("tutors", tutor(tutor_id="a", updated_at="2025-03-02T00:00:00Z"))
    second = counters()
    assert HeldRecord.objects.get().status == HeldRecord.Status.RESOLVED
    assert second["tutormax_records_total{outcome=dead,stream=tutors}"] == 1
    assert all(second[name] >= value for name, value in first.items())
    assert sum(second.values()) > sum(first.values())


def counters() -> Samples:
    kinds = ("_total", "_bucket", "_count", "_sum")
    return {name: value for name, value in scrape().items() if name.partition("{")[0].endswith(kinds)}


def test_it_tells_whether_anybody_works() -> None:
    found = scrape()
    assert found["tutormax_cluster_alive"] == 0
    assert "tutormax_heartbeat_age_seconds" not in found
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now() - timedelta(seconds=90)})
    found = scrape()
    assert found["tutormax_cluster_alive"] == 1
    assert 90 <= found["tutormax_heartbeat_age_seconds"] < 180


def test_it_tells_of_trouble() -> None:
    for last_error in ("", "store: OperationalError: busy", "code: KeyError: x", "code: KeyError: y"):
        delivery = deliver("tutors", tutor())
        Delivery.objects.filter(pk=delivery.pk).update(last_error=last_error)
    found = scrape()
    assert found["tutormax_failing_deliveries{fault=store}"] == 1
    assert found["tutormax_failing_deliveries{fault=code}"] == 2


def test_it_tells_whether_records_are_taken_in(settings: Settings) -> None:
    assert scrape()["tutormax_accepting{stream=tutors}"] == 1
    deliver("tutors", tutor())
    settings.MAX_PENDING_RECORDS = 1
    backlog.reset_cache()
    found = scrape()
    assert (found["tutormax_accepting{stream=tutors}"], found["tutormax_accepting{stream=students}"]) == (0, 1)


def test_it_counts_clients_that_have_reached_a_limit(settings: Settings) -> None:
    names = [f"tutormax_limited_clients{{limit={limit.lower()}}}" for limit in backlog.LIMITS]
    backlog.reset_cache()
    assert [scrape()[name] for name in names] == [0, 0, 0, 0]
    deliver("tutors", tutor())
    hold()
    hold(stream="sessions", status="waiting", code="missing_reference")
    settings.MAX_CLIENT_PENDING_RECORDS = settings.MAX_CLIENT_DEAD_LETTERS = settings.MAX_CLIENT_WAITING_RECORDS = 1
    backlog.reset_cache()
    assert [scrape()[name] for name in names] == [1, 0, 1, 1]
    backlog.reset_cache()


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4;q=0.3,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            "application/openmetrics-text; version=nonsense",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ],
)
def test_it_speaks_what_is_asked_for(accept: str, form: str) -> None:
    send("tutors", tutor())
    client = api()
    assert client.get("/metrics", headers={"accept": accept})["Content-Type"] == form
    assert scrape(client, accept)["tutormax_records_total{outcome=inserted,stream=tutors}"] == 1


def test_errors_are_json() -> None:
    for accept in ("text/plain", "application/openmetrics-text", "*/*"):
        refusal(Client().get("/metrics", headers={"accept": accept}), 401)
        refusal(api().get("/metrics?x=1", headers={"accept": accept}), 400)
    refusal(api(new_key(can_read=False)).get("/metrics"), 403)
    refusal(api().get("/metrics", headers={"accept": "image/png"}), 406)


def test_it_can_be_public(settings: Settings) -> None:
    settings.METRICS_PUBLIC = True
    assert scrape(Client(headers={"authorization": "Api-Key wrong.key"}))["tutormax_cluster_alive"] == 0


def test_a_key_limited_to_streams_sees_no_other() -> None:
    send("tutors", tutor(tutor_id="a"), tutor(tutor_id="bad", age=1), keep_invalid=True)
    send("sessions", session(tutor_id="absent"))
    found = scrape(api(new_key(streams=["sessions"])))
    assert found["tutormax_records_total{outcome=waiting,stream=sessions}"] == 1
    assert not [name for name in found if "tutors" in name or "students" in name]


def test_the_alerts_watch_what_there_is() -> None:
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})
    send("tutors", tutor(tutor_id="a"), tutor(tutor_id="bad", age=1), keep_invalid=True)
    names = {name.partition("{")[0] for name in scrape()}
    text = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
    named = set(re.findall(r"tutormax_[a-z_]+(?=[^\w/.-]|$)", text))
    assert len(named) > 5
    assert named <= names
    assert all({"alert", "expr"} <= set(rule) for rule in yaml.safe_load(text)["groups"][0]["rules"])
