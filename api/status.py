"""How it stands: the queue, what was done, and who is at work."""

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
        """Records not yet processed, how old the oldest is, and what is held."""
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **stats.queue_stats(visible_streams(request))})


class StatsView(ApiView):
    @describe(STATS_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Totals by stream, the rate now, and how long records take.

        A record that is held and stored later is accepted once and processed once. The numbers are read one after
        another, so while records are on their way they may be a batch apart.
        """
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **stats.work_stats(visible_streams(request))})


class WorkerView(ApiView):
    @describe(WORKER_ANSWER, tag="operations")
    def get(self, request: Request) -> Response:
        """Which clusters and workers are alive, and what runs when."""
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **workers.worker_stats(visible_streams(request))})
