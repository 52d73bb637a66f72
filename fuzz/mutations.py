"""What is done to bytes, to the structure of JSON, and to values, by chance; the same for the same seed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any

from fuzz.contract import CONTRACTS, LIMITS

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "=cmd|'/C calc'!A0", "\t=1", "a;=1+1", "¬=1", '"=1')
TEXTS = (
    *("", " ", "\u200b", "\ufeff", "null", "NaN", "None", "#REF!", "true", "0", "-", "/", ".", "..", "batch", "%00"),
    *("e\u0301\u0323", "\u202egnp.exe", "👩‍👩‍👧‍👦", "\U0010fffd", "\u2028\u2029\x85"),
    *("Å\u212bA\u030a ﬀ ß İ", "\x1b[31m", "\x7f", "\\N"),
    *("</title></textarea><script>alert(1)</script>", "'; DROP TABLE x; --", "{{ 7*7 }}", "%s %(x)s {0}", "\r\nX: y"),
    *("x" * 50, "x" * 51, "x" * 64, "x" * 65, "x" * 100, "x" * 101, "x" * 255, "x" * 256),
    *("語" * 255, "x" * 5001, "e\u0301" * 64, "ﬃ" * 255),
    *FORMULAS,
)  # fmt: skip
UNSTORABLE = ("\0", "a\0b", "\ud800", "a\udfffb", "\udc00\ud800")
TIMES = (
    *("0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "9999-12-31", "1970-01-01"),
    *("1969-12-31T23:59:59Z", "1970-01-01T00:00:00+00:01", "2099-12-31T23:59:59Z", "2100-01-01", "2024-02-29"),
    *("2023-02-29", "2024-03-10T02:30:00", "2024-01-01T24:00:00Z", "2024-01-01T00:00:60Z", "2024-01-01T00:00:00+16:00"),
    *("2024-01-01t10:00:00z", "2024-01-01 10:00", "2024-01-01T10:00:00.123456789Z", "2024-01-01T10:00:00,5+05:45"),
    *("2024-01-01T10:00:00-15:59", "2024-01-01T10:00:00+00:00:30", "1704067200", "now", "31.12.2024"),
    *("20240101", "2024-W09-4", "12/31/2024 3:30 PM"),
)  # fmt: skip
NUMBERS = (
    *(-1, 0, 1, 2, 3, 5, 6, 10, 11, 18, 17, 60, 61, 100, 101, 120, 121, 300, 301, 9999, 10_000, 2**31 - 1, 2**31),
    *(2**53 - 1, 2**53, 2**63, -(2**63), 10**40, 0.5, 0.25, -0.0, 1e308, 5e-324, 60.0, 4.5, 0.1 + 0.2),
)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
    ["Algebra"],
    ["x"] * 11,
    [1, "1", None],
)
TOKENS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 400,
    "9" * 5000,
    "0x10",
    "01",
    "1.",
    "'a'",
    "tru",
    "[" * 150,
    '"\\ud800"',
    '"\\x"',
)
"""Put in a value's place, as they are: JSON or not."""
BYTES = (
    *(
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\n",
        b"\r",
        b'"',
        b",",
        b";",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(b"\\", b"\x1a", b"\xe2\x80\xa8"),
)
REPLACED = ((b"\n", b"\r\n"), (b"\n", b"\r"), (b",", b";"), (b'"', b""), (b'"', b"'"))


def nasty_value(chance: Random) -> Any:
    kind = chance.randrange(10)
    if kind < 3:
        return chance.choice(TEXTS)
    if kind < 5:
        return chance.choice(TIMES)
    if kind < 8:
        return chance.choice(NUMBERS)
    return chance.choice(UNSTORABLE) if kind == 8 else chance.choice(OTHERS)


def like(chance: Random, value: Any) -> Any:
    """A value of the same type that is near to a limit, or beyond it."""
    match value:
        case bool():
            return not value
        case int() | float():
            return chance.choice(NUMBERS)
        case str() if re.match(r"\d{4}-\d\d", value):
            return chance.choice(TIMES)
        case str():
            return chance.choice((*TEXTS, value.upper(), f" {value} ", value * 40, value + "e\u0301"))
        case list():
            return chance.choice(([*value, *value], value * 6, [*value, chance.choice(TEXTS)], value[:1], [value]))
    return nasty_value(chance)


def mangled_record(chance: Random, stream: str, record: Mapping[str, Any]) -> Any:
    """One to three changes of members and values; rarely no object at all."""
    if chance.random() < 0.02:
        return nasty_value(chance)
    changed = dict(record)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        change_member(chance, stream, changed)
    return changed


def change_member(chance: Random, stream: str, record: dict[str, Any]) -> None:
    fields = CONTRACTS[stream].fields
    name = chance.choice(list(fields) if chance.random() < 0.5 or not record else list(record))
    limits = LIMITS.get(fields[name]) if name in fields else None
    if limits and chance.random() < 0.6:
        record[name] = chance.choice(limits)
        return
    kind = chance.randrange(20)
    if kind < 9:
        record[name] = like(chance, record.get(name))
    elif kind < 13:
        record[name] = nasty_value(chance)
    elif kind < 15:
        record.pop(name, None)
    elif kind == 15:
        record[chance.choice((name.upper(), name + "_", "", "__proto__", "(raw)", "x" * 300, chance.choice(TEXTS)))] = 1
    elif kind == 16:
        record[name] = str(record.get(name)) if not isinstance(record.get(name), str) else [record[name]]
    elif kind == 17:
        record[name] = nested(chance.choice((5, 98, 99, 100, 120)))
    elif kind == 18:
        record |= {chance.choice(TEXTS): nasty_value(chance) for _ in range(chance.randrange(1, 30))}
    else:
        record[name] = None


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def dumped(chance: Random, value: Any) -> bytes:
    """As UTF-8 or as ASCII; what has no UTF-8 as an escape in both."""
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "backslashreplace")


