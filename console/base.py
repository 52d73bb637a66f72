"""What lists and pages of the admin share: read-only, filtered by their own filters alone, never counted whole."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import get_fields_from_path, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.text import capfirst


class RestrictedLookupAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Its list is filtered by its own filters alone: any other lookup in an address is a query of the visitor's making,
    which may take for ever, fail, or find out letter by letter what no page shows.
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.parameters(request)

    def parameters(self, request: HttpRequest) -> set[str]:
        """Those of the list's filters."""
        found: set[str] = set()
        for each in self.get_list_filter(request):
            if isinstance(each, str):
                field = get_fields_from_path(self.model, each)[-1]
                made = admin.FieldListFilter.create(field, request, {}, self.model, self, each)
                found.update(name for name in made.expected_parameters() if name)
            else:
                found.add(str(cast("type[admin.SimpleListFilter]", each).parameter_name))
        return found

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        try:
            return super().get_changelist_instance(request)
        except (OverflowError, DataError) as error:  # the first minute of the year 1, elsewhere; more than a column has
            raise IncorrectLookupParameters from error


class ReadOnlyAdmin(RestrictedLookupAdmin):
    """Pages that only show. Rows of one table by number; nothing that costs a look at the whole table."""

    ordering = ["-id"]
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    change_form_template = "admin/read_only.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = capfirst(f"{self.opts.verbose_name} {unquote(object_id)}")  # of a key, as it is written
        return super().change_view(
            request, object_id, form_url, {"title": title, "subtitle": None} | (extra_context or {})
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title} | (extra_context or {}))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewestPaginator(Paginator):  # type: ignore[type-arg]
    """Knows the first rows only: to count a million takes longer than to show fifty, and nobody turns to page 9,000."""

    max_rows = 10_000

    @property
    def max_counted(self) -> int:
        return self.max_rows

    @property
    def has_more(self) -> bool:
        """Whether there are more than it counts."""
        return self.counted > self.max_counted

    @cached_property
    def counted(self) -> int:
        """One more than it counts, to know of those."""
        return cast("QuerySet[Any]", self.object_list)[: self.max_counted + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.counted, self.max_counted)
