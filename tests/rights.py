"""Who may do what: observed at every address, for every action of a list, and compared with docs/rights.md.

Views are called without middleware, and what they answer is not rendered: that is not the question here.
A test that fails prints the rows that the table lacks, to be read before they are added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from django.urls import NoReverseMatch, URLPattern, get_resolver, resolve, reverse
from django.utils import timezone

from enrichment.lookups.models import ProviderState
from tests.admin_pages import _name, addresses
from tests.api import new_key
from tests.held import hold, valid, wait
from tests.lookups import ask, doubt, oracle, person_of, registered
from tests.people import person
from tests.records import send, work_off
from tutoring.tests.factories import session, student, tutor

STAFF = ("nobody", "viewer", "operator", "administrator", "superuser")
"""Nobody is a member of staff without a permission."""
KEYS = ("key that reads", "key that ingests", "key of another stream")
ROLES = ("anonymous", *STAFF, *KEYS)
YES, NO = "yes", ""
OF_DJANGO = {"login", "logout", "jsi18n", "autocomplete", "view_on_site", "app_list"}
DOES = re.compile(
    "_(choose|pause|resume|run|fix|refresh|add|delete|now|replace|revoke|password_change|forget|rules"
    "|person|archive|erase|lift)$"
)
"""Names of addresses at which something is done by a post."""
ANY_ID = (("tutors",), ("oracle",), ("1",), ("0" * 64,))


@dataclass(frozen=True)
class Visitor:
    user: Any = field(default_factory=AnonymousUser)
    key: str = ""


@dataclass(frozen=True)
class Place:
    """One row of the table: something to open or to do."""

    label: str
    method: str
    path: str
    action: str = ""
    """Of a list; empty: the address itself."""
    model_admin: Any = None

    def may(self, visitor: Visitor) -> bool:
        if self.action:
            request = request_of(visitor, "GET", self.path)
            return visitor.user.is_authenticated and self.action in self.model_admin.get_actions(request)
        return status(visitor, self.method, self.path) not in (401, 403, 405)


@contextmanager
def a_row_of_everything() -> Iterator[None]:
    """Of what a page is about."""
    send("tutors", tutor(tutor_id="T-1"))
    send("students", student(student_id="S-1"))
    send("sessions", session(session_id="X-1", tutor_id="T-1", student_id="S-1"))
    work_off()
    hold(), wait(), hold(valid("tutors"))
    person("administrator")
    ask(failures=1, due_at=timezone.now() + timedelta(hours=1))
    doubt(person_of(1))
    ProviderState.objects.create(provider="oracle", stopped_at=timezone.now())
    with registered(oracle()):
        yield


def visitors() -> dict[str, Visitor]:
    known = User.objects.in_bulk(field_name="username")
    groups = {name: Visitor(known.get(name) or person(name)) for name in ("viewer", "operator", "administrator")}
    keys = (new_key(can_ingest=False), new_key(can_read=False), new_key(streams=["feedback"]))
    return {
        "anonymous": Visitor(),
        "nobody": Visitor(person()),
        **groups,
        "superuser": Visitor(person(superuser=True)),
        **{name: Visitor(key=key) for name, key in zip(KEYS, keys, strict=True)},
    }


def with_permissions(names: Iterable[str]) -> Visitor:
    """A member of staff with just these."""
    user = User.objects.filter(username="single").first() or User.objects.create_user("single", is_staff=True)
    user._perm_cache = user._user_perm_cache = set(names)  # type: ignore[attr-defined]
    return Visitor(user)


def all_permissions() -> list[str]:
    found = Permission.objects.values_list("content_type__app_label", "codename").order_by("pk")
    return [f"{app}.{code}" for app, code in found]


def needed(place: Place) -> str:
    """Permissions without any of which it is closed, found by leaving out ever fewer at once."""
    names = sorted(all_permissions(), key=lambda name: ".view_" not in name)  # those are tried last
    if place.may(with_permissions([])):
        return ""
    if not place.may(with_permissions(names)):
        return "superusers"
    for size in (64, 16, 4, 1):
        for start in range((len(names) - 1) // size * size, -1, -size):
            fewer = names[:start] + names[start + size :]
            if place.may(with_permissions(fewer)):
                names = fewer
    return " ".join(f"`{name}`" for name in names)


# Where one can go.


def places() -> Iterator[Place]:
    yield from admin_places()
    yield from other_places()


def admin_places() -> Iterator[Place]:
    for name in addresses():
        if name not in OF_DJANGO:
            path = path_of(name)
            for method in ("GET", "POST") if DOES.search(name) else ("GET",):
                yield Place(f"{method} {pattern_of(resolve(path).route)}", method, path)
    request = request_of(Visitor(User(is_superuser=True, is_staff=True, is_active=True)), "GET", "/")
    for model, model_admin in admin.site._registry.items():
        path = path_of(f"{_name(model)}_changelist")
        for action in model_admin.get_actions(request):
            yield Place(f"{action} in {path}", "POST", path, action, model_admin)


def path_of(name: str) -> str:
    """Of an address about one row: that of the newest of its model."""
    models = [model for model in admin.site._registry if name.startswith(f"{_name(model)}_")]
    rows = [row for model in models if (row := model._default_manager.order_by("pk").last())]
    for arguments in ((), *((quote(row.pk),) for row in rows), *ANY_ID):
        try:
            return reverse(f"admin:{name}", args=arguments)
        except NoReverseMatch:
            continue
    raise AssertionError(f"No row is known for the address {name}.")


def other_places() -> Iterator[Place]:
    for route in routes(get_resolver().url_patterns):
        path = "/" + re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]*>", "1", route)
        for method in ("GET", "POST"):
            yield Place(f"{method} {pattern_of(route)}", method, path.replace("/?", "").replace("\\", ""))


def routes(patterns: Iterable[Any], before: str = "") -> Iterator[str]:
    """Of all addresses but those of the admin, and what answers that there is nothing."""
    for pattern in patterns:
        route = before + str(pattern.pattern).removeprefix("^").removesuffix("$")
        if isinstance(pattern, URLPattern):
            if not route.startswith("admin") and "(?:" not in route:
                yield route
        elif not route.startswith("admin"):
            yield from routes(pattern.url_patterns, route)


def pattern_of(route: str) -> str:
    return "/" + re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]*>", "…", route).replace("/?", "").replace("\\", "")


def status(visitor: Visitor, method: str, path: str) -> int:
    """403 also for what leads elsewhere: then it is that address that matters. What a post has done is undone."""
    found = resolve(path)
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]  # blocks that have to be the outermost ones may be within it
    try:
        with block:
            response = found.func(request_of(visitor, method, path), *found.args, **found.kwargs)
            transaction.set_rollback(True)
    except PermissionDenied:
        return 403
    except Http404:
        return 404  # it is looked for behind the question who may
    except BadRequest:
        return 400
    leads_elsewhere = method == "GET" and response.status_code in (301, 302)
    return 403 if leads_elsewhere else 401 if is_login(response) else int(response.status_code)


def is_login(response: Any) -> bool:
    return response.status_code == 302 and "/login/" in response["Location"]


def request_of(visitor: Visitor, method: str, path: str) -> HttpRequest:
    headers = {"authorization": f"Api-Key {visitor.key}"} if visitor.key else {}
    data = b"[]" if method == "POST" and "/admin/" not in path else b""
    request = RequestFactory().generic(method, path, data, "application/json", headers=headers)
    request.user, request.session = visitor.user, {}  # type: ignore[assignment]
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    return request


# The table.


def observed() -> dict[str, list[str]]:
    """Label → a cell for each role; without what nobody may."""
    people = visitors()
    found = {}
    for place in places():
        cells = [YES if place.may(people[role]) else NO for role in ROLES]
        if any(cells):
            found[place.label] = cells
    return found


def rows_of(document: str) -> dict[str, list[str]]:
    """Of the table: label → its cells, the last one with permissions."""
    lines = [line for line in document.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def line_of(label: str, cells: Iterable[str], permissions: str) -> str:
    return f"| `{label}` | {' | '.join([*cells, permissions])} |".replace("|  |", "| |").replace("|  |", "| |")
