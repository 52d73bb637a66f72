"""Writing the tables as Parquet: one file for each, T/T.parquet, that others may read at any time.

All are written beside the folders first, and reach the disk before the first takes its place: whatever ends the
process, each table is the old one or the new, whole, and no folder ever has two files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeAlias

import polars as pl
from django.db import connection, transaction
from polars.exceptions import PolarsError
from polars.io.plugins import register_io_source

from enrichment.rows.access import Export
from ingestion.models import Upload
from music.parquet.tables import TRACKS_PLAYED, Table

WRITTEN_BY = {"written_by": "tutormax export_music"}
"""What files of ours carry, so that others' are not replaced."""
ROW_GROUP = 32_768
"""Rows that are gathered before they are written."""
HASHED_AT_ONCE = 1 << 20

POLL = 0.1
"""Seconds after which it is looked whether writing has failed meanwhile."""

Frames: TypeAlias = "queue.Queue[pl.DataFrame | None]"
OnRows = Callable[[Table, int], object]
"""Called with how many more rows of the table have been written."""


class Refused(Exception):
    """The folder is not to be written to; the message names it."""


class WrongRows(Exception):
    """The rows are not as the table declares them: nothing was written."""


def export(folder: Path, tables: Sequence[Table], on_rows: OnRows = lambda table, rows: None) -> dict[str, int]:
    """Writes these tables as they are at one moment; returns how many rows each has.

    Raises Refused, before anything is written, where there is Parquet of others, or the plays that were read; and
    WrongRows, OSError and database errors, after which all tables are the old ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        for table in tables:
            refuse_others(folder / table.name, table.name)
        taken = Export(by="command", what=f"music: {', '.join(table.name for table in tables)}", form="parquet")
        taken.begin()
        parts = {table.name: folder / f".{table.name}.part" for table in tables}
        try:
            with _one_moment():
                rows = {table.name: _write(table, parts[table.name], on_rows) for table in tables}
            for table in tables:
                _put(parts[table.name], file_of(folder, table.name))
            taken.rows = sum(rows.values())
        finally:
            taken.end()
            for part in parts.values():
                part.unlink(missing_ok=True)
    return rows


def file_of(folder: Path, table: str) -> Path:
    return folder / table / f"{table}.parquet"


def files_of(folder: Path, table: str) -> list[Path]:
    """All Parquet of a table, whoever wrote it."""
    return sorted(path for path in (folder / table).rglob("*.parquet") if path.is_file())


def refuse_others(folder: Path, table: str) -> None:
    """Whatever would be lost, or would fail when other tables have been replaced already."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise Refused(f"{folder} is not a folder. Nothing was written.")
    if (folder / f"{table}.parquet").is_dir():
        raise Refused(f"{folder / f'{table}.parquet'} is a folder. Nothing was written.")
    if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"{folder} cannot be written to. Nothing was written.")
    found = files_of(folder.parent, table)
    read = [path for path in found if table == TRACKS_PLAYED.name and _was_read(path)]
    if read:
        raise Refused(f"{folder} holds the plays that were read from there: {_named(read)}. Nothing was written.")
    others = [path for path in found if path != folder / f"{table}.parquet" or not _is_ours(path)]
    if others:
        raise Refused(f"{folder} has Parquet of others: {_named(others)}. Nothing was written.")


def _named(paths: Sequence[Path]) -> str:
    return paths[0].name + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _was_read(path: Path) -> bool:
    """Whether this very file was taken in."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Upload.objects.filter(sha256=digest).exists()


def _is_ours(path: Path) -> bool:
    try:
        return pl.read_parquet_metadata(path).items() >= WRITTEN_BY.items()
    except (PolarsError, OSError):
        return False


def _write(table: Table, part: Path, on_rows: OnRows) -> int:
    """In constant memory: rows come and go in frames.

    Polars takes them in a thread of its own, so that this one, whose transaction it is, alone speaks to the database.
    """
    rows = 0
    frames: Frames = queue.Queue(1)
    part.unlink(missing_ok=True)  # left by a crash; or a link of somebody else's, who would choose what is overwritten
    with part.open("xb") as file:
        with ThreadPoolExecutor(1) as thread:
            written = thread.submit(_sink, table, frames, file)
            try:
                for frame in checked(table):
                    _hand_over(frame, frames, written)
                    rows += frame.height
                    on_rows(table, frame.height)
            finally:
                _hand_over(None, frames, written)
        written.result()
        file.flush()
        os.fsync(file.fileno())
    return rows


def _sink(table: Table, frames: Frames, file: BinaryIO) -> None:
    def source(*pushed_down: object) -> Iterator[pl.DataFrame]:
        while (frame := frames.get()) is not None:
            yield frame

    plan = register_io_source(source, schema=table.schema)
    plan.sink_parquet(file, row_group_size=ROW_GROUP, metadata=dict(WRITTEN_BY))


def _hand_over(frame: pl.DataFrame | None, frames: Frames, written: Future[None]) -> None:
    """None is the end. If writing has failed, nobody takes it, and `written` says why."""
    while not written.done():
        with contextlib.suppress(queue.Full):
            frames.put(frame, timeout=POLL)
            return
    if frame is not None:
        written.result()


def checked(table: Table) -> Iterator[pl.DataFrame]:
    """The rows, as long as their names, types and keys are those of the table. Raises WrongRows."""
    required = [name for name in table.key if name != table.nullable]
    last: pl.DataFrame | None = None
    for frame in table.frames():
        if frame.schema != table.schema:
            raise WrongRows(f"{table.name}: the columns are {frame.schema}, not {table.schema}.")
        keys = frame.select(table.key)
        if keys.select(pl.any_horizontal(pl.col(required).is_null()).any()).item():
            raise WrongRows(f"{table.name}: a row has no {' or '.join(required)}.")
        both = keys if last is None else pl.concat([last, keys])
        if both.select(pl.all_horizontal(pl.all() == pl.all().shift()).any()).item():
            raise WrongRows(f"{table.name}: two rows have the same {', '.join(table.key)}.")
        last = keys.tail(1)
        yield frame


def _put(part: Path, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    part.replace(path)
    _sync(path.parent)
    _sync(path.parent.parent)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two exports to one folder would write the same parts."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused(f"Another export is writing to {folder}.") from None
    finally:
        os.close(number)


@contextlib.contextmanager
def _one_moment() -> Iterator[None]:
    """All is read as it is now, whatever others store meanwhile. (On SQLite, each table is.)"""
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
