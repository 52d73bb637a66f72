"""How the API is described: views say with @describe what they take and answer; the schemas are the streams' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cache, partial
from inspect import getdoc
from operator import itemgetter
from threading import Lock
from types import FunctionType
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from ingestion.errors import CODES, RETRY_AFTER
from ingestion.streams import Stream, all_streams

Schema = dict[str, Any]
"""A JSON schema."""
JSON = "application/json"
Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Of a query, path or header; in an answer: a header."""

    name: str
    schema: Schema
    description: str
    location: str = "query"
    required: bool = False
    example: Any = None

    def described(self) -> dict[str, Any]:
        with_commas = {"style": "form", "explode": False} if self.schema.get("type") == "array" else {}
        return {"name": self.name, "in": self.location, **self.as_header(), **with_commas}

    def as_header(self) -> dict[str, Any]:
        example = {} if self.example is None else {"example": self.example}
        required = {"required": True} if self.required else {}
        return {"description": self.description, **required, "schema": self.schema, **example}


@dataclass(frozen=True, kw_only=True)
class Component:
    """A schema made by hand, by which name others refer to it."""

    name: str
    schema: Schema


Shape = Any
"""What pydantic makes a schema of (a TypedDict, a model, list[…] of them), a Component, or None: text."""


@dataclass(frozen=True)
class Body:
    """Of one media type."""

    shape: Shape = None
    _: KW_ONLY
    example: Any = None
    description: str = ""


@dataclass(frozen=True)
class Answer:
    """What a status comes with. Where the view has a stream, `shape`, `example` and `media` may be functions of it."""

    shape: Shape | Callable[[Stream], Shape] = None
    """Of the JSON; None: there is none."""
    status: int = 200
    says: str = "As asked for."
    _: KW_ONLY
    example: Any = None
    media: Mapping[str, Body] | Callable[[Stream], Mapping[str, Body]] = field(default_factory=dict)
    """Other forms than JSON, by media type."""
    headers: tuple[Parameter, ...] = ()


class describe:  # noqa: N801  # a decorator
    """Says what a view's get() or post() takes and answers; its docstring is summary (first line) and description.

    `errors` are the statuses in the shape of errors beside those that every such view has (JsonSchema.common_errors);
    `body` is what is posted, by media type; `tag` one of TAGS. Where the view has a stream, `parameters` and `body` may
    be functions of it, and the tag is its name.
    """

    def __init__(
        self,
        *answers: Answer,
        errors: tuple[int, ...] = (),
        parameters: tuple[Parameter, ...] | Callable[[Stream], tuple[Parameter, ...]] = (),
        body: Mapping[str, Body] | Callable[[Stream], Mapping[str, Body]] | None = None,
        tag: str = "",
    ) -> None:
        self.answers, self.errors, self.parameters, self.body, self.tag = answers, errors, parameters, body, tag

    def __call__(self, method: Method) -> Method:
        vars(method)["described"] = self
        return method


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


