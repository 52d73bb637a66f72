"""Descriptions of statistics and workers."""

from datetime import datetime
from typing import Annotated, Any

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
    paused_providers: list[str]
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
        "schedules": [],
    },
)
