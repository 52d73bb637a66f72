"""What a stream is, and the registry of all streams, filled by each domain's streams.py in order of reference."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.db.models import Model
from django.utils import timezone
from pydantic import BaseModel


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A field of the record that names a record of another stream."""

    field: str
    stream: str
    reads: tuple[str, ...] = ()
    """The fields of the referenced row that enrich and warn read: handed over in Context.rows, locked FOR SHARE."""
    stub: Callable[[str], Model | None] = lambda key: None
    """An unsaved stand-in for a missing row, or None: then the record waits for the real one."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What enrich and warn may use besides the record: the clock, facts of the domain, the referenced rows."""

    now: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """(stream, key) → the fields named in Reference.reads; empty where the rows are not known yet (at the door)."""

    @property
    def today(self) -> date:
        """Today's date in TIME_ZONE."""
        return timezone.localdate(self.now)


def no_warnings(record: Any, context: Context) -> list[str]:
    return []


def no_facts() -> Mapping[str, Any]:
    return {}


def no_dependants(keys: Sequence[str], context: Context) -> None:
    pass


@dataclass(frozen=True, kw_only=True, eq=False)  # there is one of each: compared, and hashed, by identity
class Stream:
    """One kind of record: its schema, the model it is stored in, its key, references, and how it is enriched."""

    name: str
    schema: type[BaseModel]
    model: type[Model]
    """A subclass of enrichment.models.StoredRecord whose primary key is `key`."""
    key: str
    example: Mapping[str, Any]
    """A valid record, for the API's documentation."""
    enrich: Callable[[Any, Context], dict[str, Any]]
    """(record, context) → column: value for every column that is not the record's own. Pure."""
    references: tuple[Reference, ...] = ()
    version_field: str | None = "updated_at"
    """The time field that decides which of two records with one key is newer. Where it is empty, not in the schema or
    None, the time of arrival decides.
    """
    warn: Callable[[Any, Context], list[str]] = no_warnings
    facts: Callable[[], Mapping[str, Any]] = no_facts
    """Reads, once for a batch, what enrich and warn need from the database besides references."""
    refresh_dependants: Callable[[Sequence[str], Context], None] = no_dependants
    """Called with the keys just updated, in their transaction: brings rows computed from them up to date."""
    known_items: Mapping[str, Callable[[], Collection[str]]] = field(default_factory=dict)
    """field → the items that its lists usually have: what tells a cell of several from one item with a comma."""
    daily: bool = False
    """Derived fields depend on today's date: rows carry `derived_on` and are brought up to date every day."""
    time: str | None = None
    """The NOT NULL time by which lists can be ordered."""
    search: tuple[str, ...] = ()
    """The columns that ?search= looks into."""
    earlier_name: str = ""
    """What an earlier API called it, where clients of that still look for it: in the numbers of the queue."""
    hidden: tuple[str, ...] = ()
    """Internal columns: in no answer and no filter."""

    def version_of(self, record: Any) -> datetime | None:
        """The time in the record's version field; None: the time of arrival decides."""
        return getattr(record, self.version_field, None) if self.version_field else None


RESERVED_NAMES = frozenset({"dead-letters", "deliveries", "queue", "stats", "uploads", "worker"})
"""The paths under /api that are not streams."""
_name = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_streams: dict[str, Stream] = {}


def register(stream: Stream) -> None:
    """Adds a stream; those it refers to come first. Raises ValueError for a name that cannot be a path of the API."""
    if not _name.fullmatch(stream.name):
        raise ValueError(f"A stream cannot be named {stream.name!r}: use 1 to 64 of a-z, 0-9, _ and -, a letter first.")
    if stream.name in RESERVED_NAMES:
        raise ValueError(f"A stream cannot be named {stream.name}: the API uses that path.")
    for reference in stream.references:
        if reference.stream not in _streams:
            raise ValueError(f"{stream.name} refers to {reference.stream}, which is not registered before it.")
    if stream.name in _streams:
        raise ValueError(f"A stream named {stream.name} is registered already.")
    _streams[stream.name] = stream


def get(name: str) -> Stream:
    """The stream of that name; KeyError if there is none."""
    return _streams[name]


def names() -> list[str]:
    return list(_streams)


def all_streams() -> list[Stream]:
    """Every stream, in order of reference: what a stream refers to stands before it."""
    return list(_streams.values())
