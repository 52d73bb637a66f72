import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.http import QueryDict
from tqdm import tqdm

from enrichment.rows import reading
from enrichment.rows.access import Export
from enrichment.rows.listing import Item, Listing
from enrichment.rows.writers import STREAMED
from ingestion.query import read_query
from ingestion.refusals import RequestRejected
from ingestion.streams import Readable, get_readable, readable_names
from ingestion.text import strip_unstorable


class Command(BaseCommand):
    help = (
        "Exports the stored records of a stream, or the rows of a list, to a file."
        " The file appears only when the export is complete."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stream", required=True, choices=readable_names(), help="stream, or list, to export")
        parser.add_argument("--format", required=True, choices=list(STREAMED), help="file format")
        parser.add_argument("--out", required=True, metavar="PATH", help="output file; - for standard output")
        parser.add_argument(
            "--filter",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="parameter of the API's list endpoint (a filter, search, ordering, fields); may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        readable = get_readable(options["stream"])
        listing = read(readable, options["filter"])
        filters = {"filter": " ".join(options["filter"])} if options["filter"] else {}
        export = Export(by="command", what=readable.name, form=options["format"], query=filters)
        try:
            with opened(options["out"]) as file:
                export.begin()
                number = export.rows = write(listing, options["format"], file)
        except KeyboardInterrupt:
            raise CommandError("Stopped. No file was written.", returncode=130) from None
        except (Error, OSError) as error:
            raise CommandError(f"The export failed; no file was written: {error}") from error
        finally:
            export.end()
        if options["out"] != "-":
            self.stdout.write(f"{options['out']}: {number} {readable.name}.")


def read(readable: Readable, filters: Sequence[str]) -> Listing:
    """The list that the API answers to these parameters. Raises CommandError."""
    query = QueryDict(mutable=True)
    for each in filters:
        name, sign, value = strip_unstorable(each).partition("=")
        if not sign:
            raise CommandError(f"--filter must be NAME=VALUE, not {each!r}.")
        query.appendlist(name, value)
    try:
        return reading.read(readable, read_query(query, ["ordering", "fields", *reading.parameters(readable)]))
    except RequestRejected as refusal:
        raise CommandError("\n".join([refusal.message, *_details(refusal)])) from None


def _details(refusal: RequestRejected) -> list[str]:
    return [f"{name}: {' '.join(messages)}" for name, messages in refusal.fields.items()]


@contextmanager
def opened(out: str) -> Iterator[BinaryIO]:
    """The file to write: beside the one that is wanted, which it becomes at the end."""
    if out == "-":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as of any program whose reader goes
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out).resolve()
    if path.exists() and not path.is_file():
        raise CommandError(f"{out} is not a regular file.")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(listing: Listing, form: str, file: BinaryIO) -> int:
    """Writes all, with a progress bar on a terminal; returns how many rows."""
    total = listing.rows.count() if sys.stderr.isatty() else None
    with tqdm(total=total, unit=" rows", disable=None) as bar:
        number = 0

        def chunks() -> Iterator[list[Item]]:
            nonlocal number
            for chunk in listing.chunks():
                yield chunk
                number += len(chunk)
                bar.update(len(chunk))

        texts = STREAMED[form].write(chunks(), listing.fields, listing.nullable)
        file.writelines(text.encode() for text in texts)
    return number
