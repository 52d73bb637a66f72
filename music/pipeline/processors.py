"""The three processors: which providers each has asked, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from django.utils import timezone
from tqdm import tqdm

from enrichment.lookups import control, providers
from enrichment.lookups.models import Lookup, LookupMinute, ProviderState
from enrichment.lookups.providers import Provider
from enrichment.lookups.runner import Runner
from enrichment.management.commands.enrich_pending import CtrlC
from music.pipeline.bars import bar

PROCESSORS: Mapping[str, Sequence[str]] = {
    "spotify": ("spotify",),
    "musicbrainz": ("musicbrainz",),
    "geographic": ("places", "openweather"),
}
"""By name, in the order in which they are run, each with its providers."""
Status = Literal["completed", "failed", "skipped", "waiting"]
BAR_EVERY = 0.5
"""Seconds."""


@dataclass(kw_only=True)
class Result:
    """What a processor did in this run; `waiting` is what is left to be asked."""

    status: Status
    found: int = 0
    not_found: int = 0
    ambiguous: int = 0
    waiting: int = 0
    failed: int = 0
    requests: int = 0
    paused_until: datetime | None = None
    """Of a waiting one: when the provider may be asked again, if it has said so."""
    reason: str = ""
    """Why it was skipped, has failed, or is waiting."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def why_off(processor: str) -> str:
    """Empty, or which settings are missing: then nothing can be asked."""
    declared = [providers.get(name) for name in PROCESSORS[processor]]
    return "" if any(not each.why_off() for each in declared) else " ".join(each.why_off() for each in declared)


def run(processor: str, limit: int | None, ctrl_c: CtrlC) -> Result:
    """Has its providers asked until nothing is due, or about `limit` questions have been."""
    if why := why_off(processor):
        return Result(status="skipped", reason=why)
    asked = [each for name in PROCESSORS[processor] if not (each := providers.get(name)).why_off()]
    names = [provider.name for provider in asked]
    for name in names:
        control.run_now(name)
    runner = Runner(names, limit)
    ctrl_c.on_press = runner.stop
    if not ctrl_c.pressed:
        with bar(desc=processor, total=_open(names), unit=" questions") as shown:
            progress = Progress(shown, runner, names)
            runner.run(until_idle=True, on_round=progress.show)
            progress.next = 0.0
            progress.show()
    ctrl_c.on_press = lambda: None
    status: Status = "waiting" if ctrl_c.pressed else "completed"
    counts: dict[str, Any] = {name: runner.counts[name] for name in ("requests", *LookupMinute.ANSWERS)}
    reason = "Stopped by Ctrl-C." if ctrl_c.pressed else ""
    return _judge(asked, Result(status=status, reason=reason, waiting=_open(names), **counts))


@dataclass
class Progress:
    """The bar of a processor: questions answered, of those that there are by now."""

    bar: tqdm[Any]
    runner: Runner
    names: Sequence[str]
    next: float = 0.0

    def show(self) -> None:
        if self.bar.disable or time.monotonic() < self.next:
            return
        answered = sum(self.runner.counts[name] for name in LookupMinute.ANSWERS)
        self.bar.total = answered + _open(self.names)
        self.bar.update(answered - self.bar.n)
        self.next = time.monotonic() + BAR_EVERY


def _open(names: Sequence[str]) -> int:
    return Lookup.objects.open().filter(provider__in=names).count()


def _judge(asked: Sequence[Provider], result: Result) -> Result:
    """Failed, if it could not ask although it should have; waiting, if a provider or a person wants it to."""
    now = timezone.now()
    names = [provider.name for provider in asked]
    blocked = dict(
        ProviderState.objects.filter(provider__in=names, blocked_until__gt=now).values_list("provider", "blocked_until")
    )
    for name, obstacle in control.obstacles(names, now).items():
        if not _open([name]):
            continue
        if obstacle.reason == "key_refused" or (obstacle.reason == "away" and name not in blocked):
            result.status, result.reason = "failed", obstacle.message
            return result
        result.status, result.reason, result.paused_until = "waiting", obstacle.message, blocked.get(name)
    if fault := Lookup.objects.open().filter(provider__in=names, fault=Lookup.Fault.CODE).first():
        result.status, result.reason = "failed", fault.last_error
    return result
