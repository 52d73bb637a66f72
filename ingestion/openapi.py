"""What drf-spectacular is told about the API: the schemas are the streams' own."""

from typing import Any

from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes


class PathsWithoutSlash(EndpointEnumerator):
    """A path that works with and without a trailing slash is shown without."""

    def get_path_from_regex(self, path_regex: str) -> str:
        path: str = super().get_path_from_regex(path_regex)  # type: ignore[no-untyped-call]
        return path.rstrip("/") or "/"


class Generator(SchemaGenerator):
    endpoint_inspector_cls = PathsWithoutSlash


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "ingestion.auth.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Api-Key <prefix>.<secret>"}


class StaffSessionScheme(SessionScheme):  # type: ignore[no-untyped-call]
    target_class = "ingestion.auth.StaffSessionAuthentication"


class JsonSchema(AutoSchema):
    """Of a view that answers JSON, whatever else a browser is shown."""

    view: Any

    def get_operation_id(self) -> str:
        words = [self.method.lower(), *self.path.strip("/").split("/")[1:]]
        return "_".join(word.strip("{}") for word in words)

    def get_tags(self) -> list[str]:
        stream = getattr(self.view, "stream", None)
        return [stream.name if stream else "system"]

    def get_response_serializers(self) -> Any:
        return {200: OpenApiTypes.OBJECT}

    def map_renderers(self, attribute: str) -> list[Any]:
        return ["application/json"] if attribute == "media_type" else []


class RecordSchema(JsonSchema):
    def get_request_serializer(self) -> Any:
        return self.view.stream.schema

    def get_response_serializers(self) -> Any:
        return {202: OpenApiTypes.OBJECT} if self.method == "POST" else super().get_response_serializers()


class BatchSchema(RecordSchema):
    def get_request_serializer(self) -> Any:
        record = self.resolve_serializer(self.view.stream.schema, "request").ref
        return {"application/json": {"type": "array", "items": record}, "application/x-ndjson": record}
