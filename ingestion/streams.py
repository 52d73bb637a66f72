"""What a stream is, and the registry of all streams, filled by each domain's streams.py in order of reference."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Model, QuerySet
from django.utils import timezone
from pydantic import BaseModel

if TYPE_CHECKING:
    from ingestion.models import Upload


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

    @cached_property
    def today(self) -> date:
        """Today's date in TIME_ZONE."""
        return timezone.localdate(self.now)


def no_warnings(record: Any, context: Context) -> list[str]:
    return []


def no_facts() -> Mapping[str, Any]:
    return {}


class StoredRow(NamedTuple):
    """A row that a batch has stored."""

    columns: Mapping[str, Any]
    """All of its columns; `delivery` and `position` are those of its first arrival."""
    is_new: bool
    """Inserted, not updated."""


def lock_nothing(rows: Sequence[Mapping[str, Any]]) -> None:
    pass


def nothing_more(rows: Sequence[StoredRow], context: Context) -> None:
    pass


def all_rows(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows


def no_advice(header: Sequence[str]) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A kind of file that another system exports: how it is recognised, and how its columns become fields."""

    kind: str
    """What the file is called in the API (?kind=) and on pages; layouts of one kind differ in `paths` or `header`. Of
    layouts with `read` there is one for each kind.
    """
    paths: tuple[str, ...] = ()
    """Regular expressions, any case, for the whole path inside the set without a folder around everything, such as
    r"likes/films\\.csv"; a "(1)" that a browser adds to the name is ignored. Empty: the header alone decides, and an
    export may have several such files.
    """
    header: tuple[str, ...] = ()
    """The columns that such a file has, all of them."""
    any_of: tuple[str, ...] = ()
    """Columns of which it has at least one."""
    optional: tuple[str, ...] = ()
    """Columns that it may have."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Column → field of the record."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """Column → what separates the items in its cells."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Members that every record of such a file gets."""
    dated: tuple[str, ...] = ()
    """Members that every record gets besides, with the time of the export: that of the newest file of the archive, or
    the one in its name, or the time of arrival.
    """
    order: int = 0
    """Files of a set are stored in this order."""
    left_out: str = ""
    """Why such a file is not read; empty: it is."""
    members: tuple[str, ...] = ()
    """In place of `header`, of JSON and NDJSON: members that the first object has, all of them, inner ones with a point
    (person.name).
    """
    items: str = ""
    """Of JSON and NDJSON: the member of each object that is the list of items, an inner one with a point; empty: the
    objects are the items.
    """
    read: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None
    """Makes the members of a record of an item, or of a row of a table (column → cell), in place of `columns` and
    `lists`. None: it is no such record, and is left out. Nothing else of the item is kept. Takes whatever JSON holds,
    and never raises: a value that is wrong goes into the record, whose validation names it.
    """
    leaves_out: str = ""
    """What `read` leaves out, for people."""
    note: str = ""
    """What a person should know of every such file."""
    tells: Mapping[str, str] = field(default_factory=dict)
    """Member of the file's first object → field of Stream.upload_fields that it names for all files of the set, unless
    the sender does. Such a file has no records.
    """
    advise: Callable[[Sequence[str]], str] = no_advice
    """What to do about a table that is nearly of this kind, by its first row; empty for others."""


INTERNAL_COLUMNS = frozenset({"version_at", "position", "client"})
"""Of every stored record: in no answer and no filter of the API."""


def no_rows(key: str) -> Mapping[str, QuerySet[Any]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The persons whom the records of a stream are about: all that is held about one can be exported and erased.

    Records of other streams are about them, too, where they refer to a stream whose key is the person's.
    """

    kind: str
    """What such a person is called, such as reader or owner."""
    field: str
    """The field of the stream's records that has the person's key."""
    names: tuple[str, ...] = ()
    """Fields of these records that name the person: looked for, once all is erased, in what others have written."""
    rows: Callable[[str], Mapping[str, QuerySet[Any]]] = no_rows
    """Key → rows about the person besides those of streams: what they are called, and which ones."""
    delete: Callable[[str], Mapping[str, int]] | None = None
    """Deletes all rows about the person with this key, in a transaction of its own or the caller's; kind of row → how
    many. None: the rows of streams, with those that refer to them.
    """


@dataclass(frozen=True, kw_only=True, eq=False)  # there is one of each: compared, and hashed, by identity
class Readable:
    """Rows that the API lists, filters and exports: stored records, or rows that are computed from them."""

    name: str
    model: type[Model]
    """Its primary key is `key`."""
    key: str
    example: Mapping[str, Any]
    """For the API's documentation: a valid record of a stream, else a row."""
    time: str | None = None
    """The NOT NULL time by which lists can be ordered."""
    number: str | None = None
    """The NOT NULL number by which lists can be ordered; an index has it with the key."""
    search: tuple[str, ...] = ()
    """The columns that ?search= looks into."""
    hidden: tuple[str, ...] = ()
    """Internal columns: in no answer and no filter."""
    personal: tuple[str, ...] = ()
    """Fields with a person's name, address or own words, texts or lists of texts: masked for people who lack the
    permission view_personal_data, who cannot search or filter by them either (ingestion.subjects.masking).
    """
    related: Mapping[str, str] = field(default_factory=dict)
    """Name → path of a column of another table, such as "film__genres": listed, exported and filtered by as the row's
    own; null where there is no such row. The relation may be a ForeignObject, to a row that need not be there: of a
    stream whose records are not rewritten when that row changes. Then it has null=True, or lists would leave rows out.
    """
    filtered_by: Mapping[str, str] = field(default_factory=dict)
    """Parameter → path of a number in another table, such as "uploads__upload", by which rows are filtered and which
    they do not show. Of the rows there that belong to one row at most one may have the number.
    """
    listed: Callable[[QuerySet[Any]], QuerySet[Any]] = all_rows
    """Which rows clients see."""
    description: str = ""
    """Of a list that is not a stream: what it is, for the API's documentation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream(Readable):
    """One kind of record: its schema, the model it is stored in, its key, references, and how it is enriched.

    `model` is a subclass of enrichment.models.StoredRecord.
    """

    schema: type[BaseModel]
    enrich: Callable[[Any, Context], dict[str, Any]]
    """(record, context) → column: value for every column that is not the record's own. Pure. Where `key_of` reads a
    payload at length, it may compute the same key, from the record.
    """
    key_of: Callable[[Mapping[str, Any]], str] | None = None
    """Computes the key from a payload, valid or not; empty where it cannot. None: the record names it itself, in the
    field `key`. A member of that name in a payload is then ignored. Read keys with ingestion.validation.key_of.
    """
    references: tuple[Reference, ...] = ()
    version_field: str | None = "updated_at"
    """The time field that decides which of two records with one key is newer. Where it is empty, not in the schema or
    None, the time of arrival decides.
    """
    immutable: bool = False
    """Whoever is stored first stays: a record whose key is stored already is stale, and changes nothing. `stored` gets
    each row once, when it is inserted; `version_field` counts for nothing.
    """
    warn: Callable[[Any, Context], list[str]] = no_warnings
    facts: Callable[[], Mapping[str, Any]] = no_facts
    """Reads, once for a batch, what enrich and warn need from the database besides references."""
    lock: Callable[[Sequence[Mapping[str, Any]]], None] = lock_nothing
    """Called with the rows about to be stored, in their transaction: locks, in order, what they belong to, so that two
    batches for which `stored` changes the same rows take turns.
    """
    kept: tuple[str, ...] = ()
    """Columns that storing a record leaves as they are, empty at first: only `stored` changes them."""
    stored: Callable[[Sequence[StoredRow], Context], None] = nothing_more
    """Called with the rows just stored, sorted by key, in their transaction: computes what depends on them, and asks
    what has to be asked about them. Locks what it changes in order of key.
    """
    stored_after: tuple[str, ...] = ("inserted", "updated")
    """The outcomes of the rows that `stored` gets."""
    delete: Callable[[Sequence[str]], None] | None = None
    """Deletes the stored rows with these keys, whose locks and those of `lock` are held, and brings what was computed
    from them up to date; None: nothing was.
    """
    file_completed: Callable[[Upload], None] | None = None
    """Called once for each upload, file or set of files, in a transaction of its own, when all of it has been stored
    and none of its records is pending: what only a whole file tells.
    """
    progress: Callable[[Sequence[Upload]], Mapping[int, Mapping[str, Mapping[str, int]]]] | None = None
    """Upload id → for each kind of question that its records raised a name and numbers: total, open, recent (settled in
    the last minute), and what the settled ones came to, such as {"films": {"total": 9, "found": 6, "open": 3 …}}.
    """
    counts: tuple[str, ...] = ()
    """The names of these kinds of question, as they stand in the status of an upload."""
    providers: tuple[str, ...] = ()
    """Who answers the questions that `progress` counts (enrichment.lookups)."""
    upload_link: Callable[[Upload], str] | None = None
    """The path of a page about an upload for the person who sent it; empty: there is none."""
    expires_at: Callable[[Upload], datetime | None] | None = None
    """When what came with an upload is deleted, as things are; None: not by itself."""
    exporters: tuple[str, ...] = ()
    """The systems that export the files of `layouts`, for people."""
    layouts: tuple[Layout, ...] = ()
    """Files of other systems that hold such records."""
    upload_fields: Mapping[str, Callable[[], str] | None] = field(default_factory=dict)
    """Fields that whoever uploads a file names once for all of its records, such as the collection they belong to, and
    what makes a value where none is named; None: it has to be named. What a layout reads from a file gives way to it; a
    file of the stream's own fields that has other values is rejected.
    """
    upload_labels: Mapping[str, str] = field(default_factory=dict)
    """What pages call these fields, where that is not the field's name."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What people call columns, in lower case with _ → the field that a person is shown first for such a column. No
    column is ever taken for a field by it.
    """
    known_items: Mapping[str, Callable[[], Collection[str]]] = field(default_factory=dict)
    """field → the items that its lists usually have: what tells a cell of several from one item with a comma."""
    daily: bool = False
    """Derived fields depend on today's date: rows carry `derived_on` and are brought up to date every day."""
    subject: Subject | None = None
    """The persons whom its records are about; None: nobody, but for those that `references` name."""
    earlier_name: str = ""
    """What an earlier API called it, where clients of that still look for it: in the numbers of the queue."""

    def version_of(self, record: Any) -> datetime | None:
        """The time in the record's version field; None: the time of arrival decides."""
        return getattr(record, self.version_field, None) if self.version_field and not self.immutable else None


RESERVED_NAMES = frozenset({"dead-letters", "deliveries", "queue", "session", "stats", "upload", "uploads", "worker"})
"""The paths under /api that are not streams."""
_name = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_streams: dict[str, Stream] = {}
_lists: dict[str, Readable] = {}


def register(stream: Stream) -> None:
    """Adds a stream; those it refers to come first. Raises ValueError for a name that cannot be a path of the API."""
    _check_name(stream)
    for reference in stream.references:
        if reference.stream not in _streams:
            raise ValueError(f"{stream.name} refers to {reference.stream}, which is not registered before it.")
    _streams[stream.name] = stream


def register_list(readable: Readable) -> None:
    """Adds a list that can only be read. Raises ValueError for a name that cannot be a path of the API."""
    _check_name(readable)
    _lists[readable.name] = readable


def _check_name(readable: Readable) -> None:
    name = readable.name
    if not _name.fullmatch(name):
        raise ValueError(f"A stream cannot be named {name!r}: use 1 to 64 of a-z, 0-9, _ and -, a letter first.")
    if name in RESERVED_NAMES:
        raise ValueError(f"A stream cannot be named {name}: the API uses that path.")
    if name in _streams or name in _lists:
        raise ValueError(f"A stream named {name} is registered already.")


def get(name: str) -> Stream:
    """The stream of that name; KeyError if there is none."""
    return _streams[name]


def get_readable(name: str) -> Readable:
    """The stream or list of that name; KeyError if there is none."""
    return _streams[name] if name in _streams else _lists[name]


def names() -> list[str]:
    return list(_streams)


def upload_fields() -> list[str]:
    """The names of what uploads of any stream may give to all of their records."""
    return list(dict.fromkeys(name for stream in _streams.values() for name in stream.upload_fields))


def upload_label(name: str) -> str:
    """What pages call a field of uploads."""
    named = (stream.upload_labels[name] for stream in _streams.values() if name in stream.upload_labels)
    return next(named, name.replace("_", " ").capitalize())


def kinds() -> list[str]:
    """The kinds of files of all streams that are read."""
    layouts = (layout for stream in _streams.values() for layout in stream.layouts if not layout.left_out)
    return list(dict.fromkeys(layout.kind for layout in layouts))


def readable_names() -> list[str]:
    return [*_streams, *_lists]


def all_streams() -> list[Stream]:
    """Every stream, in order of reference: what a stream refers to stands before it."""
    return list(_streams.values())


def all_lists() -> list[Readable]:
    """The lists that can only be read."""
    return list(_lists.values())


def all_readables() -> list[Readable]:
    """Every stream, then the lists that can only be read."""
    return [*all_streams(), *all_lists()]
