"""Progress of uploads: sums over their deliveries, held records and questions, in a few queries for any number."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Literal, Self, TypeAlias

from django.db.models import Count, Q, QuerySet, Sum
from django.http import StreamingHttpResponse
from django.utils import timezone

from enrichment.lookups import control
from enrichment.lookups.control import Obstacle
from enrichment.models import HeldRecord
from enrichment.rows.access import Export
from enrichment.rows.masking import mask_rows
from enrichment.rows.writers import BYTE_ORDER_MARK, Csv, download
from ingestion import streams
from ingestion.cells import cell_of, escape_formula, text_cell, unescape
from ingestion.files.formats.csv_reader import DECIMAL_COMMA, FILE_COLUMN, REPORT_COLUMNS, map_columns, with_point
from ingestion.files.formats.csv_rows import DELIMITERS
from ingestion.files.formats.local_dates import DateStyle, is_certain
from ingestion.models import Delivery, Upload
from ingestion.payloads import RAW_MEMBER
from ingestion.streams import Stream
from ingestion.text import strip_unstorable

State: TypeAlias = Literal["receiving", "enriching", "completed", "failed"]

STALLED = timedelta(minutes=10)
"""An unfinished upload that has not advanced for so long was interrupted."""
RECENT = timedelta(minutes=1)
"""What was processed within it gives the speed of the workers."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""At most, those of the database and of the workers."""
ROWS_SHARE = 10
"""Per cent of the progress that the rows make up where they raise questions, which take much longer."""
MAX_QUOTED = 1000
"""Characters of a row that is not CSV, quoted beside its message."""

