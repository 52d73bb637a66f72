"""Lists of rows that clients can read: fast ones, with exports, and a page for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ERROR_FLAG, PAGE_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.views.decorators.http import require_safe

from console.base import NewestPaginator, ReadOnlyAdmin
from console.history import user_of
from console.personal import is_hidden_from
from enrichment.rows import writers as formats
from enrichment.rows.access import Export
from enrichment.rows.listing import Listing
from enrichment.rows.ordering import Ordering
from enrichment.rows.reading import names_of, nullable_of, select_columns, serializer_of
from ingestion.streams import Readable, Stream
from ingestion.text import strip_unstorable

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


class RowAdmin(ReadOnlyAdmin):
    """Of what can be read: a list, its export with the columns of the API, and a page of each row."""

    paginator = RecordPaginator
    search_lookups: Sequence[str] = ()
    """Besides the beginning of the key."""
    change_list_template = "admin/enrichment/record_list.html"

    def get_readable(self) -> Readable:
        raise NotImplementedError

    # The list.

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RecordList

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """None by what is hidden from this person: whether there is a match would tell it."""
        hidden = self.get_readable().personal if is_hidden_from(request.user) else ()
        lookups = [each for each in self.search_lookups if each.partition("__")[0] not in hidden]
        return [f"{self.get_readable().key}__startswith", *lookups]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        if len(self.get_search_fields(request)) <= len(self.search_lookups):
            changes.search_help_text = "ID or its beginning"
        return changes

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
        query = request.GET.copy()
        for name in (PAGE_VAR, ERROR_FLAG):
            query.pop(name, None)
        exports = [(form, f"{self.page('export')}?{_with(query, form)}") for form in FORMATS]
        readable = self.get_readable()
        context = {"exports": exports, "stream": readable, "is_stream": isinstance(readable, Stream)}
        return super().changelist_view(request, context | (extra_context or {}))

    # All of the list, as a file.

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export_view), name=name), *super().get_urls()]

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
        name = f"{self.get_readable().name}-{timezone.localdate()}"
        asked = {name: str(value) for name, value in query.items()}
        export = Export(by=user_of(request), what=self.get_readable().name, form=form, query=asked)
        return formats.stream(request.method, FORMATS[form](), self.listing(request), name, export)

    def listing(self, request: HttpRequest) -> Listing:
        try:
            rows = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            raise BadRequest("Unknown filter, or a value that it does not accept.") from None
        readable = self.get_readable()
        ordering = Ordering(str(self.ordering[0]), readable.key)
        fields = names_of(readable)
        selected = select_columns(rows, readable, [*fields, ordering.column])
        return Listing(selected, ordering, fields, serializer_of(readable, fields), nullable_of(readable))

    # The page of one.

    def find(self, request: HttpRequest, object_id: str) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_object(request, strip_unstorable(unquote(object_id)))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} with this ID.")
        return row

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page itself shows the history."""
        return HttpResponseRedirect(f"{self.page('change', unquote(object_id))}#history")

    def page(self, name: str, *keys: Any, query: str = "") -> str:
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[quote(key) for key in keys])
        return f"{page}?{query}" if query else page


def _with(query: Any, form: str) -> str:
    query = query.copy()
    query["format"] = form
    return str(query.urlencode())
