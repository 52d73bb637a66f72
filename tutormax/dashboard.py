"""What the admin's index shows: what is pending, what has been stored, what is held, and whether anything works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from enrichment import stats
from ingestion import bell


@dataclass(frozen=True)
class Cell:
    """A number, and the page that lists what it counts."""

    number: int
    page: str


@dataclass(frozen=True)
class CodeRow:
    code: str
    cells: list[Cell]
    total: Cell


def dashboard(user: Any) -> dict[str, Any]:
    """The numbers, in five queries; nothing for who may not see deliveries and held records."""
    if not user.has_perms(["ingestion.view_delivery", "enrichment.view_heldrecord"]):
        return {}
    held = stats.open_held()
    streams = stats.by_stream(held)
    total = stats.total(streams)
    heartbeat = bell.heartbeat()
    return {
        "streams": streams,
        "total": total,
        "is_new": not (total.pending or total.processed or total.waiting or total.dead),
        "dead_by_code": dead_by_code(held, [numbers.stream for numbers in streams]),
        "heartbeat": heartbeat,
        "is_alive": stats.is_alive(heartbeat),
        "dead_page": page_of("enrichment_deadletter"),
        "waiting_page": page_of("enrichment_waitingrecord"),
        "pending_page": page_of("ingestion_delivery", status="pending"),
        "delivery_page": page_of("ingestion_delivery"),
    }


def dead_by_code(held: Counter[tuple[str, str, str]], streams: Sequence[str]) -> list[CodeRow]:
    """A row for each code that dead letters have, the most frequent first; a cell for each stream."""
    numbers = Counter({(code, stream): held["dead", code, stream] for _, code, stream in held})
    sums: Counter[str] = Counter()
    for (code, _), number in numbers.items():
        sums[code] += number
    return [
        CodeRow(
            code,
            [
                Cell(numbers[code, stream], page_of("enrichment_deadletter", code=code, stream=stream))
                for stream in streams
            ],
            Cell(number, page_of("enrichment_deadletter", code=code)),
        )
        for code, number in sums.most_common()
        if number
    ]


def page_of(model: str, **filters: str) -> str:
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(filters)}".rstrip("?")
