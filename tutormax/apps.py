from datetime import timedelta
from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.core.management import call_command
from django.core.signals import request_finished
from django.db import connections
from django.db.models import Q
from django.db.models.signals import post_migrate

PRUNE_TASK = "enrichment.tasks.prune"


class TutorMaxConfig(AppConfig):
    name = "tutormax"

    def ready(self) -> None:
        import_module("tutormax.checks")
        request_finished.connect(import_module("tutormax.logs").tell)
        # The last app of all: what migrate makes for the others (permissions) is there when it is its turn.
        last = [config for config in apps.get_app_configs() if config.models_module][-1]
        post_migrate.connect(complete_installation, sender=last, dispatch_uid="tutormax.complete_installation")


class TutorMaxAdminConfig(AdminConfig):
    default_site = "console.site.TutorMaxAdminSite"

    def ready(self) -> None:
        super().ready()
        import_module("console.third_party")  # when every app has registered its own
        for label, name in import_module("console.site").NAMES.items():
            apps.get_app_config(label).verbose_name = name  # in the menu, and where pages say where they are


def complete_installation(sender: AppConfig, using: str, **kwargs: Any) -> None:
    """Makes the cache table, the groups and the daily schedule, so that `migrate` is the whole installation.

    Harmless when repeated.
    """
    from django.contrib.auth.management import create_permissions

    call_command("createcachetable", database=using, verbosity=0)
    tables = set(connections[using].introspection.table_names())
    if {"auth_group", "auth_permission", "django_content_type"} <= tables:
        create_permissions(sender, verbosity=0, using=using)  # its own receiver may be called after this one
        make_groups(using)
    if "django_q_schedule" in tables:
        schedule_pruning(using)


def make_groups(using: str) -> None:
    """viewer reads, operator acts as well, administrator also has keys, users and the deletion of stored records."""
    from django.contrib.auth.models import Group, Permission

    from ingestion import streams

    stored = [stream.model._meta for stream in streams.all_streams()]
    domains = {meta.app_label for meta in stored}
    ours = Q(content_type__app_label__in={"ingestion", "enrichment", *domains})
    keys = Q(content_type__app_label="ingestion", content_type__model="apikey")
    reading = ours & ~keys & Q(codename__startswith="view_")
    acts = Q(content_type__app_label="enrichment", codename__in=["reprocess", "discard", "mend", "refresh"])
    acts |= Q(content_type__app_label="ingestion", codename="control_streams")
    acts |= Q(content_type__app_label="ingestion", codename="add_delivery")  # to post in the browsable API
    written_by_hand = Q(codename__startswith="add_") | Q(codename__startswith="change_")
    of_stored = Q(content_type__model__in=[meta.model_name for meta in stored])
    ruling = (
        keys
        | Q(content_type__app_label="enrichment", codename="prune")
        | Q(content_type__app_label__in=domains) & ~(of_stored & written_by_hand)
        | Q(content_type__app_label="auth", codename__in=["view_user", "add_user", "change_user", "view_group"])
        | Q(content_type__app_label="django_q", codename__in=["view_success", "view_failure"])
    )
    for name, allowed in [
        ("viewer", reading),
        ("operator", reading | acts),
        ("administrator", reading | acts | ruling),
    ]:
        group, _ = Group.objects.using(using).get_or_create(name=name)
        group.permissions.add(*Permission.objects.using(using).filter(allowed))


def schedule_pruning(using: str) -> None:
    """Daily, at a quiet hour. One that is there already is left as an administrator has set it."""
    from django.utils import timezone
    from django_q.models import Schedule

    at_three = (timezone.localtime() + timedelta(days=1)).replace(hour=3, minute=0, second=0, microsecond=0)
    first = {"name": "retention", "schedule_type": Schedule.DAILY, "next_run": at_three}
    if not Schedule.objects.using(using).filter(func=PRUNE_TASK).exists():
        Schedule.objects.using(using).create(func=PRUNE_TASK, **first)
