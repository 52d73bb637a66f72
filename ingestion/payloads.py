"""Parsing of the bytes that a client sent, and the ASCII JSON in which payloads are stored."""

import gzip
import io
import json
import math
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import msgspec
from isal import isal_zlib
from isal.igzip_lib import IsalError

MAX_DEPTH = 100
MAX_CONTAINERS = 500_000
MAX_VALUES = 2_500_000
MAX_LINES = 1_000_000
"""Of one body. 32 MB of ordinary records have a tenth of them."""
SMALL_BODY = 500_000
LARGE_BODY = 4_000_000
"""Bytes of a body that cannot have as many, and of one that is parsed while no other is."""

_one_large_parse = threading.Lock()


class ParseError(ValueError):
    """The body cannot be read: not UTF-8, not JSON, NaN or Infinity, nested too deep, or not gzip."""


class TooLarge(ValueError):
    """The body exceeds a limit."""


def unpack(body: bytes, limit: int) -> bytes:
    """The contents of a gzip file. Raises TooLarge, before more than `limit` bytes are in memory, and ParseError."""
    try:
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except EOFError:
        raise ParseError("The gzip body is truncated.") from None
    except (OSError, zlib.error):
        raise ParseError("The body is not valid gzip.") from None
    if len(unpacked) > limit:
        raise TooLarge(f"The body unpacks to more than {limit} bytes.")
    return unpacked


def deflate(body: bytes) -> bytes:
    """A body as it is kept where it has many records that are alike: in zlib's format, in a quarter of zlib's time."""
    return isal_zlib.compress(body, 1)


def inflate(kept: bytes, size: int) -> bytes:
    """The body of so many bytes that was deflated; more than that are never in memory. ValueError if it is another."""
    unpacking = isal_zlib.decompressobj()
    try:
        body = unpacking.decompress(kept, size + 1)
    except IsalError as error:  # type: ignore[misc]  # (its stub lacks the base)
        raise ValueError(f"The body cannot be unpacked: {error}.") from None
    if len(body) != size or not unpacking.eof:
        raise ValueError(f"The body does not unpack to {size} bytes.")
    return body


def inflate_start(kept: bytes, limit: int) -> bytes:
    """The first bytes, at most so many, of a body of which the beginning is given as it was deflated."""
    return isal_zlib.decompressobj().decompress(kept, limit)


def parse_json(body: bytes, depth: int = MAX_DEPTH) -> Any:
    """The value that `body` holds, nested no deeper than `depth`. Raises ParseError with a message for the client, and
    TooLarge where it would take far more memory than bytes.
    """
    with _bounded(body):
        return _parse(_decode(body), depth)


def parse_ndjson(body: bytes) -> list[Any]:
    """One value per line, empty lines left out. Raises ParseError, naming the line, and TooLarge."""
    if body.count(b"\n") > MAX_LINES:
        raise TooLarge(f"The body has more than {MAX_LINES} lines.")
    with _bounded(body):
        return _parse_lines(body)


@contextmanager
def _bounded(body: bytes) -> Iterator[None]:
    """Around the parsing of `body`. A byte or two (`[],`, `1,`) become up to 100 in memory, and while they are parsed
    no other thread runs: so they are counted first, and only one large body at a time is parsed by a process.
    """
    if len(body) <= SMALL_BODY:
        yield
        return
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise TooLarge(f"The JSON has more than {MAX_CONTAINERS} lists and objects.")
    if body.count(b",") > MAX_VALUES:
        raise TooLarge(f"The JSON has more than {MAX_VALUES} values.")
    with _one_large_parse if len(body) > LARGE_BODY else nullcontext():
        yield


def _parse_lines(body: bytes) -> list[Any]:
    items = []
    for number, line in _lines(body):
        try:
            items.append(_parse(_decode(line)))
        except ParseError as error:
            raise ParseError(f"Line {number}: {error}") from None
    return items


def parse_accepted(body: bytes, *, ndjson: bool) -> list[Any]:
    """The items of an accepted body, which is known to be readable."""
    if ndjson:
        return [_parse_accepted(line) for _, line in _lines(body)]
    parsed = _parse_accepted(body)
    return parsed if isinstance(parsed, list) else [parsed]


def _parse_accepted(text: bytes) -> Any:
    """The quick parser refuses lone surrogates, a byte order mark, and much that is not accepted."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(_decode(text))


def ascii_json(value: Any) -> str:
    """JSON in ASCII, which every database can store, whatever the client sent (NUL, surrogates)."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of those that are not empty; one at a time, since all at once would be a second body."""
    for number, line in enumerate(io.BytesIO(body), start=1):
        if line.strip():
            yield number, line


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ParseError(f"The text is not UTF-8 (byte {error.start}).") from None


def _parse(text: str, depth: int = MAX_DEPTH) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise ParseError(f"Not JSON: {what} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise ParseError(f"Nested deeper than {depth}.") from None
    except ParseError:
        raise
    except ValueError:  # an integer of more digits than Python reads
        raise ParseError("A number has too many digits.") from None
    if _deeper_than(value, depth):
        raise ParseError(f"Nested deeper than {depth}.")
    return value


def _refuse_constant(name: str) -> Any:
    raise ParseError(f"{name} is not valid JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ParseError("A number is too large.")
    return number


def _deeper_than(value: Any, depth: int) -> bool:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    if depth == 0:
        return True
    return any(type(inner) in (dict, list) and _deeper_than(inner, depth - 1) for inner in value)


UNREADABLE_MEMBER = "(unreadable)"
"""The member that says why a row of a file could not be read. A record that has it is invalid."""
RAW_MEMBER = "(raw)"
"""The member with the unreadable row as it is in the file."""
ERASED_MEMBER = "(erased)"
"""The only member of what stands in place of a record that has been erased."""
ERASED = {ERASED_MEMBER: True}
RESERVED_MEMBERS = (UNREADABLE_MEMBER, RAW_MEMBER, ERASED_MEMBER)


def reject_reserved_members(item: Any) -> None:
    """Raises ParseError if a client's record has one of our members, which would be shown as our own message."""
    if type(item) is dict and any(name in item for name in RESERVED_MEMBERS):
        raise ParseError(f"The member names {', '.join(RESERVED_MEMBERS)} are reserved.")


def is_erased(item: Any) -> bool:
    return type(item) is dict and ERASED_MEMBER in item


def unreadable_record(reason: str, raw: Any) -> dict[str, Any]:
    return {UNREADABLE_MEMBER: reason, RAW_MEMBER: raw}
