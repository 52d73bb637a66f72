from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from api.docs import DocsView, GuideView, RedocView, SchemaView
from api.earlier import WorkerStatusView
from api.errors import unknown_path
from api.metrics import MetricsView
from api.system import HealthView, HomeView, LiveView

urlpatterns = [
    path("", HomeView.as_view(), name="home"),
    re_path(r"^health/?$", HealthView.as_view(), name="health"),
    re_path(r"^health/live/?$", LiveView.as_view(), name="health-live"),
    re_path(r"^metrics/?$", MetricsView.as_view(), name="metrics"),
    re_path(r"^worker/status/?$", WorkerStatusView.as_view(), name="worker-status"),
    re_path(r"^openapi\.json/?$", SchemaView.as_view(), name="schema"),
    re_path(r"^docs/?$", DocsView.as_view(), name="docs"),
    re_path(r"^guide/?$", GuideView.as_view(), name="guide"),
    re_path(r"^redoc/?$", RedocView.as_view(), name="redoc"),
    path("", include("movies.urls")),
    path("api/", include("api.urls")),
    re_path(r"^api(?:/|$)", unknown_path),
    path("admin", RedirectView.as_view(pattern_name="admin:index", query_string=True)),
    path("admin/", admin.site.urls),
]

handler400 = "api.errors.bad_request"
handler404 = "api.errors.not_found"
handler500 = "api.errors.server_error"
