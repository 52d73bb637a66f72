"""API keys in the admin: created, shown once, rotated, revoked."""

from __future__ import annotations

import json
from datetime import datetime, time
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from console import senders
from console.base import RestrictedLookupAdmin
from console.filters import FieldFilter
from console.templatetags.formatting import at_minute, badge, on_day
from ingestion import backlog, streams
from ingestion.models import EXPIRES_SOON, ApiKey
from ingestion.text import duration


class DateOrTime(forms.SplitDateTimeField):
    """A date without a time is midnight."""

    def compress(self, data_list: Any) -> datetime | None:
        if data_list and data_list[0] and data_list[1] in self.empty_values:
            data_list = [data_list[0], time.min]
        return super().compress(data_list)


class KeyForm(forms.Form):
    """A name, and an expiry date in the future or none."""

    name = forms.CharField(max_length=50)
    expiry_date = DateOrTime(
        label="Expiry",
        required=False,
        widget=AdminSplitDateTime,
        help_text=f"{settings.TIME_ZONE}; date only = 00:00. Empty = never expires.",
    )

    def clean_expiry_date(self) -> datetime | None:
        end: datetime | None = self.cleaned_data["expiry_date"]
        if end and end <= timezone.now() and "expiry_date" in self.changed_data:
            raise forms.ValidationError("This date is in the past. To end a key now, revoke it.")
        return end


