"""Records taken out of bodies, and what their senders were told about them. All others stay as they were sent, at their
positions.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator
from typing import Any

from ingestion.models import Delivery
from ingestion.payloads import ERASED, ascii_json, deflate

_BLANK = ascii_json(ERASED)
_decoder = json.JSONDecoder()


def items(body: bytes, *, ndjson: bool) -> Iterator[Any]:
    """The records of an accepted body, one after the other."""
    if ndjson:
        for line in io.BytesIO(body):
            if line.strip():
                yield json.loads(line.decode("utf-8-sig"))
        return
    text = body.decode("utf-8-sig")
    for start, end in _spans(text):
        yield json.loads(text[start:end])


def blank_delivery(delivery: Delivery, positions: Collection[int]) -> None:
    """Takes the records at these positions, and what their sender was told about them, out of what is kept; order and
    counts stay as they are. The caller has locked the delivery, and read its body since.
    """
    content = blank(delivery.content, positions, ndjson=delivery.is_ndjson)
    delivery.body, delivery.size = deflate(content) if delivery.is_deflated else content, len(content)
    delivery.answer = blank_answer(delivery.answer, positions)
    delivery.save(update_fields=["body", "size", "answer"])


def blank(body: bytes, positions: Collection[int], *, ndjson: bool) -> bytes:
    """An accepted body without the records at these positions."""
    return _blank_lines(body, positions) if ndjson else _blank_json(body.decode("utf-8-sig"), positions).encode()


def _blank_lines(body: bytes, positions: Collection[int]) -> bytes:
    lines, position = [], -1
    for line in io.BytesIO(body):
        position += bool(line.strip())
        is_blanked = bool(line.strip()) and position in positions
        lines.append(_BLANK.encode() + line[len(line.rstrip(b"\r\n")) :] if is_blanked else line)
    return b"".join(lines)


def _blank_json(text: str, positions: Collection[int]) -> str:
    parts, last = [], 0
    for position, (start, end) in enumerate(_spans(text)):
        if position in positions:
            parts += [text[last:start], _BLANK]
            last = end
    return "".join([*parts, text[last:]])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each record of a list begins and ends, or the only one."""
    start = _skip(text, 0)
    if text[start] != "[":
        yield start, _decoder.raw_decode(text, start)[1]
        return
    start = _skip(text, start + 1)
    while text[start] != "]":
        end = _decoder.raw_decode(text, start)[1]
        yield start, end
        start = _skip(text, end)
        if text[start] == ",":
            start = _skip(text, start + 1)


def _skip(text: str, start: int) -> int:
    while text[start] in " \t\r\n":
        start += 1
    return start


def answer_about(answer: str, position: int) -> Any:
    """What an idempotent answer says of the record at this position; None: nothing."""
    found = json.loads(answer) if answer else None
    if not isinstance(found, dict):
        return None
    if "id" in found:
        return found if position == 0 else None
    about = {name: [each for each in found.get(name, []) if each.get("index") == position] for name in _ABOUT}
    return about if any(about.values()) else None


_ABOUT: dict[str, Any] = {"errors": {}, "warnings": []}
"""What a batch is answered about some of its records → what is left of it."""


def blank_answer(answer: str, positions: Collection[int]) -> str:
    """An idempotent answer, as it is repeated, without IDs and texts about the records at these positions."""
    found = json.loads(answer) if answer else None
    if not isinstance(found, dict):
        return answer
    if "id" in found:
        found |= {"id": "", "warnings": [], **({"errors": {}} if "errors" in found else {})} if 0 in positions else {}
    else:
        for name, blanked in _ABOUT.items():
            found[name] = [
                each if each.get("index") not in positions else {**each, "id": "", name: blanked}
                for each in found.get(name, [])
            ]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))
