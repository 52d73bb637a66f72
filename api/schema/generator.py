"""The OpenAPI description, made from the views' @describe; the schemas of records are the streams' own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from inspect import getdoc
from operator import itemgetter
from threading import Lock
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from api.errors import CODES
from api.schema.errors import CHALLENGED, ERROR, ERRORS, EXPIRES, REQUEST_ID, RETRY, example_of_error
from api.schema.spec import JSON, Body, Component, Description, Parameter, Schema, Shape, description_of
from ingestion.streams import Readable, Stream, all_readables


class WithoutTitles(GenerateJsonSchema):
    """Without pydantic's titles, which repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> Schema:
        made = super().generate(schema, mode)
        for each in (made, *made.get("$defs", {}).values()):
            each.pop("title", None)
        return made


def json_schema(shape: Any) -> Schema:
    """The JSON schema that pydantic makes of the shape; its parts refer to the components."""
    template = "#/components/schemas/{model}"
    return TypeAdapter(shape).json_schema(ref_template=template, schema_generator=WithoutTitles)


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


class PathsWithoutSlash(EndpointEnumerator):
    """Paths work with and without a trailing slash; they are listed without."""

    def get_path_from_regex(self, path_regex: str) -> str:
        path: str = super().get_path_from_regex(path_regex)  # type: ignore[no-untyped-call]
        return path.rstrip("/") or "/"


class Generator(SchemaGenerator):
    endpoint_inspector_cls = PathsWithoutSlash

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        schema: dict[str, Any] = super().get_schema(request, public)  # type: ignore[no-untyped-call]
        used = {tag for path in schema["paths"].values() for operation in path.values() for tag in operation["tags"]}
        texts = {each.name: _text_of(each) for each in all_readables()} | TAGS
        schema["tags"] = [{"name": name, "description": text} for name, text in texts.items() if name in used]
        return schema


def _text_of(readable: Readable) -> str:
    return readable.description or (isinstance(readable, Stream) and readable.schema.__doc__) or ""


_making = Lock()


def description() -> dict[str, Any]:
    """The whole description, made once per process by one thread: while it is made, views share their inspectors."""
    with _making:
        return _description()


@cache
def _description() -> dict[str, Any]:
    return Generator().get_schema(public=True)  # type: ignore[no-untyped-call]


TAGS = {
    "deliveries": "Outcomes of what you sent: deliveries, and records that could not be stored.",
    "uploads": "Files of records, of any size.",
    "operations": "Queue, statistics and workers.",
    "system": "Name, version and health. No API key needed.",
}


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "api.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": (
                "The header `Authorization: Api-Key <prefix>.<secret>`. A key has the scope `ingest` (POST), `read`"
                " (GET) or both, and may be limited to some streams; administrators create keys in the admin or with"
                " `manage.py create_api_key`. On this page enter the key alone; if you are logged in to the admin, you"
                " need none."
            ),
        }


class JsonSchema(AutoSchema):
    """Of a view whose methods have a Description."""

    view: Any
    registry: ComponentRegistry

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: ComponentRegistry
    ) -> dict[str, Any]:
        self.path, self.method, self.registry = path, method.upper(), registry
        view_method = getattr(self.view, method.lower())
        description = description_of(self.view, method.lower())
        summary, _, text = (getdoc(view_method) or getdoc(self.view) or "").partition("\n")
        operation = {
            "operationId": self.get_operation_id(),
            "summary": summary.rstrip("."),
            **({"description": text.strip()} if text else {}),
            "tags": [description.tag],
            "parameters": [each.as_parameter() for each in description.parameters],
            "security": self.get_auth(),
            "responses": dict(sorted(self.responses_of(description), key=itemgetter(0))),
        }
        if description.body:
            operation["requestBody"] = {"required": True, "content": self.content_of(description.body)}
        return operation

    def get_operation_id(self) -> str:
        words = self.path.replace("-", "_").removeprefix("/api").strip("/").split("/")
        return "_".join([self.method.lower(), *(word.strip("{}") for word in words if word)])

    def responses_of(self, description: Description) -> Iterator[tuple[str, Any]]:
        for answer in description.answers:
            json = {JSON: Body(shape=answer.shape, example=answer.example)} if answer.shape is not None else {}
            headers = self.headers_of(*([EXPIRES] if self.view.authentication_classes else []), *answer.headers)
            content = self.content_of({**json, **answer.media})
            yield str(answer.status), {"description": answer.description, "headers": headers, "content": content}
        for status in {*self.common_errors(), *description.errors} - {answer.status for answer in description.answers}:
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
        """The response to this status, shared by all operations."""
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
            raise TypeError(f"Two different {kind} are named {name}.")
        return {"$ref": f"#/components/{kind}/{name}"}
