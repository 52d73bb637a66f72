"""Admin pages of other apps, replaced by ours: users, and what the task queue keeps."""

from __future__ import annotations

from typing import Any, cast

from axes.admin import AccessAttemptAdmin, AccessFailureLogAdmin, AccessLogAdmin
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import ManyToManyField, QuerySet
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_q.admin import QueueAdmin, ScheduleAdmin
from django_q.models import Failure, OrmQ, Schedule, Success
from rest_framework_api_key.models import APIKey

from console.base import ReadOnlyAdmin, RestrictedLookupAdmin
from console.permissions import PermissionsField, keep_hidden


class OwnUserAdmin(RestrictedLookupAdmin, UserAdmin):  # type: ignore[type-arg]
    """Without being a superuser one may grant, and change in others, only rights that one has oneself, and change
    nobody else who may change users: with a password of one's own making one could act as them.
    """

    filter_horizontal = ()  # its two lists with arrows are not accessible

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or _covers(request.user, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # deletion would delete the history, too: deactivate users instead

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fields = [*super().get_readonly_fields(request, obj), "last_login", "date_joined"]
        return fields if _is_superuser(request.user) else [*fields, "is_superuser", "user_permissions"]

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups" and not _is_superuser(request.user):
            kwargs["queryset"] = _groups_within(request.user)
        if db_field.name == "user_permissions":
            return PermissionsField(request, required=False, label="Additional permissions")
        return super().formfield_for_manytomany(db_field, request, widget=CheckboxSelectMultiple, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        _keep_hidden(form, "user_permissions")
        super().save_related(request, form, formsets, change)


class OwnGroupAdmin(RestrictedLookupAdmin, GroupAdmin):
    filter_horizontal = ()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        return PermissionsField(cast("HttpRequest", request), required=False, label="Permissions")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        _keep_hidden(form, "permissions")
        super().save_related(request, form, formsets, change)


def _keep_hidden(form: Any, name: str) -> None:
    if name in form.cleaned_data:
        field, owned = form.fields[name], getattr(form.instance, name).all()
        form.cleaned_data[name] = keep_hidden(field, form.cleaned_data[name], owned)


def _is_superuser(user: Any) -> bool:
    return bool(user.is_superuser)


def _covers(user: Any, other: User) -> bool:
    """Whether `user` has every right of `other`, active or not, and `other` is none who may change users themselves."""
    if _is_superuser(user) or user.pk == other.pk:
        return True
    has_more = other.groups.exclude(pk__in=_groups_within(user)) or other.user_permissions.all()
    changing = {"permissions__content_type__app_label": "auth", "permissions__codename": "change_user"}
    changes_users = other.groups.filter(**changing).exists()
    return not (other.is_superuser or has_more or changes_users)


def _groups_within(user: Any) -> QuerySet[Group]:
    """The groups all of whose permissions the user has."""
    own = user.get_all_permissions()
    groups = Group.objects.prefetch_related("permissions__content_type")
    within = [
        group.pk
        for group in groups
        if all(f"{p.content_type.app_label}.{p.codename}" in own for p in group.permissions.all())
    ]
    return Group.objects.filter(pk__in=within)


class TaskResultAdmin(ReadOnlyAdmin):
    """Tasks only wake workers: there is nothing to retry."""

    ordering = ["-stopped"]
    list_display = ("name", "func", "cluster", "started", "stopped")
    fields = ("name", "func", "cluster", "started", "stopped", "attempt_count")


class SuperusersOnly(RestrictedLookupAdmin):
    """A schedule or a queued task can name any function: who may write one can do everything."""

    superusers_only = True

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request.user) and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_superuser(request.user)


class OwnScheduleAdmin(SuperusersOnly, ScheduleAdmin):  # type: ignore[misc]
    list_display = ("id", "name", "func", "schedule_type", "next_run", "get_last_run", "get_success")


class OwnQueueAdmin(SuperusersOnly, QueueAdmin):  # type: ignore[misc]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


class LoginHistoryAdmin(RestrictedLookupAdmin):
    date_hierarchy = None  # it fails for years without rows; the filter by time is enough


class OwnAccessAttemptAdmin(LoginHistoryAdmin, AccessAttemptAdmin):  # type: ignore[misc]
    actions = ()  # its own fails; expired attempts do no harm


class OwnAccessLogAdmin(LoginHistoryAdmin, AccessLogAdmin):  # type: ignore[misc]
    pass


class OwnAccessFailureLogAdmin(LoginHistoryAdmin, AccessFailureLogAdmin):  # type: ignore[misc]
    pass


admin.site.unregister(
    [AccessAttempt, AccessLog, AccessFailureLog, APIKey, User, Group, Success, Failure, Schedule, OrmQ]
)
admin.site.unregister([StaticDevice, TOTPDevice])  # whose pages show keys and codes
admin.site.register(User, OwnUserAdmin)
admin.site.register(Group, OwnGroupAdmin)
admin.site.register([Success, Failure], TaskResultAdmin)
admin.site.register(AccessAttempt, OwnAccessAttemptAdmin)
admin.site.register(AccessLog, OwnAccessLogAdmin)
admin.site.register(AccessFailureLog, OwnAccessFailureLogAdmin)
admin.site.register(Schedule, OwnScheduleAdmin)
admin.site.register(OrmQ, OwnQueueAdmin)
