"""Retention in the admin: how large the tables are, what goes when, its runs, and a run at once."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q.models import Schedule

from console.base import ReadOnlyAdmin
from console.history import log
from console.templatetags.formatting import age, badge, clock, moment
from enrichment import retention, stats
from enrichment.models import Pruning
from enrichment.table_sizes import table_sizes, total_bytes
from ingestion import doorbell
from ingestion.text import thousands

PREVIEW_SECONDS = 0.15
"""Seconds that a page may take to find out what would be deleted."""
SCHEDULED = "enrichment.tasks.prune"


class RetentionAdmin(ReadOnlyAdmin):
    list_display = ("id", "state", "by_", "deleted_", "begun", "ended")
    change_list_template = "admin/enrichment/retention.html"
    fieldsets = [(None, {"fields": ["state", "by_", "limit", "begun_at", "ended_at", "deleted_"]})]

    def get_urls(self) -> list[URLPattern]:
        now = path("now/", self.admin_site.admin_view(self.now_view), name="retention_now")
        return [now, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        told = {
            "title": "Retention",
            "retention": settings.RETENTION,
            "before": retention.cutoff() if settings.RETENTION else None,
            "schedule": Schedule.objects.filter(func=SCHEDULED).exclude(repeats=0).order_by("next_run").first(),
            "under_way": retention.unfinished().exists(),
            "cluster_alive": stats.cluster_alive,  # asked only while a run is under way
            "tables": table_sizes(),
            "total_bytes": total_bytes(),
            "may_prune": may_prune(request),
        }
        return super().changelist_view(request, told | (extra_context or {}))

    def now_view(self, request: HttpRequest) -> HttpResponse:
        """What would be deleted; who may has it deleted."""
        if not self.has_view_permission(request) or (request.method == "POST" and not may_prune(request)):
            raise PermissionDenied
        if not settings.RETENTION or retention.unfinished().exists():
            why = "A run is under way already." if settings.RETENTION else "RETENTION is 0: everything is kept."
            self.message_user(request, why, messages.WARNING)
            return _to_list()
        if request.method == "POST":
            return self.begin(request)
        context = {
            **self.admin_site.each_context(request),
            "title": "What would be deleted now",
            "opts": self.opts,
            "preview": (found := retention.preview(PREVIEW_SECONDS)),
            "numbers": retention.summary(found.numbers),
            "retention": settings.RETENTION,
            "may_prune": may_prune(request),
            "cluster_alive": stats.cluster_alive(),
        }
        return TemplateResponse(request, "admin/enrichment/retention_now.html", context)

    def begin(self, request: HttpRequest) -> HttpResponse:
        run = retention.create_run(by=f"user:{request.user.get_username()}")
        log(
            request,
            run,
            f"Begun: deletes what was done with before {run.before.isoformat(timespec='seconds')}.",
            ADDITION,
        )
        doorbell.wake_now()
        if stats.cluster_alive():
            self.message_user(request, "The workers delete it now, step by step.", messages.SUCCESS)
        else:
            told = "No cluster is alive: it begins when one runs. python manage.py prune does it without one."
            self.message_user(request, told, messages.WARNING)
        return _to_list()

    @admin.display(description="status")
    def state(self, run: Pruning) -> SafeString:
        return badge("processed", "finished") if run.finished_at else badge("pending", "under way")

    @admin.display(description="by")
    def by_(self, run: Pruning) -> str:
        return run.by

    @admin.display(description="done with before")
    def limit(self, run: Pruning) -> SafeString | str:
        return moment(run.before)

    @admin.display(description="deleted")
    def deleted_(self, run: Pruning) -> str:
        told = (f"{name}: {thousands(number)}" for name, number in retention.summary(run.deleted))
        return " · ".join(told) or ("nothing" if run.finished_at else "nothing so far")

    @admin.display(description="begun")
    def begun(self, run: Pruning) -> SafeString | str:
        return clock(run.started_at)

    @admin.display(description="ended")
    def ended(self, run: Pruning) -> SafeString | str:
        """And not how long it took: it may have waited for a worker most of that time."""
        return clock(run.finished_at) if run.finished_at else "–"

    @admin.display(description="begun")
    def begun_at(self, run: Pruning) -> SafeString | str:
        return moment(run.started_at)

    @admin.display(description="finished")
    def ended_at(self, run: Pruning) -> SafeString | str:
        if run.finished_at:
            return moment(run.finished_at)
        return format_html("not yet; its last step was done {} ago", age(run.changed_at))


def may_prune(request: HttpRequest) -> bool:
    return request.user.has_perm("enrichment.prune")


def _to_list() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:enrichment_pruning_changelist"))
