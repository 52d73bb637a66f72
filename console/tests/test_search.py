"""One box finds a record wherever it is, and shows nobody what they may not see."""

import json
import re
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from console import search
from enrichment.models import BulkAction, HeldRecord
from ingestion import control
from ingestion.models import Delivery, Upload
from tests.held import hold, key_named, valid, wait
from tests.people import browser_of, person, text_of
from tests.records import deliver, send

pytestmark = pytest.mark.django_db

FIND = "/admin/find/"


def found(client: Client, question: str) -> str:
    return text_of(client.get(FIND, {"q": question}))


def links(text: str) -> set[str]:
    """Where the sections of what was found lead to."""
    main = text[text.index('id="content-main"') : text.index('id="footer"')]
    return set(re.findall(r'href="/admin/([^"]*)"', main))


def with_rights(*names: str) -> Client:
    user = person()
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return browser_of(User.objects.get(pk=user.pk))


def an_upload() -> Upload:
    return Upload.objects.create(stream="tutors", client="user:ann", name="a.csv", format="csv", size=1, sha256="x")


@pytest.mark.parametrize(
    "question",
    [
        "4711",
        "session 4711",
        "sessions 4711",
        " SESSION  4711 ",
        "where is session 4711?",
        "Where is 4711",
        "sessions: 4711",
        "Session:4711",
        "tutoring",
    ],
)
def test_it_finds_what_is_stored_over_all_streams(viewer: Client, question: str) -> None:
    send("tutors", valid(tutor_id="4711"), valid(tutor_id="T-1001"))
    send("students", valid("students"))
    delivery = send("sessions", valid("sessions", session_id="4711"))
    leads = links(found(viewer, question))
    session = {"tutoring/tutoringsession/4711/change/", f"ingestion/delivery/{delivery.pk}/change/"}
    if question == "tutoring":
        assert not leads & session
        return
    assert session <= leads
    assert ("tutoring/tutor/4711/change/" in leads) is ("session" not in question.lower())


@pytest.mark.parametrize("question", ["s1-0042", "S1-0042", "tutors: s1-0042", "tutor S1-0042"])
def test_the_case_of_an_id_does_not_matter(viewer: Client, question: str) -> None:
    send("tutors", valid(tutor_id="S1-0042"))
    assert "tutoring/tutor/S1-0042/change/" in links(found(viewer, question))


@pytest.mark.parametrize("question", ["Ada@Example.org", "lovelace", "tutor lovelace", "S1-00"])
def test_a_record_is_found_by_name_email_and_part_of_its_id(operator: Client, question: str) -> None:
    send("tutors", valid(tutor_id="S1-0042", name="Ada Lovelace", email="ada@example.org"))
    send("tutors", valid(tutor_id="S1-0100", name="Grace Hopper", email="grace@example.org"))
    assert {link for link in links(found(operator, question)) if "/change/" in link} == {
        "tutoring/tutor/S1-0042/change/"
    }


def test_a_name_that_many_have_leads_to_the_list(operator: Client) -> None:
    send("tutors", *(valid(tutor_id=f"T-{number}", name="Ada") for number in range(search.MAX_IN_LIST + 1)))
    assert "tutoring/tutor/?q=ada" in links(found(operator, "ada"))
    assert "tutoring/tutor/?q=ada" in links(found(operator, "tutors: ada"))
    assert not any("/change/" in link for link in links(found(operator, "students: ada")))


def test_an_api_key_is_found_by_prefix_and_name() -> None:
    key = key_named("Northern schools")
    page = f"ingestion/apikey/{key.prefix}/change/"
    administrator = browser_of(person("administrator"))
    for question in (f"key {key.prefix}", f"key:{key.client}", f"API key {key.prefix}", key.prefix, "northern schools"):
        assert page in links(found(administrator, question)), question
    assert page not in links(found(browser_of(person("viewer")), key.prefix))


def test_a_dead_letter_leads_to_its_list(viewer: Client) -> None:
    dead, waiting, done = hold(key="T-1"), wait(key="T-1"), hold(key="T-1", status="resolved", resolved_by=7)
    leads = links(found(viewer, "T-1"))
    assert f"enrichment/deadletter/{dead.pk}/change/" in leads
    assert f"enrichment/waitingrecord/{waiting.pk}/change/" in leads
    assert f"enrichment/heldrecord/{done.pk}/change/" in leads


