"""A run: the client posts while faults strike; once all has settled, the ledger compares."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from random import Random

from django.db import Error, connection
from django.db.models import Max
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from enrichment.lookups.models import Lookup
from enrichment.models import HeldRecord
from faults import kinds, ledger, report
from faults.client import Client, Notes
from faults.kinds import KINDS, POISONED, Kind
from faults.places import Place
from faults.records import posts
from faults.system import QUICK, RATE, System
from ingestion.models import ApiKey, Delivery, Upload
from tests.servers import RedisServer, manage
from tutoring.models import Tutor

SECONDS = 9.0
"""For which a run posts, and faults strike."""
SIZE = 300
"""Keys of each stream in a run."""
PATIENCE = 300.0
"""Seconds after the last fault in which everything must have settled."""


def run_all(place: Place, options: argparse.Namespace) -> int:
    """The exit code."""
    end = time.monotonic() + (options.minutes * 60 if options.minutes else float("inf"))
    results = []
    settings = {} if options.default_settings else QUICK
    manage("migrate", "--verbosity=0", database_url=place.database_url)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer()) if options.broker == "redis" else None
        if redis:
            redis.start()
        system = stack.enter_context(
            System(
                place.database_url,
                options.runs,
                settings,
                postgres=place.server,
                disk=place.disk,
                log_disk=place.log_disk,
                redis=redis,
            )
        )
        possible, missing = usable(system, options.only)
        for kind, why in missing.items():
            print(f"Left out: {kind}: {why}.", flush=True)
        for number in range(options.runs):
            if time.monotonic() > end:
                break
            results.append(run(system, options.seed + number, number, list(possible.values()), options.faults))
            print(report.line(results[-1]), *results[-1].findings, sep="\n    ", flush=True)
            if results[-1].findings and options.keep_logs:
                keep_logs(system, options.keep_logs / str(results[-1].seed))
    print(report.summary(results))
    if options.write:
        report.write(results, missing)
    return int(any(result.findings for result in results))


def usable(system: System, only: Iterable[str] = ()) -> tuple[dict[str, Kind], dict[str, str]]:
    """The kinds of faults that can be tried here; why the others cannot."""
    chosen = [kind for kind in KINDS if not only or any(kind.name.startswith(name) for name in only)]
    missing = {kind.name: why for kind in chosen if (why := kind.missing(system))}
    return {kind.name: kind for kind in chosen if kind.name not in missing}, missing


def run(
    system: System,
    seed: int,
    number: int,
    possible: list[Kind],
    faults: int,
    *,
    seconds: float = SECONDS,
    size: int = SIZE,
) -> report.Result:
    """`number` is that of the run in this system, whose services know films and artists of their own for each."""
    rng = Random(seed)
    struck = kinds.choose(rng, min(faults, len(possible)), seed, possible, seconds - 1)
    key, notes = new_client()
    client = Client(system.url, key, notes)
    is_poisoned = any(fault.kind is POISONED for fault in struck)
    to_post = posts(rng, f"r{seed}", number, size, poison=is_poisoned)
    with kinds.striking(system, struck, rng):
        client.post_all(to_post, rng, seconds)
    healed = time.monotonic()
    client.post_the_rest(PATIENCE)
    left = wait_until_settled(PATIENCE)
    recovery = time.monotonic() - healed
    findings = [f"settled: not within {PATIENCE:g} s: {left}"] if left else []
    findings += compare(system, client, notes)
    connection.close()
    return report.Result(
        seed=seed,
        faults=[str(fault) for fault in struck],
        failed_faults=[f"{fault}: {fault.error}" for fault in struck if fault.error],
        records=notes.records,
        posts=len(notes.posts),
        statuses=notes.statuses,
        recovery=recovery,
        findings=findings,
    )


def new_client() -> tuple[str, Notes]:
    """A key, and the notes of its client."""
    key = ApiKey(name="fault run")
    key.issue()
    since = Delivery.objects.aggregate(last=Max("pk", default=0))["last"]
    connection.close()
    return key.plaintext_key, Notes(client=f"key:{key.prefix}", since=since)


def wait_until_settled(patience: float) -> str:
    """Empty, or after that many seconds what has not settled."""
    deadline = time.monotonic() + patience
    while (left := unsettled()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return left


def unsettled() -> str:
    """What the system still has to do; empty: nothing."""
    try:
        found: Mapping[str, int] = {
            "pending records": Delivery.objects.pending_records(),
            "queued held records": HeldRecord.objects.filter(queued_in__isnull=False).count(),
            "held records to be revived": sum(1 for _ in ledger.revivable()),
            "open lookups": Lookup.objects.open().count(),
            "unsettled uploads": Upload.objects.filter(settled_at=None, finished_at__isnull=False).count(),
            "rows of yesterday": Tutor.objects.filter(derived_on__lt=timezone.localdate()).count(),
        }
    except Error as error:
        connection.close()
        return f"the database: {error}"
    return ", ".join(f"{number} {name}" for name, number in found.items() if number)


def compare(system: System, client: Client, notes: Notes) -> list[str]:
    """All that is wrong."""
    findings = list(ledger.Ledger(notes).findings())
    findings += ledger.metrics_add_up(samples(client.get("/metrics")))
    findings += ledger.totals_add_up(client.get("/api/stats"))
    findings += ledger.limits_are_kept(system.providers, RATE, 1)
    findings += ledger.logs_are_clean({each.name: each.unread_log() for each in system.services})
    for server in system.providers.values():
        server.forget()
    return findings


def samples(text: str) -> dict[str, float]:
    """name{label=value,…} → value, of what /metrics answers."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{label}={value}" for label, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def keep_logs(system: System, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for each in system.services:
        (folder / f"{each.name}.log").write_text(each.log())
    if system.postgres:
        (folder / "postgresql.log").write_text(system.postgres.log.read_text())
