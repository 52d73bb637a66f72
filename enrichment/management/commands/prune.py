from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone

from enrichment import retention
from enrichment.held import bulk_actions


class Command(BaseCommand):
    help = "Deletes data completed longer ago than RETENTION, in small steps; safe to run at any time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count only, delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.RETENTION:
            self.stdout.write("RETENTION is 0: nothing is ever deleted.")
            return
        try:
            if options["dry_run"]:
                found = retention.preview()
                self.print_result("Would delete", found.numbers, found.before)
            else:
                discards = retention.discard_old_dead_letters(by="command")
                run = retention.run_to_completion(retention.create_run(by="command"))
                discarded = sum(bulk_actions.run_to_completion(discard).count for discard in discards)
                self.print_result("Deleted", {**run.deleted, retention.DISCARDED: discarded}, run.before)
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again to continue.", returncode=130) from None
        except Error as error:
            raise CommandError(f"The database failed: {error} Run it again to continue.") from error

    def print_result(self, done: str, numbers: Mapping[str, int], before: datetime) -> None:
        counted = "; ".join(f"{name}: {number}" for name, number in retention.summary(numbers)) or "nothing"
        limit = f"{timezone.localtime(before):%Y-%m-%d %H:%M:%S %z}"
        self.stdout.write(f"{done} data completed before {limit}: {counted}.")
