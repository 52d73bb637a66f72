from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.urls import reverse
from tqdm import tqdm

from enrichment import stats
from enrichment.uploads import progress_of
from ingestion.backlog import BacklogFull, raise_if_full
from ingestion.files.mappings import read_mapping, require_mapped
from ingestion.files.record_file import RecordFile, inspect_file
from ingestion.files.uploads import AlreadyUploaded, WouldClearFields, ingest_files, preview
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from ingestion.streams import get, names

CLIENT = "command"


class Command(BaseCommand):
    help = (
        "Imports a file of records (CSV, Excel, NDJSON or JSON, also gzipped). After a crash, run it again to resume."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH")
        parser.add_argument("--stream", choices=names(), required=True, help="stream that the rows belong to")
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
        path: Path = options["path"]
        try:
            with ExitStack() as opened:
                stream, content = get(options["stream"]), opened.enter_context(open(path, "rb"))
                mapping = read_mapping(options["map"], stream)
                file = inspect_file(content, path.name, stream, opened, sheet=options["sheet"], mapping=mapping)
                require_mapped(file, mapping)
                if options["dry_run"]:
                    self.print_preview(preview(file))
                else:
                    choices = {"again": options["again"], "clear_missing": options["missing"] == "clear"}
                    self.print_result(self.take_in(file, **choices))
        except AlreadyUploaded as refusal:
            raise CommandError(f"{refusal.reason} Use --again to import it again.") from None
        except WouldClearFields as refusal:
            raise CommandError(f"{refusal.reason} Use --missing clear to clear it.") from None
        except FileNotFoundError:
            raise CommandError(f"File not found: {path}") from None
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (ParseError, TooLarge, BacklogFull, RequestRejected) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again to resume.", returncode=130) from None
        except Error as error:
            raise CommandError(f"The database failed: {error} Run it again to resume.") from error

    def take_in(self, file: RecordFile, **choices: bool) -> Upload:
        raise_if_full()
        with tqdm(total=file.size, unit="B", unit_scale=True, disable=None) as bar:
            [upload] = ingest_files([file], CLIENT, **choices, on_progress=lambda offset: bar.update(offset - bar.n))
            bar.update(file.size - bar.n)
        return upload

    def print_result(self, upload: Upload) -> None:
        progress = progress_of([upload])[upload.pk]
        self.stdout.write(
            f"Upload {upload.pk}: {progress.total} rows imported: {progress.inserted} inserted, "
            f"{progress.updated} updated, {progress.stale} stale, {progress.waiting} waiting, {progress.dead} dead, "
            f"{progress.pending} pending."
        )
        for note in upload.reading.get("file_warnings", []):
            self.stdout.write(note)
        page = reverse("admin:ingestion_upload_change", args=[upload.pk])
        self.stdout.write(f"Progress and rejected rows: {page}")
        if progress.pending and not stats.cluster_alive():
            self.stdout.write("No workers are running: start qcluster, or process the records with enrich_pending.")

    def print_preview(self, found: dict[str, Any]) -> None:
        for column in found["columns"]:
            fits = f"→ field {column['field']}" if column["field"] else "is not mapped"
            if column["suggestion"]:
                fits += f": {column['suggestion']}? (see --map)"
            self.stdout.write(f"Column {column['column']} {fits}")
        if found["missing_fields"]:
            self.stdout.write(f"Cannot import: required columns are missing: {', '.join(found['missing_fields'])}")
        for note in found["file_warnings"]:
            self.stdout.write(note)
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
