from __future__ import annotations

import json
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.db.models.functions import Length, Substr
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from ingestion import streams
from ingestion.models import ApiKey, Delivery
from ingestion.readers import Unreadable, parse_json
from ingestion.templatetags.shown import MOST_SHOWN, age, badge, cut, moment, plain, pretty, thousands


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


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
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

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """None by an expression that takes for ever, or by a list of numbers that no column holds."""
        costly = lookup.rpartition("__")[2] in ("regex", "iregex", "in", "range")
        return not costly and super().lookup_allowed(lookup, value, request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewestPaginator(Paginator):  # type: ignore[type-arg]
    """Knows the first rows only: to count a million takes longer than to show fifty, and nobody turns to page 9,000."""

    most = 10_000

    @cached_property
    def count(self) -> int:
        return cast("QuerySet[Any]", self.object_list)[: self.most].count()


class DeliveryStatusFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("pending", "pending"), ("processed", "processed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "pending":
                return queryset.filter(processed_at=None)
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
    list_filter = (StreamFilter, DeliveryStatusFilter, SourceFilter)
    paginator = NewestPaginator
    change_list_template = "admin/ingestion/delivery_list.html"
    fieldsets = [
        (None, {"fields": ["stream", "source", "client_", "received_at_", "format", "refused_items"]}),
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

    @admin.display(description="client")
    def client_(self, delivery: Delivery) -> str:
        return delivery.client

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


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    streams = forms.MultipleChoiceField(
        choices=lambda: [(name, name) for name in streams.names()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="The streams it is limited to; none ticked: all.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "can_ingest", "can_read", "streams", "expiry_date", "revoked")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        scopes = [
            cleaned.get(name, True) for name in ("can_ingest", "can_read")
        ]  # those of a revoked key are not asked
        if not any(scopes):
            raise forms.ValidationError("A key that may neither post nor read is of no use: tick at least one.")
        return cleaned


class ByPrefix(ChangeList):
    """Links to keys by their prefix: the primary key contains the hash."""

    def url_for_result(self, result: Model) -> str:
        return reverse("admin:ingestion_apikey_change", args=[quote(getattr(result, "prefix", ""))])


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ApiKeyForm
    list_display = ("name", "prefix", "scopes", "for_streams", "state", "last_used", "created_")
    search_fields = ("name", "prefix")
    search_help_text = "Name or prefix."
    ordering = ("name", "prefix")
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    actions = None  # a box to tick would carry the primary key
    scope_fields: ClassVar = (("Scopes", {"fields": ["can_ingest", "can_read", "streams"]}),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ByPrefix

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ApiKey | None:
        return self.get_queryset(request).filter(prefix=object_id).first() if object_id.isalnum() else None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # keys are revoked: what they sent names them

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        if obj is None:
            return [(None, {"fields": ["name"]}), *self.scope_fields, ("Until", {"fields": ["expiry_date"]})]
        told = ["name", "prefix", "created_", "last_used"]
        return [(None, {"fields": told}), *self.scope_fields, ("Until", {"fields": ["expiry_date", "revoked"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        told = ["prefix", "created_", "last_used"]
        if obj is not None and obj.revoked:
            return [*told, "name", "can_ingest", "can_read", "streams", "expiry_date", "revoked"]
        return told

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            obj.save()
            return
        key = ApiKey.objects.assign_key(obj)
        obj.save()
        text = format_html(
            "The key of {} is <code class='secret'>{}</code> Keep it somewhere safe now: it is shown this once.",
            obj.name,
            key,
        )
        self.message_user(request, text, messages.WARNING)

    def render_change_form(  # the key is shown on the list, so that is where to go
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().render_change_form(request, context, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        # Django's own message would link to the primary key.
        return HttpResponseRedirect(reverse("admin:ingestion_apikey_changelist"))

    def log_addition(self, request: HttpRequest, obj: ApiKey, message: Any) -> LogEntry:
        return _log(request, obj, ADDITION, message)

    def log_change(self, request: HttpRequest, obj: ApiKey, message: Any) -> LogEntry:
        return _log(request, obj, CHANGE, message)

    @admin.display(description="scopes")
    def scopes(self, key: ApiKey) -> str:
        return ", ".join(name for name, may in [("ingest", key.can_ingest), ("read", key.can_read)] if may)

    @admin.display(description="streams")
    def for_streams(self, key: ApiKey) -> str:
        return ", ".join(key.streams) or "all"

    @admin.display(description="status")
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked:
            return badge("discarded", "revoked")
        return badge("stale", "expired") if key.has_expired else badge("processed", "valid")

    @admin.display(description="last used")
    def last_used(self, key: ApiKey) -> str:
        return f"{key.last_used_on:%Y-%m-%d}" if key.last_used_on else "never"

    @admin.display(description="created")
    def created_(self, key: ApiKey) -> str:
        return f"{timezone.localtime(key.created):%Y-%m-%d}"


def _log(request: HttpRequest, key: ApiKey, flag: int, message: Any) -> LogEntry:
    """As Django's, but under the key's prefix."""
    return LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(key),
        object_id=key.prefix,
        object_repr=f"{key.name} ({key.prefix})",
        action_flag=flag,
        change_message=json.dumps(message) if isinstance(message, list) else message,
    )
