"""What the pages of lookups need of the list that they belong to."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.base import ReadOnlyAdmin
from console.templatetags.formatting import badge
from enrichment.lookups.models import Lookup

BADGES = {"open": "pending", "found": "processed", "not_found": "discarded", "ambiguous": "waiting", "failed": "dead"}


class LookupListAdmin(ReadOnlyAdmin):
    status: Lookup.Status | None = None
    """Of the lookups that it lists; None for all."""
    list_title: str

    def may(self, request: HttpRequest, action: str) -> bool:
        return request.user.has_perm(f"enrichment.{action}")

    def url(self, name: str, *args: Any, query: str = "") -> str:
        """Of one of its pages."""
        path = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[quote(arg) for arg in args])
        return f"{path}?{query}" if query else path


def status_badge(lookup: Lookup) -> SafeString:
    status = badge(BADGES[lookup.status], str(Lookup.Status(lookup.status).label))
    return format_html('{} <span class="quiet">decided</span>', status) if lookup.is_chosen else status
