"""Uploads over HTTP: files in, progress and rejected rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any, NoReturn

from django.conf import settings
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import client_of, is_personal_hidden, is_staff, visible_streams
from api.base import ApiView
from api.lists import ListView
from api.schema import uploads as schema
from api.schema.spec import describe
from api.schema.uploads import PartStatus, UploadStatus
from enrichment.retention import retention_hint
from enrichment.rows.listing import Item, Listing, read_fields
from enrichment.rows.ordering import NEWEST_FIRST, read_ordering
from enrichment.uploads import Progress, csv_of_rejected, progress_of
from ingestion import backlog, capacity, streams
from ingestion.files.sets import Options, SentFile, Uploadable, inspect_sent
from ingestion.files.spool import TemporaryFiles, path_of, spool
from ingestion.files.uploads import find_earlier, ingest_files, preview
from ingestion.models import ApiKey, Upload
from ingestion.query import read_choice, read_flag, read_query
from ingestion.refusals import RequestRejected
from ingestion.streams import Stream
from ingestion.subjects.masking import masked_preview
from ingestion.text import strip_unstorable

FILES = ("file", "files")
SAID = ("stream", "kind")
"""Besides Stream.upload_fields: in the query of a raw body, in a form there or as fields."""
OPTIONS = ("again", "dry_run", "missing", "sheet", "map")


class FileBody(BaseParser):
    """Writes the body to a temporary file: request.data is that file."""

    media_type = "text/csv"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        meta = parser_context["request"].META
        if meta.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in ("", "identity", "gzip"):
            headers = {"Accept-Encoding": "gzip"}
            raise RequestRejected(415, "Send the body uncompressed, or with Content-Encoding: gzip.", headers=headers)
        file, length = spool(stream, parser_context["view"].opened), int(meta["CONTENT_LENGTH"])
        if (received := file.seek(0, 2)) < length:
            raise RequestRejected(400, f"The body ended after {received} of {length} bytes.")
        return file


class NdjsonFileBody(FileBody):
    media_type = "application/x-ndjson"


class JsonFileBody(FileBody):
    media_type = "application/json"


class ExcelFileBody(FileBody):
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class ParquetFileBody(FileBody):
    media_type = "application/vnd.apache.parquet"


class XParquetFileBody(FileBody):
    media_type = "application/x-parquet"


class BinaryFileBody(FileBody):
    media_type = "application/octet-stream"


class ZipFileBody(FileBody):
    media_type = "application/zip"


class XZipFileBody(FileBody):
    media_type = "application/x-zip-compressed"


class GzipFileBody(FileBody):
    media_type = "application/gzip"


class XGzipFileBody(FileBody):
    media_type = "application/x-gzip"


class FilesView(ApiView):
    """Takes files in."""

    model = Upload
    parser_classes = [
        *(MultiPartParser, FileBody, NdjsonFileBody, JsonFileBody, ExcelFileBody, ParquetFileBody, XParquetFileBody),
        *(BinaryFileBody, GzipFileBody, XGzipFileBody, ZipFileBody, XZipFileBody),
    ]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with TemporaryFiles() as self.opened:  # the temporary files of this request
            return super().dispatch(request, *args, **kwargs)

    def take_in(self, request: Request) -> Response:
        query = read_query(request.query_params, [*SAID, *streams.upload_fields(), "name", *OPTIONS])
        again, dry_run = (read_flag(query, name) for name in ("again", "dry_run"))
        read_choice(query, "missing", schema.MISSING_CHOICES)
        if not dry_run:
            named = [name for name in [query.get("stream")] if name]
            backlog.raise_if_full(named, client_of(request))  # before the body is read
        with capacity.heavy_request(client_of(request), request.META):
            return self.ingest(request, query, again=again, dry_run=dry_run)

    def ingest(self, request: Request, query: dict[str, str], *, again: bool, dry_run: bool) -> Response:
        files = read_files(request, query, self.opened)
        if dry_run:
            previews = [preview(file) for file in files]
            if is_personal_hidden(request):
                previews = [masked_preview(file.stream, each) for file, each in zip(files, previews, strict=True)]
            return Response({"success": True, "dry_run": True, "uploads": previews, "timestamp": timezone.now()})
        client = client_of(request)
        is_known = not again and len(find_earlier(files, client)) == len(files)
        clear_missing = query.get("missing") == "clear"
        uploads = ingest_files(files, client, again=again, clear_missing=clear_missing)
        answer = {"success": True, "uploads": statuses_of(request, uploads), "timestamp": timezone.now()}
        return Response(answer, status=200 if is_known else 201)


class UploadsView(FilesView, ListView):
    """Files of records."""

    @property
    def any_scope(self) -> bool:
        return self.request.method != "POST"

    def get_view_name(self) -> str:
        return "uploads"

    @describe(schema.LIST, parameters=schema.LIST_PARAMETERS, tag="uploads")
    def get(self, request: Request) -> HttpResponseBase:
        """Your uploads, newest first. A set of files is one upload.

        A key sees its client's uploads, staff see all.
        """
        query = self.read_query(request, ())
        fields = read_fields(query, schema.UPLOAD_FIELDS)

        def items_of(uploads: Sequence[Upload]) -> list[Item]:
            statuses: list[Any] = statuses_of(request, uploads)
            return [{name: status[name] for name in fields} for status in statuses]

        listing = Listing(
            own_uploads(request).filter(part_of=None), read_ordering(query, NEWEST_FIRST), fields, items_of
        )
        return self.answer_list(request, query, listing, "uploads")

    @describe(
        schema.CREATED,
        schema.DRY_RUN_ANSWER,
        errors=(409, 422),
        parameters=schema.POST_PARAMETERS,
        body=schema.BODIES,
        tag="uploads",
    )
    def post(self, request: Request) -> Response:
        """Upload one or more files of records.

        CSV, NDJSON and Parquet of any size, JSON up to the limit of other bodies; each optionally gzipped. 201
        means that the whole file is durably stored; invalid rows become dead letters. If there is no answer,
        send the same file again: if it had not arrived completely, nothing was stored and it starts over; if
        the server stopped while storing it, it continues from there. A file that was already imported is
        rejected (409), unless `again` is set. If one of several files is new or unfinished, the others are not
        rejected but returned as they are, so that an interrupted form can be sent again unchanged.

        The export of another system, as a ZIP archive or as several of its files in one form, is one upload, whose
        `parts` are its files. Which kind of file each is, its path and its header tell; where they do not, the answer
        is 422 and names the kinds to choose from (`kind`). What is not imported is named in `file_warnings`. An export
        that was already imported is not rejected: the answer is 200 with that upload.

        A record replaces the stored one as a whole. So a file that lacks a field which stored records of its keys have
        is rejected (409, with their number and the fields), unless `missing=clear` says that they are to be cleared.
        """
        return self.take_in(request)


class UploadView(ApiView):
    """One upload."""

    model = Upload
    any_scope = True

    def get_view_name(self) -> str:
        return "upload"

    @describe(schema.STATUS, parameters=(schema.UPLOAD_ID,), tag="uploads")
    def get(self, request: Request, id: str) -> Response:
        """Progress of one of your uploads."""
        read_query(request.query_params, [])
        return Response(statuses_of(request, [find_upload(request, id)])[0])


class RejectedRowsView(ListView):
    """The rows of an upload that could not be stored."""

    model = Upload
    any_scope = True

    def get_view_name(self) -> str:
        return "rejected rows"

    @describe(schema.REJECTED_ROWS, parameters=(schema.UPLOAD_ID,), tag="uploads")
    def get(self, request: Request, id: str) -> HttpResponseBase:
        """The rejected rows as CSV, to fix and upload again.

        The columns `row` and `error` say which row and why; they are ignored when the file is uploaded again. Text that
        a spreadsheet would take for a formula is marked with `¬`, which is removed on upload. When a fixed row is
        stored, the dead letter with its key is closed. The list is complete when the upload is `completed`, except
        for rows that still wait for another record.
        """
        read_query(request.query_params, [])
        upload = find_upload(request, id)
        for_people, is_masked = not isinstance(request.auth, ApiKey), is_personal_hidden(request)
        return csv_of_rejected(upload, by=client_of(request), for_people=for_people, is_masked=is_masked)


def own_uploads(request: Request) -> QuerySet[Upload]:
    """The client's uploads, of the streams that its key is limited to; all, for staff."""
    uploads = Upload.objects.all() if is_staff(request.user) else Upload.objects.filter(client=client_of(request))
    streams = visible_streams(request)
    return uploads.filter(stream__in=streams) if streams else uploads


