"""/metrics: for Prometheus, from our own tables, so that it is the same whichever process or machine is asked.

A counter of Prometheus must never fall. Ours are sums over MinuteStat, whose rows are merged when they get old, never
deleted, and written by the work's own transaction: what is rolled back is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, cast

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
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
from enrichment.models import MinuteStat
from ingestion import backlog, doorbell
from ingestion.models import PausedStream
from ingestion.query import read_query

EXAMPLE = """\
# HELP tutormax_pending_records Records not yet worked on.
# TYPE tutormax_pending_records gauge
tutormax_pending_records{stream="tutors"} 250.0
"""


class TutorMax(Collector):
    """Asks the tables anew for each collection; `only` are the streams that whoever asks may know of."""

    def __init__(self, only: Collection[str] = ()) -> None:
        self.only = only

    def collect(self) -> Iterator[Metric]:
        held = stats.open_held()
        yield from self.of_work()
        yield from self.of_what_is_pending(held)
        yield self.of_what_is_held(held)
        yield from of_the_system()

    def of_work(self) -> Iterator[Metric]:
        sums = {stream: numbers for stream, numbers in stats.totals().items() if self.may_know(stream)}
        records = CounterMetricFamily(
            "tutormax_records",
            "Records worked on, by outcome; one that is held (waiting, dead) and sent through again counts again.",
            labels=["stream", "outcome"],
        )
        took = HistogramMetricFamily(
            "tutormax_latency_seconds", "From a record's arrival until it was stored or first held.", labels=["stream"]
        )
        bounds = [*map(str, BOUNDS), "+Inf"]
        for stream, numbers in sums.items():
            for outcome in MinuteStat.OUTCOMES:
                records.add_metric([stream, outcome], numbers[outcome])
            buckets = zip(bounds, accumulate(numbers[column] for column in COLUMNS), strict=True)
            took.add_metric([stream], list(buckets), sum_value=numbers["seconds"])
        yield records
        yield took

    def of_what_is_pending(self, held: Counter[tuple[str, str, str]]) -> Iterator[Metric]:
        pending = GaugeMetricFamily("tutormax_pending_records", "Records not yet worked on.", labels=["stream"])
        oldest = GaugeMetricFamily(
            "tutormax_oldest_pending_seconds", "Age of the oldest of them; 0: there are none.", labels=["stream"]
        )
        queue = stats.queue_stats(self.only, held)
        for stream, number in queue["queues"].items():
            pending.add_metric([stream], number)
            oldest.add_metric([stream], queue["oldest_age_seconds"][stream] or 0)
        yield pending
        yield oldest
        paused = set(PausedStream.objects.values_list("stream", flat=True))
        is_paused = GaugeMetricFamily(
            "tutormax_stream_paused", "1: an operator has paused it, and nobody works on it.", labels=["stream"]
        )
        for stream in queue["queues"]:
            is_paused.add_metric([stream], float(stream in paused))
        yield is_paused

    def of_what_is_held(self, held: Counter[tuple[str, str, str]]) -> Metric:
        records = GaugeMetricFamily(
            "tutormax_held_records", "Records that wait or are dead letters now.", labels=["stream", "status", "code"]
        )
        for (status, code, stream), number in sorted(held.items()):
            if self.may_know(stream):
                records.add_metric([stream, status, code], number)
        return records

    def may_know(self, stream: str) -> bool:
        return not self.only or stream in self.only


def of_the_system() -> Iterator[Metric]:
    heartbeat = doorbell.heartbeat()
    yield GaugeMetricFamily("tutormax_cluster_alive", "1: workers are alive.", float(stats.is_alive(heartbeat)))
    age = GaugeMetricFamily("tutormax_heartbeat_age_seconds", "Since a worker last ran a task; absent: none ever did.")
    if heartbeat:
        age.add_metric([], max(0.0, (timezone.now() - heartbeat).total_seconds()))
    yield age
    failing = GaugeMetricFamily(
        "tutormax_failing_deliveries",
        "Pending deliveries whose last try ended in an error of the store or of the code.",
        labels=["fault"],
    )
    for fault, number in stats.failing_deliveries().items():
        failing.add_metric([fault], number)
    yield failing
    full = "0: so much is pending that requests with records are refused with 503."
    yield GaugeMetricFamily("tutormax_accepting", full, float(not backlog.is_full()))
    build = GaugeMetricFamily("tutormax_build_info", "Always 1.", labels=["version"])
    build.add_metric([settings.VERSION], 1)
    yield build


class PlainText(BaseRenderer):
    """Stands for a format in the negotiation; what is written does not pass through it."""

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
    """Prometheus names both and prefers OpenMetrics, by weights that are not heeded otherwise."""

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
        return HttpResponse(form.write(TutorMax(visible_streams(request))), content_type=form.content_type)

    def handle_exception(self, exc: Exception) -> Response:
        """Errors are JSON, whatever was asked for."""
        self.request.accepted_renderer = JSONRenderer()
        self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)
