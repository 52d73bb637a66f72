"""The runner: asks what is due, in threads that do HTTP alone; only its own thread speaks to the database.

It lives in qcluster's main process, so that waiting for a provider costs no worker; `manage.py lookups run` is the same
in the foreground. Any number of runners may work on one database.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime

from django.db import Error, InterfaceError, OperationalError, connection
from django.db.models.functions import Now

from enrichment.lookups import answers, claims, control, http, providers
from enrichment.lookups.claims import Outcome, lease
from enrichment.lookups.errors import ProviderError, QuestionError
from enrichment.lookups.limits import POLL, Slots, of_thread, pause
from enrichment.lookups.models import Lookup, ProviderState
from enrichment.lookups.providers import MAX_THREADS, Answer, Provider, Question
from enrichment.statements import batched

LOOK = 1.0
"""Seconds between two looks for work, while there is none."""
LOOK_AGAIN = 0.05
"""Seconds to a look after answers were stored."""
GATHER = 0.02
"""Seconds for which what happens is gathered, to be stored together."""
GRACE = 2.0
"""Seconds that a stop waits for answers that are on their way."""

logger = logging.getLogger(__name__)


class Desk:
    """The questions of one provider that this process is asking, and the threads that ask them."""

    def __init__(self, provider: Provider, wake: Callable[[], None]) -> None:
        self.provider = provider
        self.slots = Slots(provider, wake)
        self.claimed: dict[int, Lookup] = {}
        """By id: being asked, or asked and not yet stored."""
        self.unsaved: list[Outcome] = []
        self.counts: Counter[str] = Counter()
        """Not yet stored, by name in LookupMinute.counters."""
        self.batches = 0
        """Being asked, or about to be."""
        self.next_look = 0.0
        self._wake = wake
        self._todo: queue.SimpleQueue[list[Lookup]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[list[Outcome]] = queue.SimpleQueue()
        self._threads = 0
        self._last_success = 0.0

    @property
    def wanted(self) -> int:
        """How many batches are to be claimed: as many as there will be slots for in the next second, but so that all
        threads have something to do, and not one by one.
        """
        requests, seconds = self.provider.limit
        threads = min(self.provider.threads, MAX_THREADS)
        waiting = min(threads, max(2, math.ceil(requests / seconds)))
        free = min(threads - self.batches, waiting - self.slots.waiting)
        return free if 4 * free >= waiting else 0

    def ask(self, lookups: Sequence[Lookup]) -> int:
        """Has the threads ask these, in batches of one kind; returns how many batches."""
        before = self.batches
        self.claimed |= {lookup.pk: lookup for lookup in lookups}
        for kind in dict.fromkeys(lookup.kind for lookup in lookups):
            of_kind = (lookup for lookup in lookups if lookup.kind == kind)
            for batch in batched(of_kind, self.provider.batch_of(kind)):
                self.batches += 1
                self._todo.put(batch)
        while self._threads < min(self.batches, self.provider.threads, MAX_THREADS):
            self._threads += 1
            threading.Thread(target=self._work, name=f"lookups-{self.provider.name}", daemon=True).start()
        return self.batches - before

    def gather(self) -> None:
        """Takes over what the threads have done."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.unsaved += self._done.get_nowait()
                self.batches -= 1
        self.counts.update(self.slots.take_counts())

    def close(self) -> None:
        """Whoever waits for a slot gives up, what has not been begun is not, and the threads end."""
        self.slots.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._todo.get_nowait()
                self.batches -= 1
        for _ in range(self._threads):
            self._todo.put([])

    def _work(self) -> None:
        of_thread.slots = self.slots
        while batch := self._todo.get():
            self._done.put(self._ask(batch))
            self._wake()

    def _ask(self, batch: Sequence[Lookup]) -> list[Outcome]:
        started = time.monotonic()
        try:
            found = self.provider.ask([Question(row.provider, row.kind, row.key, row.question) for row in batch])
            outcomes = [Outcome(row, answers.as_answer(found.get(row.key))) for row in batch]
        except QuestionError as error:
            if len(batch) > 1:  # one of them is at fault: the others are asked without it
                half = len(batch) // 2
                return [*self._ask(batch[:half]), *self._ask(batch[half:])]
            missing = Answer(status="not_found")
            outcomes = [Outcome(row, missing if error.status == 404 else error) for row in batch]
        except Exception as error:
            if not isinstance(error, ProviderError):
                logger.exception("Asking %s failed.", self.provider.name)
            return [Outcome(row, error, alone=self._last_success < started) for row in batch]
        self._last_success = time.monotonic()
        return outcomes


