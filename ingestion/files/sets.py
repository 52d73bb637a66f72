"""What a sender uploads: single files of records, and sets of files that another system has exported together.

A set is a ZIP archive, or several files that were sent at once and have layouts (ingestion.streams.Layout).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, BinaryIO

from django.utils import timezone
from pydantic import TypeAdapter, ValidationError

from ingestion.files.formats.zip_reader import Archive, Member, is_archive, is_clutter
from ingestion.files.layouts import (
    TEXT_EXTENSIONS,
    Candidate,
    UnknownKind,
    advice_on,
    by_path,
    candidates_of,
    kinds_of,
    of_format,
    recognize,
    stream_of_fields,
    why_no_stream,
)
from ingestion.files.mappings import read_mapping, require_mapped
from ingestion.files.record_file import (
    Format,
    JsonTooLarge,
    RecordFile,
    SourceFile,
    fingerprint_of,
    first_object,
    header_of,
    inspect_source,
    read_source,
    unwrap,
)
from ingestion.messages import message_of
from ingestion.payloads import ParseError, TooLarge, ascii_json
from ingestion.refusals import RequestRejected
from ingestion.streams import Stream, all_streams, names
from ingestion.text import cut_short, plain

UNKNOWN, EMPTY, DAMAGED, SAME, ARCHIVE = "not recognised", "empty", "not readable", "the same file twice", "an archive"
NO_RECORDS = "it has no records"
DATA_EXTENSIONS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
"""Files of an archive that are looked at where there are layouts for them."""
MAX_BLANK = 1_000_000
"""Bytes of a file that is looked at for whether there is anything in it."""
MAX_VALUE = 100
"""Characters of a value that a message names."""
MAX_NAMED = 20
"""Files that a message names."""
MAX_IN_FOLDER = 3
"""Files of a folder that are named one by one where all are left out."""
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf\x27\x1c", b"Rar!", b"PK\x05\x06")

_time_in_name = re.compile(r"(\d{4})-(\d{2})-(\d{2})-(\d{2})-(\d{2})-utc", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class SentFile:
    """A file as it was sent."""

    file: BinaryIO
    name: str
    content_type: str = ""


def _nothing(stream: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the sender says of all files."""

    stream: Stream | None = None
    kind: str = ""
    """Of files whose names do not tell it."""
    sheet: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Values of Stream.upload_fields."""
    mapping: str = ""
    """Of a single file's columns, as read_mapping() takes it."""
    remembered: Callable[[str], Mapping[str, str]] = _nothing
    """Stream → column → field, for the columns of a single file that have these names."""
    is_mapped_later: bool = False
    """As in inspect_source()."""

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Raises RequestRejected (422) where there is no such kind."""
        found = candidates_of([self.stream] if self.stream else all_streams())
        if self.kind and self.kind not in (kinds := kinds_of(found)):
            allowed = f"must be one of: {', '.join(kinds)}" if kinds else "is not used for this stream"
            raise RequestRejected(422, f"kind {allowed}.", fields={"kind": [allowed]})
        return found

    @property
    def reads_json(self) -> bool:
        """Whether other systems export JSON that it may be."""
        return any(each.layout.members for each in self.candidates)


@dataclass(frozen=True)
class LeftOut:
    """A file of a set that is not read."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """Files of one stream that were exported together."""

    name: str
    stream: Stream
    parts: tuple[RecordFile, ...]
    """In the order in which they are stored."""
    left_out: tuple[LeftOut, ...]
    given: Mapping[str, Any]
    """What upload_fields give to the records of all parts."""
    named_fields: Mapping[str, str]
    exported_at: datetime
    is_dated: bool
    """Whether the set itself tells when it was exported; else that is the time of arrival."""

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """The same files, for the same collection, of the same time: however they are packed."""
        parts = sorted(part.fingerprint for part in self.parts)
        return fingerprint_of("set", parts, self.exported_at.isoformat() if self.is_dated else "", self.named_fields)

    @property
    def missing_fields(self) -> list[str]:
        return sorted({name for part in self.parts for name in part.missing_fields})

    @property
    def notes(self) -> list[str]:
        """What a person should know of how the set was read."""
        found = [f"{part.name}: {note}" for part in self.parts for note in part.notes]
        return [*found, f"Not imported: {', '.join(named(self.left_out))}."] if self.left_out else found


Uploadable = RecordFile | FileSet


def named(left_out: Iterable[LeftOut]) -> list[str]:
    """Each with its reason, those of a folder together: lists/ (12 files)."""
    folders: dict[tuple[str, str], list[str]] = {}
    for each in left_out:
        folders.setdefault((each.path.rpartition("/")[0], each.reason), []).append(each.path)
    found = []
    for (folder, reason), paths in folders.items():
        shown = [f"{folder}/ ({len(paths)} files)"] if folder and len(paths) > MAX_IN_FOLDER else paths
        found += [f"{path} ({reason})" if reason else path for path in shown]
    return [*found[:MAX_NAMED], *([f"{len(found) - MAX_NAMED} more"] if len(found) > MAX_NAMED else [])]


def inspect_sent(sent: Sequence[SentFile], options: Options, opened: ExitStack) -> list[Uploadable]:
    """Reads all files to their ends; they stay open as long as `opened`. Nothing is stored.

    Raises ParseError and TooLarge, and RequestRejected: (422) for what the sender has to say besides.
    """
    archives = [each for each in sent if is_archive(each.file)]
    loose = [each for each in sent if each not in archives]
    found: list[Uploadable] = []
    if len(loose) == 1:
        found = [_single(loose[0], options, opened)]
    elif loose:
        found = list(_several(loose, options, opened))
    return [*found, *(_archive(each, options, opened) for each in archives)]


def _single(sent: SentFile, options: Options, opened: ExitStack) -> RecordFile:
    source = read_source(
        sent.file, sent.name, opened, sent.content_type, sheet=options.sheet, is_long=options.reads_json
    )
    if not options.candidates and options.stream:
        return _plain(source, options.stream, options)
    header = header_of(source)
    if stream := _stream_of(header, options):
        return _plain(source, stream, options)
    candidates = _candidates_for(source, options)
    found = recognize(sent.name, header, candidates, options.kind)
    if found is None and (advice := advice_on(header, candidates)):
        raise _not_imported(sent.name, advice)
    if found is None and (stream := options.stream or _stream_of([*header, *options.fields], options)):
        return _plain(source, stream, options)
    if found is None:
        raise StreamNeeded(sent.name, why_no_stream([*header, *options.fields], options.remembered))
    if reason := found.layout.left_out or NO_RECORDS * bool(found.layout.tells):
        raise _not_imported(sent.name, reason)
    part = inspect_source(unwrap(source, found.layout, opened), found.stream, layout=found.layout)
    require_mapped(part, read_mapping(options.mapping, found.stream))
    return _with_given([part], found.stream, options, _time_of([sent.name]) or timezone.now())[0]


def _candidates_for(source: SourceFile, options: Options) -> list[Candidate]:
    """What the sender says that it is, and what it may be by its format. No other system exports Parquet."""
    if source.format == Format.PARQUET:
        return []
    candidates = of_format(options.candidates, is_table=source.format in (Format.CSV, Format.XLSX))
    named = [each for each in options.candidates if options.kind and each.layout.kind == options.kind]
    return list({id(each): each for each in (*named, *candidates)}.values())


def _stream_of(header: Sequence[str], options: Options) -> Stream | None:
    """The stream whose own fields the header has."""
    found = stream_of_fields(header, options.remembered)
    return found if options.stream in (None, found) else None


def _stream_as_named(source: SourceFile, header: Sequence[str], options: Options) -> Stream | None:
    """The stream that has its fields from the header and the sender; of files without a layout."""
    if not options.fields or not (stream := _stream_of([*header, *options.fields], options)):
        return None
    candidates = _candidates_for(source, options)
    try:
        return None if recognize(source.name, header, candidates) or advice_on(header, candidates) else stream
    except RequestRejected:
        return None


class StreamNeeded(RequestRejected):
    """The columns of a file do not tell its stream."""

    def __init__(self, name: str, why: str = "") -> None:
        self.about = f"{name} does not tell what its records are{f': {why}' if why else ''}."
        fields = {"stream": [f"is required; one of: {', '.join(names())}"]}
        super().__init__(422, f"{self.about} Specify the stream.", fields=fields)


def _not_imported(name: str, reason: str) -> RequestRejected:
    return RequestRejected(422, f"{name} is not imported: {reason}.")


def _plain(source: SourceFile, stream: Stream, options: Options) -> RecordFile:
    """A file whose columns are the stream's own fields."""
    if options.kind:
        raise RequestRejected(422, f"{source.name} has no kind.", fields={"kind": ["is not used for this file"]})
    mapping = read_mapping(options.mapping, stream)
    all_mapped = {**options.remembered(stream.name), **mapping}
    file = inspect_source(source, stream, all_mapped, is_mapped_later=options.is_mapped_later)
    require_mapped(file, mapping)
    chosen = _check_fields(options.fields, stream)
    reject_other_values(file, chosen)
    made = {name: _make(stream, name) for name in stream.upload_fields if name not in (*chosen, *file.members.fields)}
    return file.with_given({**made, **chosen}, named_fields=chosen)


