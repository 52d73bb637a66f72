"""Uploads: a file is stored as many deliveries, each committed together with the position in the file.

Whatever ends the process, sending the same file again continues where it stopped: no row twice, none lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, NoReturn

from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from ingestion import backlog, doorbell
from ingestion.capacity import to_the_end
from ingestion.files.checking import check_file, shown
from ingestion.files.formats.csv_reader import Chunk
from ingestion.files.losses import Losses, losses_of
from ingestion.files.read_ahead import read_ahead
from ingestion.files.record_file import RecordFile, fingerprint_of, first_records
from ingestion.files.sets import FileSet, Uploadable, given_to
from ingestion.models import Delivery, Upload, UploadPreview
from ingestion.payloads import ascii_json, deflate
from ingestion.refusals import RequestRejected
from ingestion.subjects import suppression
from ingestion.validation import check, key_of

DELIVERY_RECORDS = {"postgresql": 2000, "sqlite": 200}
"""As many as the pipeline processes together."""
PREVIEW_ROWS = 100
"""Rows that a preview shows."""
MAX_COLUMN_SAMPLES = 2
NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})


class AlreadyUploaded(RequestRejected):
    """`reason` is the message without the advice, which differs between the API, the admin and the command line."""

    def __init__(self, file: RecordFile, earlier: Upload) -> None:
        when = timezone.localtime(earlier.created_at).strftime("%Y-%m-%d %H:%M")
        self.reason = f"{file.name} was already imported as upload {earlier.pk} ({when})."
        super().__init__(409, f"{self.reason} To import it again, set again=true.")


class WouldClearFields(RequestRejected):
    def __init__(self, file: RecordFile, losses: Losses) -> None:
        self.reason = f"{file.name} has no {', '.join(losses.fields)}, and {losses.text}."
        fields = {name: [f"is not in the file, and {number} stored have it"] for name, number in losses.fields.items()}
        message = f"{self.reason} Add what is missing, or set missing=clear to clear it."
        super().__init__(409, message, fields=fields)


def ingest_files(
    files: Sequence[Uploadable],
    client: str,
    *,
    again: bool = False,
    clear_missing: bool = False,
    on_progress: Callable[[int], object] = lambda offset: None,
) -> list[Upload]:
    """Stores the files; when it returns, they are durably and completely stored. `on_progress` is called with how many
    bytes of each have been read.

    Rejects before anything is stored: (409) a file that was already imported, unless `again`, or that another request
    is importing right now; (422) one that lacks required columns; (409) one that lacks other fields, which stored
    records would lose, unless `clear_missing`. Of several files, those already imported are not rejected if another one
    is new or unfinished: so an interrupted form continues when it is sent again. A set that was already imported is
    not rejected either, but its upload returned. Raises BacklogFull before anything is stored.
    """
    backlog.raise_if_full(sorted({file.stream.name for file in files}), client)
    for number, file in enumerate(files):
        if file.missing_fields:
            _reject_missing(file)
        if any(file.fingerprint == other.fingerprint for other in files[:number]):
            raise RequestRejected(400, f"{file.name} was sent twice.")
        _reject_suppressed(file)
    known = {} if again else find_earlier(files, client)
    single = next((file for file in files if isinstance(file, RecordFile)), None)
    if single and len(known) == len(files):
        raise AlreadyUploaded(single, known[single.fingerprint])
    if not clear_missing:
        for file in files:
            _reject_losses(file, client, is_known=file.fingerprint in known)
    with to_the_end():
        uploads = [
            known.get(file.fingerprint) or _ingest(file, client, again=again, on_progress=on_progress) for file in files
        ]
        for file in files:
            _delete_previews(file, client)
    return uploads


def _delete_previews(file: Uploadable, client: str) -> None:
    """Those of a file that has now been imported: nothing of it is kept any longer."""
    sha256 = file.fingerprint if isinstance(file, FileSet) else file.sha256
    same = UploadPreview.objects.filter(client=client, stream=file.stream.name, sha256=sha256, part_of=None)
    same.filter(named_fields=dict(file.named_fields)).delete()


def find_earlier(files: Sequence[Uploadable], client: str) -> dict[str, Upload]:
    """fingerprint → the finished upload of that file or set, of those that are not to be continued."""
    return {file.fingerprint: earlier for file in files if (earlier := _known(file, client))}


def _reject_missing(file: Uploadable) -> None:
    fields = {name: ["is required, but the file has no such column"] for name in file.missing_fields}
    raise RequestRejected(
        422, f"{file.name} lacks required columns of {file.stream.name}: {', '.join(fields)}.", fields=fields
    )


def _reject_suppressed(file: Uploadable) -> None:
    """Refuses (422) a file that is given as a person's whose data have been erased."""
    if mention := suppression.find_at_the_door(file.stream, [dict(file.given)]).get(0):
        message = suppression.message_of(mention)
        raise RequestRejected(422, f"{mention.field} {message}.", fields={mention.field: [message]})


