"""The admin of a stream's stored records: a fast list, its export, the page of one, refresh and deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ERROR_FLAG, PAGE_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import IntegrityError, models
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import StoredByUploadFilter
from console.stored import page as record_page
from console.stored.page import page_of
from console.templatetags.formatting import age, badge
from enrichment.models import StoredRecord
from enrichment.refresh import refresh
from enrichment.rows import writers as formats
from enrichment.rows.listing import Listing
from enrichment.rows.ordering import Ordering
from enrichment.rows.reading import names_of, select_columns, serializer_of
from ingestion.streams import Stream
from ingestion.text import plain, strip_unstorable


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
    return [(row, page_of(request, type(row), row.pk)) for row in rows]


FORMATS = {"csv": formats.CsvForSpreadsheets, "ndjson": formats.Ndjson}
"""Of an export."""


class RecordPaginator(NewestPaginator):
    """Of a list that is filtered reads the keys alone, all of them where they are not many.

    PostgreSQL cannot guess how few rows meet several conditions: it would read along the index of the list's order, row
    by row all over the table, to find the first fifty of forty.
    """

    @cached_property
    def found(self) -> list[Any] | None:
        """The keys of all that match, in order; None where nothing is filtered or too many match."""
        rows = cast("QuerySet[Any]", self.object_list)
        if not rows.query.where:
            return None
        column = str(rows.query.order_by[0])
        names = [column.removeprefix("-"), "pk"]
        read = list(rows.order_by().values_list(*names)[: self.max_rows])
        return [key for _, key in sorted(read, reverse=column.startswith("-"))] if len(read) < self.max_rows else None

    @cached_property
    def counted(self) -> int:
        if self.found is not None:
            return len(self.found)
        return cast("QuerySet[Any]", self.object_list).order_by()[: self.max_counted + 1].count()


class RecordList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return list(self.model_admin.ordering or [])  # and no other, whatever ?o= asks for

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = cast(RecordPaginator, self.paginator).found
        if found is not None:
            first = 0 if self.show_all else (self.page_num - 1) * self.list_per_page
            keys = found[first:] if self.show_all else found[first : first + self.list_per_page]
            rows = {row.pk: row for row in self.root_queryset.filter(pk__in=keys)}
            self.result_list = [rows[key] for key in keys if key in rows]


class StoredRecordAdmin(ReadOnlyAdmin):
    """Of one stream: its own and derived fields, and where it came from. Stored records are not edited."""

    stream: Stream
    actions = ("refresh_selected",)
    paginator = RecordPaginator
    search_lookups: Sequence[str] = ()
    """Besides the beginning of the key."""
    change_list_template = "admin/enrichment/record_list.html"
    page_template = "admin/enrichment/record.html"
    empty_text = ""

    # The list.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RecordList

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), StoredByUploadFilter]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"{self.stream.key}__startswith", *self.search_lookups]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The text as a whole: keys may have spaces."""
        text = search_term.strip()
        found = Q()
        for lookup in self.get_search_fields(request) if text else ():
            found |= Q(**{lookup: text})
        return queryset.filter(found), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.POST.get("action") in self.actions and not self.has_refresh_permission(request):
            raise PermissionDenied  # to Django the action would merely not exist
        query = request.GET.copy()
        for name in (PAGE_VAR, ERROR_FLAG):
            query.pop(name, None)
        exports = [(form, f"{self.page('export')}?{_with(query, form)}") for form in FORMATS]
        context = {"exports": exports, "stream": self.stream, "empty_text": self.empty_text}
        return super().changelist_view(request, context | (extra_context or {}))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's deletion of many."""
        return {name: action for name, action in super().get_actions(request).items() if name in self.actions}

    # All of the list, as a file.

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export_view), name=f"{name}_export"),
            path("<path:object_id>/refresh/", view(self.refresh_view), name=f"{name}_refresh"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The rows that the list's filters let through, with the columns of the API, as they are read."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = request.GET.copy()
        form = str((query.pop("format", None) or [""])[-1])
        if form not in FORMATS:
            raise BadRequest(f"Unknown format; choose one of: {', '.join(FORMATS)}.")
        request.GET = query  # type: ignore[assignment]  # the list takes every parameter for a filter
        name = f"{self.stream.name}-{timezone.localdate()}"
        return formats.stream(request.method, FORMATS[form](), self.listing(request), name)

    def listing(self, request: HttpRequest) -> Listing:
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            raise BadRequest("Unknown filter, or a value that it does not accept.") from None
        ordering = Ordering(str(self.ordering[0]), self.stream.key)
        fields = names_of(self.stream)
        return Listing(
            select_columns(rows, self.stream, [*fields, ordering.column]),
            ordering,
            fields,
            serializer_of(self.stream, fields),
        )

    # The page of one.

    def find(self, request: HttpRequest, object_id: str) -> StoredRecord:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row: StoredRecord | None = self.get_object(request, strip_unstorable(unquote(object_id)))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} with this ID.")
        return row

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
            "held_origin": record_page.held_origins(request, [row]).get((type(row), row.pk)),
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

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page itself shows the history."""
        return HttpResponseRedirect(f"{self.page('change', unquote(object_id))}#history")

    def page(self, name: str, *keys: Any, query: str = "") -> str:
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[quote(key) for key in keys])
        return f"{page}?{query}" if query else page

    # Refresh of derived fields.

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) and request.user.has_perm("enrichment.refresh")

    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not self.has_refresh_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self.find(request, object_id)
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
        return permitted and (obj is None or not referred_to(obj))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except IntegrityError:  # stored in the meantime
            self.message_user(request, "Not deleted: another record refers to it.", messages.ERROR)
            return HttpResponseRedirect(self.page("changelist"))

    # Columns.

    @admin.display(description="stored")
    def stored(self, row: StoredRecord) -> SafeString | str:
        return age(row.stored_at)


def changed(stream: Stream, before: StoredRecord) -> list[str]:
    """The derived fields and warnings that differ from before: column, old and new value."""
    after = cast("models.Manager[StoredRecord]", stream.model._default_manager).filter(pk=before.pk).first()
    if after is None:
        return ["deleted in the meantime"]
    unchanged = {*stream.schema.model_fields, "version_at", "delivery", "position", "stored_at"}
    names = [field.attname for field in stream.model._meta.concrete_fields if field.attname not in unchanged]
    both = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return [plain(f"{name} {old} → {new}") for name, old, new in both if old != new]


def referred_to(row: models.Model) -> bool:
    """Whether other stored records refer to this one."""
    relations = row._meta.related_objects
    return any(
        relation.related_model._default_manager.filter(**{relation.field.name: row}).exists() for relation in relations
    )


def _with(query: Any, form: str) -> str:
    query = query.copy()
    query["format"] = form
    return str(query.urlencode())
