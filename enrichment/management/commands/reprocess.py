from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import is_naive, make_aware

from enrichment import held, stats
from enrichment.models import HeldRecord
from ingestion.streams import names


class Command(BaseCommand):
    help = "Sends dead letters through again, as a redrive."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stream", choices=names(), help="only this stream")
        parser.add_argument("--code", choices=HeldRecord.Code.values, help="only this code")
        parser.add_argument("--since", metavar="TIME", help="only those held since this date or time (ISO 8601)")
        parser.add_argument("--dry-run", action="store_true", help="count, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = {name: options[name] for name in ("stream", "code", "since") if options[name]}
        dead = HeldRecord.objects.dead().filter(queued_in=None)
        dead = dead.filter(**{name: value for name, value in chosen.items() if name != "since"})
        if options["since"]:
            dead = dead.filter(held_at__gte=_moment(options["since"]))
        if options["dry_run"]:
            self.stdout.write(f"{dead.count()} dead letters would be sent through again.")
            return
        redrive = held.reprocess(dead, by="command", filter=chosen)
        self.stdout.write(f"Redrive {redrive.pk}: dead letters now on their way: {redrive.count}.")
        if not stats.cluster_alive():
            self.stdout.write("No qcluster is alive: start one, or work them off with enrich_pending.")


def _moment(text: str) -> Any:
    try:
        moment = parse_datetime(text) or parse_datetime(f"{parse_date(text)}T00:00:00")
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"--since must be an ISO 8601 date or time, not {text!r}.")
    return make_aware(moment) if is_naive(moment) else moment
