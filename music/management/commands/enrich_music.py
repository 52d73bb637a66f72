import json
import signal
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import Error

from enrichment.management.commands.enrich_pending import CtrlC
from ingestion.text import thousands
from music.parquet.export import Refused
from music.pipeline.processors import PROCESSORS
from music.pipeline.run import Run, explained, tables

STOPPED = 2
"""The exit code after Ctrl-C."""


class Command(BaseCommand):
    help = (
        "Asks Spotify, MusicBrainz and GeoNames about the artists, albums and places of plays, until nothing is left to"
        " ask. With a folder, takes its plays in before, and writes what is known as Parquet afterwards. Whatever ends"
        " it, run it again: each answer is stored as it comes. Exit code 1 if it failed, 2 after Ctrl-C."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--processors", nargs="+", choices=list(PROCESSORS), help="only these; default: all")
        parser.add_argument("--skip-on-error", action="store_true", help="go on after a processor that failed")
        parser.add_argument("--status-only", action="store_true", help="say which tables there are, and ask nothing")
        parser.add_argument("--limit", type=int, metavar="N", help="about so many questions of each processor")
        parser.add_argument(
            "--data-path", type=Path, metavar="DIR", help="take DIR/tracks_played in; write the other tables to DIR"
        )
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        folder = options["data_path"]
        if options["status_only"]:
            self.print_status(folder, options["json"])
        else:
            self.run(options)

    def print_status(self, folder: Path | None, as_json: bool) -> None:
        try:
            found = tables(folder)
        except (Error, OSError, Refused) as error:
            if as_json:
                self.print_json({"tables": {}, "error": explained(error)})
            raise CommandError(explained(error)) from error
        if as_json:
            self.print_json({"tables": found})
            return
        for name, table in found.items():
            number = f"{thousands(table['record_count'])} rows, {len(table['columns'])} columns"
            self.stdout.write(f"{name}: {number if table['exists'] else 'does not exist'}")

    def run(self, options: dict[str, Any]) -> None:
        """However it ends, with --json the result is printed."""
        wanted = options["processors"] or list(PROCESSORS)
        with CtrlC() as ctrl_c:
            run = Run(
                wanted=[name for name in PROCESSORS if name in wanted],
                folder=options["data_path"],
                limit=options["limit"],
                skip_on_error=options["skip_on_error"],
                ctrl_c=ctrl_c,
                say=partial(self.stderr.write, style_func=str),  # at a terminal it would be red
            )
            try:
                run.execute()
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest takes a moment
                run.stop()
            result = run.as_json()
            self.print_result(result, options["json"])
        if run.is_stopped:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise CommandError(run.error, returncode=STOPPED)
        if result["summary"]["status"] == "failed":
            advice = "" if options["skip_on_error"] else " (--skip-on-error goes on with the others.)"
            raise CommandError(run.error or f"A processor failed.{advice}")

    def print_result(self, result: dict[str, Any], as_json: bool) -> None:
        if as_json:
            self.print_json(result)
            return
        status, seconds = result["summary"]["status"], result["summary"]["duration_seconds"]
        self.stdout.write(f"{status.replace('_', ' ')}, after {seconds:.0f} s.")

    def print_json(self, value: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False))