def reject_other_values(file: RecordFile, named_fields: Mapping[str, str]) -> None:
    """Rejects (422) a file whose records have other values than the sender names for all of them."""
    for name in file.members.fields.intersection(named_fields):
        named = named_fields[name]
        equal = ascii_json({name: named})[1:-1].encode()
        for chunk in file.chunks():
            if chunk.body.count(equal) == chunk.count:  # nearly always, and a tenth of the time
                continue
            for row, line in zip(chunk.rows, chunk.lines, strict=True):
                value = item.get(name) if isinstance(item := json.loads(line), dict) else None
                if value is not None and str(value).strip() not in ("", named):
                    other = cut_short(plain(str(value)), MAX_VALUE)
                    message = f"row {row} of {file.name} has {other}, and the upload names {named}"
                    advice = f"Leave out {name}, or send the records of {named} alone."
                    raise RequestRejected(422, f"{name}: {message}. {advice}", fields={name: [message]})


# Several files.


def _several(sent: Sequence[SentFile], options: Options, opened: ExitStack) -> Iterator[Uploadable]:
    """Each by itself, but those with layouts together."""
    if not options.candidates:
        for each in sent:
            with naming(each.name):
                yield _single(each, options, opened)
        return
    reading = _Reading(options, opened)
    plain: list[RecordFile] = []
    wrong: list[ParseError] = []
    for each in sent:
        if is_clutter(each.name):
            reading.leave_out_clutter([each.name])
        elif not reading.is_left_out(each.name):
            try:
                plain += _take(each, reading)
            except ParseError as error:
                if by_path(each.name, options.candidates):
                    raise
                wrong.append(error)
                reading.leave_out(each.name, DAMAGED)
    if reading.left_out and not reading.parts:  # then it is no set, and nothing may be left out
        raise wrong[0] if wrong else reading.no_set()
    yield from plain
    if reading.parts:
        first, more = reading.parts[0][1].name, len(reading.parts) - 1
        yield from reading.sets(f"{first} and {more} more" if more else first, None)


