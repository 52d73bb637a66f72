"""Pausing, resuming and running providers, and what keeps a provider from being asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import salted_hmac

from enrichment.lookups import providers
from enrichment.lookups.models import Lookup, ProviderState
from enrichment.lookups.providers import Provider
from ingestion.text import strip_unstorable

PATIENCE = timedelta(seconds=10)
"""A provider that wants to be left alone for no longer is not called away."""
INTERVAL = timedelta(seconds=10)
"""How often a runner notes that it has looked for work, which it does once a second."""
NEVER_PAUSED = {"paused_at": None, "paused_by": "", "paused_reason": ""}
NEVER_STOPPED = {"stopped_at": None, "stopped_key": ""}

Reason = Literal["no_key", "key_refused", "paused", "away"]


class Obstacle(NamedTuple):
    """Why a provider is not being asked."""

    reason: Reason
    since: datetime | None
    message: str
    """A sentence for people."""
    until: datetime | None = None
    """When it is asked again without a person doing anything, where that is known."""


def state_of(provider: str) -> ProviderState:
    return ProviderState.objects.get_or_create(provider=provider)[0]


def pause(provider: str, *, by: str, reason: str) -> bool:
    """It is not asked until it is resumed; what is being asked is finished. False: it was paused already."""
    state_of(provider)
    running = ProviderState.objects.filter(provider=provider, paused_at=None)
    return bool(running.update(paused_at=Now(), paused_by=by, paused_reason=reason))


def resume(provider: str) -> bool:
    """Ends a pause, and a stop after a refused key; continues at once. False: there was neither."""
    held_back = ProviderState.objects.filter(~Q(paused_at=None) | ~Q(stopped_at=None), provider=provider)
    resumed = held_back.update(**NEVER_PAUSED, **NEVER_STOPPED)
    run_now(provider)
    return bool(resumed)


def run_now(provider: str) -> int:
    """Ends the pauses after errors, not those that the provider asked for; returns how many questions had one."""
    ProviderState.objects.filter(provider=provider).exclude(away_until=None).update(away_until=Now())
    delayed = Lookup.objects.filter(provider=provider, claim="", failures__gt=0, due_at__gt=Now())
    return delayed.filter(~Q(status=Lookup.Status.FOUND)).update(due_at=Now())


def stop(provider: Provider, message: str) -> None:
    """The key is refused: nothing is asked until there is another one, or a person resumes the provider."""
    running = ProviderState.objects.filter(provider=provider.name, stopped_at=None)
    running.update(
        stopped_at=Now(),
        stopped_key=fingerprint(provider),
        last_error=strip_unstorable(message, 500),
        last_error_at=Now(),
    )


def try_new_keys(declared: Iterable[Provider]) -> None:
    """Ends the stop of providers whose key is another one than the one refused."""
    stopped = dict(ProviderState.objects.exclude(stopped_at=None).values_list("provider", "stopped_key"))
    for provider in declared:
        if provider.name in stopped and stopped[provider.name] != fingerprint(provider):
            ProviderState.objects.filter(provider=provider.name).update(**NEVER_STOPPED)


def fingerprint(provider: Provider) -> str:
    """Tells whether the key is still the same; the key cannot be read from it."""
    return salted_hmac("enrichment.lookups", provider.secret(), algorithm="sha256").hexdigest()


def obstacles(names: Iterable[str], now: datetime) -> dict[str, Obstacle]:
    """Of those of these providers that are not being asked."""
    wanted = [providers.get(name) for name in sorted(set(names) & set(providers.names()))]
    states = ProviderState.objects.in_bulk([provider.name for provider in wanted])
    found = {each.name: obstacle(each, states.get(each.name) or ProviderState(), now) for each in wanted}
    return {name: each for name, each in found.items() if each}


def obstacle(provider: Provider, state: ProviderState, now: datetime | None = None) -> Obstacle | None:
    """The first that a person can do something about, else that the provider is away."""
    now = now or timezone.now()
    if why := provider.why_off():
        return Obstacle("no_key", None, why)
    if state.stopped_at:
        return Obstacle("key_refused", state.stopped_at, state.last_error)
    if state.paused_at:
        by = state.paused_by.removeprefix("user:")
        return Obstacle(
            "paused", state.paused_at, f"Paused by {by}{': ' if state.paused_reason else '.'}{state.paused_reason}"
        )
    if state.blocked_until and state.blocked_until - now > PATIENCE:
        until = f"{timezone.localtime(state.blocked_until):%Y-%m-%d %H:%M:%S %z}"
        message = f"{provider} asks to be left alone until {until}."
        return Obstacle("away", state.last_error_at, message, state.blocked_until)
    if state.away_since:
        return Obstacle("away", state.away_since, state.last_error, state.away_until)
    return None
