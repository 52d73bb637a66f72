"""Fixtures of the tests of the promises."""

from __future__ import annotations

from typing import Any

import pytest
from django_q.models import OrmQ

from enrichment.pipeline import upsert as persist
from ingestion.models import Doorbell


@pytest.fixture
def silent_bell() -> None:
    """Nobody has rung, nobody watches, and no task is queued."""
    OrmQ.objects.all().delete()
    Doorbell.objects.update(rung_at=None, answered_at=None, watched_until=None)


@pytest.fixture
def failing_upsert(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The exceptions put into this list are raised, one by one, where the rows are written."""
    planned: list[Exception] = []
    real = persist.upsert

    def upsert(*args: Any) -> Any:
        if planned:
            raise planned.pop(0)
        return real(*args)

    monkeypatch.setattr(persist, "upsert", upsert)
    return planned
