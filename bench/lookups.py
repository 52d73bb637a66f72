"""python -m bench.lookups [QUESTIONS]: how near lookups come to a provider's limit, and that they never go beyond it.

Three processes ask questions of two requests each, of a stand-in that answers after 0.1 s, at 40 requests in 10 seconds
and at 50 a second; on a PostgreSQL of its own. Then records are processed with and without a busy provider beside them.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median

from bench.database import database
from standins.server import Request, Response, Server, busiest
from tests.oracle import PROGRAM
from tests.servers import Process

PROCESSES = 3
LATENCY = 0.1
RATES = ((50, 1), (40, 10))
MIN_SHARE = 0.87
"""Of the ceiling that the limit is."""
RECORDS = 20_000
ROUNDS = 5


def main() -> None:
    questions = int(sys.argv[1]) if len(sys.argv) > 1 else 1600
    with database():
        records_beside_a_busy_provider()
        reached = [at_the_limit(questions, requests, seconds) for requests, seconds in RATES]
        if not all(reached):
            raise SystemExit(f"The aim is never more than the limit, and {MIN_SHARE} of the ceiling.")


def answer(request: Request) -> Response:
    time.sleep(LATENCY)
    return Response(body={"path": request.path, "title": "x" * 2000})


def ask(number: int) -> None:
    from django.db import transaction

    from enrichment.lookups import want
    from enrichment.lookups.models import Lookup, ProviderState

    Lookup.objects.all().delete()
    ProviderState.objects.all().delete()
    with transaction.atomic():
        want("oracle", "two", [f"question {count}" for count in range(number)])


def runner(server: Server, requests: int, seconds: int) -> Process:
    command = (*PROGRAM, server.url, f"{requests}/{seconds}", "lookups", "run")
    return Process(command, {"DATABASE_URL": os.environ["DATABASE_URL"]})


def at_the_limit(questions: int, requests: int, seconds: int) -> bool:
    """Whether the aim is reached."""
    from enrichment.lookups.models import Lookup

    ask(questions)
    with Server(answer) as server:
        processes = [runner(server, requests, seconds) for _ in range(PROCESSES)]
        for process in processes:
            if process.popen.wait() != 0:
                raise SystemExit(process.log())
            process.stop()
        times = sorted(arrival.at for arrival in server.arrivals)
    took = times[-1] - times[0]
    worst, share = busiest(times, seconds), (len(times) - 1) / took / (requests / seconds)
    print(
        f"{requests} in {seconds} s, {PROCESSES} processes: {len(times):,} requests in {took:.0f} s,"
        f" at most {worst} in {seconds} s, {share:.3f} of the ceiling"
    )
    if Lookup.objects.filter(status="found").count() != questions or len(times) != 2 * questions:
        raise SystemExit("Some questions were not answered, or asked twice.")
    return worst <= requests and share >= MIN_SHARE


def records_beside_a_busy_provider() -> None:
    rates: dict[str, list[float]] = {"alone": [], **{f"beside {limit}": [] for limit in RATES}}
    with Server(answer) as server:
        for _ in range(ROUNDS):
            rates["alone"].append(process_records())
            for requests, seconds in RATES:
                ask(10_000)
                server.forget()
                with runner(server, requests, seconds):
                    while not server.arrivals:
                        time.sleep(0.1)
                    rates[f"beside {(requests, seconds)}"].append(process_records())
    for name, found in rates.items():
        print(f"records {name}: {median(found):,.0f}/s (median; {min(found):,.0f} to {max(found):,.0f})")


def process_records() -> float:
    """Records/s of one worker, of deliveries that are there already."""
    from django.core.management import call_command

    from ingestion.models import Delivery
    from tests.records import deliver
    from tutoring.models import Tutor
    from tutoring.tests.factories import tutor

    Delivery.objects.all().delete()
    Tutor.objects.all().delete()
    for start in range(0, RECORDS, 1000):
        deliver("tutors", *(tutor(tutor_id=f"t{number}") for number in range(start, start + 1000)))
    before = time.monotonic()
    with open(os.devnull, "w") as nowhere:
        call_command("enrich_pending", stdout=nowhere, stderr=nowhere)
    return RECORDS / (time.monotonic() - before)


if __name__ == "__main__":
    main()
