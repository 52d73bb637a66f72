from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from enrichment import held as acts
from enrichment import held_page, stats
from enrichment.models import DeadLetter, HeldRecord, HeldRecordQuerySet, Redrive, WaitingRecord
from ingestion import streams
from ingestion.admin import FieldFilter, ReadOnlyAdmin, StreamFilter
from ingestion.templatetags.shown import age, badge, moment, thousands

ACTS = ("reprocess", "discard")
MOST_DELIVERIES = 100
"""Of a redrive, that its page names."""


class StatusFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(HeldRecord.Status.choices)


class StageFilter(FieldFilter):
    title = parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(HeldRecord.Stage.choices)


class CodeFilter(FieldFilter):
    title = parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(HeldRecord.Code.choices)


class AgeFilter(admin.SimpleListFilter):
    title = "held within"
    parameter_name = "age"
    spans = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1h", "the last hour"), ("24h", "the last 24 hours"), ("7d", "the last 7 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        since = held_since(str(self.value()))
        # An unknown span must not mean all: acts go by the filter.
        return queryset.filter(held_at__gte=since) if since else queryset.none()


def held_since(span: str) -> datetime | None:
    return timezone.now() - AgeFilter.spans[span] if span in AgeFilter.spans else None


class DeliveryFilter(FieldFilter):
    """Shown only where a link from a delivery has set it."""

    title = parameter_name = "delivery"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get("delivery", "")
        return [(value, f"delivery {value}")] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        return super().queryset(request, queryset) if re.fullmatch(r"[0-9]{1,18}", value) else queryset.none()


class Confirmation(forms.Form):
    """What a person confirms: the act, on no more records than the page has told of."""

    up_to = forms.IntegerField(widget=forms.HiddenInput)


class DiscardConfirmation(Confirmation):
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Why they are not worth storing. It is kept with each record and with the redrive.",
    )