def test_a_delivery_that_is_no_longer_kept_is_named_without_a_link(viewer: Client) -> None:
    delivery = send("tutors", valid(tutor_id="4711"))
    Delivery.objects.all().delete()
    text = found(viewer, "4711")
    assert f"delivery {delivery.pk}" in text
    assert links(text) == {"tutoring/tutor/4711/change/"}


def test_a_key_that_begins_like_a_stream_is_found(viewer: Client) -> None:
    send("tutors", valid(tutor_id="session 4711"))
    assert "tutoring/tutor/session%204711/change/" in links(found(viewer, "session 4711"))


def test_it_finds_held_records_those_that_are_open_first(viewer: Client) -> None:
    waiting = wait(key="4711")
    dead = hold(key="4711")
    closed = hold(key="4711", status=HeldRecord.Status.RESOLVED)
    hold(key="4712")
    text = found(viewer, "4711")
    pks = re.findall(r'href="/admin/enrichment/(?:deadletter|waitingrecord|heldrecord)/(\d+)/change/"', text)
    assert pks == [str(held.pk) for held in (dead, waiting, closed)]
    assert "email: value is not a valid email address" in text
    assert f"enrichment/waitingrecord/{waiting.pk}/change/" in links(found(viewer, "session 4711"))
    assert f"enrichment/deadletter/{dead.pk}/change/" not in links(found(viewer, "session 4711"))