class Runner:
    """Asks what is due of these providers (empty: all), in the thread that calls `run`; with a limit, about so many
    questions: what is in its batches comes along.
    """

    def __init__(self, only: Collection[str] = (), limit: int | None = None) -> None:
        self._changed = threading.Event()
        self._stopping = threading.Event()
        chosen = [provider for provider in providers.all_providers() if not only or provider.name in only]
        self._desks = {provider.name: Desk(provider, self._changed.set) for provider in chosen}
        self._next_report = self._next_renewal = 0.0
        self._left = math.inf if limit is None else limit
        """Questions that may still be claimed."""
        self.counts: Counter[str] = Counter()
        """Requests, and answers by status, of this runner."""

    def stop(self) -> None:
        """From any thread: `run` returns within seconds."""
        self._stopping.set()
        self._changed.set()

    def run(self, until_idle: bool = False, on_round: Callable[[], object] = lambda: None) -> None:
        """Until `stop`, or until nothing is due within the next lease. Errors of the database are waited for.

        `on_round` is called by this thread, several times a second while questions are being answered.
        """
        failures = 0
        while not self._stopping.is_set():
            self._changed.clear()
            try:
                rest = self._round()
                failures = 0
                on_round()
                if until_idle and self._is_idle():
                    break
            except Exception as error:
                rest = pause(failures)
                failures += 1
                _log(error, rest)
            self._changed.wait(rest)
            self._stopping.wait(GATHER)
        self._finish()

    def _round(self) -> float:
        """Does what there is to do; returns the seconds after which there may be more, unless something happens."""
        http.cut_overdue()
        rest, failed = LOOK, None
        for desk in self._desks.values():  # the trouble of one provider must not hold up the others
            try:
                if not desk.slots.serve():
                    rest = POLL
                self._store(desk)
            except Exception as error:
                failed = error
        if failed:
            raise failed
        self._renew()
        self._look()
        return rest

    def _store(self, desk: Desk) -> None:
        desk.gather()
        if not desk.unsaved:
            return
        stored = list(desk.unsaved)
        self.counts += claims.store(desk.provider, stored, desk.counts)
        desk.unsaved.clear()
        for outcome in stored:
            desk.claimed.pop(outcome.lookup.pk, None)
        self._look_soon()

    def _look_soon(self) -> None:
        """Answers may have raised questions: who has nothing else to ask does not wait for the next look."""
        soon = time.monotonic() + LOOK_AGAIN
        for desk in self._desks.values():
            if not desk.batches:
                desk.next_look = min(desk.next_look, soon)

    def _renew(self) -> None:
        if time.monotonic() < self._next_renewal:
            return
        for desk in self._desks.values():
            if desk.claimed:
                claims.renew(desk.claimed.values())
        self._next_renewal = time.monotonic() + lease().total_seconds() / 4

    def _look(self) -> None:
        """Claims what is due, of the providers that have room for it and may be asked."""
        now = time.monotonic()
        looking = [desk for desk in self._desks.values() if now >= desk.next_look and desk.wanted]
        if not looking:
            return
        self._report()
        for desk in looking:
            desk.next_look = now + LOOK
        for desk, state, clock in _states(looking):
            wanted = int(min(desk.wanted, self._left))
            if (
                wanted <= 0
                or not _may_be_asked(desk, state, clock)
                or not Lookup.objects.due().filter(provider=desk.provider.name).exists()
            ):
                continue
            found = claims.claim_trial(desk.provider) if state.away_since else claims.claim(desk.provider, wanted)
            self._left -= len(found)
            if desk.ask(found) >= wanted:
                desk.next_look = 0.0

    def _report(self) -> None:
        """Every few seconds, for people, when this was; and a new key ends the stop after a refused one."""
        if time.monotonic() < self._next_report:
            return
        declared = [desk.provider for desk in self._desks.values()]
        ProviderState.objects.bulk_create(
            [ProviderState(provider=provider.name) for provider in declared], ignore_conflicts=True
        )
        control.try_new_keys(declared)
        ProviderState.objects.filter(provider__in=self._desks).update(last_run_at=Now())
        self._next_report = time.monotonic() + control.INTERVAL.total_seconds()

    def _is_idle(self) -> bool:
        """Nothing is being asked, and nothing will be due within a lease: of what others have claimed, neither."""
        if any(desk.claimed for desk in self._desks.values()):
            return False
        if self._left <= 0:
            return True
        soon = Lookup.objects.filter(chosen_at=None, due_at__lte=Now() + lease())
        return not any(
            soon.filter(provider=desk.provider.name).exists()
            for desk, state, now in _states(self._desks.values())
            if not _is_gone(state, now)
        )

    def _finish(self) -> None:
        """Stores what is answered within GRACE, and gives back the rest; if that fails, the leases expire."""
        for desk in self._desks.values():
            desk.close()
        deadline = time.monotonic() + GRACE
        try:
            while True:
                for desk in self._desks.values():
                    self._store(desk)
                if time.monotonic() > deadline or not any(desk.batches for desk in self._desks.values()):
                    break
                self._changed.wait(POLL)
                self._changed.clear()
            for desk in self._desks.values():
                claims.release(desk.claimed.values())
                if desk.counts:
                    self.counts += claims.store(desk.provider, [], desk.counts)
        except Error as error:
            _log(error, 0)


