"""The form to upload a file: kept for a preview, or uploaded at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from django import forms
from django.contrib.admin.models import ADDITION
from django.contrib.messages import SUCCESS
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from console.base import ReadOnlyAdmin
from console.field_rules import rules
from console.history import log
from enrichment import previews
from ingestion import streams
from ingestion.backlog import BacklogFull, raise_if_full
from ingestion.files import mappings
from ingestion.files.record_file import RecordFile, inspect_source, read_source
from ingestion.files.spool import TemporaryFiles
from ingestion.files.uploads import AlreadyUploaded, WouldClearFields, first_look, ingest_files
from ingestion.models import ColumnMapping, UploadPreview
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from ingestion.text import strip_unstorable


class DecisionForm(forms.Form):
    """What a person decides about a file that would otherwise be refused."""

    clear_missing = forms.BooleanField(required=False, label="Clear fields that are missing from the file")
    again = forms.BooleanField(required=False, label="Import again even if already imported")


class UploadForm(DecisionForm):
    stream = forms.ChoiceField(
        choices=lambda: [("", "choose …"), *((name, name) for name in streams.names())], label="Record type"
    )
    file = forms.FileField(
        allow_empty_file=True,
        help_text="CSV or Excel (.xlsx) with a header row, NDJSON or JSON; optionally gzipped (.gz)",
    )
    sheet = forms.CharField(
        required=False, max_length=100, help_text="For Excel files with several sheets. Empty = first sheet."
    )
    field_order = ("stream", "file", "sheet", "clear_missing", "again")


def client_of(request: HttpRequest) -> str:
    return f"user:{request.user.get_username()}"


def upload_page(admin: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None, label_suffix="")
    found, why_not_kept = None, ""
    if request.method == "POST" and form.is_valid():
        with TemporaryFiles() as opened, RefusalsIn(form):
            file = _examine(request, form, opened)
            if "_preview" not in request.POST:
                return ingest(admin, request, file, form.cleaned_data)
            try:
                return _to_preview(previews.keep(file, client_of(request)))
            except previews.NoRoom as reason:
                found, why_not_kept = first_look(file), str(reason)
    client = client_of(request)
    context = {
        **admin.admin_site.each_context(request),
        "title": "Upload a file",
        "opts": admin.opts,
        "form": form,
        "guides": [(each, rules(each)) for each in streams.all_streams()],
        "look": found,
        "why_not_kept": why_not_kept,
        "max_preview": previews.max_size(),
        "previews": _previews_of(client),
        "mappings": ColumnMapping.objects.filter(client=client).order_by("stream", "column"),
    }
    return TemplateResponse(request, "admin/enrichment/upload_form.html", context)


def _previews_of(client: str) -> QuerySet[UploadPreview]:
    own = UploadPreview.objects.filter(client=client).exclude(ready_at=None).order_by("-pk")
    return own.only("name", "stream", "created_at")


def _to_preview(preview: UploadPreview) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:ingestion_upload_preview", args=[preview.pk]))


def _examine(request: HttpRequest, form: UploadForm, opened: ExitStack) -> RecordFile:
    """With the columns mapped as this person has mapped them before. Raises ParseError and TooLarge."""
    sent = form.cleaned_data["file"]
    stream = streams.get(form.cleaned_data["stream"])
    name, sheet = strip_unstorable(sent.name, 255), form.cleaned_data["sheet"]
    source = read_source(sent.file, name, opened, sent.content_type or "", sheet=sheet)
    mapping = mappings.remembered(client_of(request), stream.name)
    return inspect_source(source, stream, mapping, is_mapped_later="_preview" in request.POST)


def ingest(admin: ReadOnlyAdmin, request: HttpRequest, file: RecordFile, decided: Mapping[str, Any]) -> HttpResponse:
    raise_if_full()
    again, clear_missing = decided["again"], decided["clear_missing"]
    [upload] = ingest_files([file], client_of(request), again=again, clear_missing=clear_missing)
    log(request, upload, f"Uploaded {upload.name}.", ADDITION)
    admin.message_user(request, f"Uploaded {upload.name}.", SUCCESS)
    return HttpResponseRedirect(reverse("admin:ingestion_upload_change", args=[upload.pk]))


class RefusalsIn:
    """Adds to a form why a file is refused."""

    def __init__(self, form: forms.Form) -> None:
        self.form = form

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        match error:
            case AlreadyUploaded():
                self.form.add_error("again", f"{error.reason} Tick to import it again.")
            case WouldClearFields():
                message = f"{error.reason} Tick to clear them, or add them to the file."
                self.form.add_error("clear_missing", message)
            case ParseError() | TooLarge() | BacklogFull() | RequestRejected():
                self.form.add_error("file" if "file" in self.form.fields else None, str(error))
            case _:
                return False
        return True


def forget_mapping(request: HttpRequest) -> HttpResponse:
    """Forgets one of this person's mappings."""
    pk = request.POST.get("mapping", "")
    if pk.isdecimal():
        ColumnMapping.objects.filter(client=client_of(request), pk=int(pk)).delete()
    return HttpResponseRedirect(reverse("admin:ingestion_upload_add"))
