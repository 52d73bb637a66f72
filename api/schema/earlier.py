"""Descriptions of paths that an earlier API had."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.deliveries import Count
from api.schema.spec import Answer, id_parameter
from api.schema.uploads import Previewed
from enrichment.uploads import State


class UploadSession(TypedDict):
    """An upload, as an earlier API called it."""

    session_id: Annotated[str, Field(description="The number of the upload.")]
    status: State
    total_movies: Annotated[Count, Field(description="Films found in its rows so far.")]
    enriched_count: Annotated[Count, Field(description="Of these, those found in TMDB.")]
    progress_percent: Annotated[int, Field(ge=0, le=100)]
    created_at: datetime
    expires_at: Annotated[datetime | None, Field(description="When its library is deleted unless it is looked at.")]
    error_message: Annotated[str | None, Field(description="Why it stands still, or what to do if it failed.")]


class WorkerStatus(TypedDict):
    """Whether workers are running."""

    worker_status: Literal["running", "stopped"]
    running: bool
    last_run: datetime | None
    next_run: datetime | None
    interval: Annotated[int, Field(ge=1, description="Seconds between runs while idle.")]


SESSION_ID = id_parameter("session", 3)
EXAMPLE: dict[str, Any] = {
    "session_id": "3",
    "status": "enriching",
    "total_movies": 50,
    "enriched_count": 24,
    "progress_percent": 55,
    "created_at": "2025-03-01T22:10:00Z",
    "expires_at": "2025-03-31T22:10:00Z",
    "error_message": None,
}
SESSION = Answer(UploadSession, description="Its progress.", example=EXAMPLE)
CREATED = Answer(UploadSession, 201, "Completely saved.", example=EXAMPLE)
KNOWN = Answer(
    UploadSession | Previewed, 200, "It was imported before; or how it would be (`dry_run`).", example=EXAMPLE
)
WORKER_STATUS = Answer(
    WorkerStatus,
    description="The workers.",
    example={
        "worker_status": "running",
        "running": True,
        "last_run": "2025-03-01T22:09:45Z",
        "next_run": "2025-03-01T22:10:45Z",
        "interval": 60,
    },
)