def test_of_many_held_records_it_shows_the_newest_and_leads_to_all(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_HELD", 2)
    for _ in range(3):
        hold(key="4711")
    text = found(viewer, "4711")
    assert len(re.findall(r"/deadletter/\d+/change/", text)) == 2
    assert "enrichment/heldrecord/?q=4711" in links(text)
    assert viewer.get("/admin/enrichment/heldrecord/?q=4711").context["cl"].result_count == 3


@pytest.mark.parametrize("key", ["4711", "Zoë \u00fc", 'say "hi" \\ there', "日本"])
def test_it_finds_pending_deliveries_that_hold_the_key(viewer: Client, key: str) -> None:
    deliver("students", valid("students"), valid("students", student_id="P-2"))
    escaped = deliver("tutors", valid(tutor_id=key))
    body = json.dumps([valid("sessions", session_id="S-1", tutor_id=key)], ensure_ascii=False).encode()
    plainly = Delivery.objects.create(stream="sessions", client="key:abc", body=body, size=len(body), count=1)
    deliver("students", valid("students", student_id=f"{key}1"))
    text = found(viewer, key)
    assert links(text) == {f"ingestion/delivery/{delivery.pk}/change/" for delivery in (escaped, plainly)}
    assert "not processed yet" in text
    assert links(found(viewer, f"tutor {key}")) == {f"ingestion/delivery/{escaped.pk}/change/"}


def test_deliveries_name_the_key_that_sent_them(viewer: Client) -> None:
    key = key_named("Acme <importer>")
    delivery = deliver("tutors", valid(tutor_id="4711"))
    Delivery.objects.filter(pk=delivery.pk).update(client=f"key:{key.client}")
    for text in (found(viewer, "4711"), text_of(viewer.get("/admin/ingestion/delivery/"))):
        assert f"Acme &lt;importer&gt; (key:{key.client})" in text


def test_it_searches_the_newest_pending_deliveries_and_says_so(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    old = deliver("tutors", valid(tutor_id="4711"))
    new = deliver("students", valid("students", student_id="4711"))
    assert len(links(found(viewer, "4711"))) == 2
    monkeypatch.setattr(search, "MAX_DELIVERIES", 1)
    text = found(viewer, "4711")
    assert links(text) == {f"ingestion/delivery/{new.pk}/change/"}
    assert "Only the newest 1 pending deliveries were searched" in text
    monkeypatch.setattr(search, "MAX_DELIVERIES", 9)
    monkeypatch.setattr(search, "MAX_BODY_BYTES", old.size)
    Delivery.objects.filter(pk=new.pk).update(size=old.size + 1)
    assert links(found(viewer, "4711")) == {f"ingestion/delivery/{old.pk}/change/"}
    assert "the newest 1 pending delivery" in found(viewer, "4712")


@pytest.mark.parametrize("name", ["delivery", "upload", "bulk action"])
def test_it_finds_deliveries_uploads_and_bulk_actions_by_number(viewer: Client, name: str) -> None:
    things = {
        "delivery": deliver("tutors", valid()),
        "upload": an_upload(),
        "bulk action": BulkAction.objects.create(kind="discard", by="command"),
    }
    app, model = ("enrichment", "bulkaction") if name == "bulk action" else ("ingestion", name)
    number = things[name].pk
    plural = {"delivery": "deliveries"}.get(name, f"{name}s")
    for question in (f"{name} {number}", f"{name.upper()} #{number}", f"{plural} {number}"):
        assert links(found(viewer, question)) == {f"{app}/{model}/{number}/change/"}
    assert (f"{app}/{model}/{number}/change/" in links(found(viewer, str(number)))) is (name != "bulk action")
    text = found(viewer, f"{name} {number + 1000}")
    assert "No matches for" in text and "upper and lower case" not in text
    kept = "" if name == "bulk action" else ", or it has been deleted: retention is 30 d"
    assert f"There is no {name} {number + 1000}{kept}." in text


@pytest.mark.parametrize("question", ["T-9", "tutor T-9"])
def test_a_missing_reference_is_shown_with_what_waits(viewer: Client, question: str) -> None:
    wait(), wait()
    wait(status=HeldRecord.Status.DEAD)
    wait(missing_key="T-8")
    text = found(viewer, question)
    assert "No matches for" not in text
    assert ">2 records</a>" in text and "(2 sessions)" in text
    assert ">1 dead letter</a>" in text
    assert "not received yet" in text
    leads = links(text)
    listed = [lead for lead in leads if "missing_key=T-9" in lead and "missing_stream=tutors" in lead]
    assert {lead.partition("?")[0] for lead in listed} == {"enrichment/waitingrecord/", "enrichment/deadletter/"}
    [waiting] = [lead.replace("&amp;", "&") for lead in listed if "waitingrecord" in lead]
    assert viewer.get(f"/admin/{waiting}").context["cl"].result_count == 2
    assert "No matches for" in found(viewer, "student T-9")
    assert "No matches for" in found(with_rights("view_tutor"), question)


def test_a_pending_delivery_of_a_paused_stream_says_who_paused_it(viewer: Client) -> None:
    delivery = deliver("tutors", valid(tutor_id="4711"))
    control.pause("students", by="user:bob", reason="not this one")
    assert "is paused" not in found(viewer, "4711")
    control.pause("tutors", by="user:ann", reason="<b>the schema changes</b>")
    for question in ("4711", f"delivery {delivery.pk}"):
        text = found(viewer, question)
        assert "Stream tutors is paused by user:ann" in text
        assert "&lt;b&gt;the schema changes&lt;/b&gt;" in text
        assert "user:bob" not in text


def test_a_row_that_failed_first_says_so(viewer: Client) -> None:
    send("sessions", valid("sessions", session_id="4711"))
    held = HeldRecord.objects.get()
    for stream in ("tutors", "students"):
        send(stream, valid(stream))
    held.refresh_from_db()
    assert held.status == "resolved"
    text = found(viewer, "4711")
    leads = {f"enrichment/heldrecord/{held.pk}/change/", f"ingestion/delivery/{held.resolved_by}/change/"}
    assert "failed at first" in text and "fixed" not in text
    assert leads <= links(text)
    unseeing = found(with_rights("view_tutoringsession", "view_delivery"), "4711")
    assert "failed at first" not in unseeing and str(held.resolved_by) != str(held.delivery_id)


def test_nothing_found_says_where_it_looked_and_what_to_try(viewer: Client) -> None:
    deliver("tutors", valid())
    text = found(viewer, "Ada & Co")
    assert "No matches for “Ada &amp; Co”" in text
    for part in ("tutors, students, sessions", "failed records", "1 pending delivery", "as it was sent"):
        assert part in text
    assert "tutoring/tutor/?q=Ada%20%26%20Co" in links(text)


def test_an_empty_search(viewer: Client) -> None:
    for question in ("", "   ", "where is ?"):
        text = found(viewer, question)
        assert "No matches for" not in text
        assert 'name="q"' in text
    assert viewer.get(FIND).status_code == 200


HOSTILE = {
    "surrogate": "%ED%A0%80",
    "not UTF-8": "%FF%FE",
    "bidi": quote("\u202e4711\u2066"),
    "markup": quote("<script>alert(1)</script>\"'"),
    "template": quote("{{ 7|add:7 }}{% now %}"),
    "wildcards": "%25_\\",
    "a huge number": "9" * 64,
    "a delivery with a huge number": "delivery%20" + "9" * 18,
    "lines": "a%0Ab%0D",
    "long": "x" * 199,
    "a megabyte": "x" * 1_000_000,
    "a megabyte of escapes": "%E2%80%AE" * 100_000,
}


@pytest.mark.parametrize("question", HOSTILE.values(), ids=HOSTILE)
def test_whatever_is_asked_there_is_a_page(viewer: Client, question: str) -> None:
    deliver("tutors", valid())
    text = text_of(viewer.get(f"{FIND}?q={question}"))
    assert ("No matches for" in text) is (len(question) < 2000)
    assert ("That is too long" in text) is (len(question) > 2000)
    assert len(text) < 60_000
    assert "<script>alert" not in text
    assert not re.search("[\0\u202e\u2066]", text)


def test_nul_is_refused_before_it_comes_here(viewer: Client) -> None:
    text = text_of(viewer.get(f"{FIND}?q=session%20%00"), 400)
    assert "must not contain a NUL" in text


def test_a_hostile_key_is_shown_harmless(viewer: Client) -> None:
    hold(key="<i>\u202e4711")
    text = found(viewer, "<i>\u202e4711")
    assert r"&lt;i&gt;\u202e4711</a>" in text


def test_it_shows_nothing_that_one_may_not_see() -> None:
    send("students", valid("students", student_id="4711"))
    send("tutors", valid(tutor_id="4711"))
    hold(key="4711")
    deliver("sessions", valid("sessions", session_id="4711"))
    tutors = with_rights("view_tutor")
    text = found(tutors, "4711")
    assert links(text) == {"tutoring/tutor/4711/change/"}
    assert "students" not in text[text.index("content-main") :]
    assert "failed records" not in found(tutors, "4712").lower()
    assert "pending deliver" not in found(tutors, "4712")
    assert "/admin/tutoring/student/" not in found(tutors, "4712")


@pytest.mark.parametrize(
    ("right", "leads"),
    [
        ("view_heldrecord", r"enrichment/heldrecord/\d+/change/"),
        ("view_delivery", r"ingestion/delivery/\d+/change/"),
        ("view_upload", r"ingestion/upload/\d+/change/"),
        ("view_bulkaction", r"enrichment/bulkaction/\d+/change/"),
    ],
)
def test_each_kind_has_its_own_right(right: str, leads: str) -> None:
    hold(key="4711")
    Delivery.objects.create(pk=4711, stream="tutors", client="x", body=b"[]", count=1)
    now = timezone.now()
    Upload.objects.create(
        pk=4711, stream="tutors", client="x", name="x", format="csv", size=1, sha256="", created_at=now
    )
    BulkAction.objects.create(pk=4711, kind="discard", by="command")
    client = with_rights(right)
    shown = {link for text in ("4711", "bulk action 4711") for link in links(found(client, text))}
    assert shown
    assert all(re.fullmatch(leads, link) for link in shown)


def test_it_is_closed_to_who_may_see_nothing() -> None:
    nobody = browser_of(person())
    assert nobody.get(FIND, {"q": "4711"}).status_code == 403
    assert 'role="search"' not in text_of(nobody.get("/admin/"))
    assert Client().get(FIND).status_code == 302
    assert browser_of(person("viewer")).post(FIND, {"q": "4711"}).status_code == 405


def test_the_box_is_on_every_page(viewer: Client) -> None:
    for page in ("", "enrichment/deadletter/", "ingestion/delivery/", "tutoring/tutor/", "password_change/", "find/"):
        assert text_of(viewer.get(f"/admin/{page}")).count('class="find') == 1, page
    assert 'role="search"' not in text_of(Client().get("/admin/login/"))


def test_a_text_that_is_no_id_finds_no_pending_delivery(viewer: Client) -> None:
    """Else it would tell that somebody's name has arrived."""
    deliver("tutors", valid(tutor_id="4712", name="Ada Quill"))
    assert viewer.get("/admin/find/?q=4712").context["deliveries"]
    assert not viewer.get("/admin/find/?q=Ada+Quill").context["deliveries"]
