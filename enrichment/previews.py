"""Previews of files that people have chosen: kept in the database, where every web server and every worker finds them;
checked by the workers in steps; deleted when the file is uploaded, or after some hours.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from enrichment import steps
from ingestion import doorbell, streams
from ingestion.files.checking import Check, Checker
from ingestion.files.layouts import layout_of
from ingestion.files.record_file import RecordFile, SourceFile, inspect_source, open_packed, packed
from ingestion.files.sets import FileSet, LeftOut, Uploadable, reject_other_values
from ingestion.files.spool import anonymous_tempfile
from ingestion.files.uploads import DELIVERY_RECORDS, first_look
from ingestion.models import PreviewChunk, PreviewPart, Upload, UploadPreview
from ingestion.payloads import ascii_json, deflate

LIFETIME = timedelta(hours=6)
MAX_FILES = 5
"""Of one person: with another one the oldest is deleted."""
PART_BYTES = 1_000_000
"""Before they are compressed."""
STEP_SECONDS = {"postgresql": 0.5, "sqlite": 0.2}
"""On SQLite nothing else is written meanwhile."""


class NoRoom(ValueError):
    """The file is too large for a preview, or there are too many others."""


def max_size() -> int:
    """Bytes of the previews of one person; those of all may have twice as many."""
    return settings.MAX_PREVIEW_BYTES // 2


def keep(file: Uploadable, client: str) -> UploadPreview:
    """Keeps the file, or the set, until it has been checked and uploaded. Raises NoRoom."""
    if file.size > max_size():
        raise NoRoom(f"{file.name} is too large for a preview of all rows.")
    delete_expired()
    _make_room(client, file.size)
    preview = _create_set(file, client) if isinstance(file, FileSet) else _create(file, client)
    if (_wholes().aggregate(size=Sum("size"))["size"] or 0) > settings.MAX_PREVIEW_BYTES:
        preview.delete()
        raise NoRoom("Too many files are being previewed at the moment.")
    if not isinstance(file, FileSet):
        return _fill(preview, file)
    for part in file.parts:
        _fill(_create(part, client, preview), part)
    UploadPreview.objects.filter(pk=preview.pk).update(ready_at=Now())
    return preview


def _wholes() -> QuerySet[UploadPreview]:
    """The previews of files and sets, without the files of sets."""
    return UploadPreview.objects.filter(part_of=None)


def _fill(preview: UploadPreview, file: RecordFile) -> UploadPreview:
    with ExitStack() as opened:
        content = packed(file, opened, DELIVERY_RECORDS[connection.vendor])
        content.seek(0)
        number = 0
        while piece := content.read(PART_BYTES):
            PreviewPart.objects.create(preview=preview, number=number, body=deflate(piece))
            number += 1
    return _make_ready(preview, file)


def _make_room(client: str, size: int) -> None:
    """Deletes this person's oldest previews, as far as the new one needs."""
    left, number = max_size() - size, 1
    own = _wholes().filter(client=client)
    for pk, used in own.order_by("-pk").values_list("pk", "size"):
        left, number = left - used, number + 1
        if left < 0 or number > MAX_FILES:
            own.filter(pk__lte=pk).delete()
            return


def _create_set(files: FileSet, client: str) -> UploadPreview:
    """Whose files are checked, and not itself."""
    return UploadPreview.objects.create(
        stream=files.stream.name,
        client=client,
        name=files.name[:255],
        format=Upload.Format.SET,
        size=files.size,
        sha256=files.fingerprint,
        given=dict(files.given),
        named_fields=dict(files.named_fields),
        first_look={
            "missing_fields": files.missing_fields,
            "left_out": [[each.path, each.reason] for each in files.left_out],
            "exported_at": files.exported_at.isoformat() if files.is_dated else None,
        },
        finished_at=timezone.now(),
    )


def _create(file: RecordFile, client: str, part_of: UploadPreview | None = None) -> UploadPreview:
    return UploadPreview.objects.create(
        part_of=part_of,
        kind=file.kind,
        stream=file.stream.name,
        client=client,
        name=file.name[:255],
        format=file.format,
        size=file.size,
        sha256=file.sha256,
        encoding=file.encoding,
        source_notes=list(file.source_notes),
        given=dict(file.given),
        named_fields=dict(file.named_fields),
        mapping=file.mapped,
        first_look=first_look(file),
    )


