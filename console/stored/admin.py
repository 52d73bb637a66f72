"""The admin of a stream's stored records: a fast list, its export, the page of one, refresh and deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import IntegrityError, models
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from console import senders
from console.filters import ClientFilter, StoredByUploadFilter
from console.personal import is_hidden_from
from console.stored import page as record_page
from console.stored.page import page_of
from console.stored.rows import RowAdmin
from console.templatetags.formatting import age, badge
from enrichment.models import StoredRecord
from enrichment.refresh import refresh
from enrichment.rows.deletion import delete_rows, is_referred_to
from enrichment.rows.masking import mask
from ingestion.streams import INTERNAL_COLUMNS, Stream
from ingestion.text import plain


@cache
def column(name: str, title: str) -> Callable[[Any], Any]:
    """A column of a list under a shorter title, so that the list fits the screen."""

    @admin.display(description=title)
    def value(row: Any) -> Any:
        return getattr(row, name)

    value.__name__ = name
    return value


def badges(row: Any, *conditions: tuple[bool | None, str, str]) -> SafeString:
    """A badge for each (condition, kind, text) that holds, and one for warnings; empty where all is well."""
    number = len(row.warnings)
    has_warnings = (number > 0, "waiting", f"{number} warning{'' if number == 1 else 's'}")
    found = [badge(kind, text) for holds, kind, text in (*conditions, has_warnings) if holds]
    return format_html(" ".join(["{}"] * len(found)), *found) if found else format_html("{}", "")


def for_one(request: HttpRequest, rows: Any, *names: str) -> Any:
    """With the rows it refers to, if the page of one record is shown."""
    match = request.resolver_match
    return rows.select_related(*names) if match and str(match.url_name).endswith("_change") else rows


def with_links(request: HttpRequest, rows: Any) -> list[tuple[Any, str]]:
    """Masked, where personal data are hidden from this person, and with their pages."""
    if is_hidden_from(request.user):
        for row in rows:
            mask(row)
    return [(row, page_of(request, type(row), row.pk)) for row in rows]


class StoredRecordAdmin(RowAdmin):
    """Of one stream: its own and derived fields, and where it came from. Stored records are not edited."""

    stream: Stream
    actions = ("refresh_selected",)
    page_template = "admin/enrichment/record.html"

    def get_readable(self) -> Stream:
        return self.stream

    # The list.

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), ClientFilter, StoredByUploadFilter]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.POST.get("action") in self.actions and not self.has_refresh_permission(request):
            raise PermissionDenied  # to Django the action would merely not exist
        return super().changelist_view(request, extra_context)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's deletion of many."""
        return {name: action for name, action in super().get_actions(request).items() if name in self.actions}

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_refresh"
        refresh_view = self.admin_site.admin_view(self.refresh_view)
        return [path("<path:object_id>/refresh/", refresh_view, name=name), *super().get_urls()]

    # The page of one.

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        row = self.find(request, object_id)
        own, derived = record_page.fields(request, self.stream, row)
        preserved = self.get_preserved_filters(request)
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(f"{self.opts.verbose_name} {plain(row.pk)}"),
            "opts": self.opts,
            "row": row,
            "own": own,
            "derived": derived,
            "origin": record_page.origin(request, row),
            "sent_by": senders.display_name(row.client, senders.key_names([row.client])),
            "same_client": self.page("changelist", query=urlencode({"client": row.client})),
            "held_origin": record_page.held_origins(request, [row]).get((type(row), row.pk)),
            "is_immutable": self.stream.immutable,
            "held": record_page.held(request, self.stream, row.pk),
            "history": record_page.history(row),
            "list_page": self.page("changelist", query=request.GET.get("_changelist_filters", "")),
            "refresh_page": self.has_refresh_permission(request) and self.page("refresh", row.pk, query=preserved),
            "delete_page": self.has_delete_permission(request, row) and self.page("delete", row.pk, query=preserved),
            **self.more(request, row),
        }
        return TemplateResponse(request, self.page_template, context)

    def more(self, request: HttpRequest, row: Any) -> Mapping[str, Any]:
        """Context of the stream's own template."""
        return {}

    # Refresh of derived fields.

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("enrichment.refresh")

    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_refresh_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self.model._default_manager.get(pk=self.find(request, object_id).pk)
        failed: list[str] = []
        refresh(self.stream, Q(pk=row.pk), failed=failed.append)
        changes = "; ".join(changed(self.stream, row)) or "no changes"
        self.report_refresh(request, [row], f"Refreshed: {changes}.", failed)
        return HttpResponseRedirect(self.page("change", row.pk, query=self.get_preserved_filters(request)))

    @admin.action(description="Refresh derived fields", permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, selected: QuerySet[Any]) -> None:
        if request.POST.get("select_across") == "1":
            raise BadRequest("Select records one by one. To refresh all of them, run manage.py refresh_derived.")
        rows = list(selected.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)))
        failed: list[str] = []
        number = refresh(self.stream, Q(pk__in=[row.pk for row in rows]), failed=failed.append)
        text = f"Refreshed: {len(rows)} selected, {number or 'none'} changed."
        self.report_refresh(request, rows, text, failed)

    def report_refresh(self, request: HttpRequest, rows: Sequence[Any], text: str, failed: Sequence[str]) -> None:
        """As a message, and in the history of each row."""
        if failed:
            text = f"{text} Failed (see the log): {plain(', '.join(failed[:10]))}."
        LogEntry.objects.log_actions(cast(int, request.user.pk), rows, CHANGE, change_message=text)
        self.message_user(request, text, messages.ERROR if failed else messages.SUCCESS)

    # Deletion: of one that no record refers to.

    def has_delete_permission(self, request: HttpRequest, obj: StoredRecord | None = None) -> bool:
        permitted = admin.ModelAdmin.has_delete_permission(self, request, obj)
        return permitted and (obj is None or not is_referred_to(obj))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except IntegrityError:  # stored in the meantime
            self.message_user(request, "Not deleted: another record refers to it.", messages.ERROR)
            return HttpResponseRedirect(self.page("changelist"))

    def delete_model(self, request: HttpRequest, obj: StoredRecord) -> None:
        if not delete_rows(self.stream, [obj.pk]):
            raise IntegrityError("Another record refers to it.")

    # Columns.

    @admin.display(description="stored")
    def stored(self, row: StoredRecord) -> SafeString | str:
        return age(row.stored_at)


def changed(stream: Stream, before: StoredRecord) -> list[str]:
    """The derived fields and warnings that differ from before: column, and of fields the old and the new value."""
    after = cast("models.Manager[StoredRecord]", stream.model._default_manager).filter(pk=before.pk).first()
    if after is None:
        return ["deleted in the meantime"]
    unchanged = {*stream.schema.model_fields, "delivery", "stored_at", "warnings", *INTERNAL_COLUMNS}
    names = [field.attname for field in stream.model._meta.concrete_fields if field.attname not in unchanged]
    both = [(name, getattr(before, name), getattr(after, name)) for name in names]
    found = [plain(f"{name} {old} → {new}") for name, old, new in both if old != new]
    return [*found, *(["warnings"] if before.warnings != after.warnings else [])]
