"""Inputs by their numbers, sent in groups; what is wrong, and the fewest inputs that show it."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from django.contrib.auth.models import User
from django.test import Client

from enrichment.tasks import drain
from fuzz import answers, files, forms, posts, samples, storage
from fuzz.inputs import Input, send
from ingestion.models import ApiKey, Delivery, PausedStream
from ingestion.streams import all_streams
from tests.records import deliver

GROUP = 200
"""Inputs that meet each other: after them everything is worked off and compared, and the next begin with nothing."""
Weights: TypeAlias = "dict[str, int]"
WEIGHTS: Weights = {"post": 80, "file": 12, "form": 8}
QUICK: Weights = {"post": 94, "file": 3, "form": 3}
"""Of 100 inputs: a file or a form costs as much as ten posts."""
MAKERS: dict[str, Callable[[Random], Input]] = {"post": posts.make, "file": files.make, "form": forms.make}
NAME_OF_KEY = "fuzz"
Clean: TypeAlias = "Callable[[], AbstractContextManager[None]]"
"""Leaves the database as it was."""


@dataclass
class Result:
    statuses: Counter[str] = field(default_factory=Counter)
    """“post 202” → how many answers."""
    rows: Counter[str] = field(default_factory=Counter)
    """stream → rows stored and compared."""
    failures: list[tuple[str, list[Input]]] = field(default_factory=list)


def make(seed: int, number: int, weights: Weights = WEIGHTS) -> Input:
    """Always the same for the same numbers."""
    chance = Random(f"{seed}/{number}")
    kind = chance.choices(list(weights), list(weights.values()))[0]
    return MAKERS[kind](chance)


class Senders:
    """A client with a key that may do all, and a superuser's browser."""

    def __init__(self) -> None:
        _, key = ApiKey.objects.create_key(name=NAME_OF_KEY)
        ApiKey.objects.create_key(name="another")
        self.api = Client(headers={"authorization": f"Api-Key {key}"}, SERVER_NAME="localhost")
        self.browser = Client(SERVER_NAME="localhost")
        self.browser.force_login(User.objects.create_superuser("fuzz"))

    def of(self, given: Input) -> Client:
        return self.browser if given.kind == "form" else self.api


def run(
    senders: Senders,
    clean: Clean,
    numbers: Sequence[int],
    *,
    seed: int,
    weights: Weights = WEIGHTS,
    max_failures: int = 20,
) -> Iterator[Result]:
    """After each group what was found so far."""
    result = Result()
    for start in range(0, len(numbers), GROUP):
        inputs = [make(seed, number, weights) for number in numbers[start : start + GROUP]]
        if found := faults_of(senders, clean, inputs, result):
            fewest = smallest(senders, clean, inputs)
            again = faults_of(senders, clean, fewest)
            result.failures.append(("\n".join(again or found), fewest))
        yield result
        if len(result.failures) >= max_failures:
            return


def faults_of(senders: Senders, clean: Clean, inputs: Sequence[Input], result: Result | None = None) -> list[str]:
    """What is wrong after these inputs, which begin with what they refer to and nothing else."""
    result = result or Result()
    with clean(), errors_logged() as logged:
        for name, records in samples.stored_first().items():
            deliver(name, *records)
        before = set(Delivery.objects.values_list("pk", flat=True))
        found, sent = [], []
        for number, given in enumerate(inputs):
            if number == len(inputs) // 2:
                found += worked_off()
            try:
                answered = send(senders.of(given), given)
            except Exception:  # of a view: what a client would get is a 500
                found.append(traceback.format_exc())
                continue
            result.statuses.update(f"{given.kind} {answer.status}" for answer in answered)
            found += answers.faults(given, answered)
            sent.append((given, answered))
        found += [*worked_off(), *compared(sent, before)]
        for stream in all_streams():
            result.rows[stream.name] += stream.model._default_manager.count()
    return [*found, *logged]


def worked_off() -> list[str]:
    """What is wrong with working everything off: half way too, so that later records meet those that are stored."""
    PausedStream.objects.all().delete()
    try:
        drain(seconds=60)
    except Exception:
        return [traceback.format_exc()]
    return []


def compared(sent: Sequence[storage.Sent], before: set[int]) -> Iterator[str]:
    try:
        yield from storage.faults(sent, before)
    except Exception:  # what is kept cannot even be read
        yield traceback.format_exc()


@contextmanager
def errors_logged() -> Iterator[list[str]]:
    """What is logged as an error, such as a step of the workers that failed; nothing is printed."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR and not record.name.startswith("django.security"):
                found.append(logging.Formatter().format(record))

    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [Collector()]
    try:
        yield found
    finally:
        root.handlers = handlers


def smallest(senders: Senders, clean: Clean, inputs: Sequence[Input]) -> list[Input]:
    """The fewest of these inputs after which something is wrong: halves, quarters and so on are left out."""
    left, size = list(inputs), len(inputs) // 2
    while size:
        start = 0
        while start < len(left):
            fewer = left[:start] + left[start + size :]
            if fewer and faults_of(senders, clean, fewer):
                left = fewer
            else:
                start += size
        size //= 2
    return left
