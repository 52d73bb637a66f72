"""Uploads in the admin: their list, and pages with progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import StreamFilter
from console.history import user_of
from console.personal import is_hidden_from
from console.stored.page import list_page
from console.templatetags.formatting import age, badge
from console.uploads.form import forget_mapping, upload_page
from console.uploads.preview import preview_page
from enrichment.models import Pruning
from enrichment.retention import retention_hint
from enrichment.uploads import Progress, csv_of_rejected, progress_of, stored_with_warnings
from ingestion import streams
from ingestion.models import Upload
from ingestion.text import plain, thousands

LABELS = {"enriching": "processing"}
"""Statuses under another name than in the API."""
BADGES = {"receiving": "pending", "enriching": "pending", "completed": "processed", "failed": "failing"}
QUESTIONS = {"found": "found", "ambiguous": "to choose", "not_found": "not found", "failed": "failed", "open": "open"}
"""What the questions that records raise come to, as pages call it."""


class UploadAdmin(ReadOnlyAdmin):
    list_display = ("file", "stream_", "status_", "bar", "records", "dead", "received")
    list_filter = (StreamFilter,)
    paginator = NewestPaginator
    change_list_template = "admin/enrichment/upload_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        """A set is in the list, and its parts on its page."""
        uploads: QuerySet[Upload] = super().get_queryset(request)
        match = request.resolver_match
        return uploads.filter(part_of=None) if match and match.url_name == "ingestion_upload_changelist" else uploads

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ingestion.add_delivery")

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes: Any = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        progress = progress_of(changes.result_list)
        for upload in changes.result_list:
            upload.progress = progress[upload.pk]
        changes.is_active = any(is_active(each) for each in progress.values())
        return cast("ChangeList", changes)

    @admin.display(description="file")
    def file(self, upload: Upload) -> str:
        return upload.name

    @admin.display(description="stream, client")
    def stream_(self, upload: Upload) -> SafeString:
        return format_html('{}<br><span class="quiet">{}</span>', upload.stream, upload.client)

    @admin.display(description="status")
    def status_(self, upload: Any) -> SafeString:
        return status_badge(upload.progress)

    @admin.display(description="rows")
    def records(self, upload: Any) -> str:
        return thousands(upload.progress.total)

    @admin.display(description="progress")
    def bar(self, upload: Any) -> SafeString:
        percent, kind = upload.progress.percent, badge_of(upload.progress)
        bar = '<progress class="is-{}" max="100" value="{}">{}%</progress> {}%'
        return format_html(bar, kind, percent, percent, f"{percent:g}")

    @admin.display(description="dead")
    def dead(self, upload: Any) -> SafeString | str:
        number = upload.progress.dead
        if not number:
            return "0"
        page = reverse("admin:enrichment_deadletter_changelist")
        return format_html('<a href="{}?upload={}">{}</a>', page, upload.pk, thousands(number))

    @admin.display(description="received")
    def received(self, upload: Upload) -> SafeString | str:
        return age(upload.created_at)

    # One upload.

    def get_urls(self) -> list[URLPattern]:
        rejected = path(
            "<path:object_id>/rejected/",
            self.admin_site.admin_view(self.rejected_view),
            name="ingestion_upload_rejected",
        )
        template = path(
            "template/<str:stream>/",
            self.admin_site.admin_view(self.template_view),
            name="ingestion_upload_template",
        )
        preview = path(
            "preview/<int:pk>/", self.admin_site.admin_view(self.preview_view), name="ingestion_upload_preview"
        )
        forget = path("forget/", self.admin_site.admin_view(self.forget_view), name="ingestion_upload_forget")
        return [rejected, template, preview, forget, *super().get_urls()]

    def find(self, request: HttpRequest, pk: str) -> Upload:
        if not self.has_view_permission(request):
            raise PermissionDenied
        upload: Upload | None = self.get_object(request, unquote(pk))
        if upload is None:
            raise Http404(f"There is no upload {plain(pk)}{retention_hint()}.")
        return upload

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        upload = self.find(request, object_id)
        progress = progress_of([upload])[upload.pk]
        is_completed = progress.status == "completed"
        context = {
            **self.admin_site.each_context(request),
            "title": upload.name,
            "warnings": stored_with_warnings(upload) if is_completed else None,
            "warnings_page": _rows_with_warnings(request, upload),
            "opts": self.opts,
            "upload": upload,
            "progress": progress,
            "parts": [(part, status_badge(part)) for part in progress.parts],
            "given": {
                streams.upload_label(name): upload.given[name]
                for name in streams.upload_fields()
                if name in upload.given
            },
            "questions": [(name, in_words(numbers)) for name, numbers in progress.questions.items()],
            "link": link_of(upload),
            "badge": status_badge(progress),
            "kind": badge_of(progress),
            "is_active": is_active(progress),
            "is_pruned": Pruning.objects.filter(before__gt=upload.created_at).exists(),
        }
        return TemplateResponse(request, "admin/enrichment/upload.html", context)

    def rejected_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """With a byte order mark, which spreadsheets need and our reader accepts."""
        upload, is_masked = self.find(request, object_id), is_hidden_from(request.user)
        return csv_of_rejected(upload, by=user_of(request), for_people=True, is_masked=is_masked)

    # Uploading.

    def template_view(self, request: HttpRequest, stream: str) -> HttpResponse:
        """A CSV file of the stream's columns alone, with a byte order mark for spreadsheets."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if stream not in streams.names():
            raise Http404(f"There is no stream {plain(stream)}.")
        header = ",".join(streams.get(stream).schema.model_fields)
        disposition = {"Content-Disposition": f'attachment; filename="{stream}-template.csv"'}
        return HttpResponse(f"\ufeff{header}\r\n", content_type="text/csv; charset=utf-8", headers=disposition)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return upload_page(self, request)

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return preview_page(self, request, pk)

    def forget_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_add_permission(request) or request.method != "POST":
            raise PermissionDenied
        return forget_mapping(request)


