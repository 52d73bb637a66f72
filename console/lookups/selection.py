"""Which lookups an action is for: those ticked on a page, or all that match the list's filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import BadRequest
from django.http import HttpRequest, QueryDict

from console.held.filters import AgeFilter, held_since
from console.lookups.filters import TRIES
from enrichment.lookups.models import Lookup, LookupQuerySet
from ingestion.text import plain

SELECTABLE_BY = {
    "ids": "pk__in",
    "provider": "provider",
    "kind": "kind",
    "status": "status",
    "how": "how",
    "tries": "tries__gte",
    "key": "key",
    "upload": "lookupupload__upload",
    "asked_after": "created_at__gte",
}
"""What the filter of an action may name → the lookup."""
LIST_PARAMETERS = ("provider", "kind", "status", "how", "tries", "upload")
WORDS = {
    "provider": "of {}",
    "kind": "of kind {}",
    "how": "by the rule “{}”",
    "tries": "with {} or more failed tries",
    "key": "with the key {}",
    "upload": "of upload {}",
    "asked_after": "first asked since {}",
}


def matching(criteria: Mapping[str, Any]) -> LookupQuerySet:
    """KeyError for a name not in SELECTABLE_BY: none may be ignored."""
    return Lookup.objects.filter(**{SELECTABLE_BY[name]: value for name, value in criteria.items()})


def selected_ids(request: HttpRequest) -> list[int]:
    """Those ticked; none when all matches are selected."""
    if request.POST.get("select_across") == "1":
        return []
    return [int(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)]


def selection_of(request: HttpRequest, status: Lookup.Status | None) -> dict[str, Any]:
    """Those ticked, or else all that the list shows."""
    ids = selected_ids(request)
    return {"ids": ids} if ids else filter_of(request.GET, status)


def filter_of(query: QueryDict, status: Lookup.Status | None) -> dict[str, Any]:
    """All that a list with this query shows. BadRequest for a value that no filter of the list has."""
    if any("\0" in value for value in query.values()):
        raise BadRequest("A filter contains a NUL character.")
    selection: dict[str, Any] = {name: query[name] for name in LIST_PARAMETERS if query.get(name)}
    numbers = {name: selection[name] for name in ("tries", "upload") if name in selection}
    if not all(re.fullmatch("[0-9]{1,18}", number) for number in numbers.values()):
        raise BadRequest("Invalid filter value.")
    if numbers.get("tries", str(TRIES[0])) not in map(str, TRIES):
        raise BadRequest("Unknown number of tries.")
    selection |= {name: int(number) for name, number in numbers.items()}
    if status:
        selection["status"] = str(status)
    if key := query.get(SEARCH_VAR, "").strip():
        selection["key"] = key
    if age := query.get(AgeFilter.parameter_name):
        if age not in AgeFilter.spans:
            raise BadRequest(f"Unknown age. Allowed: {', '.join(AgeFilter.spans)}.")
        selection["asked_after"] = held_since(age)
    return selection


def in_words(criteria: Mapping[str, Any]) -> str:
    """A filter for the history and for pages: "ambiguous lookups of tmdb"."""
    ids = criteria.get("ids", [])
    status = str(Lookup.Status(criteria["status"]).label) if criteria.get("status") in Lookup.Status.values else ""
    start = f"{len(ids):,} selected lookups" if ids else f"{status} lookups".strip()
    parts = (words.format(criteria[name]) for name, words in WORDS.items() if name in criteria)
    return plain(" ".join([start, *parts]))
