"""The state of the system: queue, statistics, workers."""

from typing import Any

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import visible_streams
from api.base import ApiView
from api.schema.deliveries import QUEUE_STATS_ANSWER
from api.schema.spec import describe
from api.schema.status import STATS_ANSWER, WORKER_ANSWER
from enrichment import stats, workers
from ingestion.query import read_query
from ingestion.streams import all_streams


class QueueStatsView(ApiView):
    @describe(QUEUE_STATS_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Pending, waiting and dead records, and the age of the oldest pending one."""
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **queue_numbers(visible_streams(request))})


class StatsView(ApiView):
    @describe(STATS_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Totals by stream, current rate and latency.

        A record that is held and stored later counts as accepted once and processed once. The numbers are not one
        snapshot: while records are being processed they may differ by one batch.
        """
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **work_numbers(visible_streams(request))})


def queue_numbers(visible: stats.Visible) -> dict[str, Any]:
    queues = stats.queues(visible)
    return {
        "queues": with_earlier_names({name: queue.pending for name, queue in queues.items()}),
        "oldest_age_seconds": {name: queue.oldest_age_seconds for name, queue in queues.items()},
        "waiting": {name: queue.waiting for name, queue in queues.items()},
        "dead_letters": sum(queue.dead for queue in queues.values()),
    }


def with_earlier_names(numbers: dict[str, int]) -> dict[str, int]:
    earlier = {stream.earlier_name: numbers[stream.name] for stream in all_streams() if stream.name in numbers}
    return numbers | {name: number for name, number in earlier.items() if name}


def work_numbers(visible: stats.Visible) -> dict[str, Any]:
    streams, hour = stats.snapshot(visible), stats.last_hour(visible)
    return {
        "streams": {
            name: _work_numbers(numbers, hour.by_stream.get(name, stats.Throughput()))
            for name, numbers in streams.items()
        },
        "total": _work_numbers(stats.total(streams.values()), hour.total),
        "per_minute": [{"minute": minute, "records": records} for minute, records in hour.per_minute.items()],
    }


def _work_numbers(numbers: stats.StreamNumbers, throughput: stats.Throughput) -> dict[str, Any]:
    names = ("accepted", "processed", "inserted", "updated", "stale", "pending", "waiting", "dead")
    return {
        **{name: getattr(numbers, name) for name in names},
        "rate_per_second": round(throughput.records_per_second, 3),
        "latency_p50_seconds": throughput.latency(0.5),
        "latency_p95_seconds": throughput.latency(0.95),
    }


class WorkerView(ApiView):
    @describe(WORKER_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Clusters, workers and schedules."""
        read_query(request.query_params, [])
        visible = visible_streams(request)
        numbers = workers.worker_stats(visible)
        if visible:  # a key for some streams learns that workers run, not where
            clusters = numbers["clusters"]
            numbers["clusters"] = clusters and [{**cluster, "host": None, "pid": None} for cluster in clusters]
            numbers["schedules"] = []
        return Response({"timestamp": timezone.now(), **numbers})
