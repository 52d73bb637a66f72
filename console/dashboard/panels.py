"""Panels that domains hand over to the dashboard, which knows no domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString


@dataclass(frozen=True, kw_only=True)
class Panel:
    name: str
    template: str
    """A section with an id; with data-refresh it renews itself as the others do."""
    context: Callable[[Any], Mapping[str, Any] | None]
    """Of a user: what the template needs, in as many queries whatever there is; None: there is nothing to show."""
    permissions: tuple[str, ...]
    """Who has all of them sees it."""


_panels: dict[str, Panel] = {}


def register_panel(panel: Panel) -> None:
    """In the domain's AppConfig.ready()."""
    _panels[panel.name] = panel


def panels_for(user: Any) -> list[SafeString]:
    """Those that the user may see, in the order in which they were registered."""
    seen = (panel for panel in _panels.values() if user.has_perms(panel.permissions))
    return [
        render_to_string(panel.template, dict(context))
        for panel in seen
        if (context := panel.context(user)) is not None
    ]