class WithoutTitles(GenerateJsonSchema):
    """Pydantic's titles repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> Schema:
        made = super().generate(schema, mode)
        for each in (made, *made.get("$defs", {}).values()):
            each.pop("title", None)
        return made


def json_schema(shape: Any) -> Schema:
    """What pydantic makes of the shape, its parts to be found among the components."""
    template = "#/components/schemas/{model}"
    return TypeAdapter(shape).json_schema(ref_template=template, schema_generator=WithoutTitles)


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


class PathsWithoutSlash(EndpointEnumerator):
    """A path that works with and without a trailing slash is shown without."""

    def get_path_from_regex(self, path_regex: str) -> str:
        path: str = super().get_path_from_regex(path_regex)  # type: ignore[no-untyped-call]
        return path.rstrip("/") or "/"


class Generator(SchemaGenerator):
    endpoint_inspector_cls = PathsWithoutSlash

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        schema: dict[str, Any] = super().get_schema(request, public)  # type: ignore[no-untyped-call]
        used = {tag for path in schema["paths"].values() for operation in path.values() for tag in operation["tags"]}
        texts = {stream.name: stream.schema.__doc__ or "" for stream in all_streams()} | TAGS
        schema["tags"] = [{"name": name, "description": text} for name, text in texts.items() if name in used]
        return schema


_making = Lock()


def description() -> dict[str, Any]:
    """All of it, made once a process, and by one thread: while it is made, views share what describes them."""
    with _making:
        return _description()


@cache
def _description() -> dict[str, Any]:
    return Generator().get_schema(public=True)  # type: ignore[no-untyped-call]


TAGS = {
    "deliveries": "What became of what you sent: deliveries, and records that could not be stored.",
    "uploads": "Files of records, of any size.",
    "operations": "How the system is: what is pending, what was done, who is at work.",
    "system": "What this is. Open to all.",
}


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "ingestion.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": (
                "The header `Authorization: Api-Key <prefix>.<secret>`. A key has the scope `ingest` (POST), `read`"
                " (GET) or both, and may be limited to streams; an administrator makes it in the admin or with"
                " `manage.py create_api_key`. On this page the key alone will do, and who is logged in to the admin"
                " needs none."
            ),
        }


class JsonSchema(AutoSchema):
    """Of a view whose methods are described."""

    view: Any
    registry: ComponentRegistry

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any]:
        self.path, self.method, self.registry = path, method.upper(), registry
        view_method = getattr(self.view, method.lower())
        described: describe = getattr(view_method, "described", describe())
        stream = getattr(self.view, "stream", None)
        summary, _, text = (getdoc(view_method) or getdoc(self.view) or "").partition("\n")
        operation = {
            "operationId": self.get_operation_id(),
            "summary": summary.rstrip("."),
            **({"description": text.strip()} if text else {}),
            "tags": [described.tag or (stream.name if stream else "system")],
            "parameters": [each.described() for each in self.of_stream(described.parameters)],
            "security": self.get_auth(),
            "responses": dict(sorted(self.responses_of(described), key=itemgetter(0))),
        }
        if body := self.of_stream(described.body):
            operation["requestBody"] = {"required": True, "content": self.content_of(body)}
        return operation

    def get_operation_id(self) -> str:
        words = self.path.replace("-", "_").removeprefix("/api").strip("/").split("/")
        return "_".join([self.method.lower(), *(word.strip("{}") for word in words if word)])

    def of_stream(self, value: Any) -> Any:
        return value(self.view.stream) if isinstance(value, FunctionType) else value

    def responses_of(self, described: describe) -> Iterator[tuple[str, Any]]:
        for answer in described.answers:
            shape, example, media = map(self.of_stream, (answer.shape, answer.example, answer.media))
            forms = {JSON: Body(shape=shape, example=example)} if shape is not None else {}
            headers = self.headers_of(*([EXPIRES] if self.view.authentication_classes else []), *answer.headers)
            content = self.content_of({**forms, **media})
            yield str(answer.status), {"description": answer.says, "headers": headers, "content": content}
        for status in {*self.common_errors(), *described.errors} - {answer.status for answer in described.answers}:
            yield str(status), self.error_of(status)

    def common_errors(self) -> Iterator[int]:
        yield from (400, 406)
        if self.view.authentication_classes:
            yield from (401, 403, 429, 503)
        if "{" in self.path:
            yield 404
        if self.method == "POST":
            yield from (411, 413, 415)

    def error_of(self, status: int) -> dict[str, str]:
        """The response that all operations share."""
        headers = {401: (CHALLENGED,), 429: (RETRY,), 503: (RETRY,)}.get(status, ())
        response = {
            "description": ERRORS[status][0],
            "headers": self.headers_of(*headers),
            "content": {JSON: {"schema": self.schema_of(ERROR), "example": example_of_error(status)}},
        }
        return self.register(ResolvedComponent.RESPONSE, CODES[status], response)

    def headers_of(self, *headers: Parameter) -> dict[str, Any]:
        register = partial(self.register, ResolvedComponent.HEADER)
        return {each.name: register(each.name, each.as_header()) for each in (REQUEST_ID, *headers)}

    def content_of(self, bodies: Mapping[str, Body]) -> dict[str, Any]:
        return {media_type: self.form_of(body) for media_type, body in bodies.items()}

    def form_of(self, body: Body) -> dict[str, Any]:
        schema = {"type": "string"} if body.shape is None else self.schema_of(body.shape)
        text = {"description": body.description} if body.description else {}
        return {"schema": {**schema, **text}, **({} if body.example is None else {"example": body.example})}

    def schema_of(self, shape: Shape) -> Schema:
        """The schema of the shape: a reference, where the shape has a name, to what is registered with its parts."""
        if isinstance(shape, Component):
            name, schema = shape.name, dict(shape.schema)
        else:
            name = shape.__name__ if isinstance(shape, type) else ""
            schema = json_schema(shape)
        for part, of_part in schema.pop("$defs", {}).items():
            self.register(ResolvedComponent.SCHEMA, part, of_part)
        return self.register(ResolvedComponent.SCHEMA, name, schema) if name else schema

    def register(self, kind: str, name: str, schema: Schema) -> dict[str, Any]:
        component = ResolvedComponent(name=name, type=kind, schema=schema, object=name)  # type: ignore[no-untyped-call]
        self.registry.register_on_missing(component)
        if self.registry[component].schema != schema:
            raise TypeError(f"Two {kind} that differ are called {name}.")
        return {"$ref": f"#/components/{kind}/{name}"}
