"""The pages of one library: overview, progress, films."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from api.auth import is_staff
from movies.libraries import DAYS_KEPT
from movies.models import Library
from movies.pages.filters import ORDERS, PAGE_SIZE, Selection, choices
from movies.pages.overview import Overview
from movies.pages.private import find_library, may_upload, private_page
from movies.pages.progress import latest_films, problems_of, stand_of
from movies.pages.rows import read_library
from movies.tmdb import is_demo

MAX_OFFERED = 6
"""Candidates of one film."""
FEW = 5
"""So many films that need a person are unfolded."""


@require_safe
@private_page()
def overview(request: HttpRequest, token: str) -> HttpResponse:
    library = find_library(token)
    year = request.GET.get("year", "")
    found = Overview(
        read_library(library),
        reverse("library-films", args=[token]),
        int(year) if year.isascii() and year.isdecimal() and len(year) < 5 else None,
    )
    context = _context(request, library, "overview") | _progress(library) | found.context()
    return render(request, "movies/library.html", context)


@require_safe
@private_page()
def progress(request: HttpRequest, token: str) -> HttpResponse:
    """The part of the overview that renews itself."""
    library = find_library(token)
    return render(request, "movies/progress.html", _context(request, library, "overview") | _progress(library))


@require_safe
@private_page()
def films(request: HttpRequest, token: str) -> HttpResponse:
    library = find_library(token)
    contents = read_library(library)
    selection = Selection.of(request.GET.dict())
    offered = choices(contents.films, selection)
    found = selection.apply(contents.films, contents.viewings)
    page = Paginator(found, PAGE_SIZE).get_page(selection.page)
    context = {
        "page": page,
        "number": len(found),
        "total": len(contents.films),
        "selection": selection,
        "has_watchlist": any(film.watchlist for film in contents.films),
        "choices": offered,
        "more_filters": any(choice.value for choice in offered if choice.name != "list"),
        "orders": [(name, order.label) for name, order in ORDERS.items()],
        "hidden_fields": [(name, selection.values[name]) for name in KEPT if name in selection.values],
        "earlier": selection.query(page=page.number - 1) if page.has_previous() else "",
        "later": selection.query(page=page.number + 1) if page.has_next() else "",
    }
    return render(request, "movies/films.html", _context(request, library, "films") | context)


KEPT = ("year", "director", "actor", "watched")
"""Filters that are no fields of the form: it hands them on."""


def _context(request: HttpRequest, library: Library, here: str) -> dict[str, Any]:
    return {
        "library": library,
        "here": here,
        "days_kept": DAYS_KEPT,
        "is_demo": is_demo(),
        "is_staff": is_staff(request.user),
        "may_upload": may_upload(request),
    }


def _progress(library: Library) -> dict[str, Any]:
    stand = stand_of(library)
    problems = problems_of(library, stand.counts)
    return {
        "stand": stand,
        "latest": [] if stand.is_done else latest_films(library),
        "problems": problems,
        "most_offered": MAX_OFFERED,
        "are_few": sum(problem.number for problem in problems) <= FEW,
    }
