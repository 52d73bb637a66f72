"""The history of the admin: who did what to which object."""

from __future__ import annotations

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest


def user_of(request: HttpRequest) -> str:
    """As in a delivery that this person sends."""
    return f"user:{request.user.get_username()}"


def log(request: HttpRequest, obj: Model, text: str, flag: int = CHANGE) -> None:
    """Adds an entry to the history of one object; a failed record has one history, in whatever list it is shown."""
    LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(obj),
        object_id=str(obj.pk),
        object_repr=str(obj)[:200],
        action_flag=flag,
        change_message=text,
    )
