"""The lists and pages of tutors, students, sessions and feedback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.base import RestrictedLookupAdmin
from console.filters import WarningsFilter, flag_filter
from console.personal import shown_to
from console.stored.admin import StoredRecordAdmin, badges, column, for_one, with_links
from console.stored.page import as_sent, latest, list_page, page_of
from console.templatetags.formatting import age
from ingestion.text import plain
from tutoring import statistics, tutor_page
from tutoring.admin_filters import (
    MonthFilter,
    RatingFilter,
    ScheduledFilter,
    SessionFilter,
    StudentFilter,
    SubmittedFilter,
    TutorFilter,
)
from tutoring.models import Feedback, Student, Subject, Tutor, TutoringSession
from tutoring.streams import FEEDBACK, SESSIONS, STUDENTS, TUTORS


@admin.register(Tutor)
class TutorAdmin(StoredRecordAdmin):
    stream = TUTORS
    ordering = ["tutor_id"]
    search_lookups = ("name__contains_any_case", "email__iexact")
    search_help_text = "ID or its beginning, part of the name, or full email address"
    page_template = "admin/tutoring/tutor.html"
    list_display = (
        "tutor_id",
        "name_",
        "status",
        column("experience_level", "level"),
        column("tenure_days", "tenure (days)"),
        column("subject_count", "subjects"),
        "notes",
        "stored",
    )
    list_filter = (
        "experience_level",
        flag_filter("is_new_tutor", "new"),
        flag_filter("is_active_today", "active today"),
        "status",
        "subject_type",
        "behavioral_archetype",
        WarningsFilter,
    )

    @admin.display(description="name")
    def name_(self, tutor: Tutor) -> str:
        return plain(tutor.name)

    @admin.display(description="notes", empty_value="")
    def notes(self, tutor: Tutor) -> SafeString:
        return badges(
            tutor, (tutor.is_new_tutor, "pending", "new"), (tutor.is_active_today, "resolved", "active today")
        )

    def more(self, request: HttpRequest, row: Any) -> Mapping[str, Any]:
        found = statistics.tutor_stats(row)
        return {
            "tiles": tutor_page.tiles(request, row, found),
            "charts": tutor_page.charts(found),
            "comments": with_links(request, found.comments),
            "feedback_page": list_page(request, Feedback, tutor_id=row.pk, has_text_feedback__exact=1),
        }


@admin.register(Student)
class StudentAdmin(StoredRecordAdmin):
    stream = STUDENTS
    ordering = ["student_id"]
    search_help_text = "ID or its beginning"
    page_template = "admin/tutoring/student.html"
    list_display = ("student_id", "name_", "age", "grade_level", "notes", "stored")
    list_filter = (flag_filter("is_stub", "placeholder"), WarningsFilter)

    @admin.display(description="name")
    def name_(self, student: Student) -> str:
        return plain(student.name) or "–"

    @admin.display(description="notes", empty_value="")
    def notes(self, student: Student) -> SafeString:
        return badges(student, (student.is_stub, "waiting", "placeholder"))

    def more(self, request: HttpRequest, row: Any) -> Mapping[str, Any]:
        found = statistics.student_stats(row)
        return {
            "tiles": tutor_page.student_tiles(request, row, found),
            "last_sessions": with_links(request, found.last_sessions),
            "last_feedback": with_links(request, found.last_feedback),
            "tutors": [
                (replace(each, name=shown_to(request.user, each.name)), page_of(request, Tutor, each.tutor_id))
                for each in found.tutors
            ],
        }


@admin.register(TutoringSession)
class SessionAdmin(StoredRecordAdmin):
    stream = SESSIONS
    ordering = ["-scheduled_start", "-session_id"]
    search_lookups = ("tutor__exact", "student__exact")
    search_help_text = "ID or its beginning, or the full ID of the tutor or student"
    page_template = "admin/tutoring/session.html"
    list_display = (
        "session_id",
        "scheduled_start_",
        column("tutor_id", "tutor"),
        column("student_id", "student"),
        "subject",
        "minutes",
        "notes",
    )
    list_filter = (
        TutorFilter,
        StudentFilter,
        ScheduledFilter,
        flag_filter("is_late_start", "late start"),
        flag_filter("no_show", "no-show"),
        flag_filter("tutor_initiated_reschedule", "rescheduled by the tutor"),
        flag_filter("is_weekend", "weekend"),
        "time_of_day",
        "session_type",
        flag_filter("is_first_session", "first session"),
        WarningsFilter,
        MonthFilter,
    )

    @admin.display(description="scheduled start")
    def scheduled_start_(self, session: TutoringSession) -> SafeString:
        return as_sent(session.scheduled_start_as_sent)

    @admin.display(description="minutes")
    def minutes(self, session: TutoringSession) -> str:
        actual = session.actual_duration_minutes
        return f"{session.duration_minutes}" if actual is None else f"{actual} of {session.duration_minutes}"

    @admin.display(description="notes", empty_value="")
    def notes(self, session: TutoringSession) -> SafeString:
        return badges(
            session,
            (session.is_late_start, "waiting", f"{session.late_start_minutes} min late"),
            (session.no_show, "dead", "no-show"),
            (session.tutor_initiated_reschedule, "stale", "rescheduled"),
        )

    def more(self, request: HttpRequest, row: Any) -> Mapping[str, Any]:
        found = latest(row.feedback.all(), "submitted_at", statistics.MAX_ROWS)
        return {
            "tutor": (row.tutor, page_of(request, Tutor, row.tutor_id)),
            "student": (row.student, page_of(request, Student, row.student_id)),
            "start": as_sent(row.scheduled_start_as_sent),
            "feedback": with_links(request, found),
            "feedback_page": list_page(request, Feedback, session_id=row.pk),
        }

    def get_queryset(self, request: HttpRequest) -> Any:
        return for_one(request, super().get_queryset(request), "tutor", "student")


@admin.register(Feedback)
class FeedbackAdmin(StoredRecordAdmin):
    stream = FEEDBACK
    ordering = ["-submitted_at", "-feedback_id"]
    search_lookups = ("session__exact", "tutor__exact", "student__exact")
    search_help_text = "ID or its beginning, or the full ID of the session, tutor or student"
    page_template = "admin/tutoring/feedback.html"
    list_display = (
        "feedback_id",
        "submitted",
        column("session_id", "session"),
        column("tutor_id", "tutor"),
        "rating",
        column("feedback_delay_hours", "delay (h)"),
        "notes",
    )
    list_filter = (
        TutorFilter,
        StudentFilter,
        SessionFilter,
        SubmittedFilter,
        flag_filter("is_poor", "poor rating"),
        flag_filter("is_positive", "positive rating"),
        RatingFilter,
        flag_filter("has_text_feedback", "has comment"),
        flag_filter("is_first_session", "first session"),
        flag_filter("would_recommend", "would recommend"),
        WarningsFilter,
    )

    @admin.display(description="submitted")
    def submitted(self, feedback: Feedback) -> SafeString | str:
        return age(feedback.submitted_at)

    @admin.display(description="rating")
    def rating(self, feedback: Feedback) -> str:
        return f"{feedback.overall_rating} of 5"

    @admin.display(description="notes", empty_value="")
    def notes(self, feedback: Feedback) -> SafeString:
        return badges(
            feedback,
            (feedback.is_poor, "dead", "poor"),
            (feedback.has_text_feedback, "pending", "comment"),
        )

    def more(self, request: HttpRequest, row: Any) -> Mapping[str, Any]:
        return {
            "start": as_sent(row.session.scheduled_start_as_sent),
            "session": (row.session, page_of(request, TutoringSession, row.session_id)),
            "tutor": (row.tutor, page_of(request, Tutor, row.tutor_id)),
            "student": (row.student, page_of(request, Student, row.student_id)),
        }

    def get_queryset(self, request: HttpRequest) -> Any:
        return for_one(request, super().get_queryset(request), "session", "tutor", "student")


@admin.register(Subject)
class SubjectAdmin(RestrictedLookupAdmin):
    list_display = ("name",)
    search_fields = ("name",)
    list_per_page = 50
    show_full_result_count = False