INTERRUPTED = "Interrupted before the whole file was saved. Send the same file again: it resumes where it stopped."


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Records of one upload: total = pending + inserted + updated + stale + waiting + dead + resolved + discarded.

    Those of a set are the sums of what its parts have.
    """

    upload: Upload
    total: int = 0
    """Rows stored as deliveries so far."""
    inserted: int = 0
    updated: int = 0
    stale: int = 0
    held: int = 0
    recent: int = 0
    """Processed in the last minute."""
    by_status: dict[str, int] = field(default_factory=dict)
    questions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """As in Stream.progress."""
    asks: bool = False
    """Its records raise questions."""
    obstacle: Obstacle | None = None
    """Why its open questions are not being asked."""
    at: datetime
    parts: tuple[Progress, ...] = ()
    """Of a set."""

    @property
    def processed(self) -> int:
        return self.inserted + self.updated + self.stale + self.held

    @property
    def pending(self) -> int:
        return self.total - self.processed

    @property
    def waiting(self) -> int:
        return self.by_status.get(HeldRecord.Status.WAITING, 0)

    @property
    def dead(self) -> int:
        return self.by_status.get(HeldRecord.Status.DEAD, 0)

    @property
    def resolved(self) -> int:
        return self.by_status.get(HeldRecord.Status.RESOLVED, 0)

    @property
    def discarded(self) -> int:
        return self.by_status.get(HeldRecord.Status.DISCARDED, 0)

    @property
    def is_settled(self) -> bool:
        """All records have been processed, and what that entails; then its questions are known."""
        return not self.pending and (self.upload.settled_at is not None or not self.asks)

    def count(self, name: str) -> int:
        """Questions: total, open, recent …"""
        return sum(numbers.get(name, 0) for numbers in self.questions.values())

    @property
    def status(self) -> State:
        if self.upload.finished_at:
            return "completed" if self.is_settled and not self.count("open") else "enriching"
        return "failed" if self.at - self.changed_at > STALLED else "receiving"

    @property
    def changed_at(self) -> datetime:
        """When it last advanced, while it is received."""
        return max([self.upload.changed_at, *(part.upload.changed_at for part in self.parts)])

    @property
    def offset(self) -> int:
        """Bytes received."""
        return sum(part.offset for part in self.parts) if self.upload.is_set else self.upload.offset

    @property
    def left_out(self) -> int:
        """Rows received that are no records, besides `total`."""
        return sum(part.left_out for part in self.parts) if self.upload.is_set else self.upload.left_out

    @property
    def message(self) -> str:
        if self.status == "failed":
            return INTERRUPTED
        return self.obstacle.message if self.obstacle else ""

    @property
    def expected(self) -> float:
        """The rows of the whole file, estimated from the part that has been received."""
        read = self.offset / self.upload.size if self.upload.size else 1
        return self.total / read if read and not self.upload.finished_at else self.total

    @property
    def percent(self) -> float:
        """Of the whole file; 100 only when everything is processed, and all questions are settled. It never falls: the
        questions count once all of them are known.
        """
        if self.status == "completed":
            return 100.0
        rows = self.processed / self.expected if self.expected else float(self.upload.finished_at is not None)
        if not self.asks:
            return _percent(100 * rows)
        if not self.is_settled:
            return _percent(ROWS_SHARE * rows)
        settled = 1 - self.count("open") / self.count("total") if self.count("total") else 1
        return _percent(ROWS_SHARE + (100 - ROWS_SHARE) * settled)

    @property
    def eta_seconds(self) -> int | None:
        """At the speed of the last minute; None if nothing was processed in it."""
        if self.status == "completed":
            return 0
        seconds = min(RECENT, self.at - self.upload.created_at).total_seconds()
        if self.status == "failed" or self.obstacle or seconds <= 0:
            return None
        left, recent = self.expected - self.processed, self.recent
        if self.asks and self.is_settled:
            left, recent = self.count("open"), self.count("recent")
        return math.ceil(left * seconds / recent) if recent else None


def _percent(number: float) -> float:
    return min(99.9, math.floor(10 * number) / 10)


def progress_of(uploads: Sequence[Upload]) -> dict[int, Progress]:
    """upload → its progress."""
    parts = _parts_of([upload.pk for upload in uploads if upload.is_set])
    now, files = timezone.now(), [*(upload for upload in uploads if not upload.is_set), *chain(*parts.values())]
    counts = _counts([upload.pk for upload in files], now)
    held = _held([pk for pk, sums in counts.items() if sums["held"]])
    of_file = {
        upload.pk: Progress(upload=upload, at=now, by_status=held[upload.pk], **counts.get(upload.pk, {}))
        for upload in files
    }
    of_set = {
        upload.pk: _sum_of(upload, [of_file[part.pk] for part in parts[upload.pk]], now)
        for upload in uploads
        if upload.is_set
    }
    found, questions = {**of_file, **of_set}, questions_of(uploads)
    asking = {
        upload.pk: replace(found[upload.pk], questions=questions.get(upload.pk, {}), asks=_asks(upload) is not None)
        for upload in uploads
    }
    return _with_obstacles(asking, now)


def _parts_of(sets: Sequence[int]) -> dict[int, list[Upload]]:
    parts: dict[int, list[Upload]] = {pk: [] for pk in sets}
    for part in Upload.objects.filter(part_of__in=sets).order_by("pk") if sets else ():
        parts[part.part_of_id or 0].append(part)
    return parts


def _counts(pks: Sequence[int], now: datetime) -> dict[int, dict[str, Any]]:
    """upload → sums over its deliveries."""
    names = ("inserted", "updated", "stale", "held")
    recent = Sum("count", filter=Q(processed_at__gte=now - RECENT), default=0)
    of_uploads = Delivery.objects.filter(upload__in=pks).values("upload")
    rows = of_uploads.annotate(*map(Sum, names), total=Sum("count"), recent=recent)
    found = rows.values_list("upload", "total", "recent", *(f"{name}__sum" for name in names))
    return {pk: dict(zip(("total", "recent", *names), sums, strict=True)) for pk, *sums in found}


def _sum_of(upload: Upload, parts: Sequence[Progress], now: datetime) -> Progress:
    names = ("total", "recent", "inserted", "updated", "stale", "held")
    sums = {name: sum(getattr(part, name) for part in parts) for name in names}
    by_status = Counter[str]()
    for part in parts:
        by_status.update(part.by_status)
    return replace(Progress(upload=upload, at=now, by_status=dict(by_status), parts=tuple(parts)), **sums)


def _asks(upload: Upload) -> Stream | None:
    """The stream, if its records raise questions; they are counted for the whole of a set."""
    stream = streams.get(upload.stream) if upload.stream in streams.names() and not upload.part_of_id else None
    return stream if stream and stream.progress else None


def questions_of(uploads: Sequence[Upload]) -> Mapping[int, Mapping[str, Mapping[str, int]]]:
    """upload → the numbers of its questions."""
    by_stream: dict[Stream, list[Upload]] = defaultdict(list)
    for upload in uploads:
        if stream := _asks(upload):
            by_stream[stream].append(upload)
    found: dict[int, Mapping[str, Mapping[str, int]]] = {}
    for stream, of_stream in by_stream.items():
        found |= stream.progress(of_stream) if stream.progress else {}
    return found


def _with_obstacles(found: dict[int, Progress], now: datetime) -> dict[int, Progress]:
    """Says of uploads with open questions why these are not being asked."""
    providers_of = {
        pk: stream.providers
        for pk, each in found.items()
        if each.count("open") and (stream := _asks(each.upload)) is not None
    }
    obstacles = control.obstacles({name for names in providers_of.values() for name in names}, now)
    for pk, names in providers_of.items():
        if standing := [obstacles[name] for name in names if name in obstacles]:
            found[pk] = replace(found[pk], obstacle=standing[0])
    return found


def deliveries_of(upload: Upload) -> QuerySet[Delivery]:
    """Those of a set are those of its parts."""
    return Delivery.objects.filter(upload__part_of=upload) if upload.is_set else upload.deliveries.all()


def stored_with_warnings(upload: Upload) -> int:
    """The stored records with warnings that this upload has written last. Reads only what has been stored since."""
    if upload.stream not in streams.names():
        return 0
    rows = streams.get(upload.stream).model._default_manager.filter(stored_at__gte=upload.created_at - CLOCKS_DIFFER)
    return rows.filter(delivery__in=deliveries_of(upload).values("pk")).exclude(warnings=[]).count()


def _held(pks: Sequence[int]) -> dict[int, dict[str, int]]:
    """upload → status → held records."""
    held: dict[int, dict[str, int]] = defaultdict(dict)
    of_uploads = HeldRecord.objects.filter(delivery__upload__in=pks, delivery__held__gt=0)
    for upload, status, number in of_uploads.values_list("delivery__upload", "status").annotate(Count("pk")):
        held[upload][status] = number
    return held


# The rejected rows as CSV, to be fixed and uploaded again.


def csv_of_rejected(
    upload: Upload, *, by: str, for_people: bool = False, is_masked: bool = False
) -> StreamingHttpResponse:
    """The rejected rows as a download, streamed: for people with a byte order mark, and with the file's own delimiter
    and decimal commas, as their spreadsheet has them.
    """
    prefix = BYTE_ORDER_MARK if for_people else ""
    export = Export(by=by, what=f"rejected rows of upload {upload.pk} ({upload.stream})", form=Csv.format, rows=-1)

    def text() -> Iterator[str]:
        lines = rejected_rows(upload, for_people=for_people, is_masked=is_masked)
        return chain([prefix], ("".join(line) for line in export.counting([line] for line in lines)))

    return download(text, Csv(), f"rejected-{upload.pk}", export)


def rejected_rows(upload: Upload, *, for_people: bool = False, is_masked: bool = False) -> Iterator[str]:
    """The upload's dead letters as lines of CSV, in order of the file: row, error, then the file's columns.

    Of a file with a layout, and of a set, the fields of the stream in their place: all that the upload has given to
    the record is among them. Of a set also the file. One delivery at a time. What a spreadsheet would take for a
    formula is marked, and read without the mark when the file comes back (ingestion.cells.MARK).
    """
    columns, style = _columns(upload), _Style.of(upload, for_people=for_people)
    report = (*REPORT_COLUMNS, FILE_COLUMN) if upload.is_set else REPORT_COLUMNS
    yield _line([*report, *map(escape_formula, columns)], style.delimiter)
    key = streams.get(upload.stream).key if upload.stream in streams.names() else ""
    records = mask_rows(HeldRecord.objects.all()) if is_masked else HeldRecord.objects.all()
    deliveries = deliveries_of(upload).filter(held__gt=0).order_by("pk").select_related("upload")
    for delivery in deliveries.only("upload__name", "first_row", "gaps"):
        dead = records.filter(status=HeldRecord.Status.DEAD, delivery=delivery.pk).order_by("position")
        for held in dead.only("stream", "position", "key", "code", "payload", "messages"):
            has_key, messages = bool(held.key) and key not in held.messages, held.messages
            row, record = delivery.row_of(held.position), json.loads(held.payload)
            if _has_own_columns(upload):
                record = _without_cells(record)
            number, error, *cells = _cells(row, record, messages, columns, style, has_key=has_key)
            file = [escape_formula(delivery.upload.name)] if upload.is_set and delivery.upload else []
            yield _line([number, error, *file, *cells], style.delimiter)


def _has_own_columns(upload: Upload) -> bool:
    """Whether its rejected rows have other columns than the file."""
    return upload.is_set or bool(upload.kind)


def _without_cells(record: Any) -> Any:
    """Of a row with more or fewer cells than columns: these as one text."""
    if not isinstance(record, dict) or not isinstance(cells := record.get(RAW_MEMBER), list):
        return record
    return {**record, RAW_MEMBER: ", ".join(map(str, cells))}


@dataclass(frozen=True)
class _Style:
    """How the file writes what has several forms."""

    delimiter: str
    words: dict[str, dict[str, str]]
    """column → how it writes true and false."""
    decimal_commas: frozenset[str]
    dates: dict[str, DateStyle]

    @classmethod
    def of(cls, upload: Upload, *, for_people: bool) -> Self:
        came = {} if _has_own_columns(upload) else upload.reading
        delimiter = came.get("delimiter", ",") if for_people else ","
        return cls(
            delimiter=delimiter if delimiter in DELIMITERS else ",",
            words=came.get("words", {}),
            decimal_commas=frozenset(came.get("decimal_commas", ()) if delimiter in DECIMAL_COMMA else ()),
            dates={name: DateStyle(**style) for name, style in came.get("dates", {}).items()},
        )

    def cell(self, value: Any, column: str, *, has_original: bool) -> str:
        """`has_original`: whether the record is found again when the cell leaves a doubt how it is to be read."""
        if isinstance(value, bool):
            cell = cell_of(value)
            return self.words.get(column, {}).get(cell, cell)
        if isinstance(value, float) and column in self.decimal_commas:
            cell, comma = cell_of(value), cell_of(value).replace(".", ",")
            return comma if with_point(comma, self.delimiter) == cell else cell
        if isinstance(value, str) and (style := self.dates.get(column)) and (written := style.write(value)) != value:
            return written if has_original or is_certain(written, value) else value
        return cell_of(value)


def _columns(upload: Upload) -> dict[str, str]:
    """column → the member of a record that it holds; of a file without a header, the stream's fields."""
    if upload.stream not in streams.names():
        return {name: name for name in upload.columns}
    stream = streams.get(upload.stream)
    if _has_own_columns(upload):
        return {name: name for name in stream.schema.model_fields}
    names = upload.columns or list(stream.schema.model_fields)
    mapping = upload.reading.get("mapped_columns", {})
    return {column.name: column.key for column in map_columns(names, stream, mapping=mapping)}


def _cells(
    row: int,
    record: Any,
    messages: dict[str, list[str]],
    columns: dict[str, str],
    style: _Style,
    *,
    has_key: bool,
) -> list[str]:
    error = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in messages.items())
    record = record if isinstance(record, dict) else {RAW_MEMBER: json.dumps(record)}
    came = record.get(RAW_MEMBER)
    if isinstance(came, list):  # the row's cells, which are more or fewer than the columns
        return [str(row), escape_formula(error), *map(_as_it_stood, map(str, came))]
    if came is not None:
        error = f"{error} Row as sent: {str(came)[:MAX_QUOTED]}"
    values = (
        style.cell(record.get(name), column, has_original=has_key and name not in messages)
        for column, name in columns.items()
    )
    return [str(row), escape_formula(error), *values]


def _as_it_stood(cell: str) -> str:
    """A cell of the file that is read as it was there, whether or not it had a mark."""
    text, marked = unescape(cell)
    return text_cell(text) if marked else escape_formula(text)


def _line(cells: Sequence[str], delimiter: str) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerow(map(strip_unstorable, cells))
    return file.getvalue()