class ApiKeyForm(KeyForm, forms.ModelForm):  # type: ignore[type-arg]
    streams = forms.MultipleChoiceField(
        choices=lambda: [(name, name) for name in streams.readable_names()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        label="Limit to streams",
        help_text="None ticked = all",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "can_ingest", "can_read", "streams", "expiry_date")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        # A revoked key has no such fields.
        if not any(cleaned.get(name, True) for name in ("can_ingest", "can_read")):
            raise forms.ValidationError("Select at least one: can ingest, can read.")
        return cleaned


class ByPrefix(ChangeList):
    """Links to keys by their prefix: the primary key contains the hash."""

    def url_for_result(self, result: Model) -> str:
        return page_of(getattr(result, "prefix", ""))


class StateFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("valid", "valid"), ("soon", "expires within a week"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        chosen = {
            None: Q(),
            "valid": Q(revoked=False) & (Q(expiry_date=None) | Q(expiry_date__gte=now)),
            "soon": Q(revoked=False, expiry_date__range=(now, now + EXPIRES_SOON)),
            "expired": Q(revoked=False, expiry_date__lt=now),
            "revoked": Q(revoked=True),
        }.get(self.value())
        return queryset.none() if chosen is None else queryset.filter(chosen)


class ApiKeyAdmin(RestrictedLookupAdmin):
    form = ApiKeyForm
    list_display = ("name", "prefix", "state", "expires", "last_used", "access")
    list_filter = (StateFilter,)
    search_fields = ("name", "prefix", "client")
    search_help_text = "Name, prefix, or client (the prefix of its first key)"
    ordering = ("name", "-created")
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    actions = None  # checkboxes would contain the primary key
    shown_fields = ("prefix", "client", "state", "created_", "last_used", "same_client", "limits")
    form_fieldsets: ClassVar = [
        ("Scopes", {"fields": ["can_ingest", "can_read", "streams"]}),
        ("Expiry", {"fields": ["expiry_date"]}),
    ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ByPrefix

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "API keys"} | (extra_context or {}))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ApiKey | None:
        return self.get_queryset(request).filter(prefix=object_id).first() if object_id.isalnum() else None

    def get_urls(self) -> list[Any]:
        actions = {"replace": self.replace, "revoke": self.revoke}
        return [
            *(
                path(f"<str:prefix>/{name}/", self.admin_site.admin_view(action), name=f"ingestion_apikey_{name}")
                for name, action in actions.items()
            ),
            *super().get_urls(),
        ]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # keys are revoked instead: records name them

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [(None, {"fields": ["name", *(self.shown_fields if obj else ())]}), *self.form_fieldsets]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*self.shown_fields, *(self.form.Meta.fields if obj and obj.revoked else ())]

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            obj.issue()
        elif form.changed_data:
            obj.save(update_fields=form.changed_data)  # and not what someone else has revoked in the meantime

    def render_change_form(  # the page of a new key follows: no other way to save
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        key = context.get("original")
        context |= {
            "show_save_and_continue": False,
            "show_save_and_add_another": False,
            "replaced_by": successor_of(key) if isinstance(key, ApiKey) and key.expires_soon else None,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """The only page that shows the key: the response itself, so that no session or cookie ever holds it."""
        return self.page(request, "created", obj, "API key created")

    def replace(self, request: HttpRequest, prefix: str) -> HttpResponseBase:
        """Asks for the name and expiry of a second key of the client, and creates it; the first keeps working."""
        old = self.allowed(request, prefix)
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = KeyForm(request.POST or None, initial={"name": old.name})
        if not form.is_valid():
            return self.page(request, "replace", old, f"Rotate key {old.name} ({old.prefix})", form=form)
        new = old.build_replacement(form.cleaned_data["name"], form.cleaned_data["expiry_date"])
        new.issue()
        self.log_addition(request, new, f"Created to replace {old.prefix}.")
        self.log_change(request, old, f"Rotated: {new.prefix} replaces it.")
        return self.page(request, "created", new, "API key created", replaced=old)

    def revoke(self, request: HttpRequest, prefix: str) -> HttpResponseBase:
        key = self.allowed(request, prefix)
        if request.method != "POST":
            return self.page(request, "revoke", key, f"Revoke key {key.name} ({key.prefix})?")
        if ApiKey.objects.filter(prefix=key.prefix, revoked=False).update(revoked=True):
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"Key {key.name} ({key.prefix}) revoked.", messages.SUCCESS)
        return HttpResponseRedirect(page_of(key.prefix))

    def allowed(self, request: HttpRequest, prefix: str) -> ApiKey:
        """The key; raises PermissionDenied for who may not change it, Http404 where there is none."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if (key := self.get_object(request, prefix)) is None:
            raise Http404
        return key

    def page(self, request: HttpRequest, name: str, key: ApiKey, title: str, **more: Any) -> TemplateResponse:
        base = {"key": key, "title": title, "opts": self.opts, "media": self.media, "page": page_of(key.prefix)}
        context = {**self.admin_site.each_context(request), **base, **more}
        return TemplateResponse(request, f"admin/ingestion/apikey/{name}.html", context)

    def log_addition(self, request: HttpRequest, obj: ApiKey, message: Any) -> LogEntry:
        return _log(request, obj, ADDITION, message)

    def log_change(self, request: HttpRequest, obj: ApiKey, message: Any) -> LogEntry:
        return _log(request, obj, CHANGE, message)

    @admin.display(description="scopes, streams")
    def access(self, key: ApiKey) -> SafeString:
        scopes = ", ".join(name for name, may in [("ingest", key.can_ingest), ("read", key.can_read)] if may)
        return format_html('{}<br><span class="quiet">{}</span>', scopes, ", ".join(key.streams) or "all streams")

    @admin.display(description="status")
    def state(self, key: ApiKey) -> SafeString:
        if key.revoked:
            return badge("discarded", "revoked")
        if key.has_expired:
            return badge("dead", "expired")
        if key.expires_soon and key.expiry_date:
            return badge("waiting", f"expires in {duration((key.expiry_date - timezone.now()).total_seconds())}")
        return badge("processed", "valid")

    @admin.display(description="expires")
    def expires(self, key: ApiKey) -> SafeString | str:
        return at_minute(key.expiry_date) if key.expiry_date else "never"

    @admin.display(description="last used")
    def last_used(self, key: ApiKey) -> str:
        return f"{key.last_used_on:%Y-%m-%d}" if key.last_used_on else "never"

    @admin.display(description="created")
    def created_(self, key: ApiKey) -> SafeString | str:
        return on_day(key.created)

    @admin.display(description="other keys of this client")
    def same_client(self, key: ApiKey) -> SafeString | str:
        others = ApiKey.objects.filter(client=key.client).exclude(pk=key.pk).order_by("-created")[:20]
        links = ((page_of(other.prefix), other.prefix, other.name, self.state(other)) for other in others)
        return format_html_join(", ", '<a href="{}">{}</a> ({}) {}', links) or "none"

    @admin.display(description="limits used")
    def limits(self, key: ApiKey) -> SafeString | str:
        """By the client: what it has pending, and what is held of it."""
        client = f"{senders.BY_KEY}{key.client}"
        used = backlog.shares(backlog.count_pending(client), backlog.count_held(client))
        texts = [(badge("dead", "reached ") if share.is_reached else "", share.text) for share in used if share.number]
        return format_html_join(mark_safe("<br>"), "{}{}", texts) or "nothing pending, waiting or dead"


def successor_of(key: ApiKey) -> ApiKey | None:
    """The newest valid key of the same client that is younger than this one and outlives it."""
    later = ApiKey.objects.filter(client=key.client, created__gt=key.created, revoked=False)
    outlives = Q(expiry_date=None) | Q(expiry_date__gt=key.expiry_date) if key.expiry_date else Q(expiry_date=None)
    return later.filter(outlives).order_by("-created").first()


def page_of(prefix: str) -> str:
    return reverse("admin:ingestion_apikey_change", args=[quote(prefix)])


def _log(request: HttpRequest, key: ApiKey, flag: int, message: Any) -> LogEntry:
    """As Django's, but by the key's prefix."""
    return LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(key),
        object_id=key.prefix,
        object_repr=f"{key.name} ({key.prefix})",
        action_flag=flag,
        change_message=json.dumps(message) if isinstance(message, list) else message,
    )
