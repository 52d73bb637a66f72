"""Panels that domains hand over to the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import Permission

from console.dashboard import panels
from console.dashboard.panels import Panel, panels_for, register_panel
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "_panels", {})


def register(context: Mapping[str, Any] | None, name: str = "ours", **options: Any) -> None:
    defaults: dict[str, Any] = {"template": "admin/charts/empty.html", "permissions": ("enrichment.view_lookup",)}
    register_panel(Panel(name=name, context=lambda user: context, **defaults | options))


def test_a_panel_is_on_the_dashboard() -> None:
    register({"title": "Ours", "empty": "Nothing <yet>."})
    html = text_of(browser_of(person("viewer")).get("/admin/"))
    assert "<figcaption>Ours</figcaption>" in html
    assert "Nothing &lt;yet&gt;." in html


def test_a_panel_is_for_those_who_may_see_what_it_shows() -> None:
    register({"title": "Ours"}, permissions=("enrichment.view_lookup", "auth.view_user"))
    user = person()
    user.user_permissions.add(Permission.objects.get(codename="view_lookup"))
    assert panels_for(user) == []
    assert len(panels_for(person(superuser=True))) == 1


def test_a_panel_may_have_nothing_to_show() -> None:
    register(None)
    assert panels_for(person(superuser=True)) == []


def test_panels_keep_their_order_and_replace_their_like() -> None:
    register({"title": "One"}, "one")
    register({"title": "Two"}, "two")
    register({"title": "One anew"}, "one")
    first, second = panels_for(person(superuser=True))
    assert "One anew" in first
    assert "Two" in second
