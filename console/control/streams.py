"""The page Streams: the state of each stream; pause, resume, run now; and the settings of the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Count, Min, Q, Sum
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from console.base import ReadOnlyAdmin
from console.control.base import PauseForm, control_history, log_control
from enrichment import stats, workers
from enrichment.pipeline.batch import BATCH_RECORDS
from ingestion import control, streams
from ingestion.models import PENDING, Delivery, PausedStream
from ingestion.text import duration, plain, thousands

MODEL = "ingestion_pausedstream"


@dataclass(frozen=True, kw_only=True)
class StreamState:
    name: str
    paused: PausedStream | None
    records: int = 0
    oldest: datetime | None = None
    in_progress: int = 0
    """Deliveries that workers have claimed."""
    failing: int = 0
    """Deliveries whose last attempt failed, not because of a record."""
    next_retry: datetime | None = None
    """The earliest of these deliveries."""


@dataclass(frozen=True)
class Setting:
    name: str
    value: str
    effect: str
    current: str = ""


class ControlAdmin(ReadOnlyAdmin):
    """A row of the model is a pause; the page shows all streams."""

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
            at("<path:stream>/change/", lambda request, stream: _to_page(), f"{MODEL}_change"),
        ]

    def control_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        states, work = stream_states(), workers.worker_stats()
        pending = sum(state.records for state in states if not state.paused)
        context = {
            **self.context(request, "Streams"),
            "streams": states,
            "work": work,
            "late_by": stats.late_by(work["last_run"], pending),
            "settings": worker_settings(states, work),
            "history": control_history(PausedStream),
            "may_control": may_control(request),
        }
        return TemplateResponse(request, "admin/enrichment/control.html", context)

    def pause_view(self, request: HttpRequest, stream: str) -> HttpResponse:
        """Asks for a reason."""
        _check(request, stream)
        form = PauseForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            reason = form.cleaned_data["reason"]
            if control.pause(stream, by=f"user:{request.user.get_username()}", reason=reason):
                log_control(request, PausedStream, stream, f"Paused: {reason}")
                self.message_user(request, f"{stream} paused. New records are accepted and queued until it is resumed.")
            else:
                self.message_user(request, f"{stream} is already paused.", messages.WARNING)
            return _to_page()
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
            log_control(request, PausedStream, stream, "Resumed.")
            self.message_user(request, f"{stream} resumed; workers notified.")
        else:
            self.message_user(
                request, f"{stream} is not paused; someone else has resumed it already.", messages.WARNING
            )
        return _to_page()

    def run_view(self, request: HttpRequest, stream: str) -> HttpResponse:
        _check(request, stream)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        freed = control.run_now(stream)
        retried = f" Retrying {_deliveries(freed)} at once." if freed else ""
        log_control(request, PausedStream, stream, f"Run now.{retried}")
        self.message_user(request, f"Workers notified to run {stream}.{retried}")
        return _to_page()

    def context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts}


def may_control(request: HttpRequest) -> bool:
    return request.user.has_perm("ingestion.control_streams")


def _check(request: HttpRequest, stream: str, *, may_be_gone: bool = False) -> None:
    if not may_control(request):
        raise PermissionDenied
    if stream not in streams.names() and not (may_be_gone and PausedStream.objects.filter(stream=stream).exists()):
        raise Http404(f"There is no stream {plain(stream)}.")


def _to_page() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:control"))


def _deliveries(number: int) -> str:
    return f"{thousands(number)} {'delivery' if number == 1 else 'deliveries'}"


def _refers(stream: streams.Stream, to: str) -> bool:
    return any(reference.stream == to for reference in stream.references)


def stream_states() -> list[StreamState]:
    """The registered streams, then others that still have deliveries or a pause."""
    paused = {each.stream: each for each in PausedStream.objects.all()}
    work = _work()
    registered = streams.names()
    names = registered + sorted({*paused, *work} - set(registered))
    return [StreamState(name=name, paused=paused.get(name), **work.get(name, {})) for name in names]


def _work() -> dict[str, dict[str, Any]]:
    """stream → its pending work: in a single query, since it reads each pending delivery."""
    numbers = {
        "records": Sum(PENDING),
        "oldest": Min("received_at"),
        "in_progress": Count("pk", filter=Q(started_at__isnull=False)),
        "failing": Count("pk", filter=~Q(last_error="")),
        "next_retry": Min("retry_at", filter=Q(retry_at__gt=Now())),
    }
    aliased = {f"{name}_": number for name, number in numbers.items()}
    rows = Delivery.objects.pending().values_list("stream").annotate(**aliased)
    return {stream: dict(zip(numbers, values, strict=True)) for stream, *values in rows}


def worker_settings(states: Sequence[StreamState], work: dict[str, Any]) -> list[Setting]:
    """The settings that workers use, and what they come to now."""
    fullest = max(states, key=lambda state: state.records)
    batch, limit = BATCH_RECORDS[connection.vendor], settings.MAX_PENDING_RECORDS
    batches = sum(-(-state.records // batch) for state in states)
    running = "" if work["workers"] is None else f"{work['workers']} running"
    return [
        Setting(
            "Batch size",
            thousands(batch),
            "Records per transaction. Smaller is slower; larger delays other work."
            " enrich_pending --batch-size overrides it.",
            f"about {thousands(batches)} {'batch' if batches == 1 else 'batches'} pending",
        ),
        Setting("WORKERS", str(settings.WORKERS), "Workers per qcluster; each processes one batch at a time.", running),
        Setting(
            "MAX_PENDING_RECORDS",
            thousands(limit),
            "Limit of pending records of each stream, paused or not. Above it, new records of the stream are rejected"
            " (503).",
            f"{min(100, 100 * fullest.records // limit)} % used by {fullest.name}" if fullest.records else "0 % used",
        ),
        Setting(
            "SWEEP_INTERVAL",
            duration(settings.SWEEP_INTERVAL),
            "Interval for picking up leftover work (missed signals, back-off, crashes).",
        ),
        Setting(
            "CLAIM_LEASE",
            duration(settings.CLAIM_LEASE),
            "A claimed delivery without progress for this long is treated as crashed and retried alone.",
            f"{_deliveries(sum(state.in_progress for state in states))} in progress",
        ),
        Setting(
            "REFERENCE_WAIT",
            duration(settings.REFERENCE_WAIT),
            "Time until a waiting record becomes a dead letter (it is revived if the reference arrives later).",
        ),
    ]
