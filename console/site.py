from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.template.response import TemplateResponse
from django.urls import Resolver404, path, resolve
from django.utils.decorators import method_decorator
from django.views.decorators.common import no_append_slash
from django.views.decorators.http import require_safe

from console.search import find, may_find

# What an operator needs stands first; the domains, which are not named here, come after the held records.
APPS = {"enrichment": 0, "ingestion": 2, "auth": 3, "django_q": 4, "axes": 5}
NAMES = {
    "enrichment": "What is held",
    "ingestion": "Deliveries and keys",
    "auth": "People and rights",
    "django_q": "Task queue",
    "axes": "Log-ins",
}
"""What is in an app, for a person; the domains' own names say it."""
MODELS = {
    "DeadLetter": 0,
    "WaitingRecord": 1,
    "HeldRecord": 2,
    "BulkAction": 3,
    "Upload": 0,
    "Delivery": 1,
    "PausedStream": 2,
    "ApiKey": 3,
}


class TutorMaxAdminSite(AdminSite):
    site_header = "TutorMax"
    site_title = "TutorMax"
    index_title = "Dashboard"
    index_template = "admin/dashboard.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from console.dashboard import dashboard  # it needs the filters of our lists, and those this site

        return super().index(request, {**dashboard(request.user), **(extra_context or {})})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        may = self.has_permission(request) and may_find(request.user)
        return {**super().each_context(request), "may_find": may}

    def get_urls(self) -> list[Any]:
        return [path("find/", self.admin_view(self.find_view), name="find"), *super().get_urls()]

    @method_decorator(require_safe)
    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Where a record is, over all streams."""
        if not may_find(request.user):
            raise PermissionDenied
        found = find(request, request.GET.get("q", ""))
        title = f"Where is “{found['shown']}”?" if found["shown"] else "Where is a record?"
        context = {**self.each_context(request), "title": title, **found}
        return TemplateResponse(request, "admin/find.html", context)

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        title = {"title": NAMES[app_label]} if app_label in NAMES else {}
        return super().app_index(request, app_label, {**title, **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        found = super().get_app_list(request, app_label)
        for app in found:
            app["models"].sort(key=lambda model: MODELS.get(model["object_name"], 9))
        return sorted(found, key=lambda app: APPS.get(app["app_label"], 1))

    @no_append_slash
    def catch_all_view(self, request: HttpRequest, url: str) -> HttpResponse:
        """Adds a missing slash to what is a page with it. (APPEND_SLASH is off for the sake of the API.)"""
        if not url.endswith("/"):
            try:
                found = resolve(f"{request.path_info}/")
            except Resolver404:
                raise Http404 from None
            if getattr(found.func, "should_append_slash", True):  # this view itself matches everything
                return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        raise Http404
