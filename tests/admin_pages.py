"""Every page of the admin, found by what the admin site knows: its models, their filters, actions and addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from itertools import combinations
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client
from django.urls import NoReverseMatch, Resolver404, URLPattern, resolve, reverse

NOT_OPENED = {
    *("login", "logout", "jsi18n", "autocomplete", "view_on_site", "password_change", "password_change_done"),
    *("second_factor", "second_factor_verify"),
}
"""Addresses of the site that show nothing of ours."""
WAY_BACK = "_changelist_filters"
SELECTED = 50


@dataclass(frozen=True)
class Page:
    kind: str
    """The address's name, and what is asked of it: pages of one kind are alike."""
    path: str
    posted: tuple[tuple[str, str], ...] | None = None


def fetch(client: Client, page: Page) -> Any:
    if page.posted is None:
        return client.get(page.path)
    return client.post(page.path, urlencode(page.posted), content_type="application/x-www-form-urlencoded")


def pages(client: Client, more: Iterable[Page] = ()) -> Iterator[Page]:
    """Every page that this person may open: first of each model, then what else has an address, then `more`."""
    yield Page("index", reverse("admin:index"))
    samples = []
    for model in admin.site._registry:
        path = reverse(f"admin:{_name(model)}_changelist")
        response: Any = client.get(path)
        if response.status_code != 200:
            continue
        if "cl" not in response.context_data:
            yield Page(f"{_name(model)}_changelist", path)  # a page of its own in a list's place
            continue
        rows = list(_rows(response.context_data["cl"]))
        samples += rows
        yield from _list(path, _name(model), response.context_data)
        yield from (Page(f"{_name(model)}_change", row) for row in rows)
    yield from _others(samples)
    yield from more


def _name(model: Any) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


def _rows(changes: Any) -> Iterator[str]:
    """The pages of the first, the middle and the last row of a list's first page."""
    rows = list(changes.result_list)
    yield from dict.fromkeys(changes.url_for_result(rows[place]) for place in (0, len(rows) // 2, -1) if rows)


# One list.


def _list(path: str, name: str, context: Any) -> Iterator[Page]:
    changes = context["cl"]
    yield Page(f"{name}_changelist", path)
    last = changes.paginator.num_pages
    yield from (Page(f"{name}_changelist, a later page", f"{path}?p={page}") for page in {2, last} if 1 < page <= last)
    filters = list(_filters(changes))
    for query in (query for queries in filters for query in queries):
        yield Page(f"{name}_changelist, a filter", f"{path}?{urlencode(query)}")
    for one, other in combinations(filters, 2):
        both = {**one[0], **other[-1]}
        yield Page(f"{name}_changelist, two filters", f"{path}?{urlencode(both)}")
    if changes.search_fields:
        for word in _words(changes):
            yield Page(f"{name}_changelist, search", f"{path}?{urlencode({'q': word})}")
    if context.get("action_form"):
        yield from _acts(path, name, context, filters)


def _filters(changes: Any) -> Iterator[list[dict[str, str]]]:
    """Of each filter its choices, as queries."""
    for spec in changes.filter_specs:
        choices = [choice for choice in spec.choices(changes) if not choice["selected"]]
        if queries := [dict(parse_qsl(choice["query_string"].removeprefix("?"))) for choice in choices]:
            yield queries


def _words(changes: Any) -> Iterator[str]:
    if len(changes.result_list):
        field = changes.search_fields[0].partition("__")[0]
        yield str(getattr(changes.result_list[0], field.lstrip("^=@"), ""))
    yield "nowhere to be found"


def _acts(path: str, name: str, context: Any, filters: list[list[dict[str, str]]]) -> Iterator[Page]:
    """What each action asks before it is done: of a page's rows, of all, of all that match a filter."""
    pks = [str(row.pk) for row in context["cl"].result_list][:SELECTED]
    for action, _ in context["action_form"].fields["action"].choices:
        if action and pks:
            one = [("action", action), ("index", "0"), *((ACTION_CHECKBOX_NAME, pk) for pk in pks)]
            every = (*one, ("select_across", "1"))
            yield Page(f"{name}_changelist, {action} selected", path, (*one, ("select_across", "0")))
            yield Page(f"{name}_changelist, {action} all", path, every)
            for query in (queries[0] for queries in filters):
                yield Page(f"{name}_changelist, {action} all of a filter", f"{path}?{urlencode(query)}", every)


# Addresses besides the lists and pages of models.


def _others(samples: list[str]) -> Iterator[Page]:
    """All other addresses; those about one thing for each of the samples."""
    for name in addresses():
        if re.search("_(changelist|change)$", name) or name in NOT_OPENED | {"index"}:
            continue
        if (path := reversed_as(name)) is not None:
            yield Page(name, path)
            continue
        model = re.sub("_[^_]+$", "", name)
        for sample in samples:
            found = resolve(urlsplit(sample).path)
            argument = next(iter(found.kwargs.values()))
            if found.url_name == f"{model}_change" and (path := reversed_as(name, argument)) is not None:
                yield Page(name, path)


def reversed_as(name: str, *args: Any) -> str | None:
    try:
        return reverse(f"admin:{name}", args=args)
    except NoReverseMatch:
        return None


def addresses() -> list[str]:
    """The names of all addresses of the admin."""
    return list(dict.fromkeys(_names(admin.site.get_urls())))


def _names(patterns: Iterable[Any]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield pattern.name
        else:
            yield from _names(pattern.url_patterns)


# Links.


@dataclass(frozen=True)
class Shape:
    """What links to one kind of page have in common: the address's name and the names in the query."""

    name: str
    query: frozenset[str]


def shape_of(path: str) -> Shape | None:
    parts = urlsplit(path)
    try:
        found = resolve(parts.path)
    except Resolver404:
        return None
    if "admin" not in found.namespaces or not found.url_name:
        return None
    return Shape(found.url_name, frozenset(parse_qs(parts.query, keep_blank_values=True)))


def links(page: Page, html: str) -> Iterator[Page]:
    """The links to pages of the admin that a page has."""
    here = urlsplit(page.path).path
    for link in map(unescape, dict.fromkeys(re.findall(r'href="([^"#]+)', html))):
        path = _without_way_back(f"{here}{link}" if link.startswith("?") else link)
        shape = shape_of(path) if path.startswith("/admin/") else None
        if shape and shape.name not in NOT_OPENED:
            yield Page(f"{shape.name}, {', '.join(sorted(shape.query))}" if shape.query else shape.name, path)


def _without_way_back(path: str) -> str:
    """Without the filters of the list from which a page was reached."""
    parts = urlsplit(path)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != WAY_BACK]
    return parts._replace(query=urlencode(query)).geturl()