def mangled_json(chance: Random, body: bytes) -> bytes:
    """A value replaced by a token, a member twice, or white space where it may stand."""
    text = body.decode("utf-8", "surrogatepass")
    values = list(re.finditer(r'(?<=: )("[^"\\]*"|-?[0-9.]+|true|false|null)', text))
    if not values:
        return body
    place = chance.choice(values)
    kind = chance.randrange(4)
    if kind == 0:
        text = f"{text[: place.start()]}{chance.choice(TOKENS)}{text[place.end() :]}"
    elif kind == 1:
        text = text.replace("{", '{"name": "first", "updated_at": "2020-01-01", ', 1)
    elif kind == 2:
        text = text[: place.end()] + chance.choice((" \n\t", ",", ", ,", "}", ' "a"')) + text[place.end() :]
    else:
        text = text.replace(": ", chance.choice((":", " : ", ":\n", ":\u00a0")))
    return text.encode("utf-8", "surrogatepass")


def mangled_bytes(chance: Random, body: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 5))):
        body = change_bytes(chance, body)
    return body


def change_bytes(chance: Random, body: bytes) -> bytes:
    at = chance.randrange(len(body) + 1)
    until = min(len(body), at + chance.choice((1, 1, 4, 50)))
    match chance.randrange(8):
        case 0:
            return body[:at] + bytes([chance.randrange(256)]) + body[until:]
        case 1:
            return body[:at] + body[until:]
        case 2:
            return body[:at]
        case 3:
            return body[:at] + chance.choice(BYTES) + body[at:]
        case 4:
            return body[:at] + body[at:until] * chance.choice((2, 3, 100)) + body[until:]
        case 5:
            return chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b" \n", b"\0")) + body
        case 6:
            return body + chance.choice((b"\n", b"\0", b"x", b",", b"]", body[:100]))
        case _:
            return body.replace(
                *chance.choice(((b"\n", b"\r\n"), (b"\n", b"\r"), (b",", b";"), (b'"', b""), (b'"', b"'")))
            )
