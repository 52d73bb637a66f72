"""The page Data access: who took rows out, and who looked at payloads of failed records."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from console import senders
from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import FieldFilter, HiddenFilter, TimeFilter
from enrichment.models import DataAccess
from ingestion.text import plain, thousands


class KindFilter(FieldFilter):
    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(DataAccess.Kind.choices)


class ByFilter(HiddenFilter):
    title = parameter_name = "by"


class AtFilter(TimeFilter):
    title = parameter_name = "time"
    field = "at"


class DataAccessAdmin(ReadOnlyAdmin):
    list_display = ("at", "by_", "kind", "what_", "asked", "format", "rows_")
    list_filter = (KindFilter, AtFilter, ByFilter)
    paginator = NewestPaginator
    empty_value_display = "–"
    change_list_template = "admin/enrichment/data_access.html"
    fields = ("at", "by_", "kind", "what", "record", "asked", "format", "rows_")

    @admin.display(description="by")
    def by_(self, access: DataAccess) -> SafeString:
        page = reverse("admin:enrichment_dataaccess_changelist")
        name = plain(access.by.removeprefix(senders.USER))
        return format_html('<a href="{}?{}">{}</a>', page, urlencode({"by": access.by}), name)

    @admin.display(description="of")
    def what_(self, access: DataAccess) -> SafeString | str:
        if access.record is None:
            return plain(access.what)
        page = reverse("admin:enrichment_heldrecord_change", args=[access.record])
        return format_html('{}: <a href="{}">failed record {}</a>', access.what, page, access.record)

    @admin.display(description="filter", empty_value="–")
    def asked(self, access: DataAccess) -> str:
        return plain(", ".join(f"{name}={value}" for name, value in access.query.items()))

    @admin.display(description="rows", empty_value="–")
    def rows_(self, access: DataAccess) -> str:
        return thousands(access.rows) if access.rows is not None else ""
