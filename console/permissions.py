"""Permissions in the forms of users and groups: those that open a page or a button, in words, in groups of the menu."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.http import HttpRequest
from django.utils.text import capfirst

from console.base import ReadOnlyAdmin
from console.site import MODEL_NAMES, MODEL_ORDER, heading_of, place_of
from console.templatetags.names import menu_heading

NAMES = {
    "add_delivery": "Upload files and post records",
    "reprocess": "Reprocess failed records",
    "discard": "Discard failed records",
    "fix": "Fix failed records",
    "refresh": "Refresh derived fields of stored records",
    "prune": "Delete completed deliveries now",
    "choose_answers": "Choose among ambiguous answers",
    "ask_again": "Ask lookups again",
    "control_providers": "Pause, resume and run providers",
    "control_streams": "Pause, resume and run streams",
    "view_personal_data": "See names, email addresses and free texts",
}
"""Permissions of more than one page, or of a button."""
WORDS = {"view": "View", "add": "Add", "change": "Change", "delete": "Delete"}
UNUSED = {"add_upload"}
"""Which nothing asks for: the right to upload is that to post records."""


class PermissionsWidget(forms.CheckboxSelectMultiple):
    template_name = "admin/widgets/permissions.html"


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Offers what has an effect. What else somebody has stays as it is: see `keep_hidden`."""

    widget = PermissionsWidget

    def __init__(self, request: HttpRequest, **kwargs: Any) -> None:
        found = sorted(offered(request), key=lambda each: each[0])
        self.keys = {permission.pk for _, permission, _ in found}
        super().__init__(Permission.objects.filter(pk__in=self.keys), **kwargs)
        groups: dict[str, list[tuple[int, str]]] = {}
        for (_, app_name, *_), permission, label in found:
            groups.setdefault(app_name, []).append((permission.pk, label))
        self.choices = list(groups.items())

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed([each for each in initial or [] if each.pk in self.keys], data)


def keep_hidden(field: forms.Field | None, chosen: Iterable[Permission], owned: Any) -> list[Permission]:
    """What was chosen, and of the `owned` permissions those that the field does not offer."""
    hidden = owned.exclude(pk__in=field.keys) if isinstance(field, PermissionsField) else owned.none()
    return [*chosen, *hidden]


def offered(request: HttpRequest) -> Iterator[tuple[tuple[int, str, int, str, int], Permission, str]]:
    """(place, permission, label) of those that a page of the admin asks for."""
    permissions: dict[tuple[str, str], list[Permission]] = {}
    for permission in Permission.objects.select_related("content_type").order_by("pk"):
        kind = permission.content_type
        permissions.setdefault((kind.app_label, kind.model), []).append(permission)
    for model in filter(admin.site.is_registered, apps.get_models()):
        model_admin, meta = admin.site.get_model_admin(model), model._meta
        heading = heading_of(meta.app_label, meta.object_name or "")
        app_name = menu_heading(meta)
        name = MODEL_NAMES.get(meta.object_name or "", str(meta.verbose_name_plural))
        asked = dict(asked_for(request, model_admin))
        for permission in permissions.get((meta.app_label, str(meta.model_name)), []):
            code = permission.codename
            word = asked.get(code.removesuffix(f"_{meta.model_name}"))
            label = NAMES.get(code) or (f"{word} {_in_sentence(name)}" if word and code not in UNUSED else "")
            if label:
                app_place, model_place = place_of(heading), MODEL_ORDER.get(meta.object_name or "", 9)
                yield (app_place, capfirst(app_name), model_place, name, permission.pk), permission, label


def asked_for(request: HttpRequest, model_admin: Any) -> Iterator[tuple[str, str]]:
    """Which of Django's four permissions the pages of a model ask for; none where they are for superusers only."""
    if getattr(model_admin, "superusers_only", False):
        return
    is_read_only = isinstance(model_admin, ReadOnlyAdmin)
    for action, word in WORDS.items():
        method = f"has_{action}_permission"
        overridden = getattr(type(model_admin), method) is not getattr(ReadOnlyAdmin, method)
        if (overridden if is_read_only else getattr(model_admin, method)(request)) or action == "view":
            yield action, word


def _in_sentence(name: str) -> str:
    return name if name[:2].isupper() else name[:1].lower() + name[1:]
