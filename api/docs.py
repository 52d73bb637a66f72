"""The API's documentation: the guide, the OpenAPI description and the pages made of it."""

from functools import cache

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView, SpectacularSwaggerSplitView
from markdown import markdown
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.auth import DocsReadable
from api.schema.generator import description


class GuideView(APIView):
    permission_classes = [DocsReadable]
    renderer_classes = [TemplateHTMLRenderer]
    http_method_names = ["get", "head"]
    schema = None  # a page for people

    def get(self, request: Request) -> Response:
        return Response({"guide": guide()}, template_name="guide.html")


@cache
def guide() -> str:
    """The client guide as HTML, with its contents before the first section."""
    text = (settings.BASE_DIR / "docs" / "client-guide.md").read_text(encoding="utf-8")
    text, *_ = text.partition("\n---\n")  # below the rule it links to other files, which are not served
    with_contents = text.replace("\n## ", "\n[TOC]\n\n## ", 1)
    sections = {"toc": {"toc_depth": "2-2"}}
    return markdown(with_contents, extensions=["tables", "fenced_code", "toc"], extension_configs=sections)


class SchemaView(SpectacularJSONAPIView):
    http_method_names = ["get", "head"]

    def _get_schema_response(self, request: Request) -> Response:
        """The same for all, whatever the request is."""
        return Response(description(), headers={"Content-Disposition": 'inline; filename="TutorMax.json"'})


class DocsView(SpectacularSwaggerSplitView):
    url_name = "schema"
    http_method_names = ["get", "head"]


@method_decorator(
    csp_update({"style-src": [SELF, UNSAFE_INLINE], "img-src": [SELF, "data:"], "worker-src": [SELF, "blob:"]}),
    name="dispatch",
)
class RedocView(SpectacularRedocView):
    """ReDoc cannot do without inline styles and a worker of its own making; the policy is loosened for it alone."""

    url_name = "schema"
    http_method_names = ["get", "head"]
