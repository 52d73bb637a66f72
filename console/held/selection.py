"""Which held records an action or an export is for: those ticked on a page, or all that match the list's filters."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import BadRequest
from django.http import HttpRequest, QueryDict

from console.held.filters import AgeFilter, held_since
from enrichment.models import SELECTABLE_BY, HeldRecord

MAX_NUMBER = 2**63 - 1
"""The largest that a column holds."""
LIST_PARAMETERS = {*SELECTABLE_BY} - {"ids", "held_after"}


def selected_ids(request: HttpRequest) -> list[int]:
    """The records ticked; none when all matches are selected."""
    if request.POST.get("select_across") == "1":
        return []
    return [int(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)]


def selection_of(request: HttpRequest, status: HeldRecord.Status | None) -> dict[str, Any]:
    """The filter of a bulk action: the records ticked, or else all that the list shows."""
    ids = selected_ids(request)
    return _validated({"ids": ids}) if ids else filter_of(request.GET, status)


def filter_of(query: QueryDict, status: HeldRecord.Status | None) -> dict[str, Any]:
    """All that a list with this query shows. BadRequest for a value that no filter of the list has."""
    if any("\0" in value for value in query.values()):
        raise BadRequest("A filter contains a NUL character.")
    selection: dict[str, Any] = {name: value for name, value in query.items() if name in LIST_PARAMETERS and value}
    if status:
        selection["status"] = str(status)
    if key := query.get(SEARCH_VAR, "").strip():
        selection["key"] = key
    if age := query.get(AgeFilter.parameter_name):
        if age not in AgeFilter.spans:
            raise BadRequest(f"Unknown age. Allowed: {', '.join(AgeFilter.spans)}.")
        selection["held_after"] = held_since(age)
    return _validated(selection)


def _validated(selection: dict[str, Any]) -> dict[str, Any]:
    numbers = [selection[name] for name in ("delivery", "upload") if name in selection] + selection.get("ids", [])
    try:
        if any(abs(int(number)) > MAX_NUMBER for number in numbers):
            raise ValueError
        HeldRecord.objects.matching(selection)
    except ValueError:
        raise BadRequest("Invalid filter value.") from None
    return selection
