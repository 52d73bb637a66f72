"""Redrives in the admin: who did what to which held records, how far it is, and what came of it."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.base import NewestPaginator, ReadOnlyAdmin
from console.bulk_actions import page as redrive_page
from console.bulk_actions.page import Progress
from console.filters import FieldFilter
from console.templatetags.shown import age, badge
from enrichment import stats
from enrichment.held import bulk_actions
from enrichment.models import HeldRecord, Redrive
from ingestion.text import thousands


class ActFilter(FieldFilter):
    title = parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Redrive.Act.choices)


LISTS = {
    "dead": ("dead letters", "admin:enrichment_deadletter_changelist"),
    "waiting": ("waiting records", "admin:enrichment_waitingrecord_changelist"),
}
ALL_WAITING = {"code": str(HeldRecord.Code.MISSING_REFERENCE), "stage": str(HeldRecord.Stage.VALIDATE)}
"""What every waiting record has, so that their list has no filter for it."""
NOT_OF_LISTS = {"ids", "status", "held_after"}
"""Names of CHOSEN_BY that are no parameters of the lists of held records."""


class RedriveAdmin(ReadOnlyAdmin):
    list_display = ("id", "act_", "by_", "chosen", "records", "came_to")
    list_filter = (ActFilter,)
    paginator = NewestPaginator

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        progress = redrive_page.progress_of(changes.result_list)
        pks = [redrive.filter["ids"][0] for redrive in changes.result_list if redrive.filter.get("ids")]
        known = HeldRecord.objects.defer("payload", "original_payload").in_bulk(pks)
        for redrive in changes.result_list:
            redrive.progress = progress[redrive.pk]
            redrive.which = bulk_actions.in_words(redrive.filter, known)
        return changes

    @admin.display(description="act")
    def act_(self, redrive: Any) -> SafeString:
        act, progress = badge(redrive.act, redrive.act), redrive.progress
        return format_html("{}<br>{}", act, badge(progress.badge, progress.status)) if progress.moves else act

    @admin.display(description="by")
    def by_(self, redrive: Redrive) -> SafeString:
        return format_html('{}<br><span class="quiet">{} ago</span>', redrive.by, age(redrive.at))

    @admin.display(description="which")
    def chosen(self, redrive: Any) -> SafeString | str:
        which: str = redrive.which
        if not redrive.change:
            return which
        return format_html('{}<br><span class="quiet">{}</span>', which, bulk_actions.change_of(redrive))

    @admin.display(description="records")
    def records(self, redrive: Redrive) -> str:
        done = thousands(redrive.count)
        return done if redrive.finished_at else f"{done} of {thousands(redrive.total)}"

    @admin.display(description="came to")
    def came_to(self, redrive: Any) -> str:
        return cast("str", redrive.progress.told)

    # One redrive.

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied  # it only shows
        if not self.has_view_permission(request):
            raise PermissionDenied
        redrive: Redrive | None = self.get_object(request, unquote(object_id))
        if redrive is None:
            raise Http404("There is no such redrive.")
        progress = redrive_page.progress_of([redrive])[redrive.pk]
        told = whereabouts(redrive, progress)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Redrive {redrive.pk}",
            "opts": self.opts,
            "redrive": redrive,
            "which": bulk_actions.in_words(redrive.filter, {held.pk: held for held in told["selected"]}),
            "lists": list_pages(redrive.filter),
            "change": redrive.change and bulk_actions.change_of(redrive),
            "progress": progress,
            "cluster_alive": not progress.moves or stats.cluster_alive(),
            **told,
        }
        return TemplateResponse(request, "admin/enrichment/redrive.html", context)


def whereabouts(redrive: Redrive, progress: Progress) -> dict[str, Any]:
    """The records themselves: the few that were selected; where those are now that were sent through again."""
    pks = redrive.filter.get("ids", [])[: redrive_page.MOST_LINKS]
    selected = HeldRecord.objects.filter(pk__in=pks).order_by("pk").defer("payload", "original_payload")
    if not progress.reprocesses:
        return {"selected": selected}
    return {"selected": selected, "found": redrive_page.found_now(redrive)}


def list_pages(chosen: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, page) of the lists that show those of the chosen that are still open; none where they were selected one
    by one.
    """
    if "ids" in chosen:
        return []
    wanted = [chosen["status"]] if "status" in chosen else [*LISTS]
    pages = []
    for status in wanted:
        of_all = ALL_WAITING if status == HeldRecord.Status.WAITING else {}
        if status not in LISTS or any(chosen.get(name, value) != value for name, value in of_all.items()):
            continue
        named = {name: value for name, value in chosen.items() if name not in {*NOT_OF_LISTS, *of_all}}
        query = urlencode({"q" if name == "key" else name: value for name, value in named.items()})
        name, page = LISTS[status]
        how = "also those held before" if "held_after" in chosen else "filtered so"
        pages.append((f"{name}, {how}", f"{reverse(page)}?{query}" if query else reverse(page)))
    return pages
