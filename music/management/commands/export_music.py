from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from ingestion.text import thousands
from music.parquet.export import Refused, WrongRows, export
from music.parquet.tables import TABLES
from music.pipeline.bars import bar


class Command(BaseCommand):
    help = (
        "Writes plays, and what is known of their artists, albums and places, as Parquet: DIR/T/T.parquet for each"
        " table T. A file is replaced only when all are complete."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data-path", required=True, type=Path, metavar="DIR", help="folder of the tables")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with bar(unit=" rows") as shown:
                rows = export(options["data_path"], TABLES, lambda table, number: shown.update(number))
        except KeyboardInterrupt:
            raise CommandError("Stopped. Nothing was written.", returncode=130) from None
        except (Refused, WrongRows) as error:
            raise CommandError(str(error)) from None
        except (Error, OSError) as error:
            raise CommandError(f"The export failed; all tables are as before: {error}") from error
        for name, number in rows.items():
            self.stdout.write(f"{name}: {thousands(number)} rows")
