import json
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from tqdm import tqdm

from enrichment.management.commands.export_subject import lines_of, person_of
from enrichment.models import Erasure
from enrichment.subjects import erasure as erasures
from enrichment.subjects.person import Person, survey
from enrichment.subjects.search import everywhere, numbers, tables
from ingestion.subjects import suppression
from ingestion.subjects.mentions import subjects

BY = "command"


class Command(BaseCommand):
    help = (
        "Erases everything that is held about one person, and refuses records about them from then on; in small steps,"
        " safe beside running workers. It lists where the person is still named in what others have written. Started"
        " again after it was stopped, it continues."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", choices=list(subjects()), help="what the person is")
        parser.add_argument("key", help="the person's ID")
        parser.add_argument("--reason", default="", help="kept with the erasure, for the history")
        parser.add_argument("--dry-run", action="store_true", help="count and search only, erase nothing")
        parser.add_argument("--lift", action="store_true", help="erase nothing; store records about the person again")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        person = person_of(options["kind"], options["key"])
        try:
            if options["lift"]:
                result, text = self.lift(person)
            elif options["dry_run"]:
                result, text = self.dry_run(person)
            else:
                result, text = self.erase(person, options["reason"])
        except KeyboardInterrupt:
            raise CommandError("Stopped. Run it again to continue.", returncode=130) from None
        except Error as error:
            raise CommandError(f"The database failed: {error} Run it again to continue.") from error
        self.stdout.write(json.dumps(result) if options["json"] else text)

    def dry_run(self, person: Person) -> tuple[dict[str, Any], str]:
        found = survey(person)
        places = numbers(everywhere(person.wanted(person.names()), tables()))
        text = [f"Would erase: {lines_of(found.numbers)}.", f"Found in rows: {lines_of(places)}."]
        return {"would_erase": found.numbers, "before": places}, "\n".join(text)

    def erase(self, person: Person, reason: str) -> tuple[dict[str, Any], str]:
        with tqdm(total=len(erasures.STAGES), unit=" stages", disable=None) as bar:

            def show(erasure: Erasure) -> None:
                bar.set_description(erasure.stage)
                bar.update(list(erasures.STAGES).index(erasure.stage) - bar.n)

            done = erasures.run_to_completion(erasures.create(person, by=BY, reason=reason), show)
        result = {"erasure": done.pk, "erased": done.erased, "before": done.before, "left": done.left}
        text = [
            f"Erased ({done}): {lines_of(done.erased)}. Records about the {person.kind} are no longer stored.",
            f"Found in rows before: {lines_of(done.before)}.",
            *left_lines(done.left),
        ]
        return result, "\n".join(text)

    def lift(self, person: Person) -> tuple[dict[str, Any], str]:
        digest = suppression.digest_of(person.kind, person.key)
        erasure = Erasure.objects.filter(digest=digest).order_by("-pk").first() if digest else None
        try:
            lifted = erasure is not None and erasures.lift(erasure, by=BY)
        except erasures.StillErasing as error:
            raise CommandError(str(error)) from None
        if not lifted:
            return {"lifted": False}, f"Records about the {person.kind} were not refused."
        return {"lifted": True}, f"Records about the {person.kind} are stored again."


def left_lines(left: list[dict[str, str]]) -> Iterable[str]:
    if not left:
        yield "Found afterwards: nowhere."
        return
    yield f"Found afterwards in {len(left)} places, in what others have written; nothing is changed there:"
    yield from (f"  {each['table']} {each['row']}, {each['column']}: the {each['what']}" for each in left)