def _take(sent: SentFile, reading: _Reading) -> list[RecordFile]:
    """Takes one of several files; returns it, if it is none of the set."""
    options = reading.options
    with naming(sent.name):
        if _is_blank(sent.file):
            reading.leave_out(sent.name, EMPTY)
            return []
        source = read_source(
            sent.file, sent.name, reading.opened, sent.content_type, sheet=options.sheet, is_long=options.reads_json
        )
        header = header_of(source)
        if stream := _stream_of(header, options) or _stream_as_named(source, header, options):
            return [_plain(source, stream, options)]
    reading.take(source, header)
    return []


def _archive(sent: SentFile, options: Options, opened: ExitStack) -> FileSet:
    if not options.candidates:
        name = options.stream.name if options.stream else "records"
        raise ParseError(f"{sent.name} is a ZIP archive, and {name} are not imported from one: unpack it.")
    with naming(sent.name):
        archive = Archive(sent.file, opened)
    reading = _Reading(options, opened)
    for member in archive.members:
        if not reading.is_left_out(member.path):
            _take_member(member, reading)
    reading.leave_out_clutter(archive.clutter)
    if not reading.parts:
        kinds = ", ".join(kinds_of(options.candidates))
        inside = ", ".join(named(reading.left_out)) or "nothing"
        raise RequestRejected(422, f"{sent.name} has no file that can be imported ({kinds}). It has: {inside}.")
    times = [time for member in archive.members if (time := member.time)]
    found = list(reading.sets(sent.name, max(times, default=None)))
    if len(found) > 1:
        streams = " and of ".join(each.stream.name for each in found)
        raise RequestRejected(422, f"{sent.name} has files of {streams}: send them separately.")
    return found[0]