@admin.register(HeldRecord)
class HeldRecordAdmin(ReadOnlyAdmin):
    """All held records, also those resolved or discarded; its subclasses show those of one status."""

    status: HeldRecord.Status | None = None
    empty_text = "No record has been held yet: whatever has arrived is stored or on its way."
    list_display = ["record", "stream", "status_", "code_", "message", "held_ago", "attempts"]
    list_filter = [StatusFilter, StreamFilter, StageFilter, CodeFilter, AgeFilter, DeliveryFilter]
    search_fields = ("key",)
    search_help_text = "The whole key of a record."
    change_list_template = "admin/enrichment/held_list.html"
    actions = ACTS

    # Lists.

    def get_queryset(self, request: HttpRequest) -> HeldRecordQuerySet:
        records: HeldRecordQuerySet = self.model._default_manager.all()
        return records.filter(status=self.status) if self.status else records

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(key=search_term.strip()) if search_term.strip() else queryset), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = changes.result_list.defer("payload", "original_payload")
        return changes

    @admin.display(description="record")
    def record(self, held: HeldRecord) -> str:
        return held.key or f"without key ({held.delivery_id}:{held.position})"

    @admin.display(description="status")
    def status_(self, held: HeldRecord) -> SafeString:
        return badge(held.status, "on its way" if held.queued_in and held.status in HeldRecord.OPEN else held.status)

    @admin.display(description="code")
    def code_(self, held: HeldRecord) -> SafeString:
        return badge("code", held.code)

    @admin.display(description="first message")
    def message(self, held: HeldRecord) -> SafeString:
        return format_html('<span class="clipped">{}</span>', held_page.first_message(held.messages)[:300])

    @admin.display(description="waits for")
    def waits_for(self, held: HeldRecord) -> str:
        return f"{held.missing_stream} {held.missing_key}"

    @admin.display(description="held")
    def held_ago(self, held: HeldRecord) -> SafeString | str:
        return age(held.held_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        act = request.POST.get("action")
        if act in ACTS and not self.may(request, act):
            raise PermissionDenied
        allowed = [act for act in ACTS if self.status and self.may(request, act)]
        return super().changelist_view(
            request, {"acts_on_all": allowed, "empty_text": self.empty_text, **(extra_context or {})}
        )

    # Rights.

    def may(self, request: HttpRequest, act: str) -> bool:
        return request.user.has_perm(f"enrichment.{act}")

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "reprocess")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "discard")

    # Acts on one, the selected, or all that match.

    @admin.action(description="Reprocess", permissions=["reprocess"])
    def reprocess(self, request: HttpRequest, queryset: HeldRecordQuerySet) -> HttpResponseBase:
        return self.act(request, queryset, "reprocess", Confirmation)

    @admin.action(description="Discard", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: HeldRecordQuerySet) -> HttpResponseBase:
        return self.act(request, queryset, "discard", DiscardConfirmation)

    def act(
        self, request: HttpRequest, queryset: HeldRecordQuerySet, act: str, form_class: type[Confirmation]
    ) -> HttpResponseBase:
        """Asks, with the count; does it when that is confirmed."""
        confirmed = "confirmed" in request.POST
        form = form_class(request.POST if confirmed else None)
        if confirmed and form.is_valid():
            return self.do(request, queryset.filter(pk__lte=form.cleaned_data["up_to"]), act, form)
        chosen = queryset.open().order_by()
        counted = chosen.aggregate(count=Count("*"), on_their_way=Count("queued_in"), up_to=Max("pk"))
        if not confirmed:
            form = form_class(initial={"up_to": counted["up_to"]})
        kinds = chosen.values("stream", "code").annotate(number=Count("*")).order_by("-number", "stream", "code")
        latest = chosen.defer("payload", "original_payload").order_by("-pk")
        count = counted["count"] - (counted["on_their_way"] if act == "reprocess" else 0)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{act.capitalize()} {thousands(count)} held record{'' if count == 1 else 's'}?",
            "opts": self.opts,
            "act": act,
            "count": count,
            "on_their_way": counted["on_their_way"],
            "kinds": kinds[:20],
            "sample": [(held, held_page.first_message(held.messages)) for held in latest[:5]],
            "filter": None if _selected(request) else self.filter_of(request),
            "form": form,
            "hidden": _to_send_again(request),
            "back": self.back(request),
        }
        return TemplateResponse(request, "admin/enrichment/confirm.html", context)

    def do(self, request: HttpRequest, chosen: HeldRecordQuerySet, act: str, form: Confirmation) -> HttpResponseBase:
        who = _person(request)
        which = self.filter_of(request)
        if act == "reprocess":
            redrive = acts.reprocess(chosen, filter=which, **who)
        else:
            redrive = acts.discard(chosen, filter=which, reason=form.cleaned_data["reason"], **who)
        self.log_redrive(request, redrive)
        pks = _selected(request)
        if len(pks) == 1:
            if redrive.count:
                log(request, HeldRecord.objects.get(pk=pks[0]), f"{_DONE[act]} (redrive {redrive.pk}).")
            return HttpResponseRedirect(self.back(request))
        return HttpResponseRedirect(reverse("admin:enrichment_redrive_change", args=[redrive.pk]))

    def log_redrive(self, request: HttpRequest, redrive: Redrive) -> None:
        """In the history, and to the person."""
        done = f"{_DONE[redrive.act]}: {thousands(redrive.count)} held record{'' if redrive.count == 1 else 's'}"
        log(request, redrive, f"{done}.", ADDITION)
        link = format_html('<a href="{}">redrive {}</a>', _redrive_page(redrive), redrive.pk)
        if redrive.count:
            self.message_user(request, format_html("{} ({}).", done, link), messages.SUCCESS)
        else:
            text = format_html("Nothing was left to do: someone was faster, or they are on their way ({}).", link)
            self.message_user(request, text, messages.WARNING)

    def filter_of(self, request: HttpRequest) -> dict[str, Any]:
        """What chose the records, for the redrive: ids, or the filter of the list."""
        if pks := _selected(request):
            return {"ids": pks}
        known = {"status", "stream", "stage", "code", "age", "delivery", "q"}
        which: dict[str, Any] = {"status": str(self.status)} if self.status else {}
        which |= {
            "key" if name == "q" else name: value for name, value in request.GET.items() if name in known and value
        }
        if since := held_since(which.get("age", "")):
            which["held_after"] = since.isoformat(timespec="seconds")
        return which

    def back(self, request: HttpRequest) -> str:
        """Where who acts came from: the page of one record, or the list."""
        pks = _selected(request)
        if "from_page" in request.POST and len(pks) == 1:
            return f"{self.page('change', pks[0])}?{request.POST['from_page']}".rstrip("?")
        return request.get_full_path()

    # One record.

    def page(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[quote(arg) for arg in args])

    def find(self, request: HttpRequest, pk: str) -> HeldRecord | HttpResponse:
        """The record; where it is no longer of this list's status, the way to its page among all held records."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        held: HeldRecord | None = self.get_object(request, pk)
        if held is not None:
            return held
        if self.status and pk.isdecimal() and HeldRecord.objects.filter(pk=pk).exists():
            return HttpResponseRedirect(reverse("admin:enrichment_heldrecord_change", args=[pk]))
        raise Http404("There is no such held record.")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method != "GET":
            raise PermissionDenied  # it only shows; acts have their own ways
        held = self.find(request, unquote(object_id))
        if isinstance(held, HttpResponse):
            return held
        payload, original = held_page.payloads(held)
        row = held_page.stored_row(held)
        is_open = held.status in HeldRecord.OPEN
        context = {
            **self.context(request, held),
            "complaints": held_page.complaints(held.messages),
            "payload": payload,
            "original": original,
            "attempts": held_page.attempts(held),
            "history": held_page.history(held),
            "row": row,
            "row_page": row and self.page_of_row(request, row),
            "is_older": row is not None and held_page.is_older(held, row),
            "may_mend": held_page.mendable(held) and self.may(request, "mend"),
            "may_reprocess": is_open
            and held_page.stream_of(held)
            and not held.queued_in
            and self.may(request, "reprocess"),
            "may_discard": is_open and self.may(request, "discard"),
            "too_large_to_mend": is_open and len(held.payload) > held_page.MOST_MENDED,
        }
        return TemplateResponse(request, "admin/enrichment/held_record.html", context)

    def context(self, request: HttpRequest, held: HeldRecord) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": f"{held.stream} {self.record(held)}",
            "opts": self.opts,
            "held": held,
            "list_page": f"{self.page('changelist')}?{request.GET.get('_changelist_filters', '')}".rstrip("?"),
            "preserved": self.get_preserved_filters(request),
            "mend_page": self.page("mend", held.pk),
        }

    def page_of_row(self, request: HttpRequest, row: Model) -> str:
        """The stored row's page in the admin; empty where the person may not see it."""
        model = type(row)
        if not self.admin_site.is_registered(model):
            return ""
        if not self.admin_site.get_model_admin(model).has_view_permission(request):
            return ""
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(row.pk)])

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page itself tells the history, whatever list it was reached from."""
        return HttpResponseRedirect(f"{self.page('change', unquote(object_id))}#history")

    # Mending.

    def get_urls(self) -> list[URLPattern]:
        mend = path(
            "<path:object_id>/mend/",
            self.admin_site.admin_view(self.mend_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_mend",
        )
        return [mend, *super().get_urls()]

    def mend_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The payload to edit; saved only when it passes validation and nobody was faster."""
        if not self.may(request, "mend"):
            raise PermissionDenied
        held = self.find(request, unquote(object_id))
        if isinstance(held, HttpResponse):
            return held
        page = self.page("change", held.pk)
        if not held_page.mendable(held):
            self.message_user(request, "This record is closed or cannot be mended here.", messages.WARNING)
            return HttpResponseRedirect(page)
        if request.method != "POST":
            text = held_page.editable(held.payload)
            found = acts.check_payload(streams.get(held.stream), text)
            return self.mend_page(request, held, text, held.payload_version, found)
        text = request.POST.get("payload", "").replace("\r\n", "\n")
        version = request.POST.get("payload_version", "")
        if "_reprocess" in request.POST and not self.may(request, "reprocess"):
            raise PermissionDenied
        try:
            acts.mend(held, text, int(version) if version.isdecimal() else -1)
        except acts.NotMendable as error:
            return self.mend_page(request, held, text, version, error.messages, refused=True)
        except acts.SomeoneWasFaster:
            return self.mend_page(request, held, text, version, {}, overtaken=True)
        log(request, held, "Mended.")
        if "_reprocess" not in request.POST:
            self.message_user(request, "Mended. Reprocess it to have it stored.", messages.SUCCESS)
            return HttpResponseRedirect(page)
        self.reprocess_mended(request, held)
        return HttpResponseRedirect(page)

    def reprocess_mended(self, request: HttpRequest, held: HeldRecord) -> None:
        who = _person(request)
        redrive = acts.reprocess(HeldRecord.objects.filter(pk=held.pk), filter={"ids": [held.pk]}, **who)
        self.log_redrive(request, redrive)
        if redrive.count:
            log(request, held, f"{_DONE['reprocess']} (redrive {redrive.pk}).")

    def mend_page(
        self,
        request: HttpRequest,
        held: HeldRecord,
        text: str,
        version: object,
        found: dict[str, list[str]],
        *,
        refused: bool = False,
        overtaken: bool = False,
    ) -> HttpResponse:
        context = {
            **self.context(request, held),
            "title": f"Mend {held.stream} {self.record(held)}",
            "page": self.page("change", held.pk),
            "text": text,
            "rows": min(max(text.count("\n") + 2, 8), 40),
            "version": version,
            "complaints": held_page.complaints(found, text),
            "last_complaints": held_page.complaints(held.messages),
            "refused": refused,
            "overtaken": overtaken,
            "rules": held_page.rules(streams.get(held.stream)),
            "may_reprocess": self.may(request, "reprocess"),
        }
        status = 409 if overtaken else 422 if refused else 200
        return TemplateResponse(request, "admin/enrichment/mend.html", context, status=status)


