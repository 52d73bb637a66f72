"""The admin site: its menu, its search, and what every page's template gets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, wraps
from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.db.models import BigIntegerField
from django.http import Http404, HttpRequest, HttpResponse, HttpResponsePermanentRedirect, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import Resolver404, path, resolve
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.common import no_append_slash
from django.views.decorators.http import require_safe

from console.search import can_search, search
from console.second_factor import pages as second_factor

APP_NAMES = {
    "enrichment": "Failed & waiting",
    "ingestion": "Ingestion",
    "auth": "Users & roles",
    "django_q": "Task queue",
    "axes": "Login history",
}
"""In the menu and in breadcrumbs; the apps of domains have names of their own."""
HEADINGS = {**APP_NAMES, "lookups": "Lookups", "data_protection": "Data protection"}
"""Of the menu, by app or by what `heading_of` makes of one."""
APP_ORDER = {
    "enrichment": 0,
    "lookups": 1,
    "ingestion": 3,
    "data_protection": 4,
    "auth": 5,
    "django_q": 6,
    "axes": 7,
}
"""What operators need comes first; domains are at 2."""
MODEL_NAMES = {
    "HeldRecord": "All failed records",
    "Lookup": "All lookups",
    "PausedStream": "Streams",
    "Erasure": "Personal data",
    "ApiKey": "API keys",
}
"""In the menu, where they differ from the models' own."""
OF_LOOKUPS = ("AmbiguousLookup", "Lookup", "ProviderState")
OF_DATA_PROTECTION = ("Erasure", "DataAccess", "Pruning")
OWN_HEADINGS = {
    **dict.fromkeys(OF_LOOKUPS, "lookups"),
    **dict.fromkeys(OF_DATA_PROTECTION, "data_protection"),
}
"""Of models of the app enrichment that have a heading of their own in the menu."""
MODEL_ORDER = {
    name: place
    for names in (
        ("DeadLetter", "WaitingRecord", "HeldRecord", "BulkAction"),
        OF_LOOKUPS,
        OF_DATA_PROTECTION,
        ("Upload", "Delivery", "PausedStream", "ApiKey"),
    )
    for place, name in enumerate(names)
}


def heading_of(app_label: str, model: str) -> str:
    """Under which label of HEADINGS and APP_ORDER the menu has a model."""
    return OWN_HEADINGS.get(model, app_label) if app_label == "enrichment" else app_label


def place_of(heading: str) -> int:
    return APP_ORDER.get(heading, 2)


def check_selection(view: Any) -> Any:
    """Of a list's view: refuses (400) selected rows that none can be, which Django's actions would fail on."""
    model = getattr(getattr(view, "__self__", None), "model", None)
    if model is None:
        return view

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method == "POST":
            for value in request.POST.getlist(ACTION_CHECKBOX_NAME):
                if not _may_be_key(model, value):
                    raise BadRequest("One of the selected rows does not exist.")
        return view(request, *args, **kwargs)

    return checked


def _may_be_key(model: Any, value: str) -> bool:
    try:
        key = model._meta.pk.to_python(value)
    except ValidationError:
        return False
    if isinstance(key, int):
        return abs(key) <= BigIntegerField.MAX_BIGINT
    return key is not None and "\0" not in value


class TutorMaxAdminSite(AdminSite):
    site_header = "TutorMax"
    site_title = "TutorMax"
    index_title = "Dashboard"
    index_template = "admin/dashboard.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from console.dashboard.page import dashboard  # imports our filters, which import this site

        return super().index(request, {**dashboard(request.user), **(extra_context or {})})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        may_search = self.has_permission(request) and can_search(request.user)
        is_on = settings.SECOND_FACTOR != "off"
        return {**super().each_context(request), "can_search": may_search, "has_second_factor": is_on}

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Who has given the password goes on with the second factor."""
        if request.method == "GET" and (page := second_factor.pending_page(request)):
            return HttpResponseRedirect(page)
        return super().login(request, extra_context)

    def get_urls(self) -> list[Any]:
        def for_who_logs_in(view: Any) -> Any:
            return never_cache(partial(view, self))

        return [
            path("find/", self.admin_view(self.find_view), name="find"),
            path("second-factor/", for_who_logs_in(second_factor.second_factor_page), name="second_factor"),
            path("second-factor/verify/", for_who_logs_in(second_factor.verify_page), name="second_factor_verify"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Finds a record in all streams."""
        if not can_search(request.user):
            raise PermissionDenied
        found = search(request, request.GET.get("q", ""))
        text = found["query_text"]
        title = f"Search results for “{text}”" if text else "Find a record"
        context = {**self.each_context(request), "title": title, **found}
        return TemplateResponse(request, "admin/find.html", context)

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        title = {"title": APP_NAMES[app_label]} if app_label in APP_NAMES else {}
        return super().app_index(request, app_label, {**title, **(extra_context or {})})

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return super().admin_view(check_selection(view), cacheable)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = [part for app in super().get_app_list(request, app_label) for part in _by_heading(app)]
        for app in apps:
            for model in app["models"]:
                model["name"] = MODEL_NAMES.get(model["object_name"], model["name"])
            app["models"].sort(key=lambda model: MODEL_ORDER.get(model["object_name"], 9))
        return sorted(apps, key=lambda app: place_of(app["app_label"]))

    def heading_of(self, opts: Any) -> str:
        """The part of the menu that has this model."""
        return HEADINGS.get(heading_of(opts.app_label, opts.object_name), str(opts.app_config.verbose_name))

    @no_append_slash
    def catch_all_view(self, request: HttpRequest, url: str) -> HttpResponse:
        """Adds a missing slash where that makes a page. (APPEND_SLASH is off because of the API.)"""
        if not url.endswith("/"):
            try:
                found = resolve(f"{request.path_info}/")
            except Resolver404:
                raise Http404 from None
            if getattr(found.func, "should_append_slash", True):  # this view itself matches everything
                return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        raise Http404


def _by_heading(app: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The models of one app, by the headings that the menu has for them."""
    found: dict[str, list[Any]] = {}
    for model in app["models"]:
        found.setdefault(heading_of(app["app_label"], model["object_name"]), []).append(model)
    for heading, models in found.items():
        yield {**app, "app_label": heading, "name": HEADINGS.get(heading, app["name"]), "models": models}
