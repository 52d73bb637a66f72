"""Everything that is held about one person as one archive, written while it is read."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone

from enrichment.subjects.person import Person, read, sources

README = "README.txt"
ROWS_AT_ONCE = 100
"""Rows that are compressed before what has been written is handed on."""

EXPLANATIONS = {
    "records in deliveries": "as senders delivered them, in which delivery and at which position (from 0)",
    "failed records": "that could not be stored, with what was wrong with them at each attempt",
    "uploads": "files that have nothing but records about the person",
    "rows in previews": "of files that somebody has chosen and not uploaded",
    "history": "what the history of the admin, bulk actions and uploads say of the person",
}


class Written(io.RawIOBase):
    """What zipfile has written and nobody has taken yet. It cannot be gone back in."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def archive(person: Person, on_row: Callable[[], object] = lambda: None) -> Iterator[bytes]:
    """The bytes of a ZIP archive: a file of JSON lines for each place with something in it, and what is where."""
    written, numbers = Written(), {}
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, source in sources(person).items():
            rows = iter(read(person, source))
            first = next(rows, None)
            numbers[name] = 0
            if first is None:
                continue
            with zip_file.open(file_name(name), "w", force_zip64=True) as entry:
                for row in itertools.chain([first], rows):
                    entry.write(json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False).encode(errors="replace"))
                    entry.write(b"\n")
                    numbers[name] += 1
                    on_row()
                    if numbers[name] % ROWS_AT_ONCE == 0:
                        yield written.take()
            yield written.take()
        zip_file.writestr(README, readme(person, numbers))
    yield written.take()


def file_name(source: str) -> str:
    return f"{source.replace(' ', '_')}.ndjson"


def readme(person: Person, numbers: dict[str, int]) -> str:
    at = timezone.localtime().isoformat(timespec="seconds")
    lines = [
        f"Everything that TutorMax holds about the {person.kind} {person.key}, on {at}.",
        "",
        "Each file has one JSON object a line. Times are in UTC unless they have an offset.",
        "",
    ]
    for name, number in numbers.items():
        what = EXPLANATIONS.get(name, "rows as they are stored, with derived fields")
        lines.append(f"{file_name(name) if number else '(no file)'}: {number} {name}, {what}")
    return "\n".join([*lines, ""])
