"""What the pages of failed records need of the list that they belong to."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import reverse

from console.base import ReadOnlyAdmin
from console.personal import is_hidden_from
from enrichment.models import HeldRecord


class HeldListAdmin(ReadOnlyAdmin):
    status: HeldRecord.Status | None = None
    """Of the records that it lists; None for all."""

    def may(self, request: HttpRequest, kind: str) -> bool:
        """Whoever fixes a payload sees all of it."""
        permitted = request.user.has_perm(f"enrichment.{kind}")
        return permitted and (kind != "fix" or not is_hidden_from(request.user))

    def url(self, name: str, *args: Any, query: str = "") -> str:
        """Of one of its pages."""
        path = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[quote(arg) for arg in args])
        return f"{path}?{query}" if query else path
