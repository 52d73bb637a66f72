"""Chance and clocks: shares, ranges, time zones."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from functools import cache
from random import Random
from zoneinfo import ZoneInfo


def last_day(zone: str, until: date) -> date:
    """The last day in `zone` whose every session is over, and recorded, by 00:00 UTC of `until`."""
    return until - timedelta(days=1 if offset_on(zone, until) >= timedelta(0) else 2)


@cache
def offset_on(zone: str, day: date) -> timedelta:
    """What clocks in `zone` are ahead of UTC at noon of `day`: no session is held while clocks change."""
    return datetime.combine(day, time(12), ZoneInfo(zone)).utcoffset() or timedelta(0)


def clock_on(zone: str, day: date) -> timezone:
    return timezone(offset_on(zone, day))


def pick(rng: Random, shares: Mapping[str, float]) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def between(rng: Random, start: datetime, end: datetime) -> datetime:
    """A moment between the two, in whole seconds; `start` where `end` lies before it."""
    return start + timedelta(seconds=int(rng.random() * max((end - start).total_seconds(), 0)))


def apportion(rng: Random, shares: Mapping[str, float], total: int) -> list[str]:
    """Names in the proportions of their shares, as exactly as `total` allows, shuffled."""
    names: list[str] = []
    reached = 0.0
    for name, share in shares.items():
        reached += share
        names += [name] * (round(reached * total) - len(names))
    rng.shuffle(names)
    return names