def _reject_losses(file: Uploadable, client: str, *, is_known: bool) -> None:
    """Refuses (409) a file of which stored records would lose fields; what goes on has been decided.

    A file with a layout has all that there is to say of its records.
    """
    if isinstance(file, FileSet) or file.layout or is_known or _unfinished(file, client):
        return
    if (losses := losses_of(file)).records:
        raise WouldClearFields(file, losses)


def _known(file: Uploadable, client: str) -> Upload | None:
    """The finished upload of the file, unless there is one to continue."""
    return None if _unfinished(file, client) else _finished(file, client)


def _finished(file: Uploadable, client: str) -> Upload | None:
    finished = _same_file(file, client).exclude(finished_at=None)
    return finished.filter(format=_format_of(file)).order_by("-pk").first()


def _unfinished(file: Uploadable, client: str) -> Upload | None:
    """Rejects (409) to continue it in another format or with another mapping, which would give other rows."""
    found = _same_file(file, client).filter(finished_at=None).first()
    if found and found.format != (wanted := _format_of(file)):
        started = f"{file.name} is being imported as {found.get_format_display()} (upload {found.pk})"
        raise RequestRejected(409, f"{started}: finish that first, then send it as {wanted.label}.")
    if found and isinstance(file, RecordFile) and found.reading.get("mapped_columns", {}) != file.mapped:
        started = f"{file.name} is being imported with other columns mapped (upload {found.pk})"
        raise RequestRejected(409, f"{started}: finish that first.")
    return found


def _format_of(file: Uploadable) -> Upload.Format:
    return Upload.Format.SET if isinstance(file, FileSet) else file.format


def _same_file(file: Uploadable, client: str) -> QuerySet[Upload]:
    return Upload.objects.filter(client=client, stream=file.stream.name, fingerprint=file.fingerprint)


def _ingest(file: Uploadable, client: str, *, again: bool, on_progress: Callable[[int], object]) -> Upload:
    if isinstance(file, FileSet):
        return _ingest_set(file, client, again=again, on_progress=on_progress)
    upload = _start(file, client, again=again)
    _ingest_rows(file.with_given(upload.given), upload, on_progress)
    return upload


def _ingest_rows(file: RecordFile, upload: Upload, on_progress: Callable[[int], object]) -> None:
    """What is missing of the file."""
    rows = (upload.deliveries.aggregate(rows=Sum("count"))["rows"] or 0) + upload.left_out
    on_progress(upload.offset)
    chunks = file.chunks(upload.offset, rows, DELIVERY_RECORDS[connection.vendor])
    for chunk, body in read_ahead((chunk, deflate(chunk.body)) for chunk in chunks):
        _store(upload, chunk, body)
        rows += chunk.count + chunk.left_out
        on_progress(upload.offset)
    _move(upload, file.size, finished_at=Now())
    upload.refresh_from_db()


def _ingest_set(files: FileSet, client: str, *, again: bool, on_progress: Callable[[int], object]) -> Upload:
    """Stores the parts one after the other. What a set that is continued gives to its records was decided at first."""
    upload = _start_set(files, client, again=again)
    if upload.finished_at:
        return upload
    exported_at, done = datetime.fromisoformat(upload.reading["exported_at"]), 0
    for part in files.parts:
        started = _start_part(part.with_given(given_to(part, upload.given, exported_at)), upload)
        if not started.finished_at:
            _ingest_rows(part.with_given(started.given), started, lambda offset, done=done: on_progress(done + offset))  # type: ignore[misc]
        done += part.size
        on_progress(done)
    Upload.objects.filter(pk=upload.pk, finished_at=None).update(offset=files.size, changed_at=Now(), finished_at=Now())
    upload.refresh_from_db()
    return upload


def _start(file: RecordFile, client: str, *, again: bool) -> Upload:
    """The unfinished upload of this file, else a new one.

    Whether the file was already imported is checked again after the insert: the constraint lets the insert pass only
    when every other upload of the file is finished or deleted, so none can finish unnoticed after it.
    """
    try:
        with transaction.atomic():
            upload = Upload.objects.create(client=client, fingerprint=file.fingerprint, **_columns_of(file))
            if not again and (earlier := _finished(file, client)):
                raise AlreadyUploaded(file, earlier)
            return upload
    except IntegrityError:
        return _unfinished(file, client) or _reject_overtaken(file)


def _start_set(files: FileSet, client: str, *, again: bool) -> Upload:
    """The unfinished upload of this set, else a new one; the finished one if another request has been faster."""
    try:
        with transaction.atomic():
            upload = Upload.objects.create(
                client=client,
                stream=files.stream.name,
                name=files.name[:255],
                format=Upload.Format.SET,
                size=files.size,
                sha256=files.fingerprint,
                fingerprint=files.fingerprint,
                given=dict(files.given),
                reading={
                    "exported_at": files.exported_at.isoformat(),
                    "file_warnings": files.notes,
                    "left_out": [each.path for each in files.left_out],
                },
            )
            if not again and (earlier := _finished(files, client)):
                transaction.set_rollback(True)
                return earlier
            return upload
    except IntegrityError:
        return _unfinished(files, client) or _reject_overtaken(files)