@admin.register(DeadLetter)
class DeadLetterAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.DEAD
    empty_text = "No dead letters: whatever has arrived is stored, on its way, or waits for a record it refers to."
    list_display = ["record", "stream", "code_", "message", "held_ago", "attempts"]
    list_filter = [StreamFilter, CodeFilter, StageFilter, AgeFilter, DeliveryFilter]


@admin.register(WaitingRecord)
class WaitingRecordAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.WAITING
    empty_text = "Nothing waits: every record that has arrived has found the records it refers to."
    list_display = ["record", "stream", "waits_for", "message", "held_ago", "attempts"]
    list_filter = [StreamFilter, AgeFilter, DeliveryFilter]


_DONE = {"reprocess": "Sent through again", "discard": "Discarded"}


def log(request: HttpRequest, obj: Model, text: str, flag: int = CHANGE) -> None:
    """Writes an act on one thing into the history; a held record is the same thing in every list."""
    LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(obj),
        object_id=str(obj.pk),
        object_repr=str(obj)[:200],
        action_flag=flag,
        change_message=text,
    )


def _person(request: HttpRequest) -> dict[str, Any]:
    return {"by": f"user:{request.user.get_username()}", "user": request.user}


def _selected(request: HttpRequest) -> list[int]:
    """The ids that were ticked; none when all that match are meant."""
    if request.POST.get("select_across") == "1":
        return []
    return [int(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME) if pk.isdecimal()]


