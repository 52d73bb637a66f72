"""Mangled forms of the admin, as a superuser posts them, and addresses of its lists."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from fuzz import files, samples
from fuzz.inputs import FORM, Input, encoded
from fuzz.mutations import (
    NUMBERS,
    TEXTS,
    TIMES,
    UNSTORABLE,
    change_bytes,
    dumped,
    mangled_json,
    mangled_record,
    nasty_value,
)

LISTS = ("deadletter", "waitingrecord", "heldrecord")
PAGES = (
    *("/admin/", "/admin/find/", "/admin/ingestion/delivery/", "/admin/ingestion/upload/", "/admin/ingestion/apikey/"),
    *(
        "/admin/enrichment/heldrecord/",
        "/admin/enrichment/deadletter/export/",
        "/admin/enrichment/waitingrecord/missing/",
    ),
    *(
        "/admin/enrichment/bulkaction/",
        "/admin/enrichment/lookup/",
        "/admin/enrichment/pruning/",
        "/admin/tutoring/tutor/",
    ),
    *("/admin/tutoring/feedback/", "/admin/movies/libraryfilm/", "/admin/music/listen/", "/admin/auth/user/"),
)
PARAMETERS = (
    "q",
    "status",
    "stream",
    "code",
    "message",
    "client",
    "missing_key",
    "held_after",
    "p",
    "o",
    "all",
    "e",
    "key",
    "delivery",
    "_popup",
)
Pairs = list[tuple[str, Any]]


def make(chance: Random) -> Input:
    build: Callable[[Random], Input] = chance.choice(
        (act, act, fix, fix, bulk_fix, upload, key, control, retention, page)
    )
    return build(chance)


def form(chance: Random, path: str, pairs: Pairs, confirm: dict[str, str] | None = None) -> Input:
    """With a field changed, left out, twice or added, or bytes changed."""
    for _ in range(chance.choice((0, 1, 1, 2))):
        at = chance.randrange(len(pairs)) if pairs else 0
        match chance.randrange(4):
            case 0 if pairs:
                pairs[at] = (pairs[at][0], odd_text(chance))
            case 1 if pairs:
                del pairs[at]
            case 2 if pairs:
                pairs.append((pairs[at][0], odd_text(chance)))
            case _:
                pairs.append((chance.choice(("x", "", "_selected_action", "action", "index")), odd_text(chance)))
    body = encoded(pairs)
    if chance.random() < 0.1:
        body = change_bytes(chance, body)
    return Input(kind="form", path=path, body=body, content_type=FORM, confirm=confirm)


def odd_text(chance: Random) -> str:
    return str(chance.choice((*TEXTS, *TIMES, *NUMBERS, *UNSTORABLE, "99999999999999999999", "-1", "1.0", "[]", "{")))


def held(chance: Random) -> str:
    return f"_held{chance.randrange(20)}_"


def choice_of_records(chance: Random) -> Pairs:
    if chance.random() < 0.3:
        return [("select_across", "1"), ("_selected_action", "0")]
    return [("_selected_action", held(chance)) for _ in range(chance.choice((1, 3)))]


def act(chance: Random) -> Input:
    path = f"/admin/enrichment/{chance.choice(LISTS)}/"
    pairs = [("action", chance.choice(("reprocess", "discard"))), *choice_of_records(chance)]
    return form(chance, path, pairs, {"reason": odd_text(chance)} | maybe(chance, "proposal"))


def maybe(chance: Random, name: str) -> dict[str, str]:
    return {name: odd_text(chance)} if chance.random() < 0.2 else {}


def fix(chance: Random) -> Input:
    stream = samples.stream_name(chance)
    record = samples.record(chance, stream)
    payload = dumped(chance, record if chance.random() < 0.5 else mangled_record(chance, stream, record))
    if chance.random() < 0.3:
        payload = mangled_json(chance, payload)
    name, button = chance.choice(list(record)), chance.choice(("_check", "_save", "_reprocess", "_next"))
    pairs: Pairs = [("payload", payload.decode("utf-8", "surrogatepass")), ("payload_version", "0"), (button, "1")]
    if chance.random() < 0.5:
        pairs += [(f"field.{name}", odd_text(chance)), (f"was.{name}", "")]
    return form(chance, f"/admin/enrichment/{chance.choice(LISTS)}/{held(chance)}/fix/", pairs)


def bulk_fix(chance: Random) -> Input:
    stream = samples.stream_name(chance)
    record = samples.record(chance, stream)
    name = chance.choice(list(record))
    value = record[name] if chance.random() < 0.5 else nasty_value(chance)
    pairs = [
        ("action", "fix"),
        *choice_of_records(chance),
        ("stream", stream),
        ("operation", chance.choice(("set", "replace", "remove"))),
        ("field", name),
        ("old", odd_text(chance)),
        ("value", str(value)),
        ("written_as", chance.choice(("text", "json"))),
    ]
    confirm = {"reprocess": "1"} if chance.random() < 0.5 else {}
    return form(chance, f"/admin/enrichment/{chance.choice(LISTS)}/", pairs, confirm)


def upload(chance: Random) -> Input:
    """As a browser sends a file."""
    file = files.make(chance)
    boundary = b"----fuzz"
    fields = {
        "stream": file.stream,
        "again": "on",
        "clear_missing": "on",
        "library": "anna",
        "user_id": "ada",
        "sheet": "",
        "kind": "",
    }
    if chance.random() < 0.3:
        fields[chance.choice(list(fields))] = odd_text(chance)
    if chance.random() < 0.2:
        fields["_preview"] = "1"
    name = chance.choice(
        ("a.csv", "a.json", "a.ndjson", "a.xlsx", "a.zip", "a.parquet", "", "../x", "\u202e.csv", 'a".csv')
    )
    parts = [
        _part(boundary, f'name="{each}"', value.encode("utf-8", "surrogatepass")) for each, value in fields.items()
    ]
    kind = f"\r\nContent-Type: {file.content_type}"
    parts.append(_part(boundary, f'name="file"; filename="{name}"{kind}', file.body))
    body = b"".join(parts) + b"--" + boundary + b"--\r\n"
    if chance.random() < 0.1:
        body = change_bytes(chance, body)
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    return Input(kind="form", path="/admin/ingestion/upload/add/", body=body, content_type=content_type)


def _part(boundary: bytes, disposition: str, body: bytes) -> bytes:
    return b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (boundary, disposition.encode(), body)


def key(chance: Random) -> Input:
    number = f"_key{chance.randrange(3)}_"
    path = chance.choice(("add/", "add/", f"{number}/replace/", f"{number}/revoke/", f"{number}/change/"))
    pairs: Pairs = [
        ("name", f"key {chance.randrange(9)}"),
        ("can_ingest", "on"),
        ("can_read", "on"),
        ("streams", samples.stream_name(chance)),
        ("expiry_date_0", chance.choice(TIMES)),
        ("expiry_date_1", "10:00"),
    ]
    return form(chance, f"/admin/ingestion/apikey/{path}", pairs, {})


def control(chance: Random) -> Input:
    name = samples.stream_name(chance) if chance.random() < 0.9 else quote(odd_text(chance), safe="", errors="replace")
    path = f"/admin/ingestion/pausedstream/{name}/{chance.choice(('pause', 'resume', 'run'))}/"
    return form(chance, path, [("reason", "maintenance")], {})


def retention(chance: Random) -> Input:
    return form(chance, "/admin/enrichment/pruning/now/", [("before", chance.choice(TIMES))], {})


def page(chance: Random) -> Input:
    """A list with an odd address, or the page of a row."""
    if chance.random() < 0.3:
        shown = chance.choice(("change", "fix", "history", "x"))
        path = f"/admin/enrichment/{chance.choice(LISTS)}/{held(chance)}/{shown}/"
    else:
        query = {chance.choice(PARAMETERS): odd_text(chance) for _ in range(chance.choice((1, 2)))}
        path = f"{chance.choice(PAGES)}?{urlencode(query, errors='surrogatepass')}"
    return Input(kind="form", method="GET", path=path, content_type=FORM)
