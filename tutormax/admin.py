from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.template.response import TemplateResponse
from django.urls import Resolver404, resolve
from django.views.decorators.common import no_append_slash

from tutormax.dashboard import dashboard

# What an operator needs stands first; the domains, which are not named here, come after the held records.
APPS = {"enrichment": 0, "ingestion": 2, "auth": 3, "django_q": 4, "axes": 5}
NAMES = {"auth": "People and rights", "axes": "Log-ins"}
MODELS = {"DeadLetter": 0, "WaitingRecord": 1, "HeldRecord": 2, "Redrive": 3, "Upload": 0, "Delivery": 1, "ApiKey": 2}


class TutorMaxAdminSite(AdminSite):
    site_header = "TutorMax"
    site_title = "TutorMax"
    index_title = "Dashboard"
    index_template = "admin/dashboard.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {**dashboard(request.user), **(extra_context or {})})

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        found = super().get_app_list(request, app_label)
        for app in found:
            app["name"] = NAMES.get(app["app_label"], app["name"])
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
