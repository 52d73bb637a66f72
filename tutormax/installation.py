"""What `migrate` creates besides our tables: the groups and the daily schedule of retention."""

from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import Q

OPERATION = ("reprocess", "discard", "fix", "refresh", "choose_answers", "ask_again", "control_providers")
"""What operators may do to failed records, lookups and providers."""


def complete_installation(using: str, **kwargs: Any) -> None:
    """Creates the groups and the daily schedule, so that `migrate` is the whole installation.

    Receives post_migrate; harmless when repeated. Does not depend on the order of the apps: the permissions that the
    groups are given are created here, where Django has not done so yet.
    """
    from django.contrib.auth.management import create_permissions

    tables = set(connections[using].introspection.table_names())
    if {"auth_group", "auth_permission", "django_content_type"} <= tables:
        for app in apps.get_app_configs():
            create_permissions(app, verbosity=0, using=using)
        make_groups(using)
    if "django_q_schedule" in tables:
        schedule_pruning(using)


def make_groups(using: str) -> None:
    """viewer reads, without personal data; operator sees these and acts; administrator also has keys, users and the
    deletion of stored records.
    """
    from django.contrib.auth.models import Group, Permission

    from ingestion import streams

    stored = [readable.model._meta for readable in streams.all_readables()]
    domains = {meta.app_label for meta in stored}
    ours = Q(content_type__app_label__in={"ingestion", "enrichment", *domains})
    keys = Q(content_type__app_label="ingestion", content_type__model="apikey")
    history = Q(content_type__app_label="enrichment", content_type__model="dataaccess")
    personal = Q(content_type__app_label="enrichment", codename="view_personal_data")
    reading = ours & ~keys & ~history & ~personal & Q(codename__startswith="view_")
    actions = Q(content_type__app_label="enrichment", codename__in=OPERATION)
    actions |= Q(content_type__app_label="ingestion", codename="control_streams")
    actions |= Q(content_type__app_label="ingestion", codename="add_delivery")  # to post in the browsable API
    actions |= personal
    edits = Q(codename__startswith="add_") | Q(codename__startswith="change_")
    stored_models = Q(content_type__model__in=[meta.model_name for meta in stored])
    administration = (
        keys
        | history
        | Q(content_type__app_label="enrichment", codename__in=["prune", "erase_subjects"])
        | Q(content_type__app_label__in=domains) & ~(stored_models & edits)
        | Q(content_type__app_label="auth", codename__in=["view_user", "add_user", "change_user", "view_group"])
        | Q(content_type__app_label="django_q", codename__in=["view_success", "view_failure"])
    )
    for name, permissions in [
        ("viewer", reading),
        ("operator", reading | actions),
        ("administrator", reading | actions | administration),
    ]:
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.add(*Permission.objects.using(using).filter(permissions))


def schedule_pruning(using: str) -> None:
    """Daily at 3 o'clock, unless there is one: it stays as the administrators have set it."""
    from django.utils import timezone
    from django_q.models import Schedule

    from enrichment.cluster.broker import PRUNE_TASK

    three_o_clock = (timezone.localtime() + timedelta(days=1)).replace(hour=3, minute=0, second=0, microsecond=0)
    first = {"name": "retention", "schedule_type": Schedule.DAILY, "next_run": three_o_clock}
    if not Schedule.objects.using(using).filter(func=PRUNE_TASK).exists():
        Schedule.objects.using(using).create(func=PRUNE_TASK, **first)
