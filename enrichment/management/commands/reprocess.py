from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.timezone import is_naive, make_aware
from tqdm import tqdm

from enrichment import stats
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from ingestion.streams import names


class Command(BaseCommand):
    help = "Reprocesses dead letters as a bulk action."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stream", choices=names(), help="only this stream")
        parser.add_argument("--code", choices=HeldRecord.Code.values, help="only this code")
        parser.add_argument("--since", metavar="TIME", help="only those that failed since this date or time (ISO 8601)")
        parser.add_argument("--dry-run", action="store_true", help="count only, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = {"status": HeldRecord.Status.DEAD.value}
        chosen |= {name: options[name] for name in ("stream", "code") if options[name]}
        if options["since"]:
            chosen["held_after"] = _parse_time(options["since"]).isoformat()
        if options["dry_run"]:
            number = bulk_actions.matching_records(BulkAction.Kind.REPROCESS, chosen).count()
            self.stdout.write(f"{number} dead letters would be reprocessed.")
            return
        bulk_action = bulk_actions.create(BulkAction.Kind.REPROCESS, chosen, by="command")
        self.stdout.write(
            f"Bulk action {bulk_action.pk}: {bulk_actions.describe_filter(chosen)}, {bulk_action.total} in total."
        )
        try:
            with tqdm(total=bulk_action.total, unit=" dead letters", disable=None) as bar:
                bulk_actions.run_to_completion(bulk_action, lambda bulk_action: bar.update(bulk_action.count - bar.n))
        except KeyboardInterrupt:
            raise CommandError(f"Stopped; the workers continue bulk action {bulk_action.pk}.", returncode=130) from None
        self.stdout.write(f"Bulk action {bulk_action.pk}: {bulk_action.count} dead letters requeued.")
        if not stats.cluster_alive():
            self.stdout.write("No workers are running: start qcluster, or process the records with enrich_pending.")


def _parse_time(text: str) -> Any:
    try:
        moment = parse_datetime(text) or parse_datetime(f"{parse_date(text)}T00:00:00")
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"--since must be an ISO 8601 date or time, not {text!r}.")
    return make_aware(moment) if is_naive(moment) else moment
