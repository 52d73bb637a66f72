"""Whatever clients send is shown harmless, in every place of the admin where held records are told of."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from enrichment.models import HeldRecord
from ingestion.streams import all_streams, get
from ingestion.validation import key_of
from tests.held import hold, valid, wait
from tests.held_pages import ALL, DEAD, WAITING, confirm
from tests.hostile import INVISIBLE, MARKUP, assert_harmless
from tests.people import text_of

pytestmark = pytest.mark.django_db


KEYS = [f"<script>x</script>{INVISIBLE}", "\u202egnp.exe", "<img src=x>\"'><b>", "W" * 64, "\u0416" * 64]


def hostile(key: str, **fields: Any) -> HeldRecord:
    """A dead letter that is hostile in all that a client decides about."""
    text = MARKUP + INVISIBLE
    payload = {"tutor_id": key, "name": f"{text}\0\ud800", text: {text: [text]}, "email": text, "subjects": [text]}
    told = {f"email{text}"[:100]: [text, "x" * 1000], "record": [text]}
    record = hold(payload, key=key, messages=told, client=f"user:{text}"[:200], **fields)
    record.failures.create(
        delivery=record.delivery_id,
        stage="enrich",
        code="enrich_error",
        messages=told,
        code_version="1",
        traceback=text,
    )
    return record


@pytest.mark.parametrize("key", KEYS, ids=["markup", "bidi", "image", "wide", "cyrillic"])
def test_lists_pages_and_confirmations_are_harmless(operator: Client, key: str) -> None:
    record = hostile(key)
    waiting = wait(missing_key=key, missing_stream="tutors", key=key, client=record.client)
    query = {
        "client": record.client,
        "message": MARKUP + INVISIBLE,
        "missing_stream": MARKUP + INVISIBLE,
        "missing_key": key,
        "q": key,
    }
    wait_page = f"{WAITING}{waiting.pk}/change/"
    for page in (DEAD, ALL, WAITING, f"{WAITING}missing/", f"{DEAD}{record.pk}/change/", wait_page):
        assert_harmless(text_of(operator.get(page)))
    assert_harmless(text_of(operator.get(f"{DEAD}{record.pk}/fix/")))
    for name, value in query.items():
        if name != "q":
            assert_harmless(text_of(operator.get(ALL, {name: value})))
    for action in ("reprocess", "discard"):
        assert_harmless(text_of(operator.post(DEAD, {"action": action, "_selected_action": [record.pk]})))
    page = f"{WAITING}?{operator.get(WAITING, {'missing_key': key}).request['QUERY_STRING']}"
    asked = {"action": "reprocess", "select_across": "1", "_selected_action": "0"}
    assert_harmless(text_of(operator.post(page, asked)))


@pytest.mark.parametrize("key", KEYS, ids=["markup", "bidi", "image", "wide", "cyrillic"])
def test_the_title_and_the_way_back_name_it_plainly(operator: Client, key: str) -> None:
    record = hostile(key)
    for page in ("change", "fix"):
        text = text_of(operator.get(f"{DEAD}{record.pk}/{page}/"))
        head = text[text.index("<title>") : text.index("</title>")]
        way = text[text.index('<div class="breadcrumbs">') : text.index('id="content"')]
        for part in (head, way):
            assert all(character.isprintable() or character == "\n" for character in part)


@pytest.mark.parametrize("key", KEYS, ids=["markup", "bidi", "image", "wide", "cyrillic"])
def test_the_history_and_the_message_after_an_action_are_harmless(operator: Client, key: str) -> None:
    record = hostile(key)
    confirm(operator, DEAD, {"action": "reprocess", "_selected_action": [record.pk]})
    assert_harmless(text_of(operator.get(f"{DEAD}{record.pk}/change/")))
    HeldRecord.objects.filter(pk=record.pk).update(queued_in=None)
    confirm(operator, DEAD, {"action": "discard", "_selected_action": [record.pk]}, reason=MARKUP + INVISIBLE)
    assert LogEntry.objects.exists()
    for entry in LogEntry.objects.all():
        assert entry.object_repr.isprintable(), entry.object_repr
    for page in (f"{ALL}{record.pk}/change/", "/admin/", "/admin/enrichment/bulkaction/"):
        assert_harmless(text_of(operator.get(page)))


def test_what_a_person_types_comes_back_harmless(operator: Client) -> None:
    record = hold()
    typed = f'{{"name": "{MARKUP}'
    text = text_of(operator.post(f"{DEAD}{record.pk}/fix/", {"payload": typed, "payload_version": "0", "_check": "x"}))
    assert_harmless(text)
    assert "&lt;/textarea&gt;" in text


@pytest.mark.parametrize("characters", [100_000, 1_000_000])
def test_a_megabyte_of_text_makes_no_long_page(operator: Client, characters: int) -> None:
    text = "<b>" * (characters // 3)
    record = hold(valid(name=text, email=text), messages={"name": [text[:500]] * 10})
    for page in (DEAD, f"{DEAD}{record.pk}/change/"):
        shown = text_of(operator.get(page))
        assert len(shown) < 300_000
        assert "<b>" not in shown


def test_of_a_huge_payload_only_the_start_is_read(operator: Client, django_assert_num_queries: Any) -> None:
    record = hold("[" + "1," * 3_000_000 + "1]", original_payload="[" + "2," * 3_000_000 + "2]")
    ContentType.objects.get_for_model(HeldRecord)  # from now on it is in memory
    with django_assert_num_queries(19) as queries:
        text = text_of(operator.get(f"{DEAD}{record.pk}/change/"))
    assert "5,980,003 more characters" in text
    assert len(text) < 400_000
    for query in queries.captured_queries:
        if query["sql"].startswith('INSERT INTO "enrichment_dataaccess"'):  # who has looked
            continue
        columns = re.sub(r"(LEFT|OCTET_LENGTH|SUBSTR|LENGTH)\([^)]*\)", "", query["sql"].split(" FROM ")[0])
        assert "payload" not in columns.replace("payload_version", "")


@pytest.mark.parametrize("stream", [stream.name for stream in all_streams()])
def test_the_id_of_a_record_with_endless_accents_is_computed_at_once(stream: str) -> None:
    """To compose a run of a million takes hours: the time grows with its square."""
    example = get(stream).example
    accents = "a" + "\u0315\u0300" * 500_000
    payload = {name: accents if isinstance(value, str) else value for name, value in example.items()}
    kept = {name: example[name] for name in ("kind", "played_at") if name in example}
    for others in ({}, dict.fromkeys(("letterboxd_uri", "track_id"))):
        assert key_of(get(stream), {**payload, **kept, **others}) != accents
