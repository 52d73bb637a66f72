"""The numbers of providers, the same for API, admin, command and metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Sum
from django.utils import timezone

from enrichment.lookups import control, providers
from enrichment.lookups.models import Lookup, LookupMinute, ProviderState

NEVER_ASKED: dict[str, Any] = {"paused_by": "", "paused_reason": "", "stopped_key": "", "last_error": ""}
"""Of a provider without a row yet, which is what the database fills in."""
ALIVE = timedelta(seconds=30)
"""A runner that has not looked for work for so long has ended."""


def provider_statuses() -> list[dict[str, Any]]:
    """Of all providers, in order of name: whether they are asked, and if not why; how many questions there are."""
    now = timezone.now()
    states = ProviderState.objects.in_bulk(providers.names())
    numbers, oldest, minute = by_status(), oldest_open(), asked_last_minute(now)
    found = []
    for provider in providers.all_providers():
        state = states.get(provider.name) or ProviderState(provider=provider.name, **NEVER_ASKED)
        obstacle = control.obstacle(provider, state, now)
        is_running = state.last_run_at is not None and now - state.last_run_at < ALIVE
        found.append(
            {
                "name": provider.name,
                "label": str(provider),
                "on": not provider.why_off(),
                "why": obstacle.message if obstacle else "",
                "waiting_for": obstacle.reason if obstacle else None,
                "since": obstacle.since if obstacle else None,
                "until": obstacle.until if obstacle else None,
                "paused": state.paused_at is not None,
                **{status: numbers[provider.name].get(status, 0) for status in Lookup.Status.values},
                "oldest": oldest.get(provider.name),
                "asked_last_minute": minute.get(provider.name, 0),
                "limit": str(provider.limit),
                "last_error": state.last_error,
                "last_error_at": state.last_error_at,
                "last_run": state.last_run_at,
                "next_run": max(state.last_run_at + control.INTERVAL, now)
                if is_running and state.last_run_at
                else None,
            }
        )
    return found


def by_status() -> dict[str, dict[str, int]]:
    """provider → status → lookups."""
    numbers: dict[str, dict[str, int]] = defaultdict(dict)
    for provider, status, number in Lookup.objects.values_list("provider", "status").annotate(number=Count("*")):
        numbers[provider][status] = number
    return numbers


def oldest_open() -> dict[str, datetime]:
    """provider → since when its oldest open question has been waiting."""
    return dict(Lookup.objects.open().values_list("provider").annotate(oldest=Min("created_at")))


def asked_last_minute(now: datetime) -> dict[str, int]:
    """provider → requests. Of the last minute but one that part is counted which lies within 60 seconds."""
    this_minute = now.replace(second=0, microsecond=0)
    share = 1 - (now - this_minute) / timedelta(minutes=1)
    rows = LookupMinute.objects.filter(minute__gte=this_minute - timedelta(minutes=1))
    numbers: dict[str, float] = defaultdict(float)
    for provider, minute, requests in rows.values_list("provider", "minute", "requests"):
        numbers[provider] += requests if minute >= this_minute else requests * share
    return {provider: round(number) for provider, number in numbers.items()}


def totals() -> Mapping[str, Mapping[str, int]]:
    """provider → the sum of each counter, of all time: it never falls."""
    names = LookupMinute.counters
    rows = LookupMinute.objects.values("provider").annotate(*map(Sum, names))
    found = rows.values_list("provider", *[f"{name}__sum" for name in names])
    nothing = {provider: dict.fromkeys(names, 0) for provider in providers.names()}
    return nothing | {provider: dict(zip(names, numbers, strict=True)) for provider, *numbers in found}


def paused() -> list[str]:
    names = ProviderState.objects.exclude(paused_at=None).order_by("provider").values_list("provider", flat=True)
    return [name for name in names if name in providers.names()]


def has_code_errors() -> bool:
    """Some questions cannot be asked, or their answers not applied, because of an error in the code."""
    return Lookup.objects.filter(fault=Lookup.Fault.CODE).exists()
