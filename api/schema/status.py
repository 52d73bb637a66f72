"""What the status of queue, streams and workers answers."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.deliveries import Count
from api.schema.ingest import Stamp
from api.schema.spec import Answer
from ingestion.streams import names


class WorkNumbers(TypedDict):
    """What was done with the records of a stream, and what is still to do."""

    accepted: Annotated[Count, Field(description="Sent by clients and kept.")]
    processed: Annotated[Count, Field(description="Of these no longer pending: stored, stale or held.")]
    inserted: Annotated[Count, Field(description="Stored, with a key that was new.")]
    updated: Annotated[Count, Field(description="Stored in place of an older one with the same key.")]
    stale: Annotated[Count, Field(description="Not stored, since a newer one with the same key is.")]
    pending: Annotated[Count, Field(description="Not yet worked on.")]
    waiting: Annotated[Count, Field(description="Held until what they refer to is stored.")]
    dead: Annotated[Count, Field(description="Held until a person fixes or discards them.")]
    rate_per_second: Annotated[
        float, Field(ge=0, description="Records worked on per second, over the last five full minutes.")
    ]
    latency_p50_seconds: Annotated[
        float | None,
        Field(
            ge=0,
            description=(
                "From arrival until stored or held, of the records of the last hour: half took no longer. Estimated"
                " from a histogram; no more than 3600 is told. null: there were none."
            ),
        ),
    ]
    latency_p95_seconds: Annotated[float | None, Field(ge=0, description="The same: 95 % took no longer.")]


class Minute(TypedDict):
    minute: datetime
    records: Annotated[Count, Field(description="BatchResult on in it.")]


class Stats(TypedDict):
    """What was done and what is to do, by stream."""

    timestamp: Stamp
    streams: Annotated[dict[str, WorkNumbers], Field(description="By stream; those that the key may read.")]
    total: Annotated[WorkNumbers, Field(description="Of all these streams.")]
    per_minute: Annotated[list[Minute], Field(description="The last 60 full minutes, oldest first.")]


class Cluster(TypedDict):
    """A qcluster, as it says itself every few seconds."""

    id: str
    host: str
    pid: int
    status: Annotated[str, Field(description="starting, idle, working, stopping or stopped.")]
    workers: Annotated[Count, Field(description="Its worker processes.")]
    started_at: datetime
    reincarnations: Annotated[Count, Field(description="Workers that had to be replaced.")]


class Schedule(TypedDict):
    """A task that runs at set times."""

    name: str | None
    func: str
    next_run: datetime | None
    repeats: Annotated[int, Field(description="How often still; -1: always.")]


class Worker(TypedDict):
    """Who is at work, and when."""

    timestamp: Stamp
    alive: Annotated[bool, Field(description="A worker has run a task within the last three minutes.")]
    last_run: Annotated[datetime | None, Field(description="When a worker last ran a task.")]
    next_run: Annotated[datetime | None, Field(description="By when the next one runs; null: no worker is alive.")]
    interval_seconds: Annotated[int, Field(ge=1, description="Between two runs while nothing arrives.")]
    clusters: Annotated[list[Cluster] | None, Field(description="null: what they say cannot be read.")]
    workers: Annotated[int | None, Field(ge=0, description="Worker processes of all clusters.")]
    paused_streams: Annotated[
        list[str],
        Field(description="By an operator: what arrives of them is kept, and stays pending until they are resumed."),
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
