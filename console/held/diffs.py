"""Two texts compared by lines, in time that grows as their length, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_COMPARED_LINES = 2_000
"""Lines of either text, between what both begin and end with, that are compared with each other."""
MAX_LINES = 300
MAX_LINE_LENGTH = 400
"""Lines that a difference shows, and characters of a line."""
CONTEXT = 2

Block = tuple[int, int, int]
"""(start of equal lines in the one text, start in the other, their number)."""


@dataclass(frozen=True)
class Line:
    text: str
    kind: str = ""
    """Empty, added, removed, or gap: what is left out."""

    @property
    def sign(self) -> str:
        return {"added": "+", "removed": "−", "gap": "…"}.get(self.kind, " ")

    @property
    def element(self) -> str:
        """Of HTML."""
        return {"added": "ins", "removed": "del"}.get(self.kind, "span")


def equal_blocks(before: list[str], after: list[str]) -> list[Block]:
    """In order, the last one empty and at the end of both."""
    head = _equal_at_start(before, after)
    tail = _equal_at_start(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    blocks = [(0, 0, head)]
    if max(len(old), len(new)) <= MAX_COMPARED_LINES:
        found = SequenceMatcher(None, old, new).get_matching_blocks()
        blocks += [(head + block.a, head + block.b, block.size) for block in found]
    blocks += [(len(before) - tail, len(after) - tail, tail), (len(before), len(after), 0)]
    return [block for block in blocks if block[2]] + blocks[-1:]


def _equal_at_start(one: Sequence[str], other: Sequence[str]) -> int:
    most = min(len(one), len(other))
    return next((number for number in range(most) if one[number] != other[number]), most)


def side_by_side(before: str, after: str) -> tuple[list[Line], list[Line]]:
    """All lines of both, marked where they differ."""
    old, new = before.split("\n"), after.split("\n")
    left = [Line(text, "removed") for text in old]
    right = [Line(text, "added") for text in new]
    for a, b, size in equal_blocks(old, new):
        left[a : a + size] = map(Line, old[a : a + size])
        right[b : b + size] = map(Line, new[b : b + size])
    return left, right


def difference(before: str, after: str) -> list[Line]:
    """What was removed and added, with the lines around it; empty where nothing was."""
    if before == after:
        return []
    lines = list(_difference(before.split("\n"), after.split("\n")))
    rest = len(lines) - MAX_LINES
    return lines if rest <= 0 else [*lines[:MAX_LINES], Line(f"{rest:,} more lines", "gap")]


def _difference(old: list[str], new: list[str]) -> Iterator[Line]:
    a = b = 0
    for at_a, at_b, size in equal_blocks(old, new):
        yield from _replaced(old[a:at_a], new[b:at_b])
        is_first, a, b = at_a == at_b == 0, at_a + size, at_b + size
        yield from _around(new[at_b:b], is_first=is_first, is_last=a == len(old) and b == len(new))


def _replaced(removed: list[str], added: list[str]) -> Iterator[Line]:
    """Of long lines the part around the first difference."""
    start = 0
    if len(removed) == len(added) == 1:
        start = max(0, _equal_at_start(removed[0], added[0]) - MAX_LINE_LENGTH // 4)
    for kind, lines in (("removed", removed), ("added", added)):
        for text in lines:
            yield Line(_narrow(text, start), kind)


def _narrow(text: str, start: int = 0) -> str:
    if len(text) <= MAX_LINE_LENGTH:
        return text
    end = start + MAX_LINE_LENGTH
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _around(equal: list[str], *, is_first: bool, is_last: bool) -> Iterator[Line]:
    """Of equal lines those next to a difference."""
    before, after = (0 if is_first else CONTEXT), (0 if is_last else CONTEXT)
    left_out = len(equal) - before - after
    if left_out <= 1:
        yield from (Line(_narrow(text)) for text in equal)
        return
    yield from (Line(_narrow(text)) for text in equal[:before])
    yield Line(f"{left_out:,} unchanged lines", "gap")
    yield from (Line(_narrow(text)) for text in equal[len(equal) - after :])
