"""migrate is the whole installation: the groups and the schedule come with it."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db.models.signals import post_migrate
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import Schedule

from tutormax.installation import OPERATION, complete_installation

pytestmark = pytest.mark.django_db


def rights(name: str) -> set[str]:
    permissions = Group.objects.get(name=name).permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in permissions}


def test_viewers_read_operators_act_administrators_manage() -> None:
    viewer, operator, administrator = rights("viewer"), rights("operator"), rights("administrator")
    assert viewer < operator < administrator
    assert {right.split(".")[1].split("_")[0] for right in viewer} == {"view"}
    assert {"ingestion.view_delivery", "enrichment.view_deadletter", "enrichment.view_bulkaction"} <= viewer
    assert {"tutoring.view_tutor", "tutoring.view_tutoringsession", "tutoring.view_feedback"} <= viewer
    actions = {f"enrichment.{action}" for action in OPERATION}
    others = {"enrichment.view_personal_data", "ingestion.add_delivery", "ingestion.control_streams"}
    assert operator - viewer == actions | others
    more = administrator - operator
    assert {"ingestion.view_apikey", "ingestion.add_apikey", "ingestion.change_apikey", "auth.change_user"} <= more
    assert "enrichment.prune" in more
    assert {"tutoring.delete_tutor", "tutoring.delete_feedback", "tutoring.change_subject"} <= more
    assert not {"tutoring.change_tutor", "tutoring.add_tutor", "auth.delete_user", "auth.change_group"} & more
    assert not {right for right in administrator if "schedule" in right or "ormq" in right}


def test_migrating_again_changes_nothing_and_repairs_what_is_gone() -> None:
    before = {name: rights(name) for name in ("viewer", "operator", "administrator")}
    Group.objects.get(name="viewer").delete()
    own = Permission.objects.get(codename="view_group")
    Group.objects.get(name="operator").permissions.add(own)
    for _ in range(2):
        call_command("migrate", verbosity=0)
    assert Group.objects.count() == 3
    before["operator"].add("auth.view_group")  # what was given by hand is kept
    assert {name: rights(name) for name in before} == before


def test_no_group_depends_on_the_order_of_the_apps() -> None:
    """As in a new database when the signal comes for the first app, before Django has made any permission."""
    before = {name: rights(name) for name in ("viewer", "operator", "administrator")}
    Group.objects.all().delete()
    Permission.objects.all().delete()
    complete_installation(using="default")
    assert {name: rights(name) for name in before} == before


def test_it_is_done_once_in_a_run() -> None:
    runs = [
        receiver
        for app in apps.get_app_configs()
        for receiver in post_migrate._live_receivers(app)[0]
        if receiver is complete_installation
    ]
    assert len(runs) == 1


def test_retention_is_scheduled_and_stays_as_it_is_set() -> None:
    schedule = Schedule.objects.get(func="enrichment.tasks.prune")
    assert schedule.schedule_type == Schedule.DAILY
    assert schedule.next_run > timezone.now()
    Schedule.objects.update(schedule_type=Schedule.WEEKLY, name="my own", repeats=0)
    call_command("migrate", verbosity=0)
    schedule.refresh_from_db()
    assert (schedule.schedule_type, schedule.name, schedule.repeats) == (Schedule.WEEKLY, "my own", 0)
    assert Schedule.objects.count() == 1


def test_what_the_schedule_calls_is_there() -> None:
    assert callable(import_string(Schedule.objects.get().func))
