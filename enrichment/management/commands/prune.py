from argparse import ArgumentParser
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone

from enrichment import retention


class Command(BaseCommand):
    help = "Deletes what was done with longer ago than RETENTION, in small steps; safe beside everything else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, delete nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.RETENTION:
            self.stdout.write("RETENTION is 0: everything is kept.")
            return
        try:
            if options["dry_run"]:
                found = retention.preview()
                self.tell("Would delete", found.numbers, found.before)
            else:
                run = retention.run_to_completion(retention.create_run(by="command"))
                self.tell("Deleted", run.deleted, run.before)
        except KeyboardInterrupt:
            raise CommandError("Stopped. Another run goes on where it stopped.", returncode=130) from None
        except Error as error:
            raise CommandError(f"The database failed: {error} Another run goes on where it stopped.") from error

    def tell(self, done: str, numbers: Mapping[str, int], before: datetime) -> None:
        counted = "; ".join(f"{name}: {number}" for name, number in retention.summary(numbers)) or "nothing"
        limit = f"{timezone.localtime(before):%Y-%m-%d %H:%M:%S %z}"
        self.stdout.write(f"{done} what was done with before {limit}: {counted}.")
