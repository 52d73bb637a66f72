"""Descriptions of statistics and workers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.deliveries import Count, Outcomes
from api.schema.ingest import Stamp
from api.schema.spec import Answer
from ingestion.streams import names


class WorkNumbers(Outcomes):
    """The records of a stream: how many were processed, with which outcomes, and how many are pending."""

    accepted: Annotated[Count, Field(description="Accepted from clients.")]
    processed: Annotated[Count, Field(description="No longer pending: stored, stale or held.")]
    pending: Annotated[Count, Field(description="Not yet processed.")]
    rate_per_second: Annotated[
        float, Field(ge=0, description="Records processed per second, over the last five full minutes.")
    ]
    latency_p50_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            description=(
                "Median time from receipt to stored or held, of the last hour's records. Estimated from a histogram, at"
                " most 3600; null if there were none."
            ),
        ),
    ]
    latency_p95_seconds: Annotated[float | None, Field(ge=0, description="The same, 95th percentile.")]


class Minute(TypedDict):
    minute: datetime
    records: Annotated[Count, Field(description="Records processed in this minute.")]


class Stats(TypedDict):
    """Processed and pending records, by stream."""

    timestamp: Stamp
    streams: Annotated[dict[str, WorkNumbers], Field(description="By stream; only streams that the key may read.")]
    total: Annotated[WorkNumbers, Field(description="Sum of these streams.")]
    per_minute: Annotated[list[Minute], Field(description="The last 60 full minutes, oldest first.")]


class Cluster(TypedDict):
    """A qcluster process, as it reports itself every few seconds."""

    id: str
    host: Annotated[str | None, Field(description="null for a key that is limited to streams.")]
    pid: Annotated[int | None, Field(description="null for a key that is limited to streams.")]
    status: Annotated[str, Field(description="starting, idle, working, stopping or stopped.")]
    workers: Annotated[Count, Field(description="Number of worker processes.")]
    started_at: datetime
    reincarnations: Annotated[Count, Field(description="Workers that were replaced.")]


class Schedule(TypedDict):
    """A scheduled task."""

    name: str | None
    func: str
    next_run: datetime | None
    repeats: Annotated[int, Field(description="Remaining runs; -1: unlimited.")]


class Provider(TypedDict):
    """An outside service, and the questions (lookups) that it is asked."""

    name: str
    label: Annotated[str, Field(description="Its name for people.")]
    on: Annotated[bool, Field(description="false: a setting that it needs, such as its key, is missing.")]
    why: Annotated[str, Field(description="Why it is not being asked, as a sentence; empty if it is.")]
    waiting_for: Annotated[
        Literal["no_key", "key_refused", "paused", "away"] | None,
        Field(description="The same as a word: what has to end before it is asked; null if it is being asked."),
    ]
    since: Annotated[datetime | None, Field(description="Since when it is not being asked, where that is known.")]
    until: Annotated[
        datetime | None, Field(description="When it is asked again by itself, such as after a Retry-After; else null.")
    ]
    paused: Annotated[bool, Field(description="Paused by an operator.")]
    open: Annotated[Count, Field(description="Questions not yet answered.")]
    found: Count
    not_found: Count
    ambiguous: Annotated[Count, Field(description="Questions with several possible answers: a person chooses.")]
    failed: Annotated[Count, Field(description="Questions that the provider did not take, five times.")]
    oldest: Annotated[datetime | None, Field(description="When the oldest open question was first asked.")]
    asked_last_minute: Annotated[Count, Field(description="Requests within the last 60 seconds.")]
    limit: Annotated[str, Field(description="requests/seconds: the most that are sent.", examples=["40/10"])]
    last_error: Annotated[str, Field(description="Empty if there has been none.")]
    last_error_at: datetime | None
    last_run: Annotated[datetime | None, Field(description="When work for it was last looked for.")]
    next_run: Annotated[datetime | None, Field(description="When that is done next at the latest; null: not running.")]


class Worker(TypedDict):
    """Clusters, workers and schedules."""

    timestamp: Stamp
    alive: Annotated[bool, Field(description="Whether a worker has run a task in the last three minutes.")]
    last_run: Annotated[datetime | None, Field(description="When a worker last ran a task.")]
    next_run: Annotated[
        datetime | None, Field(description="When the next one runs at the latest; null if no worker is alive.")
    ]
    interval_seconds: Annotated[int, Field(ge=1, description="Interval between runs while idle.")]
    clusters: Annotated[list[Cluster] | None, Field(description="null if their reports cannot be read.")]
    workers: Annotated[int | None, Field(ge=0, description="Worker processes in all clusters.")]
    paused_streams: Annotated[
        list[str],
        Field(
            description="Paused by an operator: new records are accepted and stay pending until the stream is resumed."
        ),
    ]
    paused_providers: Annotated[list[str], Field(description="Paused by an operator: their lookups stay open.")]
    providers: Annotated[list[Provider], Field(description="Outside services, in order of name.")]
    schedules: list[Schedule]


NUMBERS: dict[str, Any] = {
    "accepted": 1250,
    "processed": 1000,
    "inserted": 900,
    "updated": 90,
    "stale": 7,
    "pending": 250,
    "waiting": 2,
    "dead": 1,
    "rate_per_second": 3.327,
    "latency_p50_seconds": 0.18,
    "latency_p95_seconds": 0.9,
}
PROVIDER: dict[str, Any] = {
    "name": "oracle",
    "label": "The oracle",
    "on": True,
    "why": "",
    "waiting_for": None,
    "since": None,
    "until": None,
    "paused": False,
    "open": 12,
    "found": 1540,
    "not_found": 7,
    "ambiguous": 3,
    "failed": 0,
    "oldest": "2025-03-01T22:09:58Z",
    "asked_last_minute": 228,
    "limit": "40/10",
    "last_error": "",
    "last_error_at": None,
    "last_run": "2025-03-01T22:09:55Z",
    "next_run": "2025-03-01T22:10:05Z",
}
STATS_ANSWER = Answer(
    Stats,
    example={
        "timestamp": "2025-03-01T22:10:00Z",
        "streams": {names()[0]: NUMBERS},
        "total": NUMBERS,
        "per_minute": [{"minute": "2025-03-01T22:09:00Z", "records": 998}],
    },
)
WORKER_ANSWER = Answer(
    Worker,
    example={
        "timestamp": "2025-03-01T22:10:00Z",
        "alive": True,
        "last_run": "2025-03-01T22:09:31Z",
        "next_run": "2025-03-01T22:10:31Z",
        "interval_seconds": 60,
        "clusters": [
            {
                "id": "5b0d6a4e-7d0b-4a0e-9f0e-3a1f5c1d2e4f",
                "host": "tutormax-1",
                "pid": 4711,
                "status": "idle",
                "workers": 2,
                "started_at": "2025-03-01T08:00:00Z",
                "reincarnations": 0,
            }
        ],
        "workers": 2,
        "paused_streams": [],
        "paused_providers": [],
        "providers": [PROVIDER],
        "schedules": [],
    },
)
