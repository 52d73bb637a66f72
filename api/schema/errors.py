"""How errors and the headers that all answers share are described."""

from __future__ import annotations

from typing import Any

from api.errors import CODES, RETRY_AFTER
from api.schema.spec import Component, Parameter, Schema

REQUEST_ID = Parameter(
    name="X-Request-ID",
    schema={"type": "string"},
    description=(
        "Names this request in the server's log: tell it when you report a problem. It is the one that the request"
        " brought in this header (1 to 128 letters, digits, `-`, `_`, `.`), or else a new one."
    ),
    location="header",
    example="5f0c9f1e7c6b4a0fb1c0d0a3f7e2b9d4",
)
EXPIRES = Parameter(
    name="X-Api-Key-Expires",
    schema={"type": "string", "format": "date-time"},
    description="When the API key ends: said from a week before.",
    location="header",
    example="2025-03-08T00:00:00Z",
)
RETRY = Parameter(
    name="Retry-After",
    schema={"type": "integer", "minimum": 0},
    description="Seconds until it is worth to try again.",
    location="header",
    required=True,
    example=RETRY_AFTER,
)
CHALLENGED = Parameter(
    name="WWW-Authenticate",
    schema={"type": "string"},
    description="The scheme of the header Authorization that is asked for.",
    location="header",
    required=True,
    example="Api-Key",
)
ERRORS: dict[int, tuple[str, str]] = {
    400: (
        "The request makes no sense: no JSON, no UTF-8, no body, or an unknown parameter or value (the message helps).",
        "Unknown parameter limit. Allowed: invalid, dry_run.",
    ),
    401: ("No API key, or one that is unknown, revoked or expired.", "This API key is not known."),
    403: ("The API key lacks the scope, or is limited to other streams.", "This API key lacks the scope ingest."),
    404: ("There is no such thing, or not for you.", "Not stored."),
    405: ("The path has no such method; the header Allow names those it has.", "Not allowed here: use GET or HEAD."),
    406: (
        "The header Accept asks for what is not offered here.",
        "Could not satisfy the request Accept header.",
    ),
    409: (
        "It is at odds with an earlier request.",
        "This Idempotency-Key was used for another request.",
    ),
    411: ("The body came in chunks, without a Content-Length.", "Send the body with a Content-Length, not in chunks."),
    413: ("More than is taken at once.", "10001 records; at most 10000 are taken at once."),
    415: (
        "A Content-Type, charset or Content-Encoding that is not taken here.",
        "Unsupported media type: send application/json.",
    ),
    422: ("Readable, but nothing in it is valid: `fields` says what is wrong with which.", "The record is invalid."),
    429: ("More requests than this API key may send.", "Too many requests: try again in 1 second."),
    503: (
        "The database is away or busy, or too much is pending: try again.",
        "The database is away or busy: try again.",
    ),
}
_messages: Schema = {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}
ERROR = Component(
    name="Error",
    schema={
        "type": "object",
        "description": "The one shape of every error.",
        "required": ["success", "error", "timestamp"],
        "properties": {
            "success": {"type": "boolean", "const": False},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": {"type": "string", "enum": list(CODES.values()), "description": "One for each status."},
                    "message": {"type": "string", "description": "For a person."},
                    "fields": {**_messages, "description": "Of each field or parameter that is wrong, why."},
                },
                "additionalProperties": False,
            },
            "errors": {
                "type": "array",
                "description": "Of a batch of which no record is valid: what is wrong with each.",
                "items": {
                    "type": "object",
                    "required": ["index", "id", "errors"],
                    "properties": {
                        "index": {"type": "integer", "minimum": 0, "description": "Position in what was sent, from 0."},
                        "id": {"type": "string", "description": "The record's key; empty where it has none."},
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
        422: {"fields": {"age": ["Input should be less than or equal to 100"]}},
    }.get(status, {})
    error = {"code": CODES[status], "message": message, **fields}
    return {"success": False, "error": error, "timestamp": "2025-03-01T20:15:00Z"}