def _to_send_again(request: HttpRequest) -> list[tuple[str, str]]:
    """What a confirmation page carries on of the request that asked for it."""
    names = (ACTION_CHECKBOX_NAME, "action", "select_across", "from_page")
    return [(name, value) for name in names for value in request.POST.getlist(name)]


def _redrive_page(redrive: Redrive) -> str:
    return reverse("admin:enrichment_redrive_change", args=[redrive.pk])


class ActFilter(FieldFilter):
    title = parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Redrive.Act.choices)


@admin.register(Redrive)
class RedriveAdmin(ReadOnlyAdmin):
    """Who did what to which held records, and what came of it."""

    list_display = ["id", "act_", "by", "chosen", "records", "came_to", "at_"]
    list_filter = [
        ActFilter,
    ]
    fieldsets = [
        (None, {"fields": ["act_", "by", "done_at", "chosen", "reason_", "records"]}),
        ("What came of it", {"fields": ["outcome", "deliveries_"]}),
    ]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        came_of = stats.came_of([redrive.pk for redrive in changes.result_list])
        for redrive in changes.result_list:
            redrive.came_of = came_of.get(redrive.pk)
        return changes

    @admin.display(description="act")
    def act_(self, redrive: Redrive) -> SafeString:
        return badge(redrive.act, redrive.act)

    @admin.display(description="which")
    def chosen(self, redrive: Redrive) -> str:
        return describe(redrive.filter)

    @admin.display(description="records")
    def records(self, redrive: Redrive) -> str:
        return thousands(redrive.count)

    @admin.display(description="came to")
    def came_to(self, redrive: Any) -> str:
        return _came_to(redrive, redrive.came_of)

    @admin.display(description="when")
    def at_(self, redrive: Redrive) -> SafeString | str:
        return age(redrive.at)

    @admin.display(description="when")
    def done_at(self, redrive: Redrive) -> SafeString | str:
        return moment(redrive.at)

    @admin.display(description="reason", empty_value="–")
    def reason_(self, redrive: Redrive) -> str | None:
        return redrive.reason or None

    @admin.display(description="outcome")
    def outcome(self, redrive: Redrive) -> str:
        return _came_to(redrive, stats.came_of([redrive.pk]).get(redrive.pk))

    @admin.display(description="deliveries", empty_value="none")
    def deliveries_(self, redrive: Redrive) -> SafeString | None:
        pks = redrive.deliveries.order_by("-pk").values_list("pk", flat=True)[:MOST_DELIVERIES]
        links = [(reverse("admin:ingestion_delivery_change", args=[pk]), pk) for pk in pks]
        return format_html_join(" · ", '<a href="{}">{}</a>', links) or None


def _came_to(redrive: Redrive, counts: dict[str, int] | None) -> str:
    if redrive.act == Redrive.Act.DISCARD:
        return "discarded"
    told = [f"{number:,} {name}" for name, number in (counts or {}).items() if number]
    return " · ".join(told) or "nothing was left to do"


def describe(chosen: dict[str, Any]) -> str:
    """The filter of a redrive, in a line."""
    told = [f"{len(value)} selected" if name == "ids" else f"{name} {value}" for name, value in chosen.items()]
    return ", ".join(told) or "all"
