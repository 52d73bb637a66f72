import json
import os
import signal
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone
from tqdm import tqdm

from enrichment import completion, stats
from enrichment.held import bulk_actions
from enrichment.models import BulkAction
from enrichment.pipeline.batch import process_batch
from ingestion.models import OUTCOMES, Delivery, PausedStream
from ingestion.streams import Stream, all_streams, get, names

STDERR = 2
POLL = 0.2
MAX_FAILED_ROUNDS = 20
"""Failing rounds in a row, with growing pauses, before the command gives up."""


class Command(BaseCommand):
    help = (
        "Processes all pending deliveries except those of paused streams, then prints the counts."
        " Exit code 1 if the database fails."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--stream", choices=names(), help="only this stream")
        parser.add_argument("--limit", type=int, help="stop after about this many records")
        parser.add_argument("--batch-size", type=int, metavar="RECORDS", help="records per batch")
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = [get(options["stream"])] if options["stream"] else all_streams()
        for name in ("limit", "batch_size"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be at least 1.")
        with CtrlC() as ctrl_c:
            try:
                counts = process_pending(chosen, options["limit"], options["batch_size"], ctrl_c)
            except (KeyboardInterrupt, Error) as error:
                if not ctrl_c.pressed:
                    raise CommandError(f"The database failed: {error}") from error
        if ctrl_c.pressed:
            raise CommandError("Stopped. Processed records are saved; the rest stays pending.", returncode=130)
        self.stdout.write(json.dumps(counts) if options["json"] else _sentence(counts))
        self.report_paused_streams(chosen)

    def report_paused_streams(self, chosen: list[Stream]) -> None:
        left = stats.queue_depths()
        for paused in PausedStream.objects.filter(stream__in=[stream.name for stream in chosen]).order_by(
            "at", "stream"
        ):
            if paused.stream in left:
                self.stderr.write(
                    f"{paused.stream} is paused by {paused.by.removeprefix('user:')}"
                    f" since {timezone.localtime(paused.at):%Y-%m-%d %H:%M:%S %z}:"
                    f" {left[paused.stream].records:,} records stay pending. Resume it in the admin."
                )


class CtrlC:
    """The first Ctrl-C asks for a stop between two batches: an exception in the middle of a query leaves the
    connection in a state that nobody knows. The second one stops at once.
    """

    pressed = False

    def __init__(self, on_press: Callable[[], object] = lambda: None) -> None:
        self.on_press = on_press

    def __enter__(self) -> Self:
        self.before = signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, *args: Any) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        self.on_press()
        os.write(STDERR, b"\nStopping after this round; press Ctrl-C again to stop at once.\n")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self.before)


def process_pending(chosen: list[Stream], limit: int | None, batch_size: int | None, ctrl_c: CtrlC) -> dict[str, int]:
    """Processes until nothing of these streams is pending (paused ones excepted), or about `limit` records are done.

    Returns outcome → records.
    """
    done: Counter[str] = Counter()
    failed_rounds = 0
    with tqdm(total=_pending(chosen), unit=" records", disable=None) as bar:
        while not ctrl_c.pressed and (limit is None or done.total() < limit):
            acted = bulk_actions.run_next_step(BulkAction.objects.all())
            batches = [process_batch(stream, records=batch_size, respect_backoff=False) for stream in chosen]
            worked = [batch for batch in batches if batch]
            progress = sum((batch.outcomes for batch in worked), Counter[str]())
            done += progress
            bar.update(progress.total())
            bar.total = max(bar.total or 0, bar.n)
            errors = [batch.error for batch in worked if batch.fault]
            failed_rounds = failed_rounds + 1 if errors and not progress else 0
            if failed_rounds == MAX_FAILED_ROUNDS:
                raise CommandError(f"No progress after {MAX_FAILED_ROUNDS} attempts: {errors[0]}")
            if not progress and not completion.run_next_step():
                if not acted and not _pending(chosen):
                    break
                time.sleep(POLL * max(1, failed_rounds))  # another process works on it, or has just crashed
    return {"processed": done.total(), **{name: done[name] for name in OUTCOMES}}


def _pending(chosen: list[Stream]) -> int:
    paused = PausedStream.objects.values_list("stream", flat=True)
    working = {stream.name for stream in chosen} - set(paused)
    return Delivery.objects.filter(stream__in=working).pending_records()


def _sentence(counts: dict[str, int]) -> str:
    parts = ", ".join(f"{number} {name}" for name, number in counts.items() if name != "processed")
    return f"Processed {counts['processed']} records: {parts}."