def _make_ready(preview: UploadPreview, file: RecordFile) -> UploadPreview:
    """Saves what is to be checked; nothing, where required columns are missing: then all rows are invalid."""
    rows = 0
    for chunk in () if file.missing_fields else file.chunks():
        if not chunk.count:
            continue
        PreviewChunk.objects.create(preview=preview, body=deflate(chunk.body), rows=ascii_json(chunk.rows))
        rows += chunk.count
    begun = Check.begin(file).as_json()
    UploadPreview.objects.filter(pk=preview.pk).update(rows=rows, result=begun, ready_at=Now())
    doorbell.ring()
    preview.refresh_from_db()
    return preview


def reopen_set(preview: UploadPreview, opened: ExitStack) -> FileSet:
    """The set, whose files stay open as long as `opened`."""
    look = preview.first_look
    return FileSet(
        name=preview.name,
        stream=streams.get(preview.stream),
        parts=tuple(reopen(part, opened) for part in preview.files.order_by("pk")),
        left_out=tuple(LeftOut(path, reason) for path, reason in look["left_out"]),
        given=preview.given,
        named_fields=preview.named_fields,
        exported_at=datetime.fromisoformat(look["exported_at"]) if look["exported_at"] else timezone.now(),
        is_dated=bool(look["exported_at"]),
    )


def reopen(preview: UploadPreview, opened: ExitStack, mapping: Mapping[str, str] | None = None) -> RecordFile:
    """The file, with this mapping or its own; it stays open as long as `opened`. Raises ParseError."""
    file = anonymous_tempfile(opened)
    number = 0
    while (body := preview.parts.filter(number=number).values_list("body", flat=True).first()) is not None:
        file.write(zlib.decompress(bytes(body)))
        number += 1
    source = SourceFile(
        file=file,
        name=preview.name,
        format=Upload.Format(preview.format),
        size=preview.size,
        sha256=preview.sha256,
        encoding=preview.encoding,
        source_notes=tuple(preview.source_notes),
    )
    chosen = preview.mapping if mapping is None else mapping
    stream = streams.get(preview.stream)
    layout = layout_of(stream, preview.kind, preview.given) if preview.kind else None
    if layout and layout.read:
        inspected = open_packed(source, stream, layout, preview.first_look["file_warnings"], preview.first_look)
    else:
        inspected = inspect_source(source, stream, chosen, layout, is_mapped_later=True)
    return inspected.with_given(preview.given, preview.named_fields)


def remap(preview: UploadPreview, mapping: Mapping[str, str]) -> UploadPreview:
    """A preview of the same file with other columns mapped, in place of this one. Raises ParseError,
    RequestRejected."""
    with ExitStack() as opened:
        file = reopen(preview, opened, mapping)
        reject_other_values(file, preview.named_fields)
        other = _create(file, preview.client)
        preview.parts.update(preview=other)
        preview.delete()
        return _make_ready(other, file)


def delete_expired() -> None:
    UploadPreview.objects.filter(created_at__lt=Now() - LIFETIME).delete()


# The check of all rows, by the workers.


def run_next_step() -> bool:
    """Checks rows of the smallest file that no other process is checking; False if there is none."""
    unfinished = UploadPreview.objects.filter(finished_at=None).exclude(ready_at=None).order_by("rows", "pk")
    end = time.monotonic() + STEP_SECONDS[connection.vendor]
    return bool(steps.run_next_step(unfinished, lambda preview: _step(preview, end), _give_up))


def _step(preview: UploadPreview, end: float) -> bool:
    check = Check.from_json(preview.result)
    checker = Checker(streams.get(preview.stream), check)
    while (chunk := preview.chunks.order_by("pk").first()) is not None:
        body = zlib.decompress(bytes(chunk.body))
        checker.add_items(json.loads(chunk.rows), [json.loads(line) for line in body.split(b"\n")])
        chunk.delete()
        if time.monotonic() >= end:
            break
    else:
        preview.finished_at = timezone.now()
    preview.result = check.as_json()
    preview.save(update_fields=["result", "finished_at"])
    return True


def _give_up(preview: UploadPreview, error: Exception) -> None:
    """An error of the database may pass; any other would come again."""
    if not isinstance(error, Error):
        reason = f"The check failed ({type(error).__name__}). The file can be uploaded without it."
        UploadPreview.objects.filter(pk=preview.pk).update(error=reason, finished_at=Now())


def check_of(preview: UploadPreview) -> dict[str, Any]:
    """What the check has found so far."""
    return Check.from_json(preview.result).summary
