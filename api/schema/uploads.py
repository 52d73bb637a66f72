"""What uploads take and answer, as clients are told."""

import json
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.deliveries import FIRST, Count, partial
from api.schema.ingest import Id, Messages, Stamp, StatusUrl
from api.schema.rows import list_as_text, list_parameters, page_of
from api.schema.spec import Answer, Body, Component, Parameter
from enrichment.rows.ordering import NEWEST_FIRST
from ingestion.streams import names


class UploadStatus(TypedDict):
    """One file and how far its rows are: total = waiting + dead + discarded + resolved + inserted + updated + stale,
    and what is not yet processed."""

    id: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(description="Of the file, as it was called there.")]
    stream: str
    status: Annotated[
        Literal["receiving", "enriching", "completed", "failed"],
        Field(
            description="`receiving`: not all of it is kept yet; `enriching`: all is kept, and worked on; `completed`: "
            "all is processed, which some rows may have ended as dead letters; `failed`: interrupted (`message`)."
        ),
    ]
    rows: Annotated[Count, Field(description="As total.")]
    total: Annotated[Count, Field(description="Rows that are kept so far, without the header and empty rows.")]
    processed: Annotated[Count, Field(description="Of these; the rest is pending.")]
    inserted: Count
    updated: Count
    stale: Annotated[Count, Field(description="A newer record with the same key is stored.")]
    waiting: Annotated[Count, Field(description="For a record they refer to.")]
    dead: Annotated[Count, Field(description="Rejected: see errors_url.")]
    resolved: Annotated[Count, Field(description="Were waiting or dead, and are stored now, or a newer one is.")]
    discarded: Count
    progress_percent: Annotated[float, Field(ge=0, le=100)]
    eta_seconds: Annotated[int | None, Field(description="As fast as in the last minute; null where nothing moves.")]
    message: Annotated[str, Field(description="What to do where it failed; else empty.")]
    created_at: datetime
    status_url: StatusUrl
    errors_url: Annotated[
        str,
        Field(json_schema_extra={"format": "uri"}, description="The rejected rows as CSV, to fix and upload again."),
    ]


class Uploaded(TypedDict):
    """The files are kept, whole; their rows will be enriched and stored."""

    success: Literal[True]
    uploads: list[UploadStatus]
    timestamp: Stamp


class PreviewColumn(TypedDict):
    column: Annotated[str, Field(description="Its name in the file.")]
    field: Annotated[str | None, Field(description="The stream's field that it is; null: none, and so ignored.")]


class PreviewRow(TypedDict):
    row: Annotated[int, Field(ge=1, description="Counted from 1, without the header and empty rows.")]
    id: Id
    valid: bool
    errors: Messages
    warnings: list[str]


class Preview(TypedDict):
    name: str
    stream: str
    format: Literal["csv", "ndjson", "json"]
    columns: Annotated[list[PreviewColumn], Field(description="Of CSV.")]
    missing_fields: Annotated[list[str], Field(description="Required fields without a column: the file is refused.")]
    checked: Annotated[Count, Field(description="Rows that were looked at: the first of the file, at most 100.")]
    whole_file: Annotated[bool, Field(description="Whether these are all its rows.")]
    valid: Annotated[Count, Field(description="Of those that were looked at.")]
    invalid: Count
    rows: list[PreviewRow]


class Previewed(TypedDict):
    """What would become of the files; nothing is stored. Whether what a row refers to exists is not looked up."""

    success: Literal[True]
    dry_run: Literal[True]
    uploads: list[Preview]
    timestamp: Stamp


