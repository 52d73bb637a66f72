"""What anybody may ask without a key: name, version and health."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from pydantic import Field
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer, JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from typing_extensions import TypedDict

from api.errors import RETRY_AFTER
from api.schema.generator import JsonSchema
from api.schema.spec import Answer, Body, describe
from enrichment import stats
from enrichment.lookups import status as lookups
from ingestion import backlog, capacity
from ingestion.models import Delivery
from ingestion.streams import all_lists, names, readable_names

HEALTHY = {
    "status": "healthy",
    "timestamp": "2025-03-01T22:10:00Z",
    "version": settings.VERSION,
    "database": True,
    "queue": True,
    "redis_connected": True,
    "cluster": True,
    "accepting": True,
}
DOWN = {
    "status": "unhealthy",
    "database": False,
    "queue": False,
    "redis_connected": False,
    "cluster": False,
    "accepting": False,
}
ENDPOINTS = (
    *("/api/deliveries", "/api/deliveries/{id}", "/api/dead-letters"),
    *("/api/uploads", "/api/uploads/{id}", "/api/uploads/{id}/errors", "/api/upload", "/api/session/{id}/status"),
    *("/api/queue/stats", "/api/stats", "/api/worker", "/worker/status", "/metrics", "/health", "/health/live"),
    *("/guide", "/docs", "/redoc", "/openapi.json", "/admin/"),
)
"""Besides those of the streams."""
HOME = {"name": "TutorMax", "version": settings.VERSION, "status": "running", "endpoints": ["/health", "/guide"]}


class OpenView(APIView):
    """Needs no key, and ignores one that is sent."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer]
    schema = JsonSchema()


class Home(TypedDict):
    """Name, version, status and endpoints."""

    name: Literal["TutorMax"]
    version: str
    status: Literal["running"]
    endpoints: Annotated[list[str], Field(description="Paths.")]


class HomeView(OpenView):
    renderer_classes = [JSONRenderer, TemplateHTMLRenderer]

    @describe(Answer(Home, example=HOME, media={"text/html": Body(description="Links, for people.")}))
    def get(self, request: Request) -> Response:
        """Name, version, status and endpoints: JSON for clients, links for people."""
        streams = [f"/api/{name}{rest}" for name in names() for rest in ("", "/batch", "/{key}")]
        streams += [f"/api/{readable.name}{rest}" for readable in all_lists() for rest in ("", "/{key}")]
        home = {
            "name": "TutorMax",
            "version": settings.VERSION,
            "status": "running",
            "endpoints": [*streams, *ENDPOINTS],
        }
        for_people = {"streams": readable_names(), "public_uploads": settings.PUBLIC_UPLOADS}
        return Response({**home, **for_people} if is_html(request) else home, template_name="home.html")


class Health(TypedDict):
    status: Annotated[
        Literal["healthy", "degraded", "unhealthy", "draining"],
        Field(
            description=(
                "`unhealthy`: the database is unavailable, and no records are accepted; `degraded`: no workers are"
                " running, some records or lookups cannot be processed, or too many are pending to accept more;"
                " `draining`: this web server is about to stop, and requests should go to another one."
            )
        ),
    ]
    timestamp: datetime
    version: str
    database: Annotated[bool, Field(description="The database answers.")]
    queue: Annotated[bool, Field(description="The queue (in the database) answers.")]
    redis_connected: Annotated[bool, Field(description="The same as `queue`, by its name in the earlier API.")]
    cluster: Annotated[bool, Field(description="Workers are running.")]
    accepting: Annotated[
        bool, Field(description="Records of all streams are accepted; false if too many of one are pending.")
    ]


class HealthView(OpenView):
    @describe(
        Answer(Health, 200, "The database answers.", example=HEALTHY),
        Answer(Health, 503, "The database is unavailable, or the web server stops.", example={**HEALTHY, **DOWN}),
    )
    def get(self, request: Request) -> Response:
        """Health: 503 if the database is unavailable or the server is stopping, `degraded` if records are not being
        processed.
        """
        health = health_status()
        if health["status"] in ("unhealthy", "draining"):
            return Response(health, status=503, headers={"Retry-After": str(RETRY_AFTER)})
        return Response(health)


class Alive(TypedDict):
    status: Literal["alive"]
    timestamp: datetime


class LiveView(OpenView):
    @describe(Answer(Alive, example={"status": "alive", "timestamp": "2025-03-01T22:10:00Z"}))
    def get(self, request: Request) -> Response:
        """Liveness: this process is running; nothing else is checked."""
        return Response({"status": "alive", "timestamp": timezone.now()})


def is_html(request: Request) -> bool:
    return isinstance(request.accepted_renderer, TemplateHTMLRenderer)


def health_status() -> dict[str, Any]:
    """The answer of /health: `database` and `queue` are tried, `cluster` goes by the last heartbeat."""
    health = {"timestamp": timezone.now(), "version": settings.VERSION}
    try:
        cluster = stats.cluster_alive()
        deliveries = Delivery.objects.pending().filter(last_error__startswith="code:")
        has_code_errors = deliveries.exists() or lookups.has_code_errors()
        accepting = not backlog.full_streams()
    except (DatabaseError, InterfaceError):
        return {**health, **DOWN}
    status = "healthy" if cluster and accepting and not has_code_errors else "degraded"
    if capacity.draining.is_set():
        status = "draining"
    return {
        **health,
        "status": status,
        "database": True,
        "queue": True,
        "redis_connected": True,
        "cluster": cluster,
        "accepting": accepting,
    }
