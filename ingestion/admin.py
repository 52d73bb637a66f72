from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import get_fields_from_path, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import QuerySet
from django.db.models.functions import Length, Substr
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from enrichment.retention import or_it_is_gone
from ingestion import clients, streams
from ingestion.models import Delivery
from ingestion.payloads import Unreadable, parse_json
from ingestion.templatetags.shown import age, badge, moment
from ingestion.text import MOST_SHOWN, clean, cut, plain, pretty, thousands

MOST_IN_FILTER = 80
"""Characters of a value that a filter shows."""


class FieldFilter(admin.SimpleListFilter):
    """Filters a field by the values it is known to have: Django's own filters ask the table which it has.

    Any other value matches nothing: acts on "all that match" must not mean more than was asked for.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        known = any(value == choice for choice, _ in self.lookup_choices)
        return queryset.filter(**{str(self.parameter_name): value}) if known else queryset.none()


class StreamFilter(FieldFilter):
    title = parameter_name = "stream"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in streams.names()]


class NumberFilter(FieldFilter):
    """Shown only where a link has set it."""

    field = ""
    """The column, where it is not called as the parameter is."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, f"{self.parameter_name} {value}")] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        field = self.field or str(self.parameter_name)
        return queryset.filter(**{field: value}) if re.fullmatch(r"[0-9]{1,18}", value) else queryset.none()


class UploadFilter(NumberFilter):
    title = parameter_name = "upload"


class LinkFilter(admin.SimpleListFilter):
    """A text, shown only where a link has set it."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, plain(value)[:MOST_IN_FILTER])] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class ListedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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


class ReadOnlyAdmin(ListedAdmin):
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

    most = 10_000

    @property
    def most_counted(self) -> int:
        return self.most

    @property
    def has_more(self) -> bool:
        """Whether there are more than it counts."""
        return self.counted > self.most_counted

    @cached_property
    def counted(self) -> int:
        """One more than it counts, to know of those."""
        return cast("QuerySet[Any]", self.object_list)[: self.most_counted + 1].count()

    @cached_property
    def count(self) -> int:
        return min(self.counted, self.most_counted)


class DeliveryStatusFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("pending", "pending"), ("trouble", "in trouble"), ("processed", "processed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "pending":
                return queryset.filter(processed_at=None)
            case "trouble":
                return queryset.filter(processed_at=None).exclude(trouble="")
            case "processed":
                return queryset.exclude(processed_at=None)
            case other:
                return queryset.none() if other else queryset


class SourceFilter(FieldFilter):
    title = parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), label) for value, label in Delivery.Source.choices]


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "stream", "source", "client_", "state", "records", "came_to", "received")
    list_filter = (StreamFilter, DeliveryStatusFilter, SourceFilter, UploadFilter)
    paginator = NewestPaginator
    change_list_template = "admin/ingestion/delivery_list.html"
    fieldsets = [
        (None, {"fields": ["stream", "source", "client_", "upload_", "received_at_", "format", "refused_items"]}),
        (
            "What came of it",
            {"fields": ["state", "records", "came_to", "processed_at_", "in_trouble", "held_records_"]},
        ),
        ("As sent", {"fields": ["as_sent"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        queryset = Delivery.objects.defer("body")
        if request.resolver_match and request.resolver_match.url_name == "ingestion_delivery_change":
            # What is shown, and no more, of a body of up to 32 MB.
            return queryset.annotate(start_of_body=Substr("body", 1, MOST_SHOWN), length=Length("body"))
        return queryset.defer("body", "refused")

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        """Rows and held records name deliveries that retention has deleted since."""
        told = f"There is no delivery {plain(clean(unquote(object_id), 20))}{or_it_is_gone()}."
        self.message_user(request, told, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:ingestion_delivery_changelist"))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        names = clients.names_of(delivery.client for delivery in changes.result_list)
        for delivery in changes.result_list:
            delivery.sent_by = clients.called(delivery.client, names)
        return changes

    @admin.display(description="client")
    def client_(self, delivery: Any) -> str:
        """In the list, where it is found for all at once, with its name."""
        return str(getattr(delivery, "sent_by", delivery.client))

    @admin.display(description="upload")
    def upload_(self, delivery: Delivery) -> SafeString | str:
        if delivery.upload_id is None:
            return "none"
        page = reverse("admin:ingestion_upload_change", args=[delivery.upload_id])
        link = format_html('<a href="{}">upload {}</a>', page, delivery.upload_id)
        return format_html("{} <span class='quiet'>from row {} on</span>", link, delivery.first_row)

    @admin.display(description="status")
    def state(self, delivery: Delivery) -> SafeString:
        if delivery.processed_at:
            return badge("processed", "processed")
        if delivery.trouble:
            return badge("trouble", "in trouble")
        return badge("pending", "being worked on" if delivery.started_at else "pending")

    @admin.display(description="records")
    def records(self, delivery: Delivery) -> str:
        return thousands(delivery.count)

    @admin.display(description="came to")
    def came_to(self, delivery: Delivery) -> str:
        names = ("inserted", "updated", "stale", "held", "skipped", "pending")
        counts = [(getattr(delivery, name), name) for name in names]
        return " · ".join(f"{number:,} {name}" for number, name in counts if number) or "–"

    @admin.display(description="received")
    def received(self, delivery: Delivery) -> SafeString | str:
        return age(delivery.received_at)

    @admin.display(description="received")
    def received_at_(self, delivery: Delivery) -> SafeString | str:
        return moment(delivery.received_at)

    @admin.display(description="processed")
    def processed_at_(self, delivery: Delivery) -> SafeString | str:
        return moment(delivery.processed_at)

    @admin.display(description="refused")
    def refused_items(self, delivery: Delivery) -> str:
        return thousands(len(delivery.refused_positions)) if delivery.refused_positions else "none"

    @admin.display(description="trouble")
    def in_trouble(self, delivery: Delivery) -> SafeString | str:
        if not delivery.trouble:
            return "none"
        again = moment(delivery.paused_until) if delivery.paused_until else "when a worker is free"
        return format_html(
            "{}<br><span class='quiet'>given back {} times; next try: {}</span>",
            delivery.trouble,
            delivery.pauses,
            again,
        )

    @admin.display(description="held records")
    def held_records_(self, delivery: Delivery) -> SafeString | str:
        if delivery.format == Delivery.Format.HELD:
            return "It was made of held records; their numbers stand below."
        if not delivery.held:
            return "none"
        page = reverse("admin:enrichment_heldrecord_changelist")
        query = urlencode({"delivery": delivery.pk})
        return format_html('<a href="{}?{}">{}</a>', page, query, thousands(delivery.held))

    @admin.display(description="body")
    def as_sent(self, delivery: Any) -> SafeString:
        text = bytes(delivery.start_of_body).decode("utf-8", "replace")
        if delivery.length <= MOST_SHOWN and delivery.format != Delivery.Format.NDJSON:
            text = _prettier(text)
        rest = delivery.length - MOST_SHOWN
        more = format_html('<p class="quiet">… {} more bytes</p>', thousands(rest)) if rest > 0 else ""
        return format_html('<pre class="payload" tabindex="0">{}</pre>{}', cut(plain(text)), more)


def _prettier(text: str) -> str:
    try:
        return pretty(parse_json(text.encode()))
    except Unreadable:  # kept as it came all the same
        return text
