"""Descriptions of uploads: parameters, bodies and answers."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.deliveries import EXAMPLE_FIELD, EXAMPLE_ID, EXAMPLE_MESSAGES, FIRST, Count, Outcomes
from api.schema.ingest import Id, Messages, Stamp, StatusUrl
from api.schema.rows import list_answer, list_parameters, partial
from api.schema.spec import Answer, Body, Component, Parameter, id_parameter
from enrichment.rows.ordering import NEWEST_FIRST
from enrichment.uploads import State
from ingestion.cells import cell_of
from ingestion.streams import all_streams, kinds, names, upload_fields
from ingestion.text import first_message

Encoding = Annotated[
    str, Field(description="UTF-8, UTF-16 or Windows-1252: how the file is read. Empty for Excel and Parquet.")
]
Ignored = Annotated[list[str], Field(description="Columns, or fields of objects, that the stream does not have.")]
SharedKeys = Annotated[
    Count, Field(description="Rows with a key that another row of the file has, too. The newest row is stored.")
]
LeftOut = Annotated[
    Count, Field(description="Rows of another system's file that are no records of the stream, and not in `total`.")
]
Mapped = Annotated[
    dict[str, str], Field(description="Columns that are not mapped by their names but by `map`: field by column.")
]
FileWarnings = Annotated[list[str], Field(description="What to check about how the file was read, for a person.")]


Status = Annotated[
    State,
    Field(
        description="`receiving`: not completely saved yet; `enriching`: saved, and its rows are being processed; "
        "`completed`: all rows are processed, some possibly dead letters, and all questions that they raised are "
        "settled; `failed`: interrupted (see `message`)."
    ),
]


class PartStatus(TypedDict):
    """One file of a set. It has a status of its own, at `/api/uploads/{id}`."""

    id: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(description="Its path in the archive, or its name.")]
    kind: str
    status: State
    total: Count
    left_out: LeftOut


class UploadHead(TypedDict):
    id: Annotated[int, Field(ge=1)]
    name: Annotated[str, Field(description="The file's name, as sent.")]
    stream: str
    kind: Annotated[str | None, Field(description="Which kind of another system's files it is; else null.")]
    part_of: Annotated[int | None, Field(description="The upload of the set to which the file belongs.")]
    parts: Annotated[list[PartStatus], Field(description="The files of a set; empty for a single file.")]
    status: Status
    total: Annotated[Count, Field(description="Rows saved so far, not counting the header and empty rows.")]
    left_out: LeftOut
    processed: Annotated[Count, Field(description="Processed rows; the others are pending.")]


class _UploadStatus(UploadHead, Outcomes):
    """One file, or a set of files, and its progress.

    total = pending + inserted + updated + stale + waiting + dead + resolved + discarded, where pending = total -
    processed.
    """

    resolved: Annotated[Count, Field(description="Were held; they or newer versions have been stored since.")]
    discarded: Annotated[Count, Field(description="Were held; a person has discarded them.")]
    progress_percent: Annotated[float, Field(ge=0, le=100)]
    eta_seconds: Annotated[int | None, Field(description="Estimate by the speed of the last minute; null if idle.")]
    message: Annotated[str, Field(description="What to do if it failed, or why it stands still; else empty.")]
    waiting_for: Annotated[
        Literal["no_key", "key_refused", "paused", "away"] | None,
        Field(
            description=(
                "Why its open questions are not being asked: the outside service has no key here, refuses it, is paused"
                " by an operator, or does not answer. Null: nothing stands in the way."
            )
        ),
    ]
    since: Annotated[datetime | None, Field(description="Since when, if that is known.")]
    encoding: Encoding
    ignored_columns: Ignored
    mapped_columns: Mapped
    shared_keys: SharedKeys
    file_warnings: FileWarnings
    created_at: datetime
    status_url: StatusUrl
    errors_url: Annotated[
        str,
        Field(json_schema_extra={"format": "uri"}, description="The rejected rows as CSV, to fix and upload again."),
    ]
    link: Annotated[
        str | None, Field(description="A page for the person whose records they are, if there is one for the stream.")
    ]


COUNTS = tuple(dict.fromkeys(name for stream in all_streams() for name in stream.counts))
Numbers = Annotated[
    dict[str, Count] | None,
    Field(description="Questions that the rows raised: `total`, `open`, and what the others came to. Null for none."),
]
Given = Annotated[str | None, Field(description="What the upload has given to all of its records.")]
if TYPE_CHECKING:
    UploadStatus = _UploadStatus
else:  # what streams add
    _added = {**dict.fromkeys(upload_fields(), Given), **dict.fromkeys(COUNTS, Numbers)}
    UploadStatus = TypedDict("UploadStatus", {**get_type_hints(_UploadStatus, include_extras=True), **_added})
    UploadStatus.__doc__ = _UploadStatus.__doc__


class Uploaded(TypedDict):
    """The files are completely saved; their rows will be enriched and stored."""

    success: Literal[True]
    uploads: list[UploadStatus]
    timestamp: Stamp


class PreviewColumn(TypedDict):
    column: Annotated[str, Field(description="The column's name in the file.")]
    field: Annotated[str | None, Field(description="The field it is mapped to; null: not mapped, and so ignored.")]
    suggestion: Annotated[str | None, Field(description="A field with a similar name, for `map`.")]
    samples: Annotated[list[str], Field(description="Its first values, cut.")]


class PreviewSample(TypedDict):
    row: Annotated[int, Field(ge=1)]
    id: Id
    value: Annotated[str, Field(description="The value at fault, cut; empty if there is none.")]


class PreviewGroup(TypedDict):
    """Rows with the same error, the same kind of missing reference, or alike warnings."""

    field: str
    message: Annotated[str, Field(description="Without the value at fault.")]
    count: Annotated[int, Field(ge=1, description="Rows.")]
    samples: Annotated[list[PreviewSample], Field(description="The first 5.")]


class PreviewRow(TypedDict):
    row: Annotated[
        int,
        Field(
            ge=1,
            description="As a spreadsheet counts: the header is row 1. Line of NDJSON, item of JSON, row of Parquet.",
        ),
    ]
    id: Id
    valid: bool
    errors: Messages
    warnings: list[str]


class Preview(TypedDict):
    name: str
    stream: str
    kind: Annotated[str | None, Field(description="Which kind of another system's files it is; else null.")]
    format: Literal["csv", "ndjson", "json", "xlsx", "parquet"]
    columns: Annotated[list[PreviewColumn], Field(description="The columns of CSV, Excel and Parquet; else empty.")]
    missing_fields: Annotated[
        list[str], Field(description="Required fields that no row has; if any, the file would be rejected.")
    ]
    cleared_fields: Annotated[
        dict[str, int],
        Field(description="Fields that no row has, and how many stored records would lose them: see `missing`."),
    ]
    cleared_records: Annotated[Count, Field(description="Stored records that would lose one or more of these.")]
    encoding: Encoding
    ignored_columns: Ignored
    mapped_columns: Mapped
    shared_keys: SharedKeys
    file_warnings: FileWarnings
    left_out: LeftOut
    checked: Annotated[Count, Field(description="Rows of the file that are records: all are checked.")]
    valid: Annotated[Count, Field(description="= inserted + updated + stale + waiting")]
    invalid: Annotated[Count, Field(description="Rows that would become dead letters: see `errors`.")]
    inserted: Annotated[Count, Field(description="Rows that would be stored, and whose key is new.")]
    updated: Annotated[Count, Field(description="Rows that would be stored in place of an older record.")]
    stale: Annotated[Count, Field(description="Rows not newer than what is stored: they would change nothing.")]
    waiting: Annotated[
        Count, Field(description="Rows that would wait for a record which is neither stored nor pending.")
    ]
    with_warnings: Annotated[Count, Field(description="Valid rows with a warning.")]
    errors: Annotated[list[PreviewGroup], Field(description="What is wrong, the most frequent first.")]
    missing_references: Annotated[list[PreviewGroup], Field(description="What is missing; `value` is the key.")]
    warnings: Annotated[list[PreviewGroup], Field(description="Alike warnings, with the first one as `message`.")]
    rows: Annotated[list[PreviewRow], Field(description="The first 100.")]


class SetPreview(TypedDict):
    """A set of files as it would be imported: the sums of what its parts have."""

    name: str
    stream: str
    format: Literal["set"]
    parts: list[Preview]
    file_warnings: FileWarnings
    missing_fields: list[str]
    checked: Count
    valid: Count
    invalid: Count
    left_out: Count


class Previewed(TypedDict):
    """The files as they would be imported now, all rows and references checked; nothing is stored."""

    success: Literal[True]
    dry_run: Literal[True]
    uploads: list[Preview | SetPreview]
    timestamp: Stamp


STREAM = Parameter(
    name="stream",
    schema={"type": "string", "enum": names()},
    description="Stream of the rows; a form may have it as a field. Required unless the columns tell it.",
)
KIND = Parameter(
    name="kind",
    schema={"type": "string", **({"enum": kinds()} if kinds() else {})},
    description="Which kind of file it is, where the name of an exported file does not tell it. A form may have it as "
    "a field.",
)
GIVEN = tuple(
    Parameter(
        name=name,
        schema={"type": "string"},
        description="What the upload gives to all of its records that do not have it. A form may have it as a field.",
    )
    for name in upload_fields()
)
NAME = Parameter(
    name="name",
    schema={"type": "string"},
    description="File name of a raw body; its extension gives the format if the content type does not.",
)
AGAIN = Parameter(
    name="again",
    schema={"type": "boolean", "default": False},
    description="Import a file again that was already imported, instead of rejecting it (409).",
)
DRY_RUN = Parameter(
    name="dry_run",
    schema={"type": "boolean", "default": False},
    description="Store nothing; return the column mapping and the result of checking all rows.",
)
MISSING_CHOICES = ("refuse", "clear")
MISSING = Parameter(
    name="missing",
    schema={"type": "string", "enum": list(MISSING_CHOICES), "default": "refuse"},
    description="What to do with fields that no row of the file has, but stored records have: `refuse` rejects the "
    "file (409), `clear` clears them.",
)
SHEET = Parameter(
    name="sheet",
    schema={"type": "string"},
    description="Name of the sheet, for an Excel file. Default: the first one.",
)
MAP = Parameter(
    name="map",
    schema={"type": "string"},
    description="Columns whose names are no fields: `column:field`, separated by commas "
    "(`map=Full%20name:name`). `suggestion` in the answer of `dry_run` names close ones.",
)
POST_PARAMETERS = (STREAM, KIND, *GIVEN, NAME, AGAIN, DRY_RUN, MISSING, SHEET, MAP)
UPLOAD_ID = id_parameter("upload", 3)
UPLOAD_FIELDS = tuple(UploadStatus.__annotations__)
LIST_PARAMETERS = list_parameters(UPLOAD_FIELDS, [ordering.name for ordering in NEWEST_FIRST])

EXAMPLE: dict[str, Any] = {
    "id": 3,
    "name": f"{FIRST.name}.csv",
    "stream": FIRST.name,
    "kind": None,
    "part_of": None,
    "parts": [],
    "status": "enriching",
    "total": 1000,
    "left_out": 0,
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
    "waiting_for": None,
    "since": None,
    "encoding": "UTF-8",
    "ignored_columns": [],
    "mapped_columns": {},
    "shared_keys": 0,
    "file_warnings": [],
    "created_at": "2025-03-01T22:10:00Z",
    "status_url": "http://localhost:8000/api/uploads/3",
    "errors_url": "http://localhost:8000/api/uploads/3/errors",
    "link": None,
    **dict.fromkeys((*upload_fields(), *COUNTS)),
}
PREVIEW_EXAMPLE: dict[str, Any] = {
    "name": f"{FIRST.name}.csv",
    "stream": FIRST.name,
    "kind": None,
    "format": "csv",
    "columns": [
        {
            "column": FIRST.key.replace("_", " ").title(),
            "field": FIRST.key,
            "suggestion": None,
            "samples": [EXAMPLE_ID],
        },
        {"column": "Note", "field": None, "suggestion": None, "samples": ["late"]},
    ],
    "missing_fields": [],
    "cleared_fields": {},
    "cleared_records": 0,
    "encoding": "UTF-8",
    "ignored_columns": ["Note"],
    "mapped_columns": {},
    "shared_keys": 0,
    "file_warnings": [f"Ignored, since {FIRST.name} have no such field: Note."],
    "left_out": 0,
    "checked": 2,
    "valid": 1,
    "invalid": 1,
    "inserted": 1,
    "updated": 0,
    "stale": 0,
    "waiting": 0,
    "with_warnings": 0,
    "errors": [
        {
            "field": EXAMPLE_FIELD,
            "message": EXAMPLE_MESSAGES[EXAMPLE_FIELD][0],
            "count": 1,
            "samples": [{"row": 3, "id": "", "value": ""}],
        }
    ],
    "missing_references": [],
    "warnings": [],
    "rows": [
        {"row": 2, "id": EXAMPLE_ID, "valid": True, "errors": {}, "warnings": []},
        {"row": 3, "id": "", "valid": False, "errors": EXAMPLE_MESSAGES, "warnings": []},
    ],
}
LIST = list_answer(partial(UploadStatus), EXAMPLE)
STATUS = Answer(UploadStatus, description="Its progress.", example=EXAMPLE)
CREATED = Answer(
    Uploaded,
    201,
    "Completely saved.",
    example={"success": True, "uploads": [EXAMPLE], "timestamp": "2025-03-01T22:10:02Z"},
)
DRY_RUN_ANSWER = Answer(
    Previewed | Uploaded,
    200,
    "How it would be imported (`dry_run`); or the upload of an export that was imported before.",
    example={"success": True, "dry_run": True, "uploads": [PREVIEW_EXAMPLE], "timestamp": "2025-03-01T22:10:02Z"},
)
HEADER = f"{FIRST.key},{EXAMPLE_FIELD}"
CSV_EXAMPLE = f"{HEADER}\n{EXAMPLE_ID},{cell_of(FIRST.example[EXAMPLE_FIELD])}\n"
REJECTED_ROWS = Answer(
    description="The rejected rows.",
    media={"text/csv": Body(example=f"row,error,{HEADER}\r\n7,{first_message(EXAMPLE_MESSAGES)},{EXAMPLE_ID},\r\n")},
)
_FORM = Component(
    name="UploadForm",
    schema={
        "type": "object",
        "required": ["file"],
        "properties": {
            **{each.name: {**each.schema, "description": each.description} for each in (STREAM, KIND, *GIVEN)},
            "file": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "format": "binary"},
                "description": "One or more files; also as `files`.",
            },
        },
    },
)
BODIES = {
    "multipart/form-data": Body(shape=_FORM),
    "text/csv": Body(example=CSV_EXAMPLE, description="With a header; columns in any order."),
    "application/x-ndjson": Body(example=json.dumps(dict(FIRST.example)) + "\n", description="One object per line."),
    "application/json": Body(
        shape=Component(
            name="Records",
            schema={
                "description": "A list of objects, or one object. Items that are not objects become dead letters.",
                "anyOf": [{"type": "array", "minItems": 1, "items": {}}, {"type": "object"}],
            },
        ),
        example=[dict(FIRST.example)],
    ),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": Body(
        description="An Excel workbook (.xlsx): the first sheet, or `sheet`, with a header."
    ),
    "application/vnd.apache.parquet": Body(
        description="Parquet with the fields as columns. Times without a zone are UTC. Also `application/x-parquet`."
    ),
    "application/zip": Body(description="An archive of files that another system has exported."),
    "application/octet-stream": Body(
        example=CSV_EXAMPLE,
        description="Any of these, by the extension of `name`, else by its content. Also as `application/gzip`.",
    ),
}
"""A raw body is one file; its stream is in the query."""
