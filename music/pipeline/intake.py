"""Plays of DIR/tracks_played taken in and stored, without any other process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from enrichment.management.commands.enrich_pending import CtrlC, process_pending
from enrichment.uploads import progress_of
from ingestion.backlog import COMMAND
from ingestion.files.sets import Options, SentFile, inspect_sent, naming
from ingestion.files.spool import TemporaryFiles
from ingestion.files.uploads import AlreadyUploaded, ingest_files
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from music.parquet.export import Refused, files_of
from music.parquet.tables import TRACKS_PLAYED
from music.streams import LISTENS

Say = Callable[[str], object]


def take_in(folder: Path, ctrl_c: CtrlC, say: Say) -> None:
    """Stores the plays of each file, once; what was begun goes on. Raises Refused for a file that cannot be taken in,
    BacklogFull and database errors, and KeyboardInterrupt after Ctrl-C.
    """
    files = files_of(folder, TRACKS_PLAYED.name)
    if not files:
        say(f"{folder / TRACKS_PLAYED.name} has no Parquet: no plays are taken in.")
    drain(ctrl_c)  # what was left by a crash; and before, no more might be accepted
    for path in files:
        uploads = _keep(path, folder, ctrl_c, say)
        drain(ctrl_c)
        for upload, progress in zip(uploads, progress_of(uploads).values(), strict=True):
            say(
                f"{upload.name}: {progress.total:,} rows, {progress.inserted:,} plays stored, {progress.stale:,} known,"
                f" {progress.dead:,} invalid (dead letters)."
            )


def drain(ctrl_c: CtrlC) -> None:
    """Processes the plays that are pending."""
    process_pending([LISTENS], None, None, ctrl_c)
    stop_if_asked(ctrl_c)


def _keep(path: Path, folder: Path, ctrl_c: CtrlC, say: Say) -> list[Upload]:
    with TemporaryFiles() as opened:
        sent = SentFile(file=opened.enter_context(path.open("rb")), name=path.name)
        try:
            with naming(path.relative_to(folder).as_posix()):
                files = inspect_sent([sent], Options(stream=LISTENS), opened)
            return ingest_files(
                files,
                COMMAND,
                clear_missing=True,
                on_progress=lambda offset: stop_if_asked(ctrl_c),
            )
        except AlreadyUploaded as known:
            say(known.reason)
            return []
        except (ParseError, TooLarge, RequestRejected) as error:
            message, where = str(error), path.relative_to(folder).as_posix()
            raise Refused(message if where in message else message.replace(path.name, where, 1)) from error


def stop_if_asked(ctrl_c: CtrlC) -> None:
    if ctrl_c.pressed:
        raise KeyboardInterrupt
