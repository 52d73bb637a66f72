"""What an answer must say, by the body alone."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from typing import Any

from fuzz.contract import UnreadableError, items_of, value_of, verdict
from fuzz.inputs import Answer, Input
from fuzz.posts import NDJSON


def faults(given: Input, answers: Sequence[Answer]) -> Iterator[str]:
    for answer in answers:
        if answer.status >= 500 and not (answer.status == 503 and answer.retry_after):
            yield f"{answer.status}: {answer.content[:500]!r}"
    if given.kind == "post" and given.method == "POST" and all(answer.status < 500 for answer in answers):
        yield from faults_of_post(given, answers)


def faults_of_post(given: Input, answers: Sequence[Answer]) -> Iterator[str]:
    first = answers[0]
    if first.status == 202 and any(answer != first for answer in answers[1:]):
        yield f"A repeat is answered in another way: {answers}"
    if not given.is_usual:
        return
    try:
        items = posted_items(given)
    except UnreadableError as error:
        if first.status != 400:
            yield f"{first.status} in place of 400 for what is not JSON ({error}): {first.content[:500]!r}"
        return
    if items is None:
        if first.status != 422:
            yield f"{first.status} in place of 422 for another value than asked for"
    elif not items:
        if first.status != 400:
            yield f"{first.status} in place of 400 for nothing"
    else:
        yield from faults_of_verdicts(given, items, first)


def unpacked(given: Input) -> bytes:
    packed = given.headers.get("Content-Encoding", "").strip().lower() == "gzip"
    return gzip.decompress(given.body) if packed else given.body


def is_batch(given: Input) -> bool:
    return "/batch" in given.path


def posted_items(given: Input) -> list[Any] | None:
    """None: another kind of value than the path takes."""
    body = unpacked(given)
    if given.content_type == NDJSON:
        return items_of(body, ndjson=True)
    value = value_of(body)
    if is_batch(given):
        return value if isinstance(value, list) else None
    return [value] if isinstance(value, dict) else None


def faults_of_verdicts(given: Input, items: list[Any], answer: Answer) -> Iterator[str]:
    if answer.status not in (202, 422):
        yield f"{answer.status}: {answer.content[:500]!r}"
        return
    found = refused(given, answer, len(items))
    for index, item in enumerate(items):
        if (index in found) is verdict(given.stream, item):
            what = "refused" if index in found else "accepted"
            yield f"Record {index} is {what} against the contract: {item!r}: {answer.content[:500]!r}"
    keeps_invalid = "invalid=dead-letter" in given.options
    taken = len(items) if keeps_invalid else len(items) - len(found)
    if (answer.status == 202) != (taken > 0):
        yield f"{answer.status} for {taken} records taken"
    if answer.status == 202 and answer.json.get("count", 1) != taken:
        yield f"{answer.json['count']} in place of {taken} are accepted"


def refused(given: Input, answer: Answer, count: int) -> set[int]:
    """The indexes of what is said to be invalid."""
    said = answer.json
    if not is_batch(given):
        return {0} if answer.status == 422 or said.get("errors") else set()
    if answer.status == 422 and "errors" not in said:
        return set(range(count))
    return {error["index"] for error in said["errors"]}
