"""What stored records would lose by a file: a record replaces the stored one as a whole, and clears what it lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from operator import or_

from django.db import connection
from django.db.models import Count, Q

from ingestion.files.record_file import RecordFile
from ingestion.streams import Stream
from ingestion.validation import storable_key

VERSION = "updated_at"
"""A file without it says so in its notes: it decides which record is newer, and is no loss of its own."""
KEYS_AT_ONCE = {"postgresql": 5000, "sqlite": 500}


@dataclass
class Losses:
    records: int = 0
    """Stored records that would lose something."""
    fields: dict[str, int] = field(default_factory=dict)
    """field → of how many of these."""

    @property
    def text(self) -> str:
        them = "it" if len(self.fields) == 1 else "them"
        return f"{self.records} stored record{'' if self.records == 1 else 's'} would lose {them}"


def losses_of(file: RecordFile) -> Losses:
    """Counts the stored records of the file's keys that have a field which no record of the file has."""
    counter = LossCounter(file.stream, may_lose(file), Losses())
    if counter.may_find_any:
        for keys in _together(file.keys(), file.stream):
            counter.add(keys)
    return counter.losses


def may_lose(file: RecordFile) -> list[str]:
    """The fields that no record of the file has. A file with a layout has all that there is to say of its records, and
    immutable records lose nothing.
    """
    if file.layout or file.stream.immutable:
        return []
    return [name for name in file.absent_fields if name not in (VERSION, *file.missing_fields)]


class LossCounter:
    def __init__(self, stream: Stream, fields: Sequence[str], losses: Losses) -> None:
        self.losses = losses
        self._has = {name: _has(stream, name) for name in fields}
        self._rows = stream.model._default_manager
        self.may_find_any = bool(fields) and self._rows.filter(reduce(or_, self._has.values())).exists()

    def add(self, keys: Collection[str]) -> None:
        """Of at most KEYS_AT_ONCE records of the file."""
        if not self.may_find_any or not keys:
            return
        numbers = self._rows.filter(pk__in=keys).aggregate(
            records_=Count("pk", filter=reduce(or_, self._has.values())),
            **{name: Count("pk", filter=condition) for name, condition in self._has.items()},
        )
        self.losses.records += numbers.pop("records_")
        known = self.losses.fields
        added = {name: known.get(name, 0) + number for name, number in numbers.items()}
        self.losses.fields = {name: number for name, number in added.items() if number}


def _has(stream: Stream, name: str) -> Q:
    """The rows with a value in this field other than the one that an absent field stands for."""
    default = stream.schema.model_fields[name].default
    has = Q(**{f"{name}__isnull": False})
    return has if default is None else has & ~Q(**{name: default})


def _together(keys: Iterable[str], stream: Stream) -> Iterator[set[str]]:
    storable = (key for key in keys if storable_key(key))
    while some := set(islice(storable, KEYS_AT_ONCE[connection.vendor])):
        yield some