@contextlib.contextmanager
def in_background() -> Iterator[None]:
    """A runner in a thread of its own, which ends within seconds with the block. None where there is nobody to ask."""
    runner = Runner()
    thread = threading.Thread(target=_run, args=(runner,), name="lookups", daemon=True)
    if providers.names():
        thread.start()
    try:
        yield
    finally:
        runner.stop()
        if thread.is_alive():
            thread.join(2 * GRACE)


def _run(runner: Runner) -> None:
    try:
        runner.run()
    finally:
        connection.close()


def _states(desks: Iterable[Desk]) -> list[tuple[Desk, ProviderState, datetime]]:
    """The providers that will be asked without a person doing anything; with the database's clock."""
    states = {state.provider: state for state in ProviderState.objects.annotate(now=Now())}
    return [
        (desk, state, state.now)
        for desk in desks
        if (state := states.get(desk.provider.name)) and _will_be_asked(desk.provider, state, state.now)
    ]


def _will_be_asked(provider: Provider, state: ProviderState, now: datetime) -> bool:
    obstacle = control.obstacle(provider, state, now)
    return obstacle is None or obstacle.reason == "away"


def _may_be_asked(desk: Desk, state: ProviderState, now: datetime) -> bool:
    """Now. One that was away gets a single question, until it answers."""
    if state.blocked_until and state.blocked_until > now:
        return False
    return state.away_since is None or (not desk.batches and (state.away_until is None or state.away_until <= now))


def _is_gone(state: ProviderState, now: datetime) -> bool:
    """It is not worth to wait for."""
    blocked, away = state.blocked_until, state.away_since
    return bool((blocked and blocked > now + lease()) or (away and away < now - lease()))


def _log(error: Exception, rest: float) -> None:
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("Lookups wait for the database: %s", error)
    else:
        logger.error("Lookups wait %.0f s after an error in the code.", rest, exc_info=error)
    if isinstance(error, Error):
        connection.close()
