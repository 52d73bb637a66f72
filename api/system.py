"""What is open to all: what this is, and how it is."""

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
from ingestion import backlog
from ingestion.models import Delivery
from ingestion.streams import names

HEALTHY = {
    "status": "healthy",
    "timestamp": "2025-03-01T22:10:00Z",
    "version": settings.VERSION,
    "database": True,
    "queue": True,
    "cluster": True,
    "accepting": True,
}
DOWN = {"status": "unhealthy", "database": False, "queue": False, "cluster": False, "accepting": False}
ENDPOINTS = (
    *("/api/deliveries", "/api/deliveries/{id}", "/api/dead-letters"),
    *("/api/uploads", "/api/uploads/{id}", "/api/uploads/{id}/errors"),
    *("/api/queue/stats", "/api/stats", "/api/worker", "/metrics", "/health", "/health/live"),
    *("/guide", "/docs", "/redoc", "/openapi.json", "/admin/"),
)
"""Beside those of the streams."""
HOME = {"name": "TutorMax", "version": settings.VERSION, "status": "running", "endpoints": ["/health", "/guide"]}


class OpenView(APIView):
    """Open to all, whatever key comes along, and without a query for it."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer]
    schema = JsonSchema()


class Home(TypedDict):
    """What this is and what it offers."""

    name: Literal["TutorMax"]
    version: str
    status: Literal["running"]
    endpoints: Annotated[list[str], Field(description="Paths.")]


class HomeView(OpenView):
    renderer_classes = [JSONRenderer, TemplateHTMLRenderer]

    @describe(Answer(Home, example=HOME, media={"text/html": Body(description="For a person: links.")}))
    def get(self, request: Request) -> Response:
        """What this is and what it offers: JSON for a client, links for a person."""
        streams = [f"/api/{name}{rest}" for name in names() for rest in ("", "/batch", "/{key}")]
        home = {
            "name": "TutorMax",
            "version": settings.VERSION,
            "status": "running",
            "endpoints": [*streams, *ENDPOINTS],
        }
        return Response({**home, "streams": names()} if is_html(request) else home, template_name="home.html")


class Health(TypedDict):
    status: Annotated[
        Literal["healthy", "degraded", "unhealthy"],
        Field(
            description=(
                "unhealthy: the database is away, nothing is taken in; degraded: nobody works on what is taken in, not"
                " all of it can be worked on, or too much of it is pending to take in more."
            )
        ),
    ]
    timestamp: datetime
    version: str
    database: Annotated[bool, Field(description="The database answers.")]
    queue: Annotated[bool, Field(description="The queue, which is in the database, answers.")]
    cluster: Annotated[bool, Field(description="Workers are alive.")]
    accepting: Annotated[bool, Field(description="Records are taken in; false: so much is pending that they are not.")]


class HealthView(OpenView):
    @describe(
        Answer(Health, 200, "The database answers.", example=HEALTHY),
        Answer(Health, 503, "The database is away.", example={**HEALTHY, **DOWN}),
    )
    def get(self, request: Request) -> Response:
        """Whether the database is there (503 if not), and records are taken in and worked on ("degraded" if not)."""
        health = health_status()
        if health["status"] == "unhealthy":
            return Response(health, status=503, headers={"Retry-After": str(RETRY_AFTER)})
        return Response(health)


class Alive(TypedDict):
    status: Literal["alive"]
    timestamp: datetime


class LiveView(OpenView):
    @describe(Answer(Alive, example={"status": "alive", "timestamp": "2025-03-01T22:10:00Z"}))
    def get(self, request: Request) -> Response:
        """This process runs; nothing else is asked."""
        return Response({"status": "alive", "timestamp": timezone.now()})


def is_html(request: Request) -> bool:
    return isinstance(request.accepted_renderer, TemplateHTMLRenderer)


def health_status() -> dict[str, Any]:
    """The answer of /health: `database` and `queue` as they answer now, `cluster` by its last heartbeat."""
    health = {"timestamp": timezone.now(), "version": settings.VERSION}
    try:
        cluster = stats.cluster_alive()
        our_mistake = Delivery.objects.pending().filter(last_error__startswith="code:").exists()
        accepting = not backlog.is_full()
    except (DatabaseError, InterfaceError):
        return {**health, **DOWN}
    status = "healthy" if cluster and accepting and not our_mistake else "degraded"
    return {**health, "status": status, "database": True, "queue": True, "cluster": cluster, "accepting": accepting}
