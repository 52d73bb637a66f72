from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError
from django.utils import timezone
from pydantic import TypeAdapter
from pydantic import ValidationError as Invalid

from ingestion.fields import Time
from ingestion.messages import first_message_of
from ingestion.models import ApiKey
from ingestion.streams import names

SCOPES = ("ingest", "read")
REPLACES = (
    "the key that this one is to take over from, by its prefix: what stands before the dot of the key, and in the"
    " admin's list. The new key is of the same client, with the same scopes and streams; the old one goes on working"
    " until it is revoked"
)
EXPIRES = "when it ends: ISO 8601, a date alone is its midnight; without it the key never expires"


def future(text: str) -> datetime:
    try:
        moment = TypeAdapter[datetime](Time).validate_python(text)
    except Invalid as error:
        raise ArgumentTypeError(first_message_of(error)) from None
    if moment <= timezone.now():
        raise ArgumentTypeError(f"{text} is past")
    return moment


class Command(BaseCommand):
    help = "Makes an API key and prints it, alone on the last line of standard output; it is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the key is for, at most 50 characters")
        parser.add_argument("--scope", action="append", choices=SCOPES, help="may be repeated; without it both")
        parser.add_argument("--stream", action="append", choices=names(), help="may be repeated; without it all")
        parser.add_argument("--replaces", metavar="PREFIX", help=REPLACES)
        parser.add_argument("--expires", type=future, metavar="DATE", help=EXPIRES)

    def handle(self, *args: Any, **options: Any) -> None:
        key = replacing(options) if options["replaces"] else from_scratch(options)
        try:
            key.issue()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        scopes = [scope for scope in SCOPES if getattr(key, f"can_{scope}")]
        streams = ", ".join(key.streams) or "all streams"
        until = f", until {key.expiry_date.isoformat()}" if key.expiry_date else ""
        instead = f", instead of {options['replaces']}" if options["replaces"] else ""
        told = f"{key.name}: {' and '.join(scopes)}, {streams}{until}{instead}. It is shown this once."
        self.stderr.write(told, str)
        self.stdout.write(key.plaintext_key)


def from_scratch(options: dict[str, Any]) -> ApiKey:
    scopes = options["scope"] or SCOPES
    return ApiKey(
        name=options["name"],
        can_ingest="ingest" in scopes,
        can_read="read" in scopes,
        streams=options["stream"] or [],
        expiry_date=options["expires"],
    )


def replacing(options: dict[str, Any]) -> ApiKey:
    if options["scope"] or options["stream"]:
        raise CommandError("A key that replaces another has its scopes and streams: leave --scope and --stream out.")
    old: ApiKey | None = ApiKey.objects.filter(prefix=options["replaces"]).first()
    if old is None:
        raise CommandError(f"There is no key {options['replaces']}: name one by what stands before its dot.")
    return old.build_replacement(options["name"], options["expires"])
