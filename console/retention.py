"""The page Retention: its policy, the sizes of tables, its runs, a preview, and a run on demand."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.core.exceptions import PermissionDenied
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_q.models import Schedule

from console import senders
from console.base import ReadOnlyAdmin
from console.control.base import control_history
from console.history import log
from console.templatetags.formatting import age, badge, clock, moment
from enrichment import retention, stats
from enrichment.models import Pruning, RetentionRule
from enrichment.table_sizes import table_sizes, total_bytes
from ingestion import doorbell, streams
from ingestion.text import plain, thousands

PREVIEW_SECONDS = 0.15
"""Seconds that the page may spend on counting what would be deleted."""
SCHEDULED = "enrichment.tasks.prune"
MAX_DAYS = 32_767
LABELS = {
    "delivery_days": "deliveries, closed failed records",
    "dead_letter_days": "open dead letters",
    "stored_days": "stored records",
}
"""Of a rule's columns: what it is that is kept for so many days."""


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """Of one stream; what is left empty is as usual."""

    class Meta:
        model = RetentionRule
        fields = ("delivery_days", "dead_letter_days", "stored_days")
        widgets: ClassVar = {name: forms.NumberInput(attrs={"min": 1, "max": MAX_DAYS}) for name in fields}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.label = LABELS[name]
            field.widget.attrs["aria-label"] = f"{self.instance.stream}: {LABELS[name]}"
            field.validators += [MinValueValidator(1), MaxValueValidator(MAX_DAYS)]


class RetentionAdmin(ReadOnlyAdmin):
    list_display = ("id", "state", "by_", "deleted_", "started", "ended")
    change_list_template = "admin/enrichment/retention.html"
    fieldsets = [(None, {"fields": ["state", "by_", "cutoff", "started_at_", "finished_at_", "deleted_"]})]

    def get_urls(self) -> list[URLPattern]:
        now = path("now/", self.admin_site.admin_view(self.now_view), name="retention_now")
        rules = path("rules/", self.admin_site.admin_view(self.rules_view), name="retention_rules")
        return [now, rules, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            "title": "Retention",
            "retention": settings.RETENTION,
            "before": retention.cutoff() if settings.RETENTION else None,
            "schedule": Schedule.objects.filter(func=SCHEDULED).exclude(repeats=0).order_by("next_run").first(),
            "is_running": retention.unfinished().exists(),
            "cluster_alive": stats.cluster_alive,  # called only while a run is in progress
            "rules": rules(),
            "labels": [*LABELS.values()],
            "tables": table_sizes(),
            "total_bytes": total_bytes(),
            "may_prune": may_prune(request),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def now_view(self, request: HttpRequest) -> HttpResponse:
        """What would be deleted; a post deletes it."""
        if not self.has_view_permission(request) or (request.method == "POST" and not may_prune(request)):
            raise PermissionDenied
        if not settings.RETENTION or retention.unfinished().exists():
            reason = "A run is already in progress." if settings.RETENTION else "Retention is off (RETENTION is 0)."
            self.message_user(request, reason, messages.WARNING)
            return _to_list()
        if request.method == "POST":
            return self.start_run(request)
        context = {
            **self.admin_site.each_context(request),
            "title": "Preview of retention",
            "opts": self.opts,
            "preview": (found := retention.preview(PREVIEW_SECONDS)),
            "numbers": retention.summary(found.numbers),
            "retention": settings.RETENTION,
            "may_prune": may_prune(request),
            "cluster_alive": stats.cluster_alive(),
        }
        return TemplateResponse(request, "admin/enrichment/retention_now.html", context)

    def rules_view(self, request: HttpRequest) -> HttpResponse:
        """How long what belongs to each stream is kept."""
        if not may_prune(request):
            raise PermissionDenied
        posted = request.POST if request.method == "POST" else None
        forms_ = [RuleForm(posted, instance=rule, prefix=rule.stream) for rule in rules()]
        if request.method == "POST" and {form.is_valid() for form in forms_} == {True}:
            for form in forms_:
                if form.has_changed():
                    log(request, form.save(), f"Kept for days: {_days_of(form.instance)}.")
            self.message_user(request, "Saved. This is what the next run deletes.", messages.SUCCESS)
            return HttpResponseRedirect(reverse("admin:retention_now"))
        context = {
            **self.admin_site.each_context(request),
            "title": "Retention by stream",
            "opts": self.opts,
            "forms": forms_,
            "labels": [*LABELS.values()],
            "retention": settings.RETENTION,
            "history": control_history(RetentionRule),
        }
        return TemplateResponse(request, "admin/enrichment/retention_rules.html", context)

    def start_run(self, request: HttpRequest) -> HttpResponse:
        by = f"user:{request.user.get_username()}"
        run = retention.create_run(by=by)
        retention.discard_old_dead_letters(by=by)
        log(
            request,
            run,
            f"Started: deletes everything completed before {run.before.isoformat(timespec='seconds')}.",
            ADDITION,
        )
        doorbell.wake_now()
        if stats.cluster_alive():
            self.message_user(request, "Started. The workers delete in small steps.", messages.SUCCESS)
        else:
            message = "No workers running: it starts when they do. To run it without them: python manage.py prune"
            self.message_user(request, message, messages.WARNING)
        return _to_list()

    @admin.display(description="status")
    def state(self, run: Pruning) -> SafeString:
        return badge("processed", "finished") if run.finished_at else badge("pending", "in progress")

    @admin.display(description="by")
    def by_(self, run: Pruning) -> str:
        return plain(run.by.removeprefix(senders.USER))

    @admin.display(description="completed before")
    def cutoff(self, run: Pruning) -> SafeString | str:
        return moment(run.before)

    @admin.display(description="deleted")
    def deleted_(self, run: Pruning) -> str:
        parts = (f"{name}: {thousands(number)}" for name, number in retention.summary(run.deleted))
        return " · ".join(parts) or ("nothing" if run.finished_at else "nothing so far")

    @admin.display(description="started")
    def started(self, run: Pruning) -> SafeString | str:
        return clock(run.started_at)

    @admin.display(description="ended")
    def ended(self, run: Pruning) -> SafeString | str:
        """No duration: it may have waited for a worker most of the time."""
        return clock(run.finished_at) if run.finished_at else "–"

    @admin.display(description="started")
    def started_at_(self, run: Pruning) -> SafeString | str:
        return moment(run.started_at)

    @admin.display(description="finished")
    def finished_at_(self, run: Pruning) -> SafeString | str:
        if run.finished_at:
            return moment(run.finished_at)
        return format_html("not yet; last step {} ago", age(run.changed_at))


def rules() -> list[RetentionRule]:
    """Of every stream, in order of reference; one without days where there is none."""
    found = RetentionRule.objects.in_bulk()
    return [found.get(name) or RetentionRule(stream=name) for name in streams.names()]


def _days_of(rule: RetentionRule) -> str:
    return ", ".join(f"{label} {getattr(rule, name) or 'as usual'}" for name, label in LABELS.items())


def may_prune(request: HttpRequest) -> bool:
    return request.user.has_perm("enrichment.prune")


def _to_list() -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:enrichment_pruning_changelist"))
