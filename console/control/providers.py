"""The page Providers: whether each is being asked, and if not why; its limit; pause, resume, run now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from console.base import ReadOnlyAdmin
from console.control.base import PauseForm, control_history, log_control
from enrichment.lookups import control, providers
from enrichment.lookups.models import LookupMinute, ProviderState
from enrichment.lookups.providers import Provider
from enrichment.lookups.status import provider_statuses
from ingestion.text import plain, thousands

MODEL = "enrichment_providerstate"
AN_HOUR = timedelta(hours=1)
STATES = {
    "no_key": ("discarded", "off"),
    "key_refused": ("failing", "key refused"),
    "paused": ("waiting", "paused"),
    "away": ("failing", "away"),
}
"""Why a provider is not asked → (colour, text) of its badge."""


def badge_of(numbers: Mapping[str, Any]) -> tuple[str, str]:
    """(colour, text), of one of `provider_statuses`."""
    if reason := numbers["waiting_for"]:
        return STATES[reason]
    return ("pending", "in progress") if numbers["open"] else ("processed", "idle")


@dataclass(frozen=True, kw_only=True)
class ProviderRow:
    numbers: dict[str, Any]
    """As `provider_statuses` has them."""
    key: str
    limit: str
    used: int
    """Percent of the limit, in the last minute."""
    answers: int
    """Of the last full minute."""
    stand_in: str
    """Who answers in its place, as a sentence; empty: nobody does."""
    throttled: int
    """Requests of the last hour that were answered with 429."""
    until: datetime | None
    """When it is asked again, after an error or as it asked for."""

    @property
    def badge(self) -> tuple[str, str]:
        return badge_of(self.numbers)

    @property
    def can_resume(self) -> bool:
        return bool(self.numbers["paused"]) or self.numbers["waiting_for"] == "key_refused"


class ProviderAdmin(ReadOnlyAdmin):
    """A row of the model is what is known of a provider that has been asked; the page shows all."""

    ordering = ["provider"]

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"{MODEL}_{name}")

        return [
            at("", self.providers_view, "changelist"),
            at("<str:name>/pause/", self.pause_view, "pause"),
            at("<str:name>/resume/", self.resume_view, "resume"),
            at("<str:name>/run/", self.run_view, "run"),
            at("<path:name>/change/", lambda request, name: _to_page(), "change"),
        ]

    def providers_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.context(request, "Providers"),
            "rows": provider_rows(),
            "history": control_history(ProviderState),
            "may_control": may_control(request),
        }
        return TemplateResponse(request, "admin/lookups/providers.html", context)

    def pause_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Asks for a reason."""
        provider = _checked(request, name)
        form = PauseForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            reason = form.cleaned_data["reason"]
            if control.pause(name, by=f"user:{request.user.get_username()}", reason=reason):
                log_control(request, ProviderState, name, f"Paused: {reason}")
                self.message_user(request, f"{provider} paused. New questions wait until it is resumed.")
            else:
                self.message_user(request, f"{provider} is already paused.", messages.WARNING)
            return _to_page()
        context = {**self.context(request, f"Pause {provider}?"), "provider": provider, "form": form}
        return TemplateResponse(request, "admin/lookups/provider_pause.html", context)

    def resume_view(self, request: HttpRequest, name: str) -> HttpResponse:
        provider = _checked(request, name)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if control.resume(name):
            log_control(request, ProviderState, name, "Resumed.")
            self.message_user(request, f"{provider} resumed.")
        else:
            text = f"{provider} is neither paused nor stopped; someone else has resumed it already."
            self.message_user(request, text, messages.WARNING)
        return _to_page()

    def run_view(self, request: HttpRequest, name: str) -> HttpResponse:
        provider = _checked(request, name)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        freed = control.run_now(name)
        retried = f" Retrying {thousands(freed)} lookup{'' if freed == 1 else 's'} at once." if freed else ""
        log_control(request, ProviderState, name, f"Run now.{retried}")
        self.message_user(request, f"{provider} is asked at once.{retried}")
        return _to_page()

    def context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts}


def may_control(request: HttpRequest) -> bool:
    return request.user.has_perm("enrichment.control_providers")


def _checked(request: HttpRequest, name: str) -> Provider:
    if not may_control(request):
        raise PermissionDenied
    if name not in providers.names():
        raise Http404(f"There is no provider {plain(name)}.")
    return providers.get(name)


def _to_page() -> HttpResponse:
    return HttpResponseRedirect(reverse(f"admin:{MODEL}_changelist"))


def provider_rows() -> list[ProviderRow]:
    now = timezone.now()
    states = ProviderState.objects.in_bulk(providers.names())
    throttled, answers = _throttled(now - AN_HOUR), _answers_of_last_minute(now)
    rows = []
    for numbers in provider_statuses():
        name = numbers["name"]
        provider, state = providers.get(name), states.get(name) or ProviderState()
        limit = provider.limit
        rows.append(
            ProviderRow(
                numbers=numbers,
                key="missing" if provider.why_off() else "set" if provider.secret() else "none needed",
                limit=f"{thousands(limit.requests)} in {limit.seconds:g} s",
                used=round(100 * numbers["asked_last_minute"] * limit.seconds / (60 * limit.requests)),
                answers=answers.get(name, 0),
                stand_in=provider.stand_in(),
                throttled=throttled.get(name, 0),
                until=max((at for at in (state.blocked_until, state.away_until) if at and at > now), default=None),
            )
        )
    return rows


def _throttled(since: datetime) -> dict[str, int]:
    rows = LookupMinute.objects.filter(minute__gte=since).values_list("provider")
    return dict(rows.annotate(number=Sum("throttled")))


def _answers_of_last_minute(now: datetime) -> dict[str, int]:
    """Of the last full one."""
    minute = now.replace(second=0, microsecond=0) - timedelta(minutes=1)
    rows = LookupMinute.objects.filter(minute=minute)
    return {row.provider: sum(getattr(row, column) for column in LookupMinute.ANSWERS) for row in rows}