STREAM = Parameter(
    name="stream",
    schema={"type": "string", "enum": names()},
    description="What the rows are. Required for a raw body; a form may have it as a field.",
)
NAME = Parameter(
    name="name",
    schema={"type": "string"},
    description="What the file of a raw body is called; its extension says the format where the content type does not.",
)
AGAIN = Parameter(
    name="again",
    schema={"type": "boolean", "default": False},
    description="Take in a file that was taken in before once more, instead of refusing it (409).",
)
DRY_RUN = Parameter(
    name="dry_run",
    schema={"type": "boolean", "default": False},
    description="Store nothing: tell how the columns fit, and what would become of the first 100 rows.",
)
UPLOAD_ID = Parameter(
    name="id",
    location="path",
    required=True,
    schema={"type": "integer", "format": "int64", "minimum": 0, "maximum": 10**18 - 1},
    description="Of the upload, as it was named when it came.",
    example=3,
)
UPLOAD_FIELDS = tuple(UploadStatus.__annotations__)
LIST_PARAMETERS = list_parameters(UPLOAD_FIELDS, [ordering.name for ordering in NEWEST_FIRST])

EXAMPLE = {
    "id": 3,
    "name": f"{FIRST.name}.csv",
    "stream": FIRST.name,
    "status": "enriching",
    "rows": 1000,
    "total": 1000,
    "processed": 800,
    "inserted": 795,
    "updated": 0,
    "stale": 0,
    "waiting": 0,
    "dead": 5,
    "resolved": 0,
    "discarded": 0,
    "progress_percent": 80.0,
    "eta_seconds": 1,
    "message": "",
    "created_at": "2025-03-01T22:10:00Z",
    "status_url": "http://localhost:8000/api/uploads/3",
    "errors_url": "http://localhost:8000/api/uploads/3/errors",
}
PREVIEW_EXAMPLE = {
    "name": f"{FIRST.name}.csv",
    "stream": FIRST.name,
    "format": "csv",
    "columns": [{"column": FIRST.key.replace("_", " ").title(), "field": FIRST.key}, {"column": "Note", "field": None}],
    "missing_fields": [],
    "checked": 1,
    "whole_file": True,
    "valid": 1,
    "invalid": 0,
    "rows": [{"row": 1, "id": str(FIRST.example[FIRST.key]), "valid": True, "errors": {}, "warnings": []}],
}
STATUS = Answer(UploadStatus, description="How far it is.", example=EXAMPLE)
KEPT = Answer(
    Uploaded,
    201,
    "All of it is kept.",
    example={"success": True, "uploads": [EXAMPLE], "timestamp": "2025-03-01T22:10:02Z"},
)
NOT_KEPT = Answer(
    Previewed,
    200,
    "What would become of it (`dry_run`).",
    example={"success": True, "dry_run": True, "uploads": [PREVIEW_EXAMPLE], "timestamp": "2025-03-01T22:10:02Z"},
)
LIST = Answer(
    page_of(partial(UploadStatus)),
    example={"next": None, "previous": None, "results": [EXAMPLE]},
    media=list_as_text(EXAMPLE),
)
REJECTED_ROWS = Answer(
    description="The rejected rows.",
    media={"text/csv": Body(example=f"row,error,{FIRST.key},name\r\n7,name: Field required,X-1,\r\n")},
)
_FORM = Component(
    name="UploadForm",
    schema={
        "type": "object",
        "required": ["stream", "file"],
        "properties": {
            "stream": {"type": "string", "enum": names(), "description": "What the rows are."},
            "file": {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "One or many."},
        },
    },
)
BODIES = {
    "multipart/form-data": Body(shape=_FORM),
    "text/csv": Body(example=f"{FIRST.key},name\nX-1,Ada\n", description="With a header; the columns in any order."),
    "application/x-ndjson": Body(example=json.dumps(dict(FIRST.example)) + "\n", description="One object in a line."),
    "application/json": Body(
        shape=Component(
            name="Records",
            schema={
                "description": "A list of objects, or one. What in a list is no object becomes a dead letter.",
                "anyOf": [{"type": "array", "minItems": 1, "items": {}}, {"type": "object"}],
            },
        ),
        example=[dict(FIRST.example)],
    ),
    "application/octet-stream": Body(
        example=f"{FIRST.key},name\nX-2,Ada\n",
        description="Any of these: as the extension of `name` says, else as it begins. Also as `application/gzip`.",
    ),
}
"""A raw body is one file; its stream stands in the query."""
