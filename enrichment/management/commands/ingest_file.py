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
from ingestion.files.record_file import RecordFile, inspect_file
from ingestion.files.uploads import AlreadyUploaded, WouldClearFields, ingest_files, preview
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from ingestion.streams import get, names

CLIENT = "command"


class Command(BaseCommand):
    help = "Takes in a file of records: CSV, Excel, NDJSON or JSON, also as gzip. Run again after a crash, it goes on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, metavar="PATH")
        parser.add_argument("--stream", choices=names(), required=True, help="what the rows are")
        parser.add_argument("--again", action="store_true", help="also when the file was taken in before")
        parser.add_argument("--sheet", default="", help="of an Excel file; without it the first")
        parser.add_argument(
            "--missing",
            choices=["refuse", "clear"],
            default="refuse",
            help="fields that stored records have and no row of the file has: refuse the file, or clear them",
        )
        parser.add_argument("--dry-run", action="store_true", help="look at the first rows, store nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["path"]
        try:
            with ExitStack() as opened:
                stream, content = get(options["stream"]), opened.enter_context(open(path, "rb"))
                file = inspect_file(content, path.name, stream, opened, sheet=options["sheet"])
                if options["dry_run"]:
                    self.tell_preview(preview(file))
                else:
                    self.tell(self.take_in(file, again=options["again"], clear_missing=options["missing"] == "clear"))
        except AlreadyUploaded as refusal:
            raise CommandError(f"{refusal.reason} Use --again to import it again.") from None
        except WouldClearFields as refusal:
            raise CommandError(f"{refusal.reason} Use --missing clear to clear it.") from None
        except FileNotFoundError:
            raise CommandError(f"There is no file {path}.") from None
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (ParseError, TooLarge, BacklogFull, RequestRejected) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again: it goes on where it stopped.", returncode=130) from None
        except Error as error:
            raise CommandError(f"The database failed: {error} Run it again: it goes on where it stopped.") from error

    def take_in(self, file: RecordFile, **choices: bool) -> Upload:
        raise_if_full()
        with tqdm(total=file.size, unit="B", unit_scale=True, disable=None) as bar:
            [upload] = ingest_files([file], CLIENT, **choices, on_progress=lambda offset: bar.update(offset - bar.n))
            bar.update(file.size - bar.n)
        return upload

    def tell(self, upload: Upload) -> None:
        progress = progress_of([upload])[upload.pk]
        self.stdout.write(
            f"Upload {upload.pk}: {progress.total} rows kept; of these {progress.inserted} inserted, "
            f"{progress.updated} updated, {progress.stale} stale, {progress.waiting} waiting, {progress.dead} dead, "
            f"{progress.pending} pending."
        )
        for note in upload.reading.get("notes", []):
            self.stdout.write(note)
        page = reverse("admin:ingestion_upload_change", args=[upload.pk])
        self.stdout.write(f"How far it is, and the rejected rows to fix: {page}")
        if progress.pending and not stats.cluster_alive():
            self.stdout.write("No qcluster is alive: start one, or work them off with enrich_pending.")

    def tell_preview(self, found: dict[str, Any]) -> None:
        for column in found["columns"]:
            fits = f"is the field {column['field']}" if column["field"] else "is no field: kept, and ignored"
            self.stdout.write(f"Column {column['column']} {fits}")
        if found["missing_fields"]:
            self.stdout.write(f"The file would be refused: it has no column for {', '.join(found['missing_fields'])}")
        for note in found["notes"]:
            self.stdout.write(note)
        if found["cleared_records"]:
            fields = ", ".join(found["cleared_fields"])
            self.stdout.write(f"{found['cleared_records']} stored records would lose {fields}: see --missing.")
        rows = f"{found['checked']} rows" if found["whole_file"] else f"the first {found['checked']} rows"
        self.stdout.write(f"{found['valid']} of {rows} are valid. Nothing is stored.")
        for row in found["rows"]:
            for field, messages in row["errors"].items():
                key = f" ({row['id']})" if row["id"] else ""
                self.stdout.write(f"Row {row['row']}{key}: {field}: {' '.join(messages)}")
