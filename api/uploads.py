"""Uploads over HTTP: files in, progress and rejected rows out. Here because progress needs the held records."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, Any

from django.conf import settings
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import client_of, is_staff, visible_streams
from api.base import ApiView
from api.lists import ListView
from api.schema import uploads as told
from api.schema.spec import describe
from enrichment.retention import retention_hint
from enrichment.rows.listing import Item, Listing, read_fields
from enrichment.rows.ordering import NEWEST_FIRST, read_ordering
from enrichment.uploads import Progress, csv_of_rejected, progress_of
from ingestion import backlog, streams
from ingestion.files.record_file import RecordFile, inspect_file
from ingestion.files.spool import spool
from ingestion.files.uploads import ingest_files, preview
from ingestion.models import ApiKey, Upload
from ingestion.query import read_choice, read_query
from ingestion.refusals import RequestRejected
from ingestion.streams import Stream
from ingestion.text import strip_unstorable

FORM = ("stream", "file", "csrfmiddlewaretoken")
OPTIONS = ("again", "dry_run")


class FileBody(BaseParser):
    """Puts the body on the disk."""

    media_type = "text/csv"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        meta = parser_context["request"].META
        if meta.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity", "gzip"):
            headers = {"Accept-Encoding": "gzip"}
            raise RequestRejected(415, "Send the body as it is, or with Content-Encoding: gzip.", headers=headers)
        file, length = spool(stream, parser_context["view"].opened), int(meta["CONTENT_LENGTH"])
        if (came := file.seek(0, 2)) < length:
            raise RequestRejected(400, f"The body ended after {came} of {length} bytes.")
        return file


class NdjsonFileBody(FileBody):
    media_type = "application/x-ndjson"


class JsonFileBody(FileBody):
    media_type = "application/json"


class UnnamedFileBody(FileBody):
    media_type = "application/octet-stream"


class GzipFileBody(FileBody):
    media_type = "application/gzip"


class OldGzipFileBody(FileBody):
    media_type = "application/x-gzip"


class UploadsView(ListView):
    """Files of records."""

    parser_classes = [
        *(MultiPartParser, FileBody, NdjsonFileBody, JsonFileBody),
        *(UnnamedFileBody, GzipFileBody, OldGzipFileBody),
    ]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with ExitStack() as self.opened:  # the temporary files of this request
            return super().dispatch(request, *args, **kwargs)

    @property
    def any_scope(self) -> bool:
        return self.request.method != "POST"

    def get_view_name(self) -> str:
        return "uploads"

    @describe(told.LIST, parameters=told.LIST_PARAMETERS, tag="uploads")
    def get(self, request: Request) -> HttpResponseBase:
        """Your uploads, newest first.

        A key sees those of its client, a member of staff all.
        """
        query = self.read_query(request, ())
        fields = read_fields(query, told.UPLOAD_FIELDS)

        def shown(uploads: Sequence[Upload]) -> list[Item]:
            return [{name: body[name] for name in fields} for body in bodies(request, uploads)]

        listing = Listing(own(request), read_ordering(query, NEWEST_FIRST), fields, shown)
        return self.answer_list(request, query, listing, "uploads")

    @describe(
        told.KEPT,
        told.NOT_KEPT,
        errors=(409, 422),
        parameters=(told.STREAM, told.NAME, told.AGAIN, told.DRY_RUN),
        body=told.BODIES,
        tag="uploads",
    )
    def post(self, request: Request) -> Response:
        """Upload one or many files of records.

        CSV and NDJSON of any size, JSON up to the limit of other bodies; each also as gzip. It is answered when all of
        it is kept. Rows that are invalid are kept as well, as dead letters. When there is no answer, send the same file
        again: what had not arrived whole was not kept at all and begins anew; what was being kept when the server
        stopped goes on where that stopped. A file that was taken in before is refused (409), unless with `again`.
        Of several files those that were taken in before are answered as they are, as long as another is new or not
        finished: so a form that was interrupted can be sent again as it was.
        """
        query = read_query(request.query_params, ["stream", "name", *OPTIONS])
        again, dry_run = (read_choice(query, name, ["false", "true"]) == "true" for name in OPTIONS)
        if not dry_run:
            backlog.raise_if_full()
        files = read_files(request, query, self.opened)
        if dry_run:
            previews = [preview(file) for file in files]
            return Response({"success": True, "dry_run": True, "uploads": previews, "timestamp": timezone.now()})
        uploads = ingest_files(files, client_of(request), again=again)
        kept = bodies(request, uploads)
        return Response({"success": True, "uploads": kept, "timestamp": timezone.now()}, status=201)


class UploadView(ApiView):
    """One upload."""

    any_scope = True

    def get_view_name(self) -> str:
        return "upload"

    @describe(told.STATUS, parameters=(told.UPLOAD_ID,), tag="uploads")
    def get(self, request: Request, id: str) -> Response:
        """How far one upload is."""
        read_query(request.query_params, [])
        return Response(bodies(request, [find(request, id)])[0])


class RejectedRowsView(ListView):
    """The rows of an upload that could not be stored."""

    any_scope = True

    def get_view_name(self) -> str:
        return "rejected rows"

    @describe(told.REJECTED_ROWS, parameters=(told.UPLOAD_ID,), tag="uploads")
    def get(self, request: Request, id: str) -> HttpResponseBase:
        """The rejected rows as CSV, to fix and upload again.

        The columns `row` and `error` say which and why; they are ignored when the file comes back. A text that a
        spreadsheet would take for a formula has an apostrophe in front, which is taken away then. When a fixed row is
        stored, the dead letter with its key is closed. When the upload is `completed`, all are known but
        those that wait in vain.
        """
        read_query(request.query_params, [])
        return csv_of_rejected(find(request, id))


def own(request: Request) -> QuerySet[Upload]:
    """Those of the client that asks, of the streams that its key may see; all for a member of staff."""
    uploads = Upload.objects.all() if is_staff(request.user) else Upload.objects.filter(client=client_of(request))
    seen = visible_streams(request)
    return uploads.filter(stream__in=seen) if seen else uploads


def find(request: Request, id: str) -> Upload:
    upload = own(request).filter(pk=int(id)).first()
    if upload is None:
        raise RequestRejected(404, f"You have sent no such upload{retention_hint()}.")
    return upload


def bodies(request: Request, uploads: Sequence[Upload]) -> list[Item]:
    progress = progress_of(uploads)
    return [body_of(request, progress[upload.pk]) for upload in uploads]


def body_of(request: Request, progress: Progress) -> Item:
    upload = progress.upload
    return {
        "id": upload.pk,
        "name": upload.name,
        "stream": upload.stream,
        "status": progress.status,
        "rows": progress.total,
        "total": progress.total,
        "processed": progress.processed,
        "inserted": progress.inserted,
        "updated": progress.updated,
        "stale": progress.stale,
        "waiting": progress.waiting,
        "dead": progress.dead,
        "resolved": progress.resolved,
        "discarded": progress.discarded,
        "progress_percent": progress.percent,
        "eta_seconds": progress.eta_seconds,
        "message": progress.message,
        "created_at": upload.created_at,
        "status_url": request.build_absolute_uri(reverse("upload", args=[upload.pk])),
        "errors_url": request.build_absolute_uri(reverse("upload-errors", args=[upload.pk])),
    }


# What was sent.


def read_files(request: Request, query: dict[str, str], opened: ExitStack) -> list[RecordFile]:
    """The files, examined. Refuses what is no file of a stream that the client may post to."""
    refuse_length(request)
    sent: Any = request.data
    if isinstance(sent, dict):  # a form
        return files_of_form(request, query, opened)
    if "stream" not in query:
        raise RequestRejected(400, "Specify the stream: ?stream=", fields={"stream": ["is required"]})
    stream = read_stream(request, query["stream"])
    return [
        inspect_file(sent, strip_unstorable(query.get("name", "unnamed"), 255), stream, opened, request.content_type)
    ]


def refuse_length(request: Request) -> None:
    length = request.META.get("CONTENT_LENGTH")
    if "HTTP_TRANSFER_ENCODING" in request.META and not length:
        raise RequestRejected(411, "Send the body with a Content-Length, not in chunks.")
    if not length or length == "0":
        raise RequestRejected(400, "The body is empty.")
    if int(length) > settings.MAX_UPLOAD_BYTES:
        raise RequestRejected(
            413, f"The body has {length} bytes; at most {settings.MAX_UPLOAD_BYTES} are taken at once."
        )


def files_of_form(request: Request, query: dict[str, str], opened: ExitStack) -> list[RecordFile]:
    if unknown := [name for name in request.data if name not in FORM]:
        fields = {
            strip_unstorable(name, 100): [f"belongs into the address: ?{name}=" if name in OPTIONS else "unknown field"]
            for name in unknown
        }
        message = "The form has the fields stream and file, no others"
        belong = " and ".join(f"?{name}=" for name in OPTIONS if name in unknown)
        raise RequestRejected(400, f"{message}; {belong} in the address." if belong else f"{message}.", fields=fields)
    if "name" in query:
        raise RequestRejected(400, "In a form each file has its name.", fields={"name": ["is for raw bodies"]})
    names = {*request.POST.getlist("stream"), *([query["stream"]] if "stream" in query else [])}
    if len(names) != 1:
        raise RequestRejected(400, "Specify the stream exactly once.", fields={"stream": ["is required once"]})
    stream = read_stream(request, names.pop())
    files = request.FILES.getlist("file")
    if not files:
        raise RequestRejected(400, "The form field file contains no file.", fields={"file": ["is required"]})
    return [
        inspect_file(file.file, strip_unstorable(file.name, 255), stream, opened, file.content_type or "")
        for file in files
    ]


def read_stream(request: Request, name: str) -> Stream:
    if name not in streams.names():
        message = f"must be one of: {', '.join(streams.names())}"
        raise RequestRejected(400, f"stream {message}.", fields={"stream": [message]})
    if isinstance(request.auth, ApiKey) and request.auth.streams and name not in request.auth.streams:
        raise RequestRejected(403, f"This API key is limited to {', '.join(request.auth.streams)}.")
    return streams.get(name)