def _rows_with_warnings(request: HttpRequest, upload: Upload) -> str:
    """Their list; empty for who may not see it, and for a stream that is no longer registered."""
    if upload.stream not in streams.names():
        return ""
    return list_page(request, streams.get(upload.stream).model, upload=upload.pk, warnings="some")


def link_of(upload: Upload) -> str:
    """The page of the upload for the person who sent it; empty: there is none."""
    stream = streams.get(upload.stream) if upload.stream in streams.names() else None
    return stream.upload_link(upload) if stream and stream.upload_link else ""


def in_words(numbers: Mapping[str, int]) -> str:
    """Of the questions that the records raised: "9, of these 6 found, 1 ambiguous, 2 open"."""
    parts = [f"{thousands(numbers[name])} {label}" for name, label in QUESTIONS.items() if numbers.get(name)]
    return ", of these ".join([thousands(numbers.get("total", 0)), *([", ".join(parts)] if parts else [])])


def status_badge(progress: Progress) -> SafeString:
    """With the rows that are not stored, so that no upload with such rows looks like a success."""
    numbers = [(progress.dead, "rejected"), (progress.waiting, "waiting")]
    if progress.dead and progress.dead == progress.total:
        missing = ["all rejected"]
    else:
        missing = [f"{thousands(number)} {name}" for number, name in numbers if number]
    return badge(badge_of(progress), ", ".join([LABELS.get(progress.status, progress.status), *missing]))


def badge_of(progress: Progress) -> str:
    if progress.dead and progress.dead == progress.total:
        return "failing"
    if progress.status == "completed" and (progress.dead or progress.waiting):
        return "waiting"
    return BADGES[progress.status]


def is_active(progress: Progress) -> bool:
    return progress.status in ("receiving", "enriching")