def find_upload(request: Request, id: str) -> Upload:
    upload = own_uploads(request).filter(pk=int(id)).first()
    if upload is None:
        raise RequestRejected(404, f"Upload not found{retention_hint()}.")
    return upload


def statuses_of(request: Request, uploads: Sequence[Upload]) -> list[UploadStatus]:
    progress = progress_of(uploads)
    return [status_of(request, progress[upload.pk]) for upload in uploads]


def status_of(request: Request, progress: Progress) -> Any:
    """An UploadStatus."""
    upload = progress.upload
    status: Any = {
        "id": upload.pk,
        "name": upload.name,
        "stream": upload.stream,
        "kind": upload.kind or None,
        "part_of": upload.part_of_id,
        "parts": [part_status(part) for part in progress.parts],
        "status": progress.status,
        "total": progress.total,
        "left_out": progress.left_out,
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
        "waiting_for": progress.obstacle.reason if progress.obstacle else None,
        "since": progress.obstacle.since if progress.obstacle else None,
        "encoding": upload.reading.get("encoding", ""),
        "ignored_columns": upload.reading.get("ignored_columns", []),
        "mapped_columns": upload.reading.get("mapped_columns", {}),
        "shared_keys": upload.reading.get("shared_keys", 0),
        "file_warnings": upload.reading.get("file_warnings", []),
        "created_at": upload.created_at,
        "status_url": request.build_absolute_uri(reverse("upload", args=[upload.pk])),
        "errors_url": request.build_absolute_uri(reverse("upload-errors", args=[upload.pk])),
        "link": link_of(request, upload),
    }
    status |= {name: upload.given.get(name) for name in streams.upload_fields()}
    return status | {name: numbers_of(progress, name) for name in schema.COUNTS}


