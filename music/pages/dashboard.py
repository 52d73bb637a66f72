"""The panel on the dashboard: how much of the plays is known, and how far each provider is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.dashboard.page import Cell, page_of
from console.dashboard.panels import Panel, register_panel
from enrichment.lookups import providers
from ingestion.text import duration
from music.coverage import Coverage, ProviderCoverage, coverage
from music.models import Listener
from music.pages.demo import is_demo
from music.pages.rankings import percent

MAX_LISTENERS = 5


@dataclass(frozen=True, kw_only=True)
class ProviderRow:
    label: str
    badge: tuple[str, str]
    """(colour, text)."""
    why: str
    until: datetime | None
    known: Cell
    not_found: Cell
    ambiguous: Cell
    waiting: Cell
    left: str
    plays: str
    """In percent."""


def panel(user: Any) -> Mapping[str, Any] | None:
    """None while there is no play."""
    listeners = list(Listener.objects.order_by("-plays", "user_id")[: MAX_LISTENERS + 1])
    if not listeners:
        return None
    found = coverage()
    return {
        "is_demo": is_demo(),
        "artists": found.artists,
        "plays": found.plays,
        "shares": shares(found),
        "providers": [provider_row(each, found.plays) for each in found.providers],
        "listeners": listeners[:MAX_LISTENERS] if user.has_perm("music.view_listener") else [],
        "has_more": len(listeners) > MAX_LISTENERS,
    }


def shares(found: Coverage) -> list[tuple[str, str, float]]:
    """What is known, of how many of the plays: as text and as a number, in percent."""
    numbers = {"artist": found.matched_plays, "country": found.country_plays, "city": found.city_plays}
    whole = found.plays or 1
    return [(name, percent(plays, found.plays), round(100 * plays / whole, 1)) for name, plays in numbers.items()]


def provider_row(found: ProviderCoverage, plays: int) -> ProviderRow:
    def cell(number: int, status: str, kind: str = "") -> Cell:
        return Cell(number, page_of("enrichment_lookup", provider=found.name, status=status), kind)

    stand_in = providers.get(found.name).stand_in()
    return ProviderRow(
        label=found.label,
        badge=("waiting", "demo") if stand_in else badge_of(found),
        why=found.why or stand_in,
        until=found.paused_until,
        known=cell(found.known, "found"),
        not_found=cell(found.not_found, "not_found"),
        ambiguous=Cell(found.ambiguous, page_of("enrichment_ambiguouslookup", provider=found.name)),
        waiting=cell(found.waiting, "open"),
        left="" if found.seconds_left is None or not found.waiting else duration(found.seconds_left),
        plays=percent(found.plays, plays),
    )


def badge_of(found: ProviderCoverage) -> tuple[str, str]:
    if not found.on:
        return ("discarded", "off")
    if found.why:
        return ("waiting", "on, not asked")
    return ("pending", "on, asking") if found.waiting else ("processed", "on")


register_panel(
    Panel(
        name="music",
        template="admin/music/dashboard.html",
        context=panel,
        permissions=("music.view_artist", "enrichment.view_lookup"),
    )
)
