"""Jobs too long for one transaction: done in bounded steps between other work, by whichever process comes next."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from django.db import models, transaction

POLL = 0.1
"""Seconds until the next attempt, while another process works on the job."""


class Job(Protocol):
    """A row that describes what is to be done, and how far it is."""

    pk: int
    finished_at: datetime | None

    def refresh_from_db(self) -> None: ...


AnyModel = TypeVar("AnyModel", bound=models.Model)
AnyJob = TypeVar("AnyJob", bound=Job)
Result = TypeVar("Result")


def run_next_step(
    unfinished: models.QuerySet[AnyModel],
    step: Callable[[AnyModel], Result],
    on_error: Callable[[AnyModel, Exception], object] = lambda job, error: None,
) -> Result | None:
    """One step, all or nothing, of the first of these jobs that no other process is working on; None if there is none.

    The job stays locked during the step. An error undoes the step, is passed to `on_error`, and is raised.
    """
    if not unfinished.exists():  # so that nothing is locked for nothing
        return None
    job = None
    try:
        with transaction.atomic():
            if (job := unfinished.select_for_update(skip_locked=True).first()) is None:
                return None
            return step(job)
    except Exception as error:
        if job:
            on_error(job, error)
        raise


def run_to_completion(
    job: AnyJob,
    run_next_step: Callable[[], bool],
    after_step: Callable[[AnyJob], object] = lambda job: None,
) -> AnyJob:
    """Does the steps that are left, or waits for the process that does them."""
    while job.finished_at is None:
        if not run_next_step():
            time.sleep(POLL)
        job.refresh_from_db()
        after_step(job)
    return job
