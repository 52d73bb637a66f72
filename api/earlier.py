"""The paths and names under which an earlier API uploaded films and said how far it was, with the values of today."""

from __future__ import annotations

import math
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import visible_streams
from api.base import ApiView
from api.schema import earlier as schema
from api.schema.spec import describe
from api.schema.uploads import BODIES, POST_PARAMETERS
from api.uploads import FilesView, find_upload
from enrichment import workers
from enrichment.uploads import Progress, progress_of
from ingestion import streams
from ingestion.models import Upload
from ingestion.query import read_query


class EarlierUploadView(FilesView):
    """An export under its earlier path."""

    def get_view_name(self) -> str:
        return "upload (earlier name)"

    @describe(schema.CREATED, schema.KNOWN, errors=(409, 422), parameters=POST_PARAMETERS, body=BODIES, tag="uploads")
    def post(self, request: Request) -> Response:
        """Upload an export; the earlier name of `POST /api/uploads`, with which it has parameters and errors in common.

        The answer is that of `GET /api/session/{id}/status`, of the first upload.
        """
        response = self.take_in(request)
        if "dry_run" in response.data:
            return response
        upload = Upload.objects.get(pk=response.data["uploads"][0]["id"])
        return Response(session_of(upload), status=response.status_code)


class SessionView(ApiView):
    """An upload under its earlier name."""

    model = Upload
    any_scope = True

    def get_view_name(self) -> str:
        return "session"

    @describe(schema.SESSION, parameters=(schema.SESSION_ID,), tag="uploads")
    def get(self, request: Request, id: str) -> HttpResponseBase:
        """Progress of one of your uploads; the earlier name of `GET /api/uploads/{id}`."""
        read_query(request.query_params, [])
        return Response(session_of(find_upload(request, id)))


def session_of(upload: Upload) -> dict[str, Any]:
    """An UploadSession."""
    progress = progress_of([upload])[upload.pk]
    stream = streams.get(upload.stream) if upload.stream in streams.names() else None
    return {
        "session_id": str(upload.pk),
        "status": progress.status,
        "total_movies": progress.count("total"),
        "enriched_count": progress.count("found"),
        "progress_percent": math.floor(progress.percent),
        "created_at": upload.created_at,
        "expires_at": stream.expires_at(upload) if stream and stream.expires_at else None,
        "error_message": _error(progress),
    }


def _error(progress: Progress) -> str | None:
    return progress.message or None


class WorkerStatusView(ApiView):
    """The worker under its earlier name."""

    any_scope = True

    def get_view_name(self) -> str:
        return "worker (earlier name)"

    @describe(schema.WORKER_STATUS, tag="operations")
    def get(self, request: Request) -> Response:
        """Whether workers are running; the earlier name of `GET /api/worker`, which says more."""
        read_query(request.query_params, [])
        numbers = workers.worker_stats(visible_streams(request))
        return Response(
            {
                "worker_status": "running" if numbers["alive"] else "stopped",
                "running": numbers["alive"],
                "last_run": numbers["last_run"],
                "next_run": numbers["next_run"],
                "interval": numbers["interval_seconds"],
            }
        )
