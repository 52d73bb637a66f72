"""The base of all views of the API: bodies as bytes, answers as JSON, the browsable API with its form."""

import json
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import NotAcceptable
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from api.schema.generator import JsonSchema
from ingestion.payloads import unpack
from ingestion.refusals import RequestRejected


class RawBody:
    """The bytes of a body.

    They can be taken out: DRF's request is part of reference cycles, which the garbage collector finds late, since it
    counts objects and not bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content

    def take(self) -> bytes:
        content, self.content = self.content, b""
        return content


class JsonBody(BaseParser):
    """Returns the body as the bytes that were sent: request.data is a RawBody."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: Any = None, parser_context: Any = None) -> Any:
        meta = parser_context["request"].META
        length = int(meta["CONTENT_LENGTH"])
        if length > settings.MAX_BODY_BYTES:
            raise RequestRejected(413, f"The body has {length} bytes; the limit is {settings.MAX_BODY_BYTES}.")
        encoding = meta.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            headers = {"Accept-Encoding": "gzip"}
            raise RequestRejected(415, "Send the body uncompressed, or with Content-Encoding: gzip.", headers=headers)
        body = stream.read()
        if len(body) < length:  # the lines of NDJSON that did arrive would pass for the whole
            raise RequestRejected(400, f"The body ended after {len(body)} of {length} bytes.")
        return RawBody(unpack(body, settings.MAX_BODY_BYTES) if encoding == "gzip" else body)


class NdjsonBody(JsonBody):
    media_type = "application/x-ndjson"


class PrefilledForm(BrowsableAPIRenderer):
    """The browsable API; its form contains what was just posted, or an example."""

    def get_raw_data_form(self, data: Any, view: Any, method: str, request: Request) -> Any:
        form = super().get_raw_data_form(data, view, method, request)
        if form and hasattr(view, "example"):
            posted: Any = request.data if request.method == "POST" else None
            text = posted.content.decode(errors="replace") if isinstance(posted, RawBody) else ""
            form.initial["_content"] = text or json.dumps(view.example(), indent=2)
        return form


class ApiView(APIView):
    """HTML is for people with a session: a program that sends a key gets JSON, whatever HTML its library asks for."""

    renderer_classes = [JSONRenderer, PrefilledForm]
    parser_classes = [JsonBody]
    schema = JsonSchema()

    def get_renderers(self) -> list[BaseRenderer]:
        renderers: list[BaseRenderer] = super().get_renderers()
        if not sends_credentials(getattr(self, "request", None)):
            return renderers
        return [renderer for renderer in renderers if not isinstance(renderer, BrowsableAPIRenderer)]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        try:
            chosen: tuple[BaseRenderer, str] = super().perform_content_negotiation(request, force)
        except NotAcceptable:
            if sends_credentials(request) and "html" in request.META.get("HTTP_ACCEPT", ""):
                return JSONRenderer(), JSONRenderer.media_type
            raise
        return chosen


def sends_credentials(request: Request | None) -> bool:
    return request is not None and bool(request.META.get("HTTP_AUTHORIZATION"))


def read_body(request: Request) -> bytes:
    if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
        raise RequestRejected(411, "Send the body with a Content-Length, not in chunks.")
    body: Any = request.data
    if not isinstance(body, RawBody) or not body.content:
        raise RequestRejected(400, "The body is empty.")
    is_browsable = isinstance(request.accepted_renderer, BrowsableAPIRenderer)  # its form shows the body again
    return body.content if is_browsable else body.take()
