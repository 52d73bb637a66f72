"""Control in the admin: what each stream has to do, pause, resume and run now, and what the work goes by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Count, Min, Q, Sum
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from console.base import ReadOnlyAdmin
from enrichment import stats, workers
from enrichment.pipeline.batch import BATCH_RECORDS
from ingestion import control, streams
from ingestion.models import PENDING, Delivery, PausedStream
from ingestion.text import duration, strip_unstorable, thousands

MOST_HISTORY = 20
MODEL = "ingestion_pausedstream"


class PauseForm(forms.Form):
    reason = forms.CharField(
        max_length=1000,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Everybody who looks after the system sees it while the stream is paused, and in the history.",
    )

    def clean_reason(self) -> str:
        return strip_unstorable(self.cleaned_data["reason"])


@dataclass(frozen=True, kw_only=True)
class StreamState:
    name: str
    paused: PausedStream | None
    records: int = 0
    oldest: datetime | None = None
    in_hand: int = 0
    """Deliveries that workers are at."""
    failing: int = 0
    """Deliveries whose last try ended in an error that is not of a record."""
    next_try: datetime | None = None
    """Of one of these that is in a pause."""


@dataclass(frozen=True)
class Fact:
    name: str
    value: str
    effect: str
    now: str = ""


class ControlAdmin(ReadOnlyAdmin):
    """A row of its model is a pause; the page shows all streams."""

    ordering = ["stream"]

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=name)

        return [
            at("", self.control_view, "control"),
            at("", self.control_view, f"{MODEL}_changelist"),
            at("<str:stream>/pause/", self.pause_view, "control_pause"),
            at("<str:stream>/resume/", self.resume_view, "control_resume"),
            at("<str:stream>/run/", self.run_view, "control_run"),
            at("<path:stream>/change/", lambda request, stream: _to_control(), f"{MODEL}_change"),
        ]

    def control_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        states, work = stream_states(), workers.worker_stats()
        context = {
            **self.context(request, "Control"),
            "streams": states,
            "work": work,
            "facts": facts(states, work),
            "history": history(),
            "may_control": may_control(request),
        }
        return TemplateResponse(request, "admin/enrichment/control.html", context)

    def pause_view(self, request: HttpRequest, stream: str) -> HttpResponse:
        """Asks for the reason."""
        _check(request, stream)
        form = PauseForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            reason = form.cleaned_data["reason"]
            if control.pause(stream, by=f"user:{request.user.get_username()}", reason=reason):
                _log(request, stream, f"Paused: {reason}")
                self.message_user(request, f"{stream} is paused. What arrives is kept until it is resumed.")
            else:
                self.message_user(request, f"{stream} was paused already.", messages.WARNING)
            return _to_control()
        pending = stats.queue_depths().get(stream)
        context = {
            **self.context(request, f"Pause {stream}?"),
            "stream": stream,
            "form": form,
            "records": pending.records if pending else 0,
            "referring": [each.name for each in streams.all_streams() if _refers(each, stream)],
        }
        return TemplateResponse(request, "admin/enrichment/control_pause.html", context)

    def resume_view(self, request: HttpRequest, stream: str) -> HttpResponse:
        _check(request, stream, may_be_gone=True)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if control.resume(stream):
            _log(request, stream, "Resumed.")
            self.message_user(request, f"{stream} is resumed, and the workers are called.")
        else:
            self.message_user(request, f"{stream} was not paused: someone was faster.", messages.WARNING)
        return _to_control()

    def run_view(self, request: HttpRequest, stream: str) -> HttpResponse:
        _check(request, stream)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        freed = control.run_now(stream)
        again = f" {_deliveries(freed)} in a pause after an error will be tried at once." if freed else ""
        _log(request, stream, f"Run now.{again}")
        self.message_user(request, f"The workers are called for {stream}.{again}")
        return _to_control()

    def context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts}


def may_control(request: HttpRequest) -> bool:
    return request.user.has_perm("ingestion.control_streams")


def _check(request: HttpRequest, stream: str, *, may_be_gone: bool = False) -> None:
    if not may_control(request):
        raise PermissionDenied
    if stream not in streams.names() and not (may_be_gone and PausedStream.objects.filter(stream=stream).exists()):
        raise Http404("There is no such stream.")


def _to_control() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:control"))


def _deliveries(number: int) -> str:
    return f"{thousands(number)} {'delivery' if number == 1 else 'deliveries'}"


def _refers(stream: streams.Stream, to: str) -> bool:
    return any(reference.stream == to for reference in stream.references)


def _log(request: HttpRequest, stream: str, text: str) -> None:
    """Into the history; the row itself is there only as long as the stream is paused."""
    LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(PausedStream),
        object_id=stream,
        object_repr=stream,
        action_flag=CHANGE,
        change_message=text,
    )


def history() -> list[LogEntry]:
    of_streams = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(PausedStream))
    return list(of_streams.select_related("user").order_by("-pk")[:MOST_HISTORY])


def stream_states() -> list[StreamState]:
    """The registered streams, then others of which something is left."""
    paused = {each.stream: each for each in PausedStream.objects.all()}
    work = _work()
    registered = streams.names()
    names = registered + sorted({*paused, *work} - set(registered))
    return [StreamState(name=name, paused=paused.get(name), **work.get(name, {})) for name in names]


def _work() -> dict[str, dict[str, Any]]:
    """stream → what is pending of it: all in one query, for it has to look at each pending delivery."""
    asked = {
        "records": Sum(PENDING),
        "oldest": Min("received_at"),
        "in_hand": Count("pk", filter=Q(started_at__isnull=False)),
        "failing": Count("pk", filter=~Q(last_error="")),
        "next_try": Min("retry_at", filter=Q(retry_at__gt=Now())),
    }
    aliased = {f"{name}_": told for name, told in asked.items()}
    rows = Delivery.objects.pending().values_list("stream").annotate(**aliased)
    return {stream: dict(zip(asked, told, strict=True)) for stream, *told in rows}


def facts(states: Sequence[StreamState], work: dict[str, Any]) -> list[Fact]:
    """What the work goes by, and what it comes to now."""
    pending = sum(state.records for state in states)
    batch, most = BATCH_RECORDS[connection.vendor], settings.MAX_PENDING_RECORDS
    batches = sum(-(-state.records // batch) for state in states)
    alive = "" if work["workers"] is None else f"{work['workers']} alive"
    return [
        Fact(
            "Records in a batch",
            thousands(batch),
            "Of one stream, stored in one transaction: with fewer it is slower, with more others wait longer for it."
            " enrich_pending --batch-size takes another number.",
            f"about {thousands(batches)} {'batch' if batches == 1 else 'batches'} to do",
        ),
        Fact("WORKERS", str(settings.WORKERS), "Processes of one qcluster; as many batches at once.", alive),
        Fact(
            "MAX_PENDING_RECORDS",
            thousands(most),
            "With so many pending, new records are refused (503) until the workers have caught up; those of a paused"
            " stream count, too.",
            f"{min(100, 100 * pending // most)} % reached",
        ),
        Fact(
            "SWEEP_INTERVAL",
            duration(settings.SWEEP_INTERVAL),
            "After so long, at the latest, what a lost ring, a pause or a crash has left is taken up.",
        ),
        Fact(
            "CLAIM_LEASE",
            duration(settings.CLAIM_LEASE),
            "A delivery marked for so long that nobody works on counts as a crash, and is claimed alone from then on.",
            f"{_deliveries(sum(state.in_hand for state in states))} in hand",
        ),
        Fact(
            "REFERENCE_WAIT",
            duration(settings.REFERENCE_WAIT),
            "So long a record waits for a reference before it is dead; a late arrival revives it even then.",
        ),
    ]
