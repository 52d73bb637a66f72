"""The form by which a person uploads an export, and is led to the page of their films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from api.auth import is_staff
from ingestion import backlog, streams
from ingestion.files.layouts import UnknownKind
from ingestion.files.record_file import NoColumns, RecordFile
from ingestion.files.sets import Options, SentFile, Uploadable, inspect_sent
from ingestion.files.spool import TemporaryFiles, path_of
from ingestion.files.uploads import find_earlier, ingest_files
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from ingestion.text import cut_short
from movies import libraries
from movies.libraries import DAYS_KEPT
from movies.models import Library
from movies.pages.private import find_library, may_upload, private_page
from movies.pages.progress import STREAM
from movies.tmdb import is_demo

CLIENT = "public"
"""As whom everybody who is not logged in uploads."""
MAX_UNPACKED = 200_000_000
"""Bytes of the files of such an upload."""
MAX_NAME = 200
"""Characters of a file's name that a message has."""
MAX_A_DAY = 2_000_000_000
"""Bytes of all such uploads of a day."""


@require_http_methods(["GET", "HEAD", "POST"])
@private_page(referrer="same-origin")
def upload(request: HttpRequest) -> HttpResponse:
    """For everybody where PUBLIC_UPLOADS says so, else for staff; others are told that there is no such page. `to` is
    the token of a library whose newer export it is.
    """
    if not may_upload(request):
        raise Http404
    token = request.POST.get("to") or request.GET.get("to", "")
    library = find_library(token) if token else None
    error, status = "", 200
    if request.method == "POST":
        try:
            return HttpResponseRedirect(store(request, library))
        except (RequestRejected, ParseError, TooLarge, backlog.BacklogFull) as refusal:
            error, status = str(refusal), status_of(refusal)
    context = {"library": library, "is_demo": is_demo(), "error": error, "days_kept": DAYS_KEPT}
    return render(request, "movies/upload.html", context, status=status)


def status_of(refusal: Exception) -> int:
    if isinstance(refusal, backlog.BacklogFull):
        return 429 if isinstance(refusal, backlog.ClientLimitReached) else 503
    return refusal.status if isinstance(refusal, RequestRejected) else 422


def store(request: HttpRequest, library: Library | None) -> str:
    """Stores what was sent; answers the address of the library, which is a new one if none is given."""
    client = f"user:{request.user.get_username()}" if is_staff(request.user) else CLIENT
    backlog.raise_if_full([STREAM], client)
    if client == CLIENT:
        check_quota()
    with TemporaryFiles() as opened:
        if client == CLIENT:
            opened.left = min(opened.left, MAX_UNPACKED)
        sent = [sent_file(file) for file in request.FILES.getlist("file")]
        if not sent:
            raise RequestRejected(422, "Choose a file first.")
        fields = {"library": library.name} if library else {}
        files = _inspect(sent, fields, opened)
        if len(files) != 1:
            raise RequestRejected(422, "Send one export at a time.")
        if isinstance(files[0], RecordFile) and not files[0].layout:
            raise _no_export(files[0].name)  # may name any library
        earlier = find_earlier(files, client)
        (upload,) = earlier.values() or ingest_files(files, client, clear_missing=True)
    return reverse("library", args=[library.token]) if library else libraries.link_of(upload)


def _inspect(sent: Sequence[SentFile], fields: Mapping[str, str], opened: ExitStack) -> list[Uploadable]:
    """What is no file of an export is called so, in no words of the API's."""
    try:
        return inspect_sent(sent, Options(stream=streams.get(STREAM), fields=fields), opened)
    except (NoColumns, UnknownKind):
        raise _no_export(cut_short(sent[0].name, MAX_NAME) if len(sent) == 1 else "One of the files") from None


def _no_export(name: str) -> RequestRejected:
    return RequestRejected(
        422,
        f"{name} is no export of Letterboxd. Choose the ZIP archive as Letterboxd sends it, or CSV files from it under"
        " their own names, such as watched.csv, ratings.csv and diary.csv.",
    )


def sent_file(file: UploadedFile[Any]) -> SentFile:
    opened: Any = file.file  # by ingestion.files.spool
    return SentFile(file=opened, name=path_of(file), content_type=file.content_type or "")


def check_quota() -> None:
    """Raises RequestRejected when people who are not logged in have sent enough for a day."""
    day = Upload.objects.filter(client=CLIENT, part_of=None, created_at__gt=timezone.now() - timedelta(days=1))
    if day.aggregate(bytes=Sum("size", default=0))["bytes"] > MAX_A_DAY:
        raise RequestRejected(503, "The daily limit for uploads is reached. Try again tomorrow.")
