"""Stored records to look at, by key and by their derived fields; a correction is a new record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import IntegrityError, models
from django.db.models import Avg, Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from enrichment.models import StoredRecord
from ingestion.admin import FieldFilter, ReadOnlyAdmin
from ingestion.streams import Stream
from ingestion.templatetags.shown import age, moment, thousands
from tutoring.models import Feedback, Student, Subject, Tutor, TutoringSession
from tutoring.streams import FEEDBACK, SESSIONS, STUDENTS, TUTORS


class WarningsFilter(FieldFilter):
    title = parameter_name = "warnings"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("some", "some"), ("none", "none")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "some":
                return queryset.exclude(warnings=[])
            case "none":
                return queryset.filter(warnings=[])
            case unknown:
                return queryset.none() if unknown else queryset


class MonthFilter(FieldFilter):
    title = "month of year"
    parameter_name = "month_of_year"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(month), str(month)) for month in range(1, 13)]


class RatingFilter(FieldFilter):
    title = "overall rating"
    parameter_name = "overall_rating"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(rating), str(rating)) for rating in range(1, 6)]


class ReferenceFilter(admin.SimpleListFilter):
    """Shown only where a link, as from a tutor's page, has set it."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class TutorFilter(ReferenceFilter):
    title = "tutor"
    parameter_name = "tutor_id"


class StudentFilter(ReferenceFilter):
    title = "student"
    parameter_name = "student_id"


class SessionFilter(ReferenceFilter):
    title = "session"
    parameter_name = "session_id"


@cache
def time_column(name: str) -> Callable[[Any], SafeString | str]:
    """A column that shows a time with its offset."""

    @admin.display(description=name.replace("_", " "))
    def shown(row: Any) -> SafeString | str:
        return moment(getattr(row, name))

    shown.__name__ = name
    return shown


@cache
def titled(name: str, title: str, *, boolean: bool = False) -> Callable[[Any], Any]:
    """A column of a list under a shorter title, so that the list fits the screen."""

    @admin.display(description=title, boolean=boolean)
    def shown(row: Any) -> Any:
        return getattr(row, name)

    shown.__name__ = name
    return shown


class StoredRecordAdmin(ReadOnlyAdmin):
    """Of one stream: what was sent, what was derived, and where it came from."""

    stream: Stream
    actions = None
    search_help_text = "The key, or how it begins."
    more_fieldsets: Sequence[Any] = ()

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [f"{self.stream.key}__startswith"]

    # One that nothing refers to may be deleted, by those who have the permission.

    def has_delete_permission(self, request: HttpRequest, obj: StoredRecord | None = None) -> bool:
        permitted = admin.ModelAdmin.has_delete_permission(self, request, obj)
        return permitted and (obj is None or not referred_to(obj))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except IntegrityError:  # a record that refers to it was stored meanwhile
            self.message_user(request, "It was not deleted: other records refer to it by now.", messages.ERROR)
            return HttpResponseRedirect(reverse(f"admin:tutoring_{self.opts.model_name}_changelist"))

    # The page of one.

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        sent = [name for name in self.columns() if name in self.stream.schema.model_fields]
        derived = [name for name in self.columns() if name not in sent]
        return [
            ("Record", {"fields": [self.shown(name) for name in sent]}),
            ("Derived", {"fields": [self.shown(name) for name in derived]}),
            *self.more_fieldsets,
            ("Provenance", {"fields": ["warnings_", "delivery_", *map(time_column, ("version_at", "stored_at"))]}),
        ]

    def columns(self) -> list[str]:
        """The columns of the record's own and the derived fields."""
        provenance = {field.name for field in StoredRecord._meta.get_fields()}
        fields = self.stream.model._meta.concrete_fields
        return [field.attname for field in fields if field.name not in provenance]

    def shown(self, column: str) -> Any:
        """How a column is shown: by a method of that name with an underscore, a time with its offset, or by Django."""
        if hasattr(self, f"{column}_"):
            return f"{column}_"
        field = next(field for field in self.stream.model._meta.concrete_fields if field.attname == column)
        return time_column(column) if isinstance(field, models.DateTimeField) else field.name

    @admin.display(description="warnings")
    def warnings_(self, row: StoredRecord) -> SafeString | str:
        return format_html_join("", "<div>{}</div>", ((text,) for text in row.warnings)) or "none"

    @admin.display(description="warnings")
    def warned(self, row: StoredRecord) -> str:
        return str(len(row.warnings) or "")

    @admin.display(description="delivery")
    def delivery_(self, row: StoredRecord) -> SafeString | str:
        if not row.delivery:
            return "none"
        page = reverse("admin:ingestion_delivery_change", args=[row.delivery])
        return format_html('<a href="{}">{}</a>, position {}', page, row.delivery, row.position)

    @admin.display(description="stored")
    def stored(self, row: StoredRecord) -> SafeString | str:
        return age(row.stored_at)


def referred_to(row: models.Model) -> bool:
    """Whether other stored records refer to this one."""
    relations = row._meta.related_objects
    return any(
        relation.related_model._default_manager.filter(**{relation.field.name: row}).exists() for relation in relations
    )


def list_link(model: str, text: str, **filters: Any) -> SafeString:
    page = reverse(f"admin:tutoring_{model}_changelist")
    return format_html('<a href="{}?{}">{}</a>', page, urlencode(filters), text)


