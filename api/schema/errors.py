"""Descriptions of errors, and of the headers that all answers share."""

from __future__ import annotations

from typing import Any

from api.errors import CODES, RETRY_AFTER
from api.schema.spec import Component, Parameter, Schema

REQUEST_ID = Parameter(
    name="X-Request-ID",
    schema={"type": "string"},
    description=(
        "Identifies this request in the server's log; quote it when you report a problem. Send your own in this header"
        " (1 to 128 letters, digits, `-`, `_`, `.`), or a new one is generated."
    ),
    location="header",
    example="5f0c9f1e7c6b4a0fb1c0d0a3f7e2b9d4",
)
EXPIRES = Parameter(
    name="X-Api-Key-Expires",
    schema={"type": "string", "format": "date-time"},
    description="When the API key expires; sent during the last week before.",
    location="header",
    example="2025-03-08T00:00:00Z",
)
RETRY = Parameter(
    name="Retry-After",
    schema={"type": "integer", "minimum": 0},
    description="Seconds to wait before retrying.",
    location="header",
    required=True,
    example=RETRY_AFTER,
)
CHALLENGED = Parameter(
    name="WWW-Authenticate",
    schema={"type": "string"},
    description="The scheme to use in the header Authorization.",
    location="header",
    required=True,
    example="Api-Key",
)
ERRORS: dict[int, tuple[str, str]] = {
    400: (
        "Malformed request: not JSON, not UTF-8, an empty body, or an unknown parameter or value (see the message).",
        "Unknown parameter limit. Allowed: invalid, dry_run.",
    ),
    401: ("No API key, or an unknown, revoked or expired one.", "Unknown API key."),
    403: ("The API key lacks the scope, or is limited to other streams.", "This API key lacks the scope ingest."),
    404: ("Not found, or not accessible to you.", "No such record."),
    405: ("Method not allowed; the header Allow lists the allowed ones.", "Method not allowed: use GET or HEAD."),
    406: (
        "None of the formats in the header Accept is available.",
        "Could not satisfy the request Accept header.",
    ),
    409: (
        "Conflict with an earlier request.",
        "This Idempotency-Key was used for a different request. Use a new one per request.",
    ),
    411: ("A chunked body without Content-Length.", "Send the body with a Content-Length, not in chunks."),
    413: ("The body, or the number of records, exceeds the limit.", "The batch has 10001 records; the limit is 10000."),
    415: (
        "Unsupported Content-Type, charset or Content-Encoding.",
        "Unsupported media type: send application/json.",
    ),
    422: ("Readable, but not valid; `fields` lists the errors by field.", "The record is invalid."),
    429: (
        "The API key has exceeded its rate limit, or its client has too much pending, waiting, dead or running.",
        "Rate limit of 100 requests per second exceeded.",
    ),
    503: (
        "The database is unavailable or busy, or too much is pending or running. Retry later.",
        "The database is unavailable or busy; try again.",
    ),
}
_messages: Schema = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
ERROR = Component(
    name="Error",
    schema={
        "type": "object",
        "description": "All errors share this format.",
        "required": ["success", "error", "timestamp"],
        "properties": {
            "success": {"type": "boolean", "const": False},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string", "enum": list(CODES.values()), "description": "One per status."},
                    "message": {"type": "string", "description": "For people."},
                    "fields": {**_messages, "description": "Messages by field or parameter."},
                },
                "additionalProperties": False,
            },
            "errors": {
                "type": "array",
                "description": "If no record of a batch is valid: the errors of each.",
                "items": {
                    "type": "object",
                    "required": ["index", "id", "errors"],
                    "properties": {
                        "index": {"type": "integer", "minimum": 0, "description": "Position in the request, from 0."},
                        "id": {"type": "string", "description": "The record's key; empty if it has none."},
                        "errors": _messages,
                    },
                },
            },
            "timestamp": {"type": "string", "format": "date-time"},
        },
        "additionalProperties": False,
    },
)


def example_of_error(status: int) -> dict[str, Any]:
    message = ERRORS[status][1]
    fields = {
        400: {"fields": {"limit": ["unknown parameter"]}},
        422: {"fields": {"age": ["must be at most 100; got 130"]}},
    }.get(status, {})
    error = {"code": CODES[status], "message": message, **fields}
    return {"success": False, "error": error, "timestamp": "2025-03-01T20:15:00Z"}
