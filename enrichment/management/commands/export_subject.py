import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from tqdm import tqdm

from enrichment.management.commands.export_data import opened
from enrichment.rows.access import Export
from enrichment.subjects.export import archive
from enrichment.subjects.person import Person, survey
from ingestion.subjects import suppression
from ingestion.subjects.mentions import subjects


class Command(BaseCommand):
    help = (
        "Everything that is held about one person, as a ZIP archive: stored rows and what refers to them, records in"
        " deliveries, failed records, uploads, history. The file appears only when it is complete."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=list(subjects()), help="what the person is")
        parser.add_argument("key", help="the person's ID")
        parser.add_argument("--out", required=True, metavar="PATH", help="output file; - for standard output")
        parser.add_argument("--json", action="store_true", help="print how much it is as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        person = person_of(options["kind"], options["key"])
        try:
            with opened(options["out"]) as file, tqdm(unit=" rows", disable=None) as bar:
                file.writelines(archive(person, bar.update))
            found = survey(person)
            label = suppression.label_of(person.kind, person.key)
            taken = Export(by="command", what=f"everything about a {person.kind}", form="zip", query={"key": label})
            taken.begin()
            taken.rows = sum(found.numbers.values())
            taken.end()
        except KeyboardInterrupt:
            raise CommandError("Stopped. No file was written.", returncode=130) from None
        except (Error, OSError) as error:
            raise CommandError(f"The export failed; no file was written: {error}") from error
        if options["out"] == "-":
            return
        if options["json"]:
            self.stdout.write(json.dumps({"file": options["out"], "held": found.numbers}))
        else:
            self.stdout.write(f"{options['out']}: {lines_of(found.numbers)}.")


def person_of(kind: str, key: str) -> Person:
    """Raises CommandError."""
    try:
        return Person.of(kind, key)
    except ValueError as error:
        raise CommandError(str(error)) from None


def lines_of(numbers: dict[str, int]) -> str:
    return "; ".join(f"{name}: {number}" for name, number in numbers.items() if number) or "nothing"
