"""How much of the plays is known: numbers of the providers for pages, and for the command that enriches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, Sum

from enrichment.lookups import providers, status
from enrichment.lookups.models import Lookup, ProviderState
from enrichment.lookups.providers import Provider
from music.models import Area, Artist, Match, SpotifyArtist

PROVIDERS = ("spotify", "musicbrainz", "places", "openweather")
"""In the order in which they depend on each other."""
FOLLOW_UPS = {"musicbrainz": {"url": 1, "match": 3}}
"""provider → kind → about how many more requests an open question of it leads to, each."""


@dataclass(frozen=True, kw_only=True)
class ProviderCoverage:
    name: str
    label: str
    on: bool
    why: str
    """Why it is off, or not asked at the moment, as a sentence; empty: it is asked."""
    known: int
    """Questions by their state: found, and so on; `waiting` ones are open."""
    not_found: int
    ambiguous: int
    failed: int
    waiting: int
    seconds_left: float | None
    """About how long the waiting ones take; None: nobody is asking."""
    paused_until: datetime | None
    """It has asked to be left alone until then."""
    plays: int
    """Plays of artists of whom it knows something."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Plays are those that charts count: without duplicates, and those before 2000."""

    artists: int
    plays: int
    """Of all artists."""
    matched_artists: int
    """Found in MusicBrainz, or nobody in particular."""
    matched_plays: int
    country_plays: int
    """Of artists whose country is known; `city_plays`: whose coordinates are."""
    city_plays: int
    providers: tuple[ProviderCoverage, ...]


def coverage() -> Coverage:
    settled, placed = Q(match__in=(Match.FOUND, Match.NOBODY)), Q(latitude__isnull=False)
    numbers = Artist.objects.aggregate(
        artists=Count("pk"),
        matched_artists=Count("pk", filter=settled),
        matched_plays=Sum("plays", filter=settled, default=0),
        country_plays=Sum("plays", filter=Q(country_code__isnull=False), default=0),
        city_plays=Sum("plays", filter=placed, default=0),
        all_plays=Sum("plays", default=0),
    )
    by_provider = {
        "spotify": _plays(Exists(SpotifyArtist.objects.filter(pk=OuterRef("spotify_id"), fetched_at__isnull=False))),
        "musicbrainz": numbers["matched_plays"],
        "places": _plays(placed, ~_located_by("openweather")),
        "openweather": _plays(placed, _located_by("openweather")),
    }
    return Coverage(plays=numbers.pop("all_plays"), **numbers, providers=_providers(by_provider))


def _plays(*conditions: Any) -> int:
    plays: int = Artist.objects.filter(*conditions).aggregate(plays=Sum("plays", default=0))["plays"]
    return plays


def _located_by(source: str) -> Exists:
    return Exists(Area.objects.filter(pk=OuterRef("area_id"), place_source=source))


def _providers(plays: dict[str, int]) -> tuple[ProviderCoverage, ...]:
    numbers = {each["name"]: each for each in status.provider_statuses()}
    states = ProviderState.objects.in_bulk(PROVIDERS)
    found = []
    for name in PROVIDERS:
        if each := numbers.get(name):
            state = states.get(name)
            found.append(
                ProviderCoverage(
                    name=name,
                    label=each["label"],
                    on=each["on"],
                    why=each["why"],
                    known=each["found"],
                    not_found=each["not_found"],
                    ambiguous=each["ambiguous"],
                    failed=each["failed"],
                    waiting=each["open"],
                    seconds_left=None if each["why"] else seconds_left(providers.get(name)),
                    paused_until=state.blocked_until if state and each["waiting_for"] == "away" else None,
                    plays=plays[name],
                )
            )
    return tuple(found)


def seconds_left(provider: Provider) -> float:
    """About how long the open questions take at the provider's limit, with those that they lead to."""
    of_kind = Lookup.objects.open().filter(provider=provider.name).values_list("kind").annotate(number=Count("pk"))
    follow_ups = FOLLOW_UPS.get(provider.name, {})
    requests = sum(
        math.ceil(number / provider.batch_of(kind)) + number * follow_ups.get(kind, 0) for kind, number in of_kind
    )
    limit, seconds = provider.limit
    return float(requests * seconds / limit)
