from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError
from django.utils import timezone
from pydantic import TypeAdapter
from pydantic import ValidationError as Invalid

from ingestion.fields import Time
from ingestion.models import ApiKey
from ingestion.streams import names

SCOPES = ("ingest", "read")


def future(text: str) -> datetime:
    try:
        moment = TypeAdapter[datetime](Time).validate_python(text)
    except Invalid as error:
        raise ArgumentTypeError(error.errors()[0]["msg"]) from None
    if moment <= timezone.now():
        raise ArgumentTypeError(f"{text} is past")
    return moment


class Command(BaseCommand):
    help = "Makes an API key and prints it, alone on the last line of standard output; it is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the key is for, at most 50 characters")
        parser.add_argument("--scope", action="append", choices=SCOPES, help="may be repeated; without it both")
        parser.add_argument("--stream", action="append", choices=names(), help="may be repeated; without it all")
        parser.add_argument("--expires", type=future, metavar="DATE", help="ISO 8601; a date alone is its midnight")

    def handle(self, *args: Any, **options: Any) -> None:
        scopes = options["scope"] or SCOPES
        key = ApiKey(
            name=options["name"],
            can_ingest="ingest" in scopes,
            can_read="read" in scopes,
            streams=options["stream"] or [],
            expiry_date=options["expires"],
        )
        secret = ApiKey.objects.assign_key(key)
        try:
            key.full_clean()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        key.save(force_insert=True)
        streams = ", ".join(key.streams) or "all streams"
        until = f", until {key.expiry_date.isoformat()}" if key.expiry_date else ""
        self.stderr.write(f"{key.name}: {' and '.join(scopes)}, {streams}{until}. It is shown this once.", str)
        self.stdout.write(secret)
