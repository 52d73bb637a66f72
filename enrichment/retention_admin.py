"""Retention in the admin: how large the tables are, what goes when, its runs, and a run at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Min, Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q.models import Schedule

from enrichment import retention, stats
from enrichment.admin_acts import log
from enrichment.models import Failure, HeldRecord, MinuteStat, Pruning, Redrive
from ingestion import doorbell, streams
from ingestion.admin import ReadOnlyAdmin
from ingestion.models import Delivery, Upload
from ingestion.templatetags.shown import age, badge, clock, moment
from ingestion.text import duration, thousands

LOOKS_FOR = 0.15
"""Seconds that a page may take to find out what would be deleted."""
COUNTED_BELOW = 10_000
"""Rows: a larger table is not counted, PostgreSQL's own estimate is taken."""
SCHEDULED = "enrichment.tasks.prune"


@dataclass(frozen=True)
class TableSize:
    name: str
    rows: int
    bytes: int | None
    """With indexes; None where the database does not say."""
    oldest: datetime | None
    stays: str
    is_estimate: bool = False


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
            "before": retention.limit() if settings.RETENTION else None,
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
            "preview": (found := retention.preview(LOOKS_FOR)),
            "numbers": retention.told(found.numbers),
            "retention": settings.RETENTION,
            "may_prune": may_prune(request),
            "cluster_alive": stats.cluster_alive(),
        }
        return TemplateResponse(request, "admin/enrichment/retention_now.html", context)

    def begin(self, request: HttpRequest) -> HttpResponse:
        run = retention.begin(by=f"user:{request.user.get_username()}")
        log(
            request,
            run,
            f"Begun: deletes what was done with before {run.before.isoformat(timespec='seconds')}.",
            ADDITION,
        )
        doorbell.insist()
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
        told = (f"{name}: {thousands(number)}" for name, number in retention.told(run.deleted))
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


# How large the tables are.


def table_sizes() -> list[TableSize]:
    """Of the tables that grow, in a fixed number of queries; rows are estimated where counting would take long."""
    for_long = f"for {duration(settings.RETENTION)}" if settings.RETENTION else "for ever"
    kept: list[tuple[type[Model], str, str]] = [
        (Delivery, "received_at", f"{for_long} after they were processed, longer while a record of theirs is open"),
        (
            HeldRecord,
            "held_at",
            f"as long as their deliveries: open ones for ever, others {for_long} after they were closed",
        ),
        (Failure, "at", "as long as their held records"),
        (Upload, "created_at", "as long as their deliveries"),
        (Redrive, "at", "for ever: who did what"),
        (LogEntry, "action_time", "for ever: who did what"),
        (MinuteStat, "minute", "for ever: totals are their sums; after two days one row for each stream and day"),
        *((stream.model, "stored_at", "for ever") for stream in streams.all_streams()),
    ]
    sizes = _sizes([model for model, _, _ in kept])
    return [
        TableSize(str(model._meta.verbose_name_plural), *sizes[model][:2], _oldest(model, at), stays, sizes[model][2])
        for model, at, stays in kept
    ]


def _oldest(model: type[Model], at: str) -> datetime | None:
    """By the index on the time where there is one; else the row with the lowest number."""
    rows = model._default_manager.order_by()
    if model in (Delivery, HeldRecord, Failure, Upload, Redrive, LogEntry):
        oldest: datetime | None = rows.order_by("pk").values_list(at, flat=True).first()
    else:
        oldest = rows.aggregate(oldest=Min(at))["oldest"]
    return oldest


def _sizes(models: Iterable[type[Model]]) -> dict[type[Model], tuple[int, int | None, bool]]:
    """model → (rows, bytes with indexes, whether the rows are an estimate)"""
    if connection.vendor != "postgresql":
        return {model: (model._default_manager.count(), None, False) for model in models}
    by_name = {model._meta.db_table: model for model in models}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, reltuples::bigint, pg_total_relation_size(oid) FROM pg_class"
            " WHERE oid = ANY(SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS name)",
            [list(by_name)],
        )
        found = {by_name[name]: (rows, size) for name, rows, size in cursor.fetchall()}
    return {
        model: (rows, size, True)
        if rows >= COUNTED_BELOW
        else (model._default_manager.order_by()[:COUNTED_BELOW].count(), size, False)
        for model, (rows, size) in found.items()
    }


def total_bytes() -> int:
    """Of the whole database."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])
