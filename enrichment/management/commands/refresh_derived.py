from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db.models import Q
from django.utils import timezone
from tqdm import tqdm

from enrichment.refresh import refresh
from ingestion.streams import Stream, all_streams, get, names


class Command(BaseCommand):
    help = "Recalculates derived fields that depend on the date; with --all, of every row (after rules changed)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stream", choices=names(), help="only this stream")
        parser.add_argument("--all", action="store_true", help="every row, not only outdated ones")

    def handle(self, *args: Any, **options: Any) -> None:
        for stream in [get(options["stream"])] if options["stream"] else all_streams():
            if options["all"] or stream.daily:
                self.stdout.write(f"{stream.name}: {_refresh(stream, everything=options['all'])} rows changed.")


def _refresh(stream: Stream, *, everything: bool) -> int:
    among = Q() if everything else Q(derived_on__lt=timezone.localdate())
    with tqdm(total=stream.model._default_manager.filter(among).count(), unit=" rows", disable=None) as bar:
        return refresh(stream, among, bar.update)
