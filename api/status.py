"""The state of the system: queue, statistics, workers."""

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


class QueueStatsView(ApiView):
    @describe(QUEUE_STATS_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Pending, waiting and dead records, and the age of the oldest pending one."""
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **stats.queue_stats(visible_streams(request))})


class StatsView(ApiView):
    @describe(STATS_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Totals by stream, current rate and latency.

        A record that is held and stored later counts as accepted once and processed once. The numbers are not one
        snapshot: while records are being processed they may differ by one batch.
        """
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **stats.work_stats(visible_streams(request))})


class WorkerView(ApiView):
    @describe(WORKER_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Clusters, workers and schedules."""
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **workers.worker_stats(visible_streams(request))})
