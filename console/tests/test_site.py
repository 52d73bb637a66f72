"""The admin as a whole: its menu, rights over people and the task queue, and a page that carries no code."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django_q.models import Schedule

from ingestion.models import ApiKey
from tests.held import hold, valid, wait
from tests.people import browser_of, person, text_of
from tests.records import send

pytestmark = pytest.mark.django_db


def test_the_list_of_pages_begins_with_what_operators_need() -> None:
    root = browser_of(person(superuser=True))
    text = text_of(root.get("/admin/"))
    names = re.findall(r'class="section"[^>]*>([^<]*)</a>', text)
    assert names[:4] == ["Failed &amp; waiting", "Lookups", "Films", "Music"]
    assert "Failed &amp; waiting</h1>" in text_of(root.get("/admin/enrichment/"))
    assert "Failed &amp; waiting</a>" in text_of(root.get("/admin/enrichment/bulkaction/"))
    apps = re.findall(r'class="app-(\w+) module"', text)
    assert apps[:5] == ["enrichment", "lookups", "movies", "music", "tutoring"]
    for page in ("erasure", "dataaccess", "pruning", "pruning/rules", "pruning/now"):
        assert "Data protection</a>" in text_of(root.get(f"/admin/enrichment/{page}/")), page
    assert apps[5:] == ["ingestion", "data_protection", "auth", "django_q", "axes"]
    assert text.index(">Dead letters</a>") < text.index(">Waiting records</a>") < text.index(">All failed records</a>")
    assert "doorbell" not in text.lower()


def test_a_missing_slash_is_added_to_a_page_and_to_nothing_else(viewer: Client) -> None:
    response = viewer.get("/admin/enrichment/deadletter?stream=tutors")
    assert (response.status_code, response["Location"]) == (301, "/admin/enrichment/deadletter/?stream=tutors")
    assert viewer.get("/admin/nothing").status_code == 404
    assert viewer.get("/admin/nothing/").status_code == 404
    assert viewer.get("/admin")["Location"] == "/admin/"


def every_page(record_pk: int, waiting_pk: int, delivery_pk: int, prefix: str) -> Iterator[str]:
    yield from ("/admin/", "/admin/password_change/", "/admin/find/", "/admin/find/?q=T-1")
    for model in admin.site._registry:
        meta = model._meta
        yield f"/admin/{meta.app_label}/{meta.model_name}/"
    yield from (f"/admin/enrichment/deadletter/{record_pk}/{page}/" for page in ("change", "fix"))
    yield f"/admin/enrichment/waitingrecord/{waiting_pk}/change/"
    yield f"/admin/ingestion/delivery/{delivery_pk}/change/"
    yield from (f"/admin/ingestion/apikey/{page}/" for page in ("add", f"{prefix}/change", f"{prefix}/history"))
    yield from ("/admin/auth/user/add/", "/admin/auth/group/add/", "/admin/django_q/schedule/add/")


def test_every_page_obeys_a_strict_content_security_policy() -> None:
    root = browser_of(person(superuser=True))
    key, _ = ApiKey.objects.create_key(name="platform")
    send("tutors", valid())
    record, waiting = hold(), wait()
    for page in every_page(record.pk, waiting.pk, record.delivery_id, key.prefix):
        response = root.get(page)
        text = text_of(response)
        policy = response["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", text), page
        assert not re.search(r"<style|<[a-z][^>]*\s(style|on[a-z]+)=", text), page


def test_every_page_is_closed_to_who_is_not_logged_in() -> None:
    key, _ = ApiKey.objects.create_key(name="platform")
    record, waiting = hold(), wait()
    for page in every_page(record.pk, waiting.pk, record.delivery_id, key.prefix):
        response = Client().get(page)
        assert (response.status_code, response["Location"].partition("?")[0]) == (302, "/admin/login/"), page


# People.

USERS = "/admin/auth/user/"


def form_of(user: User, **fields: Any) -> dict[str, Any]:
    told = {"username": user.username, "is_active": "on", "is_staff": "on"}
    return told | fields


def test_an_administrator_gives_the_groups_that_are_within_their_own_rights() -> None:
    client = browser_of(person("administrator"))
    newcomer = person()
    more = Group.objects.create(name="schedulers")
    more.permissions.add(Permission.objects.get(codename="change_schedule"))
    operators = Group.objects.get(name="operator")
    page = f"{USERS}{newcomer.pk}/change/"
    assert client.post(page, form_of(newcomer, groups=[operators.pk])).status_code == 302
    assert list(newcomer.groups.all()) == [operators]
    assert "not one of the available choices" in text_of(client.post(page, form_of(newcomer, groups=[more.pk])))


def test_an_administrator_makes_no_superuser_and_gives_no_single_rights() -> None:
    user = person("administrator")
    client = browser_of(user)
    anything = Permission.objects.get(codename="change_schedule")
    for other in (user, person()):
        data = form_of(
            other, is_superuser="on", user_permissions=[anything.pk], groups=[*other.groups.values_list("pk")]
        )
        client.post(f"{USERS}{other.pk}/change/", data)
        other.refresh_from_db()
        assert not other.is_superuser
        assert not other.user_permissions.exists()


def test_who_has_more_rights_is_out_of_an_administrators_reach() -> None:
    client = browser_of(person("administrator"))
    root = person(superuser=True)
    special = person("viewer")
    special.user_permissions.add(Permission.objects.get(codename="change_schedule"))
    for other in (root, special):
        assert client.post(f"{USERS}{other.pk}/change/", form_of(other, is_active="")).status_code == 403
        password = {"password1": "correct horse", "password2": "correct horse"}
        assert client.post(f"{USERS}{other.pk}/password/", password).status_code == 403
    assert User.objects.filter(is_active=True).count() == 3


def test_administrators_are_out_of_each_others_reach() -> None:
    user, other = person("administrator"), User.objects.create_user("colleague", is_staff=True)
    other.groups.set(user.groups.all())
    client = browser_of(user)
    password = {"password1": "correct horse battery", "password2": "correct horse battery"}
    for page, data in (("change", form_of(other, email="mine@example.org")), ("password", password)):
        assert client.post(f"{USERS}{other.pk}/{page}/", data).status_code == 403
    groups = [*user.groups.values_list("pk", flat=True)]
    assert client.post(f"{USERS}{user.pk}/change/", form_of(user, groups=groups, first_name="Ada")).status_code == 302
    other.refresh_from_db()
    assert (other.email, other.has_usable_password()) == ("", False)
    root = browser_of(person(superuser=True))
    assert root.post(f"{USERS}{other.pk}/password/", password).status_code == 302


@pytest.mark.parametrize("password", ["7391846205", "colleague1"])
def test_a_password_is_neither_a_number_nor_like_the_name(password: str) -> None:
    other = User.objects.create_user("colleague", is_staff=True)
    page = browser_of(person(superuser=True)).post(
        f"{USERS}{other.pk}/password/", {"password1": password, "password2": password, "usable_password": "true"}
    )
    assert re.search("entirely numeric|too similar to the username", text_of(page))


def test_nobody_is_deleted_for_the_history_would_go_with_them() -> None:
    client = browser_of(person(superuser=True))
    other = person("viewer")
    assert client.post(f"{USERS}{other.pk}/delete/", {"post": "yes"}).status_code == 403
    client.post(USERS, {"action": "delete_selected", "_selected_action": other.pk, "post": "yes"})
    assert User.objects.filter(pk=other.pk).exists()


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_users_are_for_administrators(group: str) -> None:
    assert browser_of(person(group)).get(USERS).status_code == 403


def choices(text: str, name: str) -> dict[str, list[str]]:
    """legend → labels of the check boxes with that name."""
    groups = re.findall(r"<legend>(.*?)</legend>(.*?)</fieldset>", text, re.DOTALL)
    boxes = rf'<label[^>]*><input type="checkbox" name="{name}"[^>]*>\s*(.*?)</label>'
    return {legend: re.findall(boxes, group, re.DOTALL) for legend, group in groups}


@pytest.mark.parametrize(("model", "name"), [("user", "user_permissions"), ("group", "permissions")])
def test_permissions_stand_in_groups_and_in_words(model: str, name: str) -> None:
    person("operator")
    pk = User.objects.get().pk if model == "user" else Group.objects.get(name="operator").pk
    text = text_of(browser_of(person(superuser=True)).get(f"/admin/auth/{model}/{pk}/change/"))
    groups = choices(text, name)
    assert [*groups][:6] == ["Failed &amp; waiting", "Lookups", "Films", "Music", "Tutoring records", "Ingestion"]
    assert {"Data protection", "Users &amp; roles", "Task queue", "Login history"} == {*groups} - {*[*groups][:6]}
    assert "Fix failed records" in groups["Failed &amp; waiting"]
    assert {"View ambiguous lookups", "Choose among ambiguous answers"} < {*groups["Lookups"]}
    assert {"View tutors", "Delete tutors"} < {*groups["Tutoring records"]}
    assert {"View listens", "View artists", "View albums", "View areas"} < {*groups["Music"]}
    ingestion = {"Upload files and post records", "View uploads", "Add API keys", "Pause, resume and run streams"}
    assert ingestion < {*groups["Ingestion"]}
    assert groups["Task queue"] == ["View failed tasks", "View successful tasks"]
    labels = [label for group in groups.values() for label in group]
    assert len(labels) == len(set(labels)) < 80
    for word in ("doorbell", "throttle", "minute stat", "Can ", "|", "session (", "schedule"):
        assert not any(word in label for label in labels), word


def test_permissions_that_are_not_offered_stay() -> None:
    """And saving what was not changed is no change."""
    root = browser_of(person(superuser=True))
    group = Group.objects.get(name="operator")
    before = {*group.permissions.values_list("codename", flat=True)}
    page = f"/admin/auth/group/{group.pk}/change/"
    shown = re.findall(r'name="permissions" value="(\d+)"[^>]* checked', text_of(root.get(page)))
    assert 0 < len(shown) < len(before)
    root.post(page, {"name": "operator", "permissions": shown})
    assert {*group.permissions.values_list("codename", flat=True)} == before
    assert LogEntry.objects.get().change_message == "[]"
    without = [pk for pk in shown if Permission.objects.get(pk=pk).codename != "fix"]
    root.post(page, {"name": "operator", "permissions": without})
    assert before - {*group.permissions.values_list("codename", flat=True)} == {"fix"}


def test_when_somebody_joined_and_logged_in_is_only_shown() -> None:
    other = person("viewer")
    page = f"{USERS}{other.pk}/change/"
    root = browser_of(person(superuser=True))
    text = text_of(root.get(page))
    assert "Date joined" in text and "Last login" in text
    assert 'name="date_joined' not in text and 'name="last_login' not in text
    assert root.post(page, form_of(other)).status_code == 302


# The task queue.


def test_schedules_are_for_superusers() -> None:
    user = person("administrator")
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="django_q"))
    client = browser_of(user)
    schedule = Schedule.objects.create(func="os.getcwd")
    for page in ("schedule/", "schedule/add/", f"schedule/{schedule.pk}/change/", "ormq/"):
        assert client.get(f"/admin/django_q/{page}").status_code == 403
        assert client.post(f"/admin/django_q/{page}", {"func": "os.system"}).status_code == 403
    assert "Scheduled tasks" not in text_of(client.get("/admin/"))
    assert browser_of(person(superuser=True)).get("/admin/django_q/schedule/").status_code == 200


def test_tasks_that_ran_are_only_shown() -> None:
    root = browser_of(person(superuser=True))
    for name in ("success", "failure"):
        assert text_of(root.get(f"/admin/django_q/{name}/"))
        assert root.get(f"/admin/django_q/{name}/add/").status_code == 403
    assert browser_of(person("viewer")).get("/admin/django_q/failure/").status_code == 403
    assert browser_of(person("administrator")).get("/admin/django_q/failure/").status_code == 200


def test_failed_log_ins_have_no_action_that_only_fails() -> None:
    AccessAttempt.objects.create(username="root", failures_since_start=1, user_agent="", http_accept="", path_info="")
    text = text_of(browser_of(person(superuser=True)).get("/admin/axes/accessattempt/"))
    assert "root" in text
    assert "cleanup_expired_attempts" not in text