@admin.register(Tutor)
class TutorAdmin(StoredRecordAdmin):
    stream = TUTORS
    ordering = ["tutor_id"]
    list_display = (
        "tutor_id",
        "name",
        "status",
        titled("experience_level", "level"),
        "tenure_days",
        titled("is_new_tutor", "new", boolean=True),
        titled("is_active_today", "active today", boolean=True),
        titled("subject_count", "subjects"),
        "warned",
        "stored",
    )
    list_filter = (
        "experience_level",
        "is_new_tutor",
        "is_active_today",
        "status",
        "subject_type",
        "behavioral_archetype",
        WarningsFilter,
    )
    more_fieldsets = [("Numbers", {"fields": ["sessions_", "rating_"]})]

    @admin.display(description="sessions")
    def sessions_(self, tutor: Tutor) -> SafeString:
        numbers = tutor.sessions.aggregate(
            all=Count("pk"),
            late=Count("pk", filter=Q(is_late_start=True)),
            no_show=Count("pk", filter=Q(no_show=True)),
        )
        own = {"tutor_id": tutor.pk}
        return format_html(
            "{} · {} · {}",
            list_link("tutoringsession", f"{thousands(numbers['all'])} sessions", **own),
            list_link("tutoringsession", f"{thousands(numbers['late'])} late", **own, is_late_start__exact=1),
            list_link("tutoringsession", f"{thousands(numbers['no_show'])} no-show", **own, no_show__exact=1),
        )

    @admin.display(description="mean rating")
    def rating_(self, tutor: Tutor) -> SafeString | str:
        numbers = tutor.feedback.aggregate(all=Count("pk"), mean=Avg("overall_rating"))
        if not numbers["all"]:
            return "no feedback yet"
        feedback = list_link("feedback", f"{thousands(numbers['all'])} feedback", tutor_id=tutor.pk)
        return format_html("{} of {}", f"{numbers['mean']:.2f}", feedback)


@admin.register(Student)
class StudentAdmin(StoredRecordAdmin):
    stream = STUDENTS
    ordering = ["student_id"]
    list_display = ("student_id", "name", "age", "grade_level", "is_stub", "warned", "stored")
    list_filter = ("is_stub",)
    more_fieldsets = [("Numbers", {"fields": ["sessions_"]})]

    @admin.display(description="sessions")
    def sessions_(self, student: Student) -> SafeString:
        number = thousands(student.sessions.count())
        return list_link("tutoringsession", f"{number} sessions", student_id=student.pk)


@admin.register(TutoringSession)
class SessionAdmin(StoredRecordAdmin):
    stream = SESSIONS
    ordering = ["-scheduled_start", "-session_id"]
    list_display = (
        "session_id",
        "scheduled_start_",
        titled("tutor_id", "tutor"),
        titled("student_id", "student"),
        "subject",
        "minutes",
        "time_of_day",
        titled("is_late_start", "late", boolean=True),
        titled("no_show", "no-show", boolean=True),
        "warned",
    )
    list_filter = (
        TutorFilter,
        StudentFilter,
        "is_late_start",
        "no_show",
        "is_weekend",
        "time_of_day",
        MonthFilter,
        "session_type",
        "is_first_session",
        WarningsFilter,
    )
    search_help_text = "The key or how it begins, or the whole key of the tutor or student."
    more_fieldsets = [("Numbers", {"fields": ["feedback_"]})]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [*super().get_search_fields(request), "tutor__exact", "student__exact"]

    @admin.display(description="scheduled start")
    def scheduled_start_(self, session: TutoringSession) -> str:
        return session.scheduled_start_as_sent.isoformat(sep=" ")

    @admin.display(description="minutes")
    def minutes(self, session: TutoringSession) -> str:
        actual = session.actual_duration_minutes
        return f"{session.duration_minutes}" if actual is None else f"{actual} of {session.duration_minutes}"

    @admin.display(description="feedback")
    def feedback_(self, session: TutoringSession) -> SafeString:
        return list_link("feedback", f"{session.feedback.count()} feedback", session_id=session.pk)


@admin.register(Feedback)
class FeedbackAdmin(StoredRecordAdmin):
    stream = FEEDBACK
    ordering = ["-submitted_at", "-feedback_id"]
    list_display = (
        "feedback_id",
        "submitted",
        titled("session_id", "session"),
        titled("tutor_id", "tutor"),
        titled("student_id", "student"),
        titled("overall_rating", "rating"),
        titled("avg_category_rating", "categories"),
        titled("is_poor", "poor", boolean=True),
        titled("has_text_feedback", "text", boolean=True),
        titled("feedback_delay_hours", "delay (h)"),
        "warned",
    )
    list_filter = (
        TutorFilter,
        StudentFilter,
        SessionFilter,
        "is_poor",
        "is_positive",
        RatingFilter,
        "has_text_feedback",
        "is_first_session",
        "would_recommend",
        WarningsFilter,
    )
    search_help_text = "The key or how it begins, or the whole key of the session, tutor or student."

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [*super().get_search_fields(request), "session__exact", "tutor__exact", "student__exact"]

    @admin.display(description="submitted")
    def submitted(self, feedback: Feedback) -> SafeString | str:
        return age(feedback.submitted_at)


@admin.register(Subject)
class SubjectAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name",)
    search_fields = ("name",)
    list_per_page = 50
    show_full_result_count = False
