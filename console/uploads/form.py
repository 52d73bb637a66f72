"""The form to upload a file: kept for a preview, or uploaded at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from django import forms
from django.contrib.admin.models import ADDITION
from django.contrib.messages import INFO, SUCCESS
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from console.base import ReadOnlyAdmin
from console.field_rules import rules
from console.history import log
from console.personal import is_hidden_from
from enrichment import previews
from ingestion import streams
from ingestion.backlog import BacklogFull
from ingestion.files import mappings
from ingestion.files.layouts import UnknownKind
from ingestion.files.sets import FileSet, Options, SentFile, StreamNeeded, Uploadable, inspect_sent
from ingestion.files.spool import TemporaryFiles, path_of
from ingestion.files.uploads import AlreadyUploaded, WouldClearFields, find_earlier, first_look, ingest_files
from ingestion.models import ColumnMapping, UploadPreview
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from ingestion.subjects.masking import masked_preview


class DecisionForm(forms.Form):
    """What a person decides about a file that would otherwise be refused."""

    clear_missing = forms.BooleanField(required=False, label="Clear fields that are missing from the file")
    again = forms.BooleanField(required=False, label="Import again even if already imported")


class FilesInput(forms.FileInput):
    allow_multiple_selected = True


class FilesField(forms.FileField):
    """One file or several."""

    widget = FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        return [super(FilesField, self).clean(each, initial) for each in data or [None]]


class UploadForm(DecisionForm):
    file = FilesField(
        allow_empty_file=True,
        help_text="CSV or Excel (.xlsx) with a header row, Parquet, NDJSON or JSON; optionally gzipped (.gz). "
        "Or the export of another system{}: its ZIP archive, or its files together.",
    )
    stream = forms.ChoiceField(
        choices=lambda: [("", "as the columns tell"), *((name, name) for name in streams.names())],
        required=False,
        label="Record type",
    )
    kind = forms.ChoiceField(
        choices=lambda: [("", "choose …"), *((name, name) for name in streams.kinds())], required=False
    )
    sheet = forms.CharField(
        required=False, max_length=100, help_text="For Excel files with several sheets. Empty = first sheet."
    )
    field_order = ("file", "stream", "kind", "sheet")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        exporters = ", ".join(name for stream in streams.all_streams() for name in stream.exporters)
        files = self.fields["file"]
        files.help_text = files.help_text.format(f" ({exporters})" if exporters else "")
        for name in streams.upload_fields():
            is_made = any(stream.upload_fields.get(name) for stream in streams.all_streams())
            empty = "Empty = a new one." if is_made else "Required if the file does not name it."
            text = f"For all records of an exported file. {empty}"
            label = streams.upload_label(name)
            self.fields[name] = forms.CharField(required=False, max_length=64, label=label, help_text=text)
        self.order_fields([*self.field_order, *streams.upload_fields(), "clear_missing", "again"])
        self.hide_kind()

    def hide_kind(self) -> None:
        """It is asked only where a file does not tell it."""
        self.fields["kind"].widget = forms.HiddenInput()

    def ask_for_kind(self, error: UnknownKind) -> None:
        self.fields["kind"].widget = forms.Select(choices=[("", "choose …"), *((name, name) for name in error.kinds)])
        self.add_error("kind", f"{error.about} Choose its kind, and the file again.")


def client_of(request: HttpRequest) -> str:
    return f"user:{request.user.get_username()}"


def upload_page(admin: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None, label_suffix="")
    found, why_not_kept = None, ""
    if request.method == "POST" and form.is_valid():
        with TemporaryFiles() as opened, RefusalsIn(form):
            files = _examine(request, form, opened)
            if "_preview" not in request.POST:
                return ingest(admin, request, files, form.cleaned_data)
            try:
                return _to_preview([previews.keep(file, client_of(request)) for file in files])
            except previews.NoRoom as reason:
                first = files[0]
                file = first.parts[0] if isinstance(first, FileSet) else first
                found = first_look(file)
                if is_hidden_from(request.user):
                    found = masked_preview(file.stream, found)
                why_not_kept = str(reason)
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
    own = UploadPreview.objects.filter(client=client, part_of=None).exclude(ready_at=None).order_by("-pk")
    return own.only("name", "stream", "created_at")


def _to_preview(kept: Sequence[UploadPreview]) -> HttpResponse:
    """Of several the list of them."""
    if len(kept) == 1:
        return HttpResponseRedirect(reverse("admin:ingestion_upload_preview", args=[kept[0].pk]))
    return HttpResponseRedirect(f"{reverse('admin:ingestion_upload_add')}#previews-heading")


def _examine(request: HttpRequest, form: UploadForm, opened: ExitStack) -> list[Uploadable]:
    """With the columns mapped as this person has mapped them before. Raises ParseError, TooLarge, RequestRejected."""
    chosen, client = form.cleaned_data, client_of(request)
    options = Options(
        stream=streams.get(chosen["stream"]) if chosen["stream"] else None,
        kind=chosen["kind"],
        sheet=chosen["sheet"],
        fields={name: chosen[name] for name in streams.upload_fields() if chosen[name]},
        remembered=partial(mappings.remembered, client),
        is_mapped_later="_preview" in request.POST,
    )
    sent = [
        SentFile(file=file.file, name=path_of(file), content_type=file.content_type or "") for file in chosen["file"]
    ]
    return inspect_sent(sent, options, opened)


def ingest(
    admin: ReadOnlyAdmin, request: HttpRequest, files: Sequence[Uploadable], decided: Mapping[str, Any]
) -> HttpResponse:
    client, again, clear_missing = client_of(request), decided["again"], decided["clear_missing"]
    known = {} if again else find_earlier(files, client)
    uploads = ingest_files(files, client, again=again, clear_missing=clear_missing)
    for upload in uploads:
        if upload.pk in {earlier.pk for earlier in known.values()}:
            admin.message_user(request, f"Already imported: {upload.name}.", INFO)
            continue
        log(request, upload, f"Uploaded {upload.name}.", ADDITION)
        admin.message_user(request, f"Uploaded {upload.name}.", SUCCESS)
    if len(uploads) > 1:
        return HttpResponseRedirect(reverse("admin:ingestion_upload_changelist"))
    return HttpResponseRedirect(reverse("admin:ingestion_upload_change", args=[uploads[0].pk]))


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
            case UnknownKind() if isinstance(self.form, UploadForm):
                self.form.ask_for_kind(error)
            case StreamNeeded() if isinstance(self.form, UploadForm):
                self.form.add_error("stream", f"{error.about} Choose the record type, and the file again.")
            case RequestRejected() if name := self.upload_field(error):
                text = str(error)
                self.form.add_error(name, streams.upload_label(name) + text.removeprefix(name))
            case ParseError() | TooLarge() | BacklogFull() | RequestRejected():
                self.form.add_error("file" if "file" in self.form.fields else None, str(error))
            case _:
                return False
        return True

    def upload_field(self, error: RequestRejected) -> str:
        """The field of the form that names something for all records, if the error begins with it; else empty."""
        fields = [name for name in streams.upload_fields() if name in self.form.fields]
        return next((name for name in fields if str(error).startswith(name)), "")


def forget_mapping(request: HttpRequest) -> HttpResponse:
    """Forgets one of this person's mappings."""
    pk = request.POST.get("mapping", "")
    if pk.isdecimal() and len(pk) < 19:
        ColumnMapping.objects.filter(client=client_of(request), pk=int(pk)).delete()
    return HttpResponseRedirect(reverse("admin:ingestion_upload_add"))
