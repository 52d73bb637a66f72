"""FastAPI + Redis, the design that the way in is measured beside: validated by pydantic, one RPUSH for each record.

`python -m bench.intake` runs it as `uvicorn --workers=2 bench.endpoint:app`, in a virtual environment of its own.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

# FastAPI and Redis are not where the types are checked.
# mypy: disable-error-code="import-not-found,untyped-decorator"
from fastapi import FastAPI
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, model_validator
from redis.asyncio import Redis

PIPELINE = bool(os.environ.get("PIPELINE"))
"""Whether the RPUSHes of a batch are sent together: the same design, tuned."""


def past(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + timedelta(minutes=5):
        raise ValueError("must not lie in the future")
    return moment


def bookable(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + timedelta(days=30):
        raise ValueError("must not lie more than 30 days ahead")
    return moment


Identifier = Annotated[str, Field(min_length=1, max_length=64)]
PastTime = Annotated[AwareDatetime, AfterValidator(past)]


class Session(BaseModel):
    """The fields, bounds and rules of tutoring.schemas.SessionRecord, written as one writes them for FastAPI."""

    session_id: Identifier
    tutor_id: Identifier
    student_id: Identifier
    scheduled_start: Annotated[AwareDatetime, AfterValidator(bookable)]
    duration_minutes: Annotated[int, Field(ge=0, le=300)]
    subject: Annotated[str, Field(min_length=1, max_length=100)]
    session_number: Annotated[int, Field(ge=1)] | None = None
    is_first_session: bool = False
    no_show: bool = False
    actual_start: PastTime | None = None
    actual_end: PastTime | None = None
    session_type: Literal["1-on-1", "group", "workshop"] = "1-on-1"
    tutor_initiated_reschedule: bool = False
    late_start_minutes: Annotated[int, Field(ge=0, le=60)] | None = None
    engagement_score: Annotated[float, Field(ge=0, le=1)] | None = None
    learning_objectives_met: bool | None = None
    technical_issues: bool = False
    created_at: PastTime | None = None
    updated_at: PastTime | None = None

    @model_validator(mode="after")
    def hangs_together(self) -> "Session":
        if self.no_show and self.actual_start:
            raise ValueError("actual_start must be absent when no_show is true")
        if self.actual_start and self.actual_end and self.actual_end <= self.actual_start:
            raise ValueError("actual_end must be after actual_start")
        if self.late_start_minutes is not None and self.late_start_minutes > self.duration_minutes:
            raise ValueError("late_start_minutes must not exceed duration_minutes")
        return self


app = FastAPI()
redis = Redis(port=int(os.environ.get("REDIS_PORT", "6379")))


@app.get("/health")
async def health() -> dict[str, Any]:
    return {"status": "healthy", "redis": await redis.ping()}


@app.post("/api/sessions", status_code=202)
async def post_session(session: Session) -> dict[str, Any]:
    await redis.rpush("sessions", session.model_dump_json())
    return {"success": True, "message": "Session queued", "id": session.session_id, "queued": True}


@app.post("/api/sessions/batch", status_code=202)
async def post_sessions(sessions: list[Session]) -> dict[str, Any]:
    if PIPELINE:
        pipe = redis.pipeline(transaction=False)
        for session in sessions:
            pipe.rpush("sessions", session.model_dump_json())
        await pipe.execute()
    else:
        for session in sessions:
            await redis.rpush("sessions", session.model_dump_json())
    return {"success": True, "message": "Sessions queued", "count": len(sessions), "queued": True}
