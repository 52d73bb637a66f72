"""Personal data: a person is found by their ID, and what is held about them downloaded or erased. For administrators.

The ID is only ever sent in the body of a post, so that it is in no log of addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString

from console import senders
from console.base import ReadOnlyAdmin
from console.history import log, user_of
from console.personal import is_hidden_from
from console.stored.page import page_of
from console.subjects.forms import EraseForm, PersonForm
from console.templatetags.formatting import badge, clock
from enrichment import stats
from enrichment.models import Erasure
from enrichment.rows.access import Export
from enrichment.subjects import erasure as erasures
from enrichment.subjects.export import archive
from enrichment.subjects.person import Person, survey
from ingestion import capacity, doorbell
from ingestion.subjects import suppression
from ingestion.text import plain, thousands

SURVEY_SECONDS = 2.0
"""That the page may spend on counting what is not counted along an index."""


class ErasureAdmin(ReadOnlyAdmin):
    list_display = ("id", "state", "kind", "by_", "reason", "erased_", "started", "ended")
    change_list_template = "admin/enrichment/personal_data.html"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("enrichment.erase_subjects")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("person/", wrap(self.person_view), name="enrichment_erasure_person"),
            path("person/archive/", wrap(self.archive_view), name="enrichment_erasure_archive"),
            path("person/erase/", wrap(self.erase_view), name="enrichment_erasure_erase"),
            path("<path:object_id>/lift/", wrap(self.lift_view), name="enrichment_erasure_lift"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return super().changelist_view(request, {"form": PersonForm(), **(extra_context or {})})

    # A person.

    def person_view(self, request: HttpRequest) -> HttpResponse:
        """What is held about the person."""
        form = self.form_of(request, PersonForm)
        if not form.is_valid():
            return self.page(request, "person", {"title": "Personal data", "form": form})
        return self.page_of(request, form.person, EraseForm(initial=form.cleaned_data))

    def archive_view(self, request: HttpRequest) -> HttpResponseBase:
        """Names, addresses and comments are in it, unmasked."""
        if is_hidden_from(request.user):
            raise PermissionDenied
        form = self.form_of(request, PersonForm)
        if not form.is_valid():
            return HttpResponseRedirect(reverse("admin:enrichment_erasure_person"))
        person = form.person
        label = suppression.label_of(person.kind, person.key)
        taken = Export(by=user_of(request), what=f"everything about a {person.kind}", form="zip", query={"key": label})
        taken.begin()
        parts = capacity.Download(user_of(request), lambda: _counted(person, taken))
        self.log_export(request, person.kind, label)
        disposition = content_disposition_header(as_attachment=True, filename=f"{person.kind}-{person.key}.zip")
        return StreamingHttpResponse(
            parts, content_type="application/zip", headers={"Content-Disposition": disposition or "attachment"}
        )

    def erase_view(self, request: HttpRequest) -> HttpResponse:
        form = self.form_of(request, EraseForm)
        if not form.is_valid():
            if not hasattr(form, "person"):
                return HttpResponseRedirect(reverse("admin:enrichment_erasure_person"))
            return self.page_of(request, form.person, form)
        by, reason = f"user:{request.user.get_username()}", form.cleaned_data["reason"]
        erasure = erasures.create(form.person, by=by, user=request.user, reason=reason)  # type: ignore[arg-type]
        log(request, erasure, f"Started erasing a {erasure.kind} (hash {erasure.digest[:12]}).", ADDITION)
        doorbell.wake_now()
        return HttpResponseRedirect(reverse("admin:enrichment_erasure_change", args=[erasure.pk]))

    def form_of(self, request: HttpRequest, form: type[Any]) -> Any:
        """What has been posted. Raises PermissionDenied."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return form(request.POST if request.method == "POST" else None)

    def page_of(self, request: HttpRequest, person: Person, form: EraseForm) -> HttpResponse:
        digest = suppression.digest_of(person.kind, person.key)
        context = {
            "title": f"{person.kind.capitalize()} {person.key}",
            "person": person,
            "found": (found := survey(person, SURVEY_SECONDS)),
            "numbers": [(name, number) for name, number in found.numbers.items() if number],
            "is_suppressed": suppression.is_suppressed(digest),
            "may_download": not is_hidden_from(request.user),
            "form": form,
        }
        return self.page(request, "person", context)

    def page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/enrichment/personal_data_{name}.html", context)

    def log_export(self, request: HttpRequest, kind: str, label: str) -> None:
        """An erasure takes the ID out of it again."""
        LogEntry.objects.create(
            user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
            content_type=ContentType.objects.get_for_model(Erasure),
            object_id=label,
            object_repr=label,
            action_flag=CHANGE,
            change_message=f"Downloaded everything that is held about this {kind}.",
        )

    # An erasure.

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        erasure = self.erasure_of(request, object_id)
        stages = list(erasures.STAGES)
        context = {
            "title": f"Erasure {erasure.pk}",
            "erasure": erasure,
            "by": erasure.by.removeprefix(senders.USER),
            "lifted_by": erasure.lifted_by.removeprefix(senders.USER),
            "left": places_left(request, erasure),
            "stages": len(stages),
            "done": len(stages) if erasure.finished_at else stages.index(erasure.stage),
            "is_suppressed": suppression.is_suppressed(erasure.digest),
            "cluster_alive": bool(erasure.finished_at) or stats.cluster_alive(),
        }
        return self.page(request, "erasure", context)

    def lift_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        erasure = self.erasure_of(request, object_id)
        if request.method == "POST":
            self.lift(request, erasure)
        return HttpResponseRedirect(reverse("admin:enrichment_erasure_change", args=[erasure.pk]))

    def lift(self, request: HttpRequest, erasure: Erasure) -> None:
        text = f"Records about this {erasure.kind} are stored again."
        try:
            lifted = erasures.lift(erasure, by=f"user:{request.user.get_username()}")
        except erasures.StillErasing as error:
            self.message_user(request, str(error), messages.WARNING)
            return
        if lifted:
            log(request, erasure, text)
        self.message_user(request, text, messages.SUCCESS)

    def erasure_of(self, request: HttpRequest, object_id: str) -> Erasure:
        """Raises PermissionDenied and Http404."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        erasure: Erasure | None = self.get_object(request, unquote(object_id))
        if erasure is None:
            raise Http404("No such erasure.")
        return erasure

    # Columns of the list.

    @admin.display(description="status")
    def state(self, erasure: Erasure) -> SafeString:
        if not erasure.finished_at:
            return badge("pending", "in progress")
        return badge("waiting", "lifted") if erasure.lifted_at else badge("processed", "erased")

    @admin.display(description="by")
    def by_(self, erasure: Erasure) -> str:
        return plain(erasure.by.removeprefix(senders.USER))

    @admin.display(description="erased")
    def erased_(self, erasure: Erasure) -> str:
        parts = (f"{name}: {thousands(number)}" for name, number in erasure.erased.items())
        return " · ".join(parts) or ("nothing" if erasure.finished_at else "nothing so far")

    @admin.display(description="started")
    def started(self, erasure: Erasure) -> SafeString | str:
        return clock(erasure.started_at)

    @admin.display(description="ended")
    def ended(self, erasure: Erasure) -> SafeString | str:
        return clock(erasure.finished_at) if erasure.finished_at else "–"


def _counted(person: Person, taken: Export) -> Iterator[bytes]:
    """The archive; its rows are in the history of exports once it has ended, also if it was broken off."""

    def count() -> None:
        taken.rows += 1

    try:
        yield from archive(person, count)
    finally:
        taken.end()


def places_left(request: HttpRequest, erasure: Erasure) -> list[dict[str, str]]:
    """Where the person still is, with names and pages in place of tables and keys, as far as there are any."""
    models = {model._meta.db_table: model for model in apps.get_models() if not model._meta.proxy}
    return [_place(request, models.get(place["table"]), place) for place in erasure.left]


def _place(request: HttpRequest, model: Any, place: dict[str, str]) -> dict[str, str]:
    if model is None:
        return {**place, "name": f"{place['table']}.{place['column']}", "page": ""}
    name = f"{model._meta.verbose_name}: {place['column'].replace('_', ' ')}"
    page = page_of(request, model, place["row"]) if admin.site.is_registered(model) else ""
    return {**place, "name": name[:1].upper() + name[1:], "page": page}
