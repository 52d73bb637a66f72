import os
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.urls import reverse
from tqdm import tqdm

from enrichment import stats
from enrichment.uploads import progress_of
from ingestion.backlog import COMMAND, BacklogFull
from ingestion.files.sets import Options, SentFile, Uploadable, inspect_sent
from ingestion.files.spool import TemporaryFiles
from ingestion.files.uploads import AlreadyUploaded, WouldClearFields, ingest_files, preview
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from ingestion.streams import get, kinds, names, upload_fields


class Command(BaseCommand):
    help = (
        "Imports files of records (CSV, Excel, Parquet, NDJSON or JSON, also gzipped), all files of a folder, or the "
        "export of another system (a ZIP archive, or its files). After a crash, run it again to resume."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
        parser.add_argument(
            "--stream", choices=names(), help="stream that the rows belong to, if the columns do not tell"
        )
        parser.add_argument(
            "--kind", choices=kinds(), default="", help="kind of an exported file, if its name does not tell"
        )
        for name in upload_fields():
            parser.add_argument(f"--{name.replace('_', '-')}", help=f"{name} of all records")
        parser.add_argument("--again", action="store_true", help="import even if this file was imported before")
        parser.add_argument("--sheet", default="", help="sheet of an Excel file; default: the first")
        parser.add_argument(
            "--map",
            default="",
            metavar="COLUMN:FIELD,…",
            help="fields of columns whose names are none",
        )
        parser.add_argument(
            "--missing",
            choices=["refuse", "clear"],
            default="refuse",
            help="if the file lacks fields that stored records have: refuse it, or clear these fields",
        )
        parser.add_argument("--dry-run", action="store_true", help="check all rows, import nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with TemporaryFiles() as opened:
                files = inspect_sent(self.open(options["paths"], opened), self.read_options(options), opened)
                if options["dry_run"]:
                    for file in files:
                        self.print_preview(preview(file))
                else:
                    choices = {"again": options["again"], "clear_missing": options["missing"] == "clear"}
                    for upload in self.take_in(files, **choices):
                        self.print_result(upload)
        except AlreadyUploaded as refusal:
            raise CommandError(f"{refusal.reason} Use --again to import it again.") from None
        except WouldClearFields as refusal:
            raise CommandError(f"{refusal.reason} Use --missing clear to clear it.") from None
        except (ParseError, TooLarge, BacklogFull, RequestRejected) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again to resume.", returncode=130) from None
        except Error as error:
            raise CommandError(f"The database failed: {error} Run it again to resume.") from error

    def open(self, paths: Sequence[Path], opened: TemporaryFiles) -> list[SentFile]:
        """Several files are called by their paths below the folder that they have in common, which tell their kinds."""
        paths = [file for path in paths for file in files_in(path)]
        folder = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        sent = []
        for path in paths:
            try:
                file = opened.enter_context(path.open("rb"))
            except FileNotFoundError:
                raise CommandError(f"File not found: {path}") from None
            except OSError as error:
                raise CommandError(f"{path} cannot be read: {error.strerror or error}.") from None
            sent.append(SentFile(file=file, name=path.absolute().relative_to(folder).as_posix()))
        return sent

    def read_options(self, options: dict[str, Any]) -> Options:
        return Options(
            stream=get(options["stream"]) if options["stream"] else None,
            kind=options["kind"],
            sheet=options["sheet"],
            mapping=options["map"],
            fields={name: options[name] for name in upload_fields() if options[name] is not None},
        )

    def take_in(self, files: Sequence[Uploadable], **choices: bool) -> list[Upload]:
        last = 0
        with tqdm(total=sum(file.size for file in files), unit="B", unit_scale=True, disable=None) as bar:

            def advance(offset: int) -> None:
                nonlocal last
                bar.update(offset - last if offset >= last else offset)  # less than before: of the next file
                last = offset

            return ingest_files(files, COMMAND, **choices, on_progress=advance)

    def print_result(self, upload: Upload) -> None:
        progress = progress_of([upload])[upload.pk]
        self.stdout.write(
            f"Upload {upload.pk}: {progress.total} rows imported: {progress.inserted} inserted, "
            f"{progress.updated} updated, {progress.stale} stale, {progress.waiting} waiting, {progress.dead} dead, "
            f"{progress.pending} pending."
        )
        for part in progress.parts:
            self.stdout.write(f"  {part.upload.name} ({part.upload.kind}): {part.total} rows")
        for name, value in upload.given.items():
            if name in upload_fields():
                self.stdout.write(f"{name}: {value}")
        self.print_notes(upload.reading.get("file_warnings", []))
        page = reverse("admin:ingestion_upload_change", args=[upload.pk])
        self.stdout.write(f"Progress and rejected rows: {page}")
        if progress.pending and not stats.cluster_alive():
            self.stdout.write("No workers are running: start qcluster, or process the records with enrich_pending.")

    def print_preview(self, found: dict[str, Any]) -> None:
        for part in found.get("parts", [found]):
            if part is not found:
                self.stdout.write(f"{part['name']} ({part['kind']}):")
            self.print_columns(part)
            self.print_check(part)
        self.print_notes(found["file_warnings"])

    def print_notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.stdout.write(note)

    def print_columns(self, found: dict[str, Any]) -> None:
        for column in found["columns"]:
            fits = f"→ field {column['field']}" if column["field"] else "is not mapped"
            if column["suggestion"]:
                fits += f": {column['suggestion']}? (see --map)"
            self.stdout.write(f"Column {column['column']} {fits}")
        if found["missing_fields"]:
            self.stdout.write(f"Cannot import: required columns are missing: {', '.join(found['missing_fields'])}")

    def print_check(self, found: dict[str, Any]) -> None:
        if found["cleared_records"]:
            fields = ", ".join(found["cleared_fields"])
            self.stdout.write(f"{found['cleared_records']} stored records would lose {fields}: see --missing.")
        self.stdout.write(
            f"Of {found['checked']} rows {found['inserted'] + found['updated']} would be stored "
            f"({found['inserted']} inserted, {found['updated']} updated), {found['stale']} are older than what is "
            f"stored, {found['waiting']} would wait for another record, {found['invalid']} would be rejected. "
            "Nothing was imported."
        )
        for name in ("errors", "missing_references", "warnings"):
            for group in found[name]:
                self.print_group(group)

    def print_group(self, group: dict[str, Any]) -> None:
        where = f"{group['field']}: " if group["field"] else ""
        samples = [f"row {each['row']}" + (each["value"] and f" ({each['value']})") for each in group["samples"]]
        more = ", …" if group["count"] > len(samples) else ""
        self.stdout.write(f"{group['count']} × {where}{group['message']}: {', '.join(samples)}{more}")


def files_in(path: Path) -> list[Path]:
    """The path, or what lies in that folder, but for what programs leave there for themselves (_SUCCESS)."""
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.rglob("*")) if file.is_file()]
    kept = [file for file in found if not any(part[0] in "._" for part in file.relative_to(path).parts)]
    if not kept:
        raise CommandError(f"{path} has no files.")
    return kept
