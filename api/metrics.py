"""/metrics for Prometheus, computed from our tables: the same whichever process or machine answers.

A Prometheus counter must never decrease. Ours are sums over MinuteStat, whose rows are merged when old, never deleted,
and written in the transaction of the work: what is rolled back is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, cast

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from django_q.brokers import get_broker
from prometheus_client import Metric, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import visible_streams
from api.base import ApiView
from api.schema.spec import Answer, Body, describe
from enrichment import stats
from enrichment.latency import BOUNDS, COLUMNS
from enrichment.lookups.models import Lookup, LookupMinute
from enrichment.lookups.status import provider_statuses, totals
from enrichment.models import MinuteStat
from ingestion import backlog, doorbell
from ingestion.models import PausedStream
from ingestion.query import read_query
from ingestion.streams import names

EXAMPLE = f"""\
# HELP tutormax_pending_records Records not yet processed.
# TYPE tutormax_pending_records gauge
tutormax_pending_records{{stream="{names()[0]}"}} 250.0
"""


class TutorMaxCollector(Collector):
    """Queries the tables for each collection; `only` are the streams that the requester may see."""

    def __init__(self, only: Collection[str] = ()) -> None:
        self.only = only

    def collect(self) -> Iterator[Metric]:
        held = stats.open_held()
        yield from self.work_metrics()
        yield from self.pending_metrics(held)
        yield self.held_metrics(held)
        yield from system_metrics()
        yield from lookup_metrics()

    def work_metrics(self) -> Iterator[Metric]:
        sums = {stream: numbers for stream, numbers in stats.totals().items() if self.is_visible(stream)}
        records = CounterMetricFamily(
            "tutormax_records",
            "Records processed, by outcome; a held record (waiting, dead) that is reprocessed counts again.",
            labels=["stream", "outcome"],
        )
        took = HistogramMetricFamily(
            "tutormax_latency_seconds", "Time from receipt until stored or first held.", labels=["stream"]
        )
        bounds = [*map(str, BOUNDS), "+Inf"]
        for stream, numbers in sums.items():
            for outcome in MinuteStat.OUTCOMES:
                records.add_metric([stream, outcome], numbers[outcome])
            buckets = zip(bounds, accumulate(numbers[column] for column in COLUMNS), strict=True)
            took.add_metric([stream], list(buckets), sum_value=numbers["seconds"])
        yield records
        yield took

    def pending_metrics(self, held: stats.Held) -> Iterator[Metric]:
        pending = GaugeMetricFamily("tutormax_pending_records", "Records not yet processed.", labels=["stream"])
        oldest = GaugeMetricFamily(
            "tutormax_oldest_pending_seconds",
            "Age of the oldest pending record; 0 if there is none.",
            labels=["stream"],
        )
        queues = stats.queues(self.only, held)
        for stream, queue in queues.items():
            pending.add_metric([stream], queue.pending)
            oldest.add_metric([stream], queue.oldest_age_seconds or 0)
        yield pending
        yield oldest
        paused = set(PausedStream.objects.values_list("stream", flat=True))
        is_paused = GaugeMetricFamily(
            "tutormax_stream_paused", "1: paused by an operator, not being processed.", labels=["stream"]
        )
        for stream in queues:
            is_paused.add_metric([stream], float(stream in paused))
        yield is_paused
        accepting = GaugeMetricFamily(
            "tutormax_accepting",
            "0: too many records of the stream are pending, and new ones are rejected with 503.",
            labels=["stream"],
        )
        for stream in queues:
            accepting.add_metric([stream], float(not backlog.is_full(stream)))
        yield accepting

    def held_metrics(self, held: stats.Held) -> Metric:
        records = GaugeMetricFamily(
            "tutormax_held_records",
            "Records that are waiting or dead letters now.",
            labels=["stream", "status", "code"],
        )
        for (status, code, stream), number in sorted(held.items()):
            if self.is_visible(stream):
                records.add_metric([stream, status, code], number)
        return records

    def is_visible(self, stream: str) -> bool:
        return not self.only or stream in self.only


def system_metrics() -> Iterator[Metric]:
    heartbeat = doorbell.heartbeat()
    yield GaugeMetricFamily("tutormax_cluster_alive", "1: workers are running.", float(doorbell.is_alive(heartbeat)))
    age = GaugeMetricFamily(
        "tutormax_heartbeat_age_seconds", "Seconds since a worker last ran a task; absent if none ever did."
    )
    if heartbeat:
        age.add_metric([], max(0.0, (timezone.now() - heartbeat).total_seconds()))
    yield age
    if settings.REDIS_URL:
        is_up = float(bool(get_broker().ping()))
        yield GaugeMetricFamily("tutormax_redis_up", "1: the Redis of REDIS_URL answers; absent without one.", is_up)
    limited = GaugeMetricFamily(
        "tutormax_limited_clients",
        "Clients of which no more is accepted, since they have reached this limit (429).",
        labels=["limit"],
    )
    reached = Counter(limit for limit, _ in {(share.setting, share.client) for share in backlog.reached()})
    for limit in backlog.LIMITS:
        limited.add_metric([limit.lower()], reached[limit])
    yield limited
    failing = GaugeMetricFamily(
        "tutormax_failing_deliveries",
        "Pending deliveries whose last attempt failed with an error of the database (store) or of our code (code).",
        labels=["fault"],
    )
    for fault, number in stats.failing_deliveries().items():
        failing.add_metric([fault], number)
    yield failing
    build = GaugeMetricFamily("tutormax_build_info", "Always 1.", labels=["version"])
    build.add_metric([settings.VERSION], 1)
    yield build


def lookup_metrics() -> Iterator[Metric]:
    lookups = GaugeMetricFamily(
        "tutormax_lookups", "Questions to outside services now, by status.", labels=["provider", "status"]
    )
    asked = GaugeMetricFamily(
        "tutormax_provider_asked",
        "1: the provider is being asked; 0: off, paused, refused or away.",
        labels=["provider"],
    )
    for provider in provider_statuses():
        for status in Lookup.Status.values:
            lookups.add_metric([provider["name"], status], provider[status])
        asked.add_metric([provider["name"]], float(not provider["why"]))
    yield lookups
    yield asked
    answers = CounterMetricFamily(
        "tutormax_lookup_answers",
        "Answers stored, by outcome; refreshed ones count again.",
        labels=["provider", "outcome"],
    )
    requests = CounterMetricFamily("tutormax_lookup_requests", "Requests sent to providers.", labels=["provider"])
    throttled = CounterMetricFamily("tutormax_lookup_throttled", "Requests answered with 429.", labels=["provider"])
    errors = CounterMetricFamily("tutormax_lookup_errors", "Requests without a usable answer.", labels=["provider"])
    for name, numbers in totals().items():
        for outcome in LookupMinute.ANSWERS:
            answers.add_metric([name, outcome], numbers[outcome])
        requests.add_metric([name], numbers["requests"])
        throttled.add_metric([name], numbers["throttled"])
        errors.add_metric([name], numbers["errors"])
    yield from (answers, requests, throttled, errors)


class PlainText(BaseRenderer):
    """Represents a format in the negotiation; the view writes the body itself."""

    media_type = "text/plain"
    format = "text"
    content_type = exposition.CONTENT_TYPE_PLAIN_0_0_4
    write: Callable[..., bytes] = staticmethod(exposition.generate_latest)


class OpenMetrics(PlainText):
    media_type = "application/openmetrics-text"
    format = "openmetrics"
    content_type = openmetrics.CONTENT_TYPE_LATEST
    write = staticmethod(openmetrics.generate_latest)


class OpenMetricsIfNamed(DefaultContentNegotiation):
    """Prefers OpenMetrics if it is named: Prometheus names both, and DRF ignores its q-values."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        is_named = OpenMetrics.media_type in request.META.get("HTTP_ACCEPT", "")
        ordered = sorted(renderers, key=lambda renderer: isinstance(renderer, OpenMetrics) != is_named)
        found: tuple[BaseRenderer, str] = super().select_renderer(request, ordered, format_suffix)
        return found


class MetricsView(ApiView):
    renderer_classes = [PlainText, OpenMetrics]
    content_negotiation_class = OpenMetricsIfNamed

    def get_renderers(self) -> list[BaseRenderer]:
        return super().get_renderers() if self.request.method in ("GET", "HEAD") else [JSONRenderer()]

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [] if settings.METRICS_PUBLIC else super().get_authenticators()

    def get_permissions(self) -> Sequence[Any]:
        return [AllowAny()] if settings.METRICS_PUBLIC else super().get_permissions()

    @describe(
        Answer(
            media={
                "text/plain": Body(example=EXAMPLE, description="Prometheus' text format."),
                "application/openmetrics-text": Body(example=EXAMPLE + "# EOF\n", description="OpenMetrics."),
            }
        ),
        tag="operations",
    )
    def get(self, request: Request) -> HttpResponse:
        """Metrics for Prometheus."""
        read_query(request.query_params, [])
        form = cast("PlainText", request.accepted_renderer)
        return HttpResponse(form.write(TutorMaxCollector(visible_streams(request))), content_type=form.content_type)

    def handle_exception(self, exc: Exception) -> Response:
        """Errors are JSON, whatever format was requested."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)