def _take_member(member: Member, reading: _Reading) -> None:
    """Unpacks and reads it. What is wrong with a file that is not needed does not matter."""
    is_needed = bool(by_path(member.path, reading.options.candidates))
    if not is_needed and not member.path.lower().endswith(reading.extensions):
        return reading.leave_out(member.path, UNKNOWN)
    with naming(member.path):
        try:
            file = member.unpack()
            if _is_blank(file):
                return reading.leave_out(member.path, EMPTY)
            if _is_compressed(file):
                raise ParseError("The file is itself an archive: unpack it.")
            source = read_source(file, member.path, reading.opened, sheet=reading.options.sheet, is_long=True)
            header = header_of(source)
        except (ParseError, JsonTooLarge):
            if is_needed:
                raise
            return reading.leave_out(member.path, DAMAGED)
    return reading.take(source, header)


class _Reading:
    """The files of a set, while they are read one by one."""

    def __init__(self, options: Options, opened: ExitStack) -> None:
        self.options, self.opened = options, opened
        self.parts: list[tuple[Candidate, SourceFile]] = []
        self.left_out: list[LeftOut] = []
        self.named: dict[str, str] = {}
        """Values of Stream.upload_fields that a file of the set names."""
        self.extensions = (*TEXT_EXTENSIONS, *(DATA_EXTENSIONS if options.reads_json else ()))

    def is_left_out(self, path: str) -> bool:
        """By its path alone; then it is not even opened."""
        found = next((each for each in by_path(path, self.options.candidates) if each.layout.left_out), None)
        if found:
            self.leave_out(path, found.layout.left_out)
        return found is not None

    def leave_out(self, path: str, reason: str) -> None:
        self.left_out.append(LeftOut(path, reason))

    def no_set(self) -> RequestRejected:
        """Why the first file that is left out cannot be imported by itself."""
        left_out = self.left_out[0]
        if self.options.stream or left_out.reason != UNKNOWN:
            return _not_imported(left_out.path, left_out.reason)
        return StreamNeeded(left_out.path)

    def leave_out_clutter(self, paths: Iterable[str]) -> None:
        """Of __MACOSX names the folder alone."""
        known = {each.path for each in self.left_out}
        for path in dict.fromkeys(re.sub("__MACOSX/.*", "__MACOSX/", path) for path in paths):
            if path not in known:
                self.leave_out(path, "")

    def take(self, source: SourceFile, header: Sequence[str]) -> None:
        candidates = _candidates_for(source, self.options)
        try:
            found = recognize(source.name, header, candidates)
        except UnknownKind:
            if not self.options.kind:
                raise
            found = recognize(source.name, header, candidates, self.options.kind)
        if found is None:
            return self.leave_out(source.name, advice_on(header, candidates) or UNKNOWN)
        if found.layout.left_out:
            return self.leave_out(source.name, found.layout.left_out)
        if found.layout.tells:
            return self._take_names(source, found.layout.tells)
        for other, earlier in self.parts:
            if other == found and earlier.sha256 == source.sha256:
                return self.leave_out(source.name, SAME)
            if other == found and found.layout.paths:
                message = f"{earlier.name} and {source.name} are both {found.layout.kind} files of one export."
                raise RequestRejected(422, f"{message} Send one export at a time, as its ZIP archive.")
        return self.parts.append((found, source))

    def _take_names(self, source: SourceFile, tells: Mapping[str, str]) -> None:
        first = first_object(source)
        for member, name in tells.items():
            if isinstance(value := first.get(member), str) and value:
                self.named[name] = value
        self.leave_out(source.name, f"read for {', '.join(tells.values())} alone")

    def sets(self, name: str, exported_at: datetime | None) -> Iterator[FileSet]:
        """One for each stream."""
        if self.options.mapping:
            message = "Columns are mapped for a single file only."
            raise RequestRejected(400, message, fields={"map": ["is not used for a set of files"]})
        exported_at = exported_at or _time_of([name, *(source.name for _, source in self.parts)])
        now = timezone.now()
        for stream in dict.fromkeys(found.stream for found, _ in self.parts):
            of_stream = [each for each in self.parts if each[0].stream is stream]
            parts = []
            for found, source in sorted(of_stream, key=lambda each: each[0].layout.order):
                with naming(source.name):
                    unwrapped = unwrap(source, found.layout, self.opened)
                    parts.append(inspect_source(unwrapped, stream, layout=found.layout))
            time = min(exported_at or now, now)
            parts = _with_given(parts, stream, self.options, time, self.named)
            yield FileSet(
                name=name,
                stream=stream,
                parts=tuple(parts),
                left_out=tuple(self.left_out),
                given={key: parts[0].given[key] for key in stream.upload_fields if key in parts[0].given},
                named_fields=parts[0].named_fields,
                exported_at=time,
                is_dated=exported_at is not None,
            )


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Errors say which of several files they are about."""
    try:
        yield
    except TooLarge as error:
        raise TooLarge(f"{cut_short(path, 200)}: {error}") from None
    except ParseError as error:
        raise ParseError(f"{cut_short(path, 200)}: {error}") from None


def _is_blank(file: BinaryIO) -> bool:
    """Whether there is nothing in it but blanks and NULs, as in some files of real exports."""
    file.seek(0)
    head = file.read(MAX_BLANK)
    return not head.removeprefix(codecs.BOM_UTF8).strip(b"\0 \t\r\n") and len(head) < MAX_BLANK


def _is_compressed(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(8).startswith(COMPRESSED) or is_archive(file)


def _time_of(names: Iterable[str]) -> datetime | None:
    """The time of the export that a name tells."""
    for name in names:
        if found := _time_in_name.search(name):
            try:
                year, month, day, hour, minute = map(int, found.groups())
                return datetime(year, month, day, hour, minute, tzinfo=UTC)
            except ValueError:
                continue
    return None


# What the upload gives to its records.


def given_to(file: RecordFile, given: Mapping[str, Any], exported_at: datetime) -> dict[str, Any]:
    """The members of a file with a layout, by what its upload gives."""
    if not file.layout:
        return dict(given)
    return {**file.layout.given, **dict.fromkeys(file.layout.dated, exported_at.isoformat()), **given}


def _with_given(
    parts: Sequence[RecordFile],
    stream: Stream,
    options: Options,
    exported_at: datetime,
    named: Mapping[str, str] | None = None,
) -> list[RecordFile]:
    """`named` is what a file of the set names; what the sender says goes before."""
    chosen = _check_fields({**(named or {}), **options.fields}, stream)
    needed = {name for name in stream.upload_fields for part in parts if _needs(part, name)}
    made = {name: _make(stream, name) for name in stream.upload_fields if name in needed and name not in chosen}
    given = {**made, **chosen}
    return [part.with_given(given_to(part, given, exported_at), named_fields=chosen) for part in parts]


def _needs(part: RecordFile, name: str) -> bool:
    """Whether not all of its records have the field themselves."""
    return not part.is_read_by_layout or name in part.members.incomplete


def _make(stream: Stream, name: str) -> str:
    make = stream.upload_fields[name]
    if make is None:
        raise RequestRejected(422, f"{name} is required.", fields={name: ["is required"]})
    return make()


def _check_fields(fields: Mapping[str, str], stream: Stream) -> dict[str, str]:
    """The values that the sender gives, as the stream's schema has them."""
    errors: dict[str, list[str]] = {}
    checked: dict[str, str] = {}
    for name, value in fields.items():
        if name not in stream.upload_fields:
            errors[name] = [f"is not used for {stream.name}"]
            continue
        definition = stream.schema.model_fields[name]
        annotation: Any = Annotated[(definition.annotation, *definition.metadata)]
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        try:
            checked[name] = adapter.validate_python(value, strict=True, context={"now": timezone.now()})
        except ValidationError as error:
            errors[name] = [message_of(detail) for detail in error.errors(include_url=False)]
    if errors:
        message = "; ".join(f"{name} {texts[0]}" for name, texts in errors.items())
        raise RequestRejected(422, f"{message}.", fields=errors)
    return checked
