"""Base classes of the admin's lists and pages: read-only, restricted to their own filters, never counted in full."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import get_fields_from_path, unquote
from django.contrib.admin.views.main import IGNORED_PARAMS, SEARCH_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import DateTimeField, Field, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from console.personal import for_user
from console.templatetags.formatting import at_time
from ingestion.text import plain


class RestrictedLookupAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Its list takes its own filters alone: any other lookup in an address is a query of the visitor's making,
    which may take forever, fail, or find out letter by letter what no page shows.
    """

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.parameters(request)

    def parameters(self, request: HttpRequest) -> set[str]:
        """The query parameters of the list's filters."""
        found: set[str] = set()
        for each in self.get_list_filter(request):
            if isinstance(each, str):
                field = get_fields_from_path(self.model, each)[-1]
                made = admin.FieldListFilter.create(field, request, {}, self.model, self, each)
                found.update(name for name in made.expected_parameters() if name)
            else:
                found.add(str(cast("type[admin.SimpleListFilter]", each).parameter_name))
        return found

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Columns of times are shown as everywhere else."""
        fields = {field.name: field for field in self.model._meta.fields if isinstance(field, DateTimeField)}
        columns = super().get_list_display(request)
        return [_time_column(fields[name]) if name in fields else name for name in columns]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        try:
            return super().get_changelist_instance(request)
        except DisallowedModelAdminLookup as error:
            known = {*self.parameters(request), *IGNORED_PARAMS, SEARCH_VAR}
            unknown = ", ".join(f"“{plain(name[:60])}”" for name in request.GET if name not in known)
            raise BadRequest(f"Unknown filter {unknown}.") from error
        except (OverflowError, DataError) as error:  # a date out of range, or a number too large for its column
            raise IncorrectLookupParameters from error


@cache
def _time_column(field: Field[Any, Any]) -> Callable[[Any], SafeString | str]:
    @admin.display(description=field.verbose_name, ordering=field.name)
    def value(row: Any) -> SafeString | str:
        return at_time(getattr(row, field.name))

    value.__name__ = field.name
    return value


class ReadOnlyAdmin(RestrictedLookupAdmin):
    """Lists and pages without editing. Rows come by ID; nothing reads the whole table."""

    ordering = ["-id"]
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    change_form_template = "admin/read_only.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return for_user(request.user, super().get_queryset(request))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = capfirst(f"{self.opts.verbose_name} {unquote(object_id)}")  # the ID as it is written
        return super().change_view(
            request, object_id, form_url, {"title": title, "subtitle": None} | (extra_context or {})
        )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title} | (extra_context or {}))

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """Back to the list, for who may see it: Django asks who may change rows, and nobody does."""
        response = super().response_delete(request, obj_display, obj_id)
        if not isinstance(response, HttpResponseRedirect) or not self.has_view_permission(request):
            return response
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        filters: dict[str, Any] = {"preserved_filters": self.get_preserved_filters(request), "opts": self.opts}
        return HttpResponseRedirect(add_preserved_filters(filters, page))

    def require_safe_method(self, request: HttpRequest) -> None:
        """Raises PermissionDenied for anything but a read."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewestPaginator(Paginator):  # type: ignore[type-arg]
    """Lists the first rows only: counting a million takes longer than showing fifty, and nobody opens page 9,000."""

    max_rows = 10_000

    @property
    def max_counted(self) -> int:
        return self.max_rows

    @property
    def has_more(self) -> bool:
        """Whether there are more rows than it counts."""
        return self.counted > self.max_counted

    @cached_property
    def counted(self) -> int:
        """Up to one more than the limit."""
        return cast("QuerySet[Any]", self.object_list)[: self.max_counted + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.counted, self.max_counted)
