"""What the pages of streams and of providers have in common: the form to pause one, and the history."""

from __future__ import annotations

from django import forms
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest

from ingestion.text import strip_unstorable

MAX_HISTORY = 20


class PauseForm(forms.Form):
    reason = forms.CharField(
        max_length=1000,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Shown to all staff while paused, and in the history.",
    )

    def clean_reason(self) -> str:
        return strip_unstorable(self.cleaned_data["reason"])


def log_control(request: HttpRequest, model: type[Model], name: str, text: str) -> None:
    """Writes into the history; the row itself may exist only while it is paused."""
    LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(model),
        object_id=name,
        object_repr=name,
        action_flag=CHANGE,
        change_message=text,
    )


def control_history(model: type[Model]) -> list[LogEntry]:
    """What people did to all of them, newest first."""
    entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model))
    return list(entries.select_related("user").order_by("-pk")[:MAX_HISTORY])
