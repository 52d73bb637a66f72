"""Nobody sees a name, an e-mail address or a free text without the permission: wherever one may be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from enrichment.models import DataAccess, HeldRecord
from ingestion.models import Upload
from ingestion.streams import all_readables, all_streams, get
from ingestion.subjects.masking import MASK
from tests.admin_pages import fetch, links, pages
from tests.files import csv_of, streamed
from tests.marked import MARK, api_paths, made, mark, marked_rows
from tests.people import browser_of, person
from tests.records import send, stored, work_off
from tutoring.tests.factories import feedback, student, tutor

OF_ROWS = re.compile("_(change|export|rejected|missing)(, format)?$")
"""Of the links on a page those that lead to rows, one by one or all of them."""
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    marked_rows(monkeypatch)


def lowered(response: Any) -> str:
    """All of an answer: its headers and its body."""
    body = streamed(response) if response.streaming else response.content
    return f"{dict(response.items())}\n{body.decode('utf-8', 'replace')}".lower()


def everything(client: Client) -> Iterator[tuple[str, str]]:
    """(address, what it answers): of the admin each page that this person may open, each filter of each list, and every
    row and file that is linked to; of the API all lists, rows and files.
    """
    seen: set[Any] = set()
    waiting = [page for page in pages(client) if not page.kind.endswith("two filters")]
    while waiting:
        page = waiting.pop(0)
        place = (page.kind, *_asked(page.path), page.posted) if page.kind.endswith(", a filter") else page.path
        if (place, page.posted) in seen:
            continue
        seen.add((place, page.posted))
        text = lowered(fetch(client, page))
        yield page.path, text
        waiting += [link for link in links(page, text) if OF_ROWS.search(link.kind)] if page.posted is None else []
    for path in api_paths():
        yield path, lowered(client.get(path))
        if "format=" not in path:
            yield f"{path} in the browser", lowered(client.get(path, headers={"accept": "text/html"}))


def _asked(path: str) -> tuple[str, ...]:
    """The parameters of an address: of a filter one value is as good as another."""
    return tuple(sorted(parse_qs(urlsplit(path).query)))


def test_a_viewer_finds_no_mark_wherever_and_an_operator_every_one(rows: None) -> None:
    found: dict[str, list[str]] = {}
    for path, text in everything(browser_of(person("viewer"))):
        if MARK in text:
            found[path] = [each for each in made() if each in text]
    assert found == {}
    left = set(made())
    for _, text in everything(browser_of(User.objects.get(username="operator"))):
        left -= {each for each in left if each in text}
        if not left:
            break
    assert left == set()


def answers(client: Client, path: str, *values: str) -> set[str]:
    """What is answered to each value, without the value itself: one answer, if they tell nothing of each other."""
    found = set()
    for value in values:
        response = client.get(path.format(value))
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            text = str(list(context["cl"].result_list))
        elif "query_text" in context:
            text = str([context.get(name) for name in ("in_lists", "stored", "held", "deliveries", "is_found")])
        else:
            text = re.sub(r'"timestamp":"[^"]*"', "", response.content.decode())
        found.add(f"{response.status_code} {re.sub(value, '', text, flags=re.IGNORECASE)}")
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/admin/tutoring/tutor/?q={}",
        "/admin/tutoring/tutor/?name={}",
        "/admin/tutoring/tutor/?name__startswith={}",
        "/admin/enrichment/deadletter/?q={}",
        "/admin/find/?q={}",
        "/admin/find/?q=tutor+{}",
        "/api/tutors?search={}",
        "/api/tutors?name={}",
        "/api/tutors?ordering={}",
        "/api/feedback?free_text_feedback={}",
        "/api/feedback?improvement_areas={}",
        "/api/feedback?search={}",
        "/api/movies?tags={}",
        "/api/entries?search={}",
        "/api/tutors/{}",
    ],
)
def test_a_viewer_cannot_find_out_by_asking(path: str) -> None:
    send("tutors", tutor(name="Qada", email="qada@example.com"))
    send("students", student())
    send("sessions", get("sessions").example)
    send("feedback", feedback(free_text_feedback="Qada", improvement_areas=["Qada"]))
    send("entries", {**get("entries").example, "library": "L", "title": "Heat", "tags": ["Qada"], "review": "Qada"})
    assert len(answers(browser_of(person("viewer")), path, "Qada", "Qeve")) == 1


def test_who_may_see_them_searches_and_filters_by_them() -> None:
    send("tutors", tutor(name="Ada", email="ada@example.com"))
    operator = browser_of(person("operator"))
    assert "ada@example.com" in lowered(operator.get("/api/tutors?name=Ada"))
    assert operator.get("/admin/tutoring/tutor/?q=ada").context["cl"].result_count == 1
    viewer = browser_of(person("viewer"))
    assert viewer.get("/api/tutors?name=Ada").status_code == viewer.get("/api/tutors?warnings=x").status_code == 403
    assert viewer.get("/api/tutors?status=active").json()["results"][0]["email"] == MASK
    assert "email" not in viewer.get("/admin/tutoring/tutor/").context["cl"].search_help_text


@pytest.mark.parametrize("path", ["/admin/tutoring/tutor/export/?format=csv", "/api/tutors?format=csv"])
def test_a_masked_export_overwrites_nothing(path: str) -> None:
    send("tutors", tutor(name="Ada"))
    exported = streamed(browser_of(person("viewer")).get(path))
    assert MASK in exported.decode() and "Ada" not in exported.decode()
    later = exported.replace(b"2025-02-28", b"2025-03-01")
    operator = browser_of(person("operator"))
    assert operator.generic("POST", "/api/uploads?stream=tutors&missing=clear", later, "text/csv").status_code == 201
    work_off()
    assert stored("tutors", tutor()["tutor_id"]).name == "Ada"
    [dead] = HeldRecord.objects.all()
    assert dead.messages["name"] == ["must be the value itself, not a mask from an export"]


def test_rejected_rows_that_were_masked_are_rejected_again() -> None:
    operator = browser_of(person("operator"))
    path, bad = "/api/uploads?stream=students&missing=clear", csv_of([student(name="Ada", age=1)])
    assert operator.generic("POST", path, bad, "text/csv").status_code == 201
    work_off()
    pk = Upload.objects.get().pk
    rows = streamed(browser_of(person("viewer")).get(f"/api/uploads/{pk}/errors"))
    assert "must be at least 3" in rows.decode() and "got" not in rows.decode()
    assert operator.generic("POST", path, rows.replace(b",1,", b",11,"), "text/csv").status_code == 201
    work_off()
    assert stored("students", student()["student_id"]) is None
    assert HeldRecord.objects.dead().count() == 2


@pytest.mark.parametrize("stream", [stream.name for stream in all_streams()])
@pytest.mark.parametrize("value", [MASK, [MASK]])
def test_a_mask_is_refused_in_every_field(stream: str, value: Any) -> None:
    for name in get(stream).schema.model_fields:
        delivery = send(stream, {**get(stream).example, name: value}, keep_invalid=True)
        assert delivery.held == 1, name


@pytest.mark.parametrize(
    "mask",
    [
        MASK.encode().decode("cp1252"),
        MASK.encode("cp1252").decode("latin-1"),
        MASK.encode("ascii", "replace").decode(),
        MASK.encode().decode("mac_roman"),
        f" {MASK.replace(' ', '  ')} ",
    ],
)
def test_a_mask_is_known_after_a_spreadsheet_has_read_it_wrong(mask: str) -> None:
    assert send("students", student(name=mask), keep_invalid=True).held == 1


def test_a_list_with_a_mask_is_refused_and_words_that_are_like_one_are_not() -> None:
    entry = {**get("entries").example, "library": "L", "title": "Heat"}
    assert send("entries", {**entry, "tags": [MASK, "cinema"]}, keep_invalid=True).held == 1
    assert (
        send("entries", {**entry, "tags": ["hidden", "... hidden gem", "the hidden"], "review": "A a a hidden"}).held
        == 0
    )


def test_a_refresh_by_who_sees_no_comments_computes_with_them() -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", get("sessions").example)
    send("feedback", feedback(free_text_feedback="Good.", improvement_areas=["pace"]))
    user = person("viewer")
    user.user_permissions.set(Permission.objects.filter(codename="refresh"))
    key, browser = feedback()["feedback_id"], browser_of(user)
    before = vars(stored("feedback", key)).copy()
    assert browser.post(f"/admin/tutoring/feedback/{key}/refresh/").status_code == 302
    after = vars(stored("feedback", key))
    assert {name: after[name] for name in before if name not in ("_state", "stored_at")} == {
        name: before[name] for name in before if name not in ("_state", "stored_at")
    }


def test_fixing_takes_the_permission_and_a_look_alone_does_not() -> None:
    user = person("viewer")
    user.user_permissions.set(Permission.objects.filter(codename="fix"))
    record = send("tutors", tutor(age=7, name="Ada"), keep_invalid=True).held_records.get()
    page = f"/admin/enrichment/deadletter/{record.pk}"
    browser = browser_of(user)
    assert browser.get(f"{page}/fix/").status_code == 403
    assert MASK.lower() in lowered(browser.get(f"{page}/change/"))
    user.user_permissions.set(Permission.objects.filter(codename__in=["fix", "view_personal_data"]))
    browser = browser_of(User.objects.get(pk=user.pk))
    assert "ada" in lowered(browser.get(f"{page}/fix/"))


def test_what_is_personal_is_said_once_and_can_be_masked() -> None:
    for readable in all_readables():
        columns = {field.attname: field for field in readable.model._meta.concrete_fields}
        for name in readable.personal:
            assert columns[name].get_internal_type() in ("CharField", "TextField", "JSONField"), (readable.name, name)
            assert name != readable.key
    for stream in all_streams():
        assert set(stream.subject.names if stream.subject else ()) <= set(stream.personal)


def test_what_somebody_searched_for_is_masked_in_the_history() -> None:
    DataAccess.objects.create(kind="export", by="user:eve", what="tutors", query={"name": mark("asked")}, format="csv")
    user = person("viewer")
    user.user_permissions.set(Permission.objects.filter(codename="view_dataaccess"))
    assert MARK not in lowered(browser_of(user).get("/admin/enrichment/dataaccess/"))


def test_an_archive_of_a_person_takes_the_permission_and_erasure_alone_does_not() -> None:
    send("students", student(name="Ada"))
    user, who = person("viewer"), {"kind": "student", "key": student()["student_id"]}
    user.user_permissions.set(Permission.objects.filter(codename="erase_subjects"))
    browser, page = browser_of(user), "/admin/enrichment/erasure/person/"
    assert browser.post(f"{page}archive/", who).status_code == 403
    found = lowered(browser.post(page, who))
    assert "download archive" not in found and "erase" in found and "ada" not in found
    user.user_permissions.set(Permission.objects.filter(codename__in=["erase_subjects", "view_personal_data"]))
    browser = browser_of(User.objects.get(pk=user.pk))
    assert "download archive" in lowered(browser.post(page, who))
    assert browser.post(f"{page}archive/", who).status_code == 200
