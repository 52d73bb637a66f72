"""Deliveries in the admin: their lists, their outcome, and their bodies as sent."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.db.models import Case, F, QuerySet, When
from django.db.models.functions import Length, Substr
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console import senders
from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import FieldFilter, StreamFilter, UploadFilter
from console.history import user_of
from console.personal import for_user
from console.templatetags.formatting import age, badge, moment
from enrichment.retention import retention_hint
from enrichment.rows.access import note_look
from enrichment.rows.masking import masked_body
from ingestion.models import Delivery
from ingestion.payloads import ParseError, parse_json
from ingestion.text import MAX_DISPLAYED, cut, plain, pretty, strip_unstorable, thousands


class DeliveryStatusFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("pending", "pending"), ("failing", "failing"), ("processed", "processed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "pending":
                return queryset.filter(processed_at=None)
            case "failing":
                return queryset.filter(processed_at=None).exclude(last_error="")
            case "processed":
                return queryset.exclude(processed_at=None)
            case other:
                return queryset.none() if other else queryset


class SourceFilter(FieldFilter):
    title = parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), label) for value, label in Delivery.Source.choices]


class DeliveryAdmin(ReadOnlyAdmin):
    list_display = ("id", "stream_", "client_", "state", "records", "outcome", "received")
    list_filter = (StreamFilter, DeliveryStatusFilter, SourceFilter, UploadFilter)
    paginator = NewestPaginator
    change_list_template = "admin/ingestion/delivery_list.html"
    fieldsets = [
        (None, {"fields": ["stream", "source", "client_", "upload_", "received_at_", "format", "rejected_records"]}),
        (
            "Result",
            {"fields": ["state", "records", "outcome", "processed_at_", "failing_now", "held_records_"]},
        ),
        ("As sent", {"fields": ["as_sent"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        queryset = for_user(request.user, Delivery.objects.defer("body"))
        if request.resolver_match and request.resolver_match.url_name == "ingestion_delivery_change":
            # No more than the page shows of a body of up to 32 MB.
            length = Case(When(is_deflated=True, then=F("size")), default=Length("body"))
            return queryset.annotate(start_of_body=Substr("body", 1, MAX_DISPLAYED), length=length)
        return queryset.defer("body", "refused")

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        """Rows and held records may name deliveries that retention has deleted."""
        message = f"There is no delivery {plain(strip_unstorable(unquote(object_id), 20))}{retention_hint()}."
        self.message_user(request, message, messages.WARNING)
        return HttpResponseRedirect(reverse("admin:ingestion_delivery_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The body holds the payloads of failed records, too."""
        response = super().change_view(request, object_id, form_url, extra_context)
        delivery = getattr(response, "context_data", {}).get("original")
        if delivery and delivery.held:
            note_look(user_of(request), delivery.stream, query={"delivery": str(delivery.pk)})
        return response

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        names = senders.key_names(delivery.client for delivery in changes.result_list)
        for delivery in changes.result_list:
            delivery.sent_by = senders.display_name(delivery.client, names)
        return changes

    @admin.display(description="stream, source")
    def stream_(self, delivery: Delivery) -> SafeString:
        return format_html('{}<br><span class="quiet">{}</span>', delivery.stream, delivery.get_source_display())

    @admin.display(description="client")
    def client_(self, delivery: Any) -> str:
        """With its name in the list, where all names are read at once."""
        return str(getattr(delivery, "sent_by", delivery.client))

    @admin.display(description="upload")
    def upload_(self, delivery: Delivery) -> SafeString | str:
        if delivery.upload_id is None:
            return "none"
        page = reverse("admin:ingestion_upload_change", args=[delivery.upload_id])
        link = format_html('<a href="{}">upload {}</a>', page, delivery.upload_id)
        return format_html("{} <span class='quiet'>from row {}</span>", link, delivery.first_row)

    @admin.display(description="status")
    def state(self, delivery: Delivery) -> SafeString:
        if delivery.processed_at:
            return badge("processed", "processed")
        if delivery.last_error:
            return badge("failing", "failing")
        return badge("pending", "in progress" if delivery.started_at else "pending")

    @admin.display(description="records")
    def records(self, delivery: Delivery) -> str:
        return thousands(delivery.count)

    @admin.display(description="result")
    def outcome(self, delivery: Delivery) -> str:
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

    @admin.display(description="rejected records")
    def rejected_records(self, delivery: Delivery) -> str:
        return thousands(len(delivery.refused_positions)) if delivery.refused_positions else "none"

    @admin.display(description="last error")
    def failing_now(self, delivery: Delivery) -> SafeString | str:
        if not delivery.last_error:
            return "none"
        retry = moment(delivery.retry_at) if delivery.retry_at else "as soon as a worker is free"
        return format_html(
            "{}<br><span class='quiet'>{} failed attempt{}; next attempt: {}</span>",
            delivery.last_error,
            delivery.failure_count,
            "" if delivery.failure_count == 1 else "s",
            retry,
        )

    @admin.display(description="failed records")
    def held_records_(self, delivery: Delivery) -> SafeString | str:
        if delivery.format == Delivery.Format.HELD:
            return "It reprocesses failed records; the body lists their numbers."
        if not delivery.held:
            return "none"
        page = reverse("admin:enrichment_heldrecord_changelist")
        query = urlencode({"delivery": delivery.pk})
        return format_html('<a href="{}?{}">{}</a>', page, query, thousands(delivery.held))

    @admin.display(description="body")
    def as_sent(self, delivery: Any) -> SafeString:
        text = delivery.beginning(bytes(delivery.start_of_body), MAX_DISPLAYED).decode("utf-8", "replace")
        if getattr(delivery, "is_masked", False):
            text = masked_body(delivery, text if delivery.length <= MAX_DISPLAYED else "")
        if delivery.length <= MAX_DISPLAYED and delivery.format != Delivery.Format.NDJSON:
            text = _prettier(text)
        rest = delivery.length - MAX_DISPLAYED
        more = format_html('<p class="quiet">… {} more bytes</p>', thousands(rest)) if rest > 0 else ""
        return format_html('<pre class="payload" tabindex="0">{}</pre>{}', cut(plain(text)), more)


def _prettier(text: str) -> str:
    try:
        return pretty(parse_json(text.encode()))
    except ParseError:  # stored as sent
        return text