def numbers_of(progress: Progress, name: str) -> dict[str, int] | None:
    """How many of its questions there are, by what they came to."""
    numbers = progress.questions.get(name)
    return {key: number for key, number in numbers.items() if key != "recent"} if numbers else None


def part_status(part: Progress) -> PartStatus:
    upload = part.upload
    return {
        "id": upload.pk,
        "name": upload.name,
        "kind": upload.kind,
        "status": part.status,
        "total": part.total,
        "left_out": part.left_out,
    }


def link_of(request: Request, upload: Upload) -> str | None:
    """The page for the person who sent it."""
    stream = streams.get(upload.stream) if upload.stream in streams.names() else None
    path = stream.upload_link(upload) if stream and stream.upload_link else ""
    return request.build_absolute_uri(path) if path else None


# The body.


def read_files(request: Request, query: dict[str, str], opened: ExitStack) -> list[Uploadable]:
    """The inspected files. Rejects what is not a file of a stream that the client may post to."""
    check_length(request)
    body: Any = request.data
    if isinstance(body, dict):
        sent = files_of_form(request, query)
    else:
        name = strip_unstorable(query.get("name", "unnamed"), 255)
        sent = [SentFile(file=body, name=name, content_type=request.content_type or "")]
    files = inspect_sent(sent, options_of(request, query), opened)
    for file in files:
        check_may_post(request, file.stream.name)
    return files


def options_of(request: Request, query: Mapping[str, str]) -> Options:
    """What the query or the form says of all files."""
    said = {name: value for name in (*SAID, *streams.upload_fields()) for value in said_of(request, query, name)}
    return Options(
        stream=read_stream(request, said["stream"]) if "stream" in said else None,
        kind=said.get("kind", ""),
        sheet=query.get("sheet", ""),
        fields={name: value for name, value in said.items() if name not in SAID},
        mapping=query.get("map", ""),
    )


def said_of(request: Request, query: Mapping[str, str], name: str) -> set[str]:
    """The value, or none: an empty field of a form is absent. Rejects (400) several."""
    values = {value for value in request.POST.getlist(name) if value} | ({query[name]} if name in query else set())
    if len(values) > 1:
        raise RequestRejected(400, f"Specify {name} once.", fields={name: ["is given several times"]})
    return values


def check_length(request: Request) -> None:
    length = request.META.get("CONTENT_LENGTH")
    if "HTTP_TRANSFER_ENCODING" in request.META and not length:
        raise RequestRejected(411, "Send the body with a Content-Length, not in chunks.")
    if not length or length == "0":
        raise RequestRejected(400, "The body is empty.")
    if int(length) > settings.MAX_UPLOAD_BYTES:
        raise RequestRejected(413, f"The body has {length} bytes; the limit is {settings.MAX_UPLOAD_BYTES}.")


def files_of_form(request: Request, query: Mapping[str, str]) -> list[SentFile]:
    known = (*FILES, *SAID, *streams.upload_fields(), "csrfmiddlewaretoken")
    if unknown := [name for name in request.data if name not in known]:
        reject_form_fields(unknown)
    if "name" in query:
        message = "In a form each file has a name of its own: leave out ?name=."
        raise RequestRejected(400, message, fields={"name": ["is for raw bodies only"]})
    files = [file for name in FILES for file in request.FILES.getlist(name)]
    if not files:
        raise RequestRejected(400, "The form field file contains no file.", fields={"file": ["is required"]})
    return [SentFile(file=file.file, name=path_of(file), content_type=file.content_type or "") for file in files]


def reject_form_fields(names: Sequence[str]) -> NoReturn:
    message = f"The form takes the fields {', '.join((*FILES, *SAID, *streams.upload_fields()))} only."
    if options := [name for name in names if name in OPTIONS]:
        message += f" Put {' and '.join(f'?{name}=' for name in options)} in the query string."
    fields = {
        strip_unstorable(name, 100): [f"belongs in the query string: ?{name}=" if name in OPTIONS else "unknown field"]
        for name in names
    }
    raise RequestRejected(400, message, fields=fields)


def read_stream(request: Request, name: str) -> Stream:
    if name not in streams.names():
        message = f"must be one of: {', '.join(streams.names())}"
        raise RequestRejected(400, f"stream {message}.", fields={"stream": [message]})
    check_may_post(request, name)
    return streams.get(name)


def check_may_post(request: Request, stream: str) -> None:
    if isinstance(request.auth, ApiKey) and request.auth.streams and stream not in request.auth.streams:
        raise RequestRejected(403, f"This API key is limited to {', '.join(request.auth.streams)}.")
