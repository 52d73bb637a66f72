"""Mangled requests to the API: single records, lists and lines, packed or not, with odd headers and options."""

from __future__ import annotations

import gzip
from random import Random
from typing import Any

from fuzz import samples
from fuzz.inputs import Input
from fuzz.mutations import BYTES, TEXTS, dumped, mangled_bytes, mangled_json, mangled_record, nasty_value

NDJSON = "application/x-ndjson"
TYPES = (
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "",
    "application/json; charset=utf-16",
    "x",
)
OPTIONS = (
    "?dry_run=true",
    "?dry_run=maybe",
    "?invalid=refuse",
    "?invalid=",
    "?x=%FF",
    "?dry_run=true&dry_run=false",
    "?%00",
)
HEADERS: tuple[dict[str, str], ...] = (
    *({"Content-Encoding": coding} for coding in ("gzip", "br", "GZIP", "identity", "gzip, gzip", "")),
    *({"Idempotency-Key": key} for key in ("", "x" * 255, "x" * 256, "é", "a b", "\x7f", "a\tb")),
    *({"Accept": kind} for kind in ("text/html", "application/xml", "*/*;q=0", ";;;", "text/csv")),
    *({"Content-Length": length} for length in ("0", "-1", "1", "99999999", "x", "")),
    *({"Authorization": key} for key in ("", "Api-Key", "Api-Key x.y", "Bearer x", "Api-Key \xff.\xff", "Basic eDp5")),
    {"X-Request-ID": "<script>" * 20},
    {"X-Idempotency-Key": "1"},
    {"Transfer-Encoding": "chunked", "Content-Length": ""},
    {"Content-Type": "application/json; charset=\xff"},
    {"Cookie": "sessionid=\xff; csrftoken=x"},
)
GETS = (
    "page_size=0",
    "page_size=99999999999",
    "cursor=x",
    "cursor=cD0x",
    "ordering=-",
    "fields=",
    "fields=x",
    "format=xlsx",
    "search=%00",
)


def make(chance: Random) -> Input:
    stream = samples.stream_name(chance)
    if chance.random() < 0.04:
        return reading(chance, stream)
    is_batch, is_lines = chance.random() < 0.5, chance.random() < 0.4
    records = [some(chance, stream) for _ in range(chance.choice((1, 2, 5, 12)) if is_batch else 1)]
    lines = [dumped(chance, each) for each in records]
    if is_batch:
        body = chance.choice((b"\n", b"\r\n", b"\n \n")).join(lines) if is_lines else b"[" + b", ".join(lines) + b"]"
    else:
        body = lines[0]
    if chance.random() < 0.2:
        body = mangled_json(chance, body)
    if chance.random() < 0.15:
        body = mangled_bytes(chance, body)
    path = f"/api/{stream}/batch" if is_batch else f"/api/{stream}"
    kind = NDJSON if is_batch and is_lines else "application/json"
    option = "?invalid=dead-letter" if chance.random() < 0.3 else ""
    usual = Input(kind="post", stream=stream, path=path + option, body=body, content_type=kind, is_usual=True)
    return sent_oddly(chance, usual) if chance.random() < 0.25 else usual


def some(chance: Random, stream: str) -> Any:
    """Mostly mangled; the others are to be stored whatever is sent with them."""
    valid = samples.record(chance, stream)
    return valid if chance.random() < 0.3 else mangled_record(chance, stream, valid)


def sent_oddly(chance: Random, usual: Input) -> Input:
    members: dict[str, Any] = vars(usual) | {"is_usual": False}
    kind = chance.randrange(6)
    if kind == 0:
        packed = gzip.compress(usual.body, 1, mtime=0)
        members |= {"headers": {"Content-Encoding": "gzip"}, "is_usual": chance.random() < 0.5}
        members["body"] = packed if members["is_usual"] else mangled_bytes(chance, packed)
    elif kind == 1:
        key = f"key {chance.randrange(10**9)}"
        members |= {"headers": {"Idempotency-Key": key}, "times": 2, "is_usual": True}
    elif kind == 2:
        members["content_type"] = chance.choice(TYPES)
    elif kind == 3:
        members["path"] = usual.path.partition("?")[0] + chance.choice(OPTIONS)
    elif kind == 4:
        members |= {"path": usual.path.replace("/batch", chance.choice(("/", "/batch/", "/x", "//", "/../batch")))}
    else:
        members["headers"] = chance.choice(HEADERS)
    return Input(**members)


def reading(chance: Random, stream: str) -> Input:
    """Rows asked for with odd parameters, and by odd keys."""
    field = chance.choice(list(samples.pool(stream)[0]))
    value = chance.choice((*TEXTS, *map(str, BYTES), str(nasty_value(chance))[:100]))
    queries = (
        f"{field}={_quoted(value)}",
        f"{field}_min={_quoted(value)}",
        f"{field}_after={_quoted(value)}",
        f"search={_quoted(value)}",
        chance.choice(GETS),
    )
    path = f"/api/{stream}/{_quoted(value)}" if chance.random() < 0.3 else f"/api/{stream}?{chance.choice(queries)}"
    return Input(kind="post", method="GET", stream=stream, path=path)


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="", errors="surrogatepass")
