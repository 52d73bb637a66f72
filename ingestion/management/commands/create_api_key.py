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
from ingestion.streams import readable_names

SCOPES = ("ingest", "read")
REPLACES = (
    "prefix of the key to replace (the part before the dot, listed in the admin). The new key has the same client,"
    " scopes and streams; the old key keeps working until revoked"
)
EXPIRES = "expiry, ISO 8601; a date alone means 00:00; default: never"


def future(text: str) -> datetime:
    try:
        moment = TypeAdapter[datetime](Time).validate_python(text)
    except Invalid as error:
        raise ArgumentTypeError(first_message_of(error)) from None
    if moment <= timezone.now():
        raise ArgumentTypeError(f"{text} is in the past")
    return moment


class Command(BaseCommand):
    help = "Creates an API key and prints it on the last line of standard output. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="name of the key, at most 50 characters")
        parser.add_argument("--scope", action="append", choices=SCOPES, help="may be repeated; default: both")
        parser.add_argument("--stream", action="append", choices=readable_names(), help="may be repeated; default: all")
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
        told = f"{key.name}: {' and '.join(scopes)}, {streams}{until}{instead}. It cannot be shown again."
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
        raise CommandError("A replacement has the scopes and streams of the old key: leave --scope and --stream out.")
    old: ApiKey | None = ApiKey.objects.filter(prefix=options["replaces"]).first()
    if old is None:
        raise CommandError(f"No key has the prefix {options['replaces']} (the part before the dot).")
    return old.build_replacement(options["name"], options["expires"])
