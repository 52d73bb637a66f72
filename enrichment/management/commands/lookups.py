import json
from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from enrichment import lookups
from enrichment.lookups import control, providers
from enrichment.lookups.models import Lookup, LookupMinute
from enrichment.lookups.runner import Runner
from enrichment.lookups.status import provider_statuses
from enrichment.management.commands.enrich_pending import CtrlC
from ingestion.text import thousands

BY = "command"
ACTIONS = ("status", "run", "pause", "resume", "again")


class Command(BaseCommand):
    help = (
        "Questions to outside services (providers). status: how many there are, and whether they are being asked."
        " run: asks until nothing is due. pause, resume: providers. again: has answered questions asked again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument("--provider", choices=providers.names(), help="only this provider")
        parser.add_argument("--status", choices=[str(status) for status in Lookup.SETTLED], help="of again: only these")
        parser.add_argument("--upload", type=int, metavar="ID", help="of again: only questions of this upload")
        parser.add_argument("--reason", default="", help="of pause: shown to all staff")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        names = [options["provider"]] if options["provider"] else providers.names()
        match options["action"]:
            case "run":
                result, text = self.run(names)
            case "pause":
                result, text = self.pause(names, options["reason"])
            case "resume":
                result, text = self.resume(names)
            case "again":
                result, text = self.again(options["provider"], options["status"], options["upload"])
            case _:
                result, text = self.status(names)
        self.stdout.write(json.dumps(result, cls=DjangoJSONEncoder) if options["json"] else text)

    def status(self, names: list[str]) -> tuple[Mapping[str, Any], str]:
        found = [status for status in provider_statuses() if status["name"] in names]
        return {"providers": found}, "\n".join(map(_line, found)) or "There are no providers."

    def run(self, names: list[str]) -> tuple[Mapping[str, Any], str]:
        for status in provider_statuses():
            if status["name"] in names and status["why"]:
                self.stderr.write(f"{status['label']} is not asked: {status['why']}")
        runner = Runner(names)
        with CtrlC(runner.stop) as ctrl_c:
            runner.run(until_idle=True)
        if ctrl_c.pressed:
            raise CommandError("Stopped. Answers are saved; the rest is asked next time.", returncode=130)
        for status in provider_statuses():
            if status["name"] in names and status["waiting_for"] == "away":
                self.stderr.write(f"{status['label']} is away, the rest is asked later: {status['why']}")
        counts = {name: runner.counts[name] for name in LookupMinute.counters}
        asked = sum(counts[name] for name in LookupMinute.ANSWERS)
        parts = ", ".join(f"{thousands(counts[name])} {name.replace('_', ' ')}" for name in LookupMinute.ANSWERS)
        return counts, f"{thousands(counts['requests'])} requests, {thousands(asked)} answers: {parts}."

    def pause(self, names: list[str], reason: str) -> tuple[Mapping[str, Any], str]:
        paused = [name for name in names if control.pause(name, by=BY, reason=reason)]
        return {"paused": paused}, f"Paused: {', '.join(paused)}." if paused else "Paused already."

    def resume(self, names: list[str]) -> tuple[Mapping[str, Any], str]:
        resumed = [name for name in names if control.resume(name)]
        return {"resumed": resumed}, f"Resumed: {', '.join(resumed)}." if resumed else "Nothing was paused or stopped."

    def again(self, provider: str | None, status: str | None, upload: int | None) -> tuple[Mapping[str, Any], str]:
        if not (provider or status or upload):
            raise CommandError("Say which: by --provider, --status or --upload.")
        chosen = Lookup.objects.exclude(status=Lookup.Status.OPEN)
        chosen = chosen.filter(provider=provider) if provider else chosen
        chosen = chosen.filter(status=status) if status else chosen
        chosen = chosen.of_uploads([upload]) if upload else chosen
        count = lookups.ask_again(chosen, by=BY)
        return {"again": count}, f"{thousands(count)} are asked again. (Those that a person has decided are not.)"


def _line(status: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{thousands(status[name])} {label}" for name, label in Lookup.Status.choices)
    asked = f"{status['asked_last_minute']} requests in the last minute (limit {status['limit']} s)"
    lines = [f"{status['label']}: {numbers}; {asked}."]
    if status["why"]:
        lines.append(f"  Not asked: {status['why']}")
    elif status["last_error"]:
        lines.append(f"  Last error: {status['last_error']}")
    return "\n".join(lines)