def _start_part(part: RecordFile, whole: Upload) -> Upload:
    """The upload of this part: a new one, or that of an earlier attempt. Equal parts differ by their paths."""
    fingerprint = fingerprint_of(whole.pk, part.name, part.sha256)
    if earlier := whole.parts.filter(fingerprint=fingerprint).first():
        return earlier
    try:
        with transaction.atomic():
            return Upload.objects.create(
                client=whole.client, part_of=whole, fingerprint=fingerprint, **_columns_of(part)
            )
    except IntegrityError:
        return whole.parts.filter(fingerprint=fingerprint).first() or _reject_overtaken(part)


def _columns_of(file: RecordFile) -> dict[str, Any]:
    return {
        "stream": file.stream.name,
        "name": file.name[:255],
        "format": file.format,
        "size": file.size,
        "sha256": file.sha256,
        "kind": file.kind,
        "given": dict(file.given),
        "columns": file.columns,
        "reading": file.reading,
    }


def _reject_overtaken(file: Uploadable) -> NoReturn:
    raise RequestRejected(409, f"{file.name} has just been imported by another request.")


def _store(upload: Upload, chunk: Chunk, body: bytes) -> None:
    """Durably, with the position in the file. Rows that are no records are counted alone.

    Rows of files are alike: deflated, they take a tenth of their bytes (`Delivery.content` reads them).
    """
    with transaction.atomic(durable=True):
        _move(upload, chunk.end, left_out=F("left_out") + chunk.left_out)
        if not chunk.count:
            return
        Delivery.objects.insert(
            stream=upload.stream,
            client=upload.client,
            format=Delivery.Format.NDJSON,
            body=body,
            size=len(chunk.body),
            is_deflated=True,
            count=chunk.count,
            upload=upload,
            first_row=chunk.first_row,
            gaps=ascii_json(chunk.gaps),
        )
    backlog.note_accepted(upload.stream, upload.client, chunk.count, len(chunk.body))
    doorbell.ring()


def _move(upload: Upload, offset: int, **changes: Any) -> None:
    """Moves the offset, unless another request has: of two importing the same file, one continues, one is rejected."""
    present = Upload.objects.filter(pk=upload.pk, offset=upload.offset, finished_at=None)
    if not present.update(offset=offset, changed_at=Now(), **changes):
        raise RequestRejected(409, f"Another request is importing the same file: see upload {upload.pk}.")
    upload.offset = offset


def preview(file: Uploadable, arriving: Mapping[str, Collection[str]] = NOTHING) -> dict[str, Any]:
    """How the columns fit, and what would become of all rows; stores nothing. `arriving`: see check_file()."""
    if isinstance(file, FileSet):
        return _preview_of_set(file)
    return {**first_look(file), **check_file(file, arriving).summary}


def _preview_of_set(files: FileSet) -> dict[str, Any]:
    parts = [preview(part) for part in files.parts]
    return {
        "name": files.name,
        "stream": files.stream.name,
        "format": Upload.Format.SET,
        "parts": parts,
        "file_warnings": files.notes,
        "missing_fields": files.missing_fields,
        **{name: sum(part[name] for part in parts) for name in ("checked", "valid", "invalid", "left_out")},
    }


def first_look(file: RecordFile) -> dict[str, Any]:
    """How the columns fit, and the first rows."""
    rows, records = first_records(file, PREVIEW_ROWS)
    errors, warnings = {}, {}
    if records:
        checked = check(file.stream, records, keep_invalid=True, is_of_file=True)
        errors = {error["index"]: error["errors"] for error in checked.errors}
        warnings = {warned["index"]: warned["warnings"] for warned in checked.warnings}
    return {
        "name": file.name,
        "stream": file.stream.name,
        "kind": file.kind or None,
        "format": file.format,
        "columns": [
            {
                "column": column.name,
                "field": column.field or None,
                "suggestion": file.suggestion(column),
                "samples": _samples(records, column.key),
            }
            for column in file.own_columns
        ],
        "missing_fields": file.missing_fields,
        "left_out": file.members.left_out,
        **file.reading,
        "rows": [
            {
                "row": rows[index],
                "id": key_of(file.stream, record),
                "valid": index not in errors,
                "errors": errors.get(index, {}),
                "warnings": warnings.get(index, []),
            }
            for index, record in enumerate(records)
        ],
    }


def _samples(records: Sequence[Any], name: str) -> list[str]:
    """The first different values of the member."""
    values = (shown(record.get(name)) for record in records if isinstance(record, dict))
    return list(islice(dict.fromkeys(filter(None, values)), MAX_COLUMN_SAMPLES))
