"""The preview of a file: how its columns are mapped, what would become of all its rows, and what to do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from console.base import ReadOnlyAdmin
from console.personal import is_hidden_from
from console.uploads.form import DecisionForm, RefusalsIn, client_of, ingest
from enrichment import previews, stats
from ingestion import capacity, streams
from ingestion.files import mappings
from ingestion.files.sets import LeftOut, named
from ingestion.files.spool import TemporaryFiles
from ingestion.models import Upload, UploadPreview
from ingestion.payloads import ParseError
from ingestion.refusals import RequestRejected
from ingestion.subjects.masking import masked_preview
from ingestion.text import duration

COLUMN = "column-"
"""With the position of a column: the form's name for the field that it is mapped to."""


@dataclass(frozen=True)
class Column:
    """A column on the page. Those that are not mapped by their names are mapped by the person."""

    position: int
    name: str
    field: str
    """Empty where it is not mapped."""
    suggestion: str
    samples: list[str]
    is_free: bool
    """Whether the person may map it."""

    @property
    def input_name(self) -> str:
        return f"{COLUMN}{self.position}"


def preview_page(admin: ReadOnlyAdmin, request: HttpRequest, pk: int) -> HttpResponse:
    preview = _find(request, pk)
    form = DecisionForm(request.POST if "_upload" in request.POST else None, label_suffix="")
    mapping_error = ""
    if request.method == "POST":
        if "_discard" in request.POST:
            preview.delete()
            return HttpResponseRedirect(reverse("admin:ingestion_upload_add"))
        if "_map" in request.POST or "_suggested" in request.POST:
            try:
                return _map(request, preview)
            except (ParseError, RequestRejected) as error:
                mapping_error = str(error)
        elif form.is_valid():
            with TemporaryFiles() as opened, capacity.heavy_request(client_of(request)), RefusalsIn(form):
                file = previews.reopen_set(preview, opened) if preview.is_set else previews.reopen(preview, opened)
                response = ingest(admin, request, [file], form.cleaned_data)
                preview.delete()
                return response
    context = {
        **admin.admin_site.each_context(request),
        "title": f"Preview of {preview.name}",
        "opts": admin.opts,
        "form": form,
        "mapping_error": mapping_error,
        "owners": _owners(preview),
        "expires_at": preview.created_at + previews.LIFETIME,
        **(_context_of_set if preview.is_set else _context)(preview, is_hidden_from(request.user)),
    }
    template = "upload_preview_set" if preview.is_set else "upload_preview"
    return TemplateResponse(request, f"admin/enrichment/{template}.html", context)


def _find(request: HttpRequest, pk: int) -> UploadPreview:
    """Of this person alone."""
    own = UploadPreview.objects.filter(client=client_of(request), stream__in=streams.names(), part_of=None)
    preview = own.exclude(ready_at=None).filter(pk=pk).first()
    if preview is None:
        hours = duration(previews.LIFETIME.total_seconds())
        raise Http404(f"There is no preview {pk}: it was uploaded or discarded, or has expired after {hours}.")
    return preview


@dataclass(frozen=True)
class Owner:
    """Whose records the file is said to have."""

    label: str
    value: str
    is_new: bool
    """No record of theirs is stored."""


def _owners(preview: UploadPreview) -> list[Owner]:
    stream = streams.get(preview.stream)
    given = [(name, preview.given[name]) for name in stream.upload_fields if name in preview.given]
    rows = stream.model._default_manager
    return [
        Owner(streams.upload_label(name).lower(), value, not rows.filter(**{name: value}).exists())
        for name, value in given
    ]


def _context(preview: UploadPreview, is_masked: bool) -> dict[str, Any]:
    look, found = preview.first_look, previews.check_of(preview)
    if is_masked:  # records that failed before may stand in it, as they were sent
        stream = streams.get(preview.stream)
        look, found = masked_preview(stream, look), masked_preview(stream, found)
    columns = columns_of(preview, look)
    taken = {column.field for column in columns}
    is_checking = preview.finished_at is None and not look["missing_fields"]
    return {
        "preview": preview,
        "look": look,
        "columns": columns,
        "ignored": sum(not column.field for column in columns),
        "fields": [name for name in streams.get(preview.stream).schema.model_fields if name not in taken],
        "has_suggestions": any(column.suggestion and not column.field for column in columns),
        "found": found,
        "stored": found["inserted"] + found["updated"],
        "is_checking": is_checking,
        "percent": 100 * found["checked"] // preview.rows if preview.rows else 0,
        "workers_alive": not is_checking or stats.cluster_alive(),
        "can_map": any(column.is_free for column in columns),
        "earlier": _earlier(preview),
    }


def _earlier(preview: UploadPreview) -> Upload | None:
    """The upload of the same file; not looked for where more than its bytes decides which file is the same."""
    if preview.kind or preview.named_fields:
        return None
    same = Upload.objects.filter(client=preview.client, stream=preview.stream, fingerprint=preview.sha256)
    return same.exclude(finished_at=None).order_by("-pk").first()


def _context_of_set(preview: UploadPreview, is_masked: bool) -> dict[str, Any]:
    parts = [{"preview": part, **_context(part, is_masked)} for part in preview.files.order_by("pk")]
    is_checking = any(part["is_checking"] for part in parts)
    names = ("checked", "invalid", "inserted", "updated", "stale", "waiting", "with_warnings")
    found = {name: sum(part["found"][name] for part in parts) for name in names}
    rows = sum(part["preview"].rows for part in parts)
    return {
        "preview": preview,
        "look": preview.first_look,
        "parts": parts,
        "left_out": named(LeftOut(path, reason) for path, reason in preview.first_look["left_out"]),
        "found": found,
        "rows": rows,
        "stored": found["inserted"] + found["updated"],
        "is_checking": is_checking,
        "percent": 100 * found["checked"] // rows if rows else 0,
        "workers_alive": not is_checking or stats.cluster_alive(),
    }


def columns_of(preview: UploadPreview, look: Mapping[str, Any]) -> list[Column]:
    found = []
    for position, column in enumerate(look["columns"]):
        name, field = column["column"], column["field"] or ""
        is_free = not preview.kind and (not field or preview.mapping.get(name) == field)
        found.append(Column(position, name, field, column["suggestion"] or "", column["samples"], is_free))
    return found


def _map(request: HttpRequest, preview: UploadPreview) -> HttpResponse:
    """Has the columns mapped as chosen, or as suggested where nothing is chosen, and remembers that."""
    free = [column for column in columns_of(preview, preview.first_look) if column.is_free]
    chosen = {column.name: request.POST.get(column.input_name, "") for column in free}
    if "_suggested" in request.POST:
        chosen = _with_suggestions(free, chosen)
    mapping = {name: field for name, field in chosen.items() if field}
    with capacity.heavy_request(preview.client):
        other = previews.remap(preview, mapping)
    mappings.remember(other.client, other.stream, list(chosen), other.mapping)
    return HttpResponseRedirect(reverse("admin:ingestion_upload_preview", args=[other.pk]))


def _with_suggestions(free: list[Column], chosen: Mapping[str, str]) -> dict[str, str]:
    """No field twice: of two columns with the same suggestion the first has it."""
    found = dict(chosen)
    for column in free:
        if not found[column.name] and column.suggestion not in found.values():
            found[column.name] = column.suggestion
    return found
