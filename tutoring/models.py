"""What is stored: the record's own fields, then the derived ones. CHECK constraints repeat the rules of the schemas."""

from datetime import datetime, timedelta, timezone

from django.db import models
from django.db.models import F, Q

from enrichment.models import StoredRecord, choice_check, range_check

RATINGS = (
    "subject_knowledge_rating",
    "communication_rating",
    "patience_rating",
    "engagement_rating",
    "helpfulness_rating",
)
"""The five categories of feedback."""


class TutorStatus(models.TextChoices):
    ACTIVE = "active", "active"
    INACTIVE = "inactive", "inactive"
    SUSPENDED = "suspended", "suspended"
    CHURNED = "churned", "churned"


class SubjectType(models.TextChoices):
    STEM = "STEM", "STEM"
    LANGUAGE = "Language", "Language"
    TEST_PREP = "TestPrep", "TestPrep"


class Archetype(models.TextChoices):
    HIGH_PERFORMER = "high_performer", "high performer"
    AT_RISK = "at_risk", "at risk"
    NEW_TUTOR = "new_tutor", "new tutor"
    STEADY = "steady", "steady"
    CHURNER = "churner", "churner"


class Experience(models.TextChoices):
    JUNIOR = "junior", "junior"
    MID = "mid", "mid"
    SENIOR = "senior", "senior"


class SessionType(models.TextChoices):
    ONE_ON_ONE = "1-on-1", "1-on-1"
    GROUP = "group", "group"
    WORKSHOP = "workshop", "workshop"


class TimeOfDay(models.TextChoices):
    MORNING = "morning", "morning"
    AFTERNOON = "afternoon", "afternoon"
    EVENING = "evening", "evening"
    NIGHT = "night", "night"


class Subject(models.Model):
    """An entry of the catalogue of subjects."""

    name = models.CharField(max_length=100, unique=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Tutor(StoredRecord):
    tutor_id = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=255)
    email = models.EmailField(max_length=254)
    subjects = models.JSONField()
    onboarding_date = models.DateTimeField()
    status = models.CharField(max_length=10, choices=TutorStatus)
    age = models.SmallIntegerField(null=True, blank=True)
    location = models.CharField(max_length=255, null=True, blank=True)
    education_level = models.CharField(max_length=100, null=True, blank=True)
    subject_type = models.CharField(max_length=10, choices=SubjectType, null=True, blank=True)
    behavioral_archetype = models.CharField(max_length=20, choices=Archetype, null=True, blank=True)
    baseline_sessions_per_week = models.SmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True)

    tenure_days = models.IntegerField(editable=False, help_text="Whole days since onboarding_date.")
    is_new_tutor = models.BooleanField(editable=False, help_text="Onboarded less than 30 days ago.")
    experience_level = models.CharField(
        max_length=10,
        choices=Experience,
        editable=False,
        help_text="junior: less than 90 days; senior: more than 365; mid: between.",
    )
    subject_count = models.SmallIntegerField(editable=False, help_text="Number of subjects.")
    is_active_today = models.BooleanField(
        editable=False, null=True, blank=True, help_text="updated_at falls on today's date."
    )
    derived_on = models.DateField(editable=False, help_text="Date (in TIME_ZONE) to which these five fields refer.")

    class Meta:
        constraints = [
            choice_check("tutor", "status", TutorStatus),
            choice_check("tutor", "subject_type", SubjectType),
            choice_check("tutor", "behavioral_archetype", Archetype),
            range_check("tutor", "age", 18, 100),
            range_check("tutor", "baseline_sessions_per_week", 0, 50),
        ]

    def __str__(self) -> str:
        return self.tutor_id


class Student(StoredRecord):
    student_id = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=255, blank=True, help_text="Empty for a placeholder.")
    age = models.SmallIntegerField(null=True, blank=True)
    grade_level = models.CharField(max_length=50, null=True, blank=True)
    subjects_interested = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True)

    is_stub = models.BooleanField(
        default=False, editable=False, help_text="Placeholder for a student whose record has not arrived yet."
    )

    class Meta:
        constraints = [range_check("student", "age", 3, 120)]

    def __str__(self) -> str:
        return self.student_id


class TutoringSession(StoredRecord):
    session_id = models.CharField(max_length=64, primary_key=True)
    tutor = models.ForeignKey(Tutor, models.PROTECT, related_name="sessions", db_index=False)
    student = models.ForeignKey(Student, models.PROTECT, related_name="sessions", db_index=False)
    scheduled_start = models.DateTimeField()
    duration_minutes = models.SmallIntegerField()
    subject = models.CharField(max_length=100)
    session_number = models.IntegerField(null=True, blank=True)
    is_first_session = models.BooleanField()
    no_show = models.BooleanField()
    actual_start = models.DateTimeField(null=True, blank=True)
    actual_end = models.DateTimeField(null=True, blank=True)
    session_type = models.CharField(max_length=10, choices=SessionType)
    tutor_initiated_reschedule = models.BooleanField()
    late_start_minutes = models.SmallIntegerField(null=True, blank=True)
    engagement_score = models.FloatField(null=True, blank=True)
    learning_objectives_met = models.BooleanField(null=True, blank=True)
    technical_issues = models.BooleanField()
    created_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(null=True, blank=True)

    scheduled_offset = models.SmallIntegerField(
        editable=False, help_text="UTC offset in minutes that scheduled_start was sent with."
    )
    is_weekend = models.BooleanField(editable=False, help_text="On a Saturday or Sunday, local time of the session.")
    time_of_day = models.CharField(
        max_length=10,
        choices=TimeOfDay,
        editable=False,
        help_text="Morning 5–11, afternoon 12–16, evening 17–21, night 22–4 o'clock, local time of the session.",
    )
    is_late_start = models.BooleanField(editable=False, null=True, blank=True, help_text="More than 5 minutes late.")
    actual_duration_minutes = models.IntegerField(
        editable=False,
        null=True,
        blank=True,
        help_text="From actual_start to actual_end; duration_minutes if the end is unknown.",
    )
    week_of_year = models.SmallIntegerField(
        editable=False, help_text="ISO week of scheduled_start, local time of the session."
    )
    month_of_year = models.SmallIntegerField(
        editable=False, help_text="Month of scheduled_start (1–12), local time of the session."
    )

    exposed_as = {"scheduled_start": "scheduled_start_as_sent"}

    class Meta:
        verbose_name = "session"
        indexes = [
            # The references by hand: Django's own would come with a second one each, for LIKE.
            models.Index(fields=["tutor"], name="session_tutor"),
            models.Index(fields=["student"], name="session_student"),
            models.Index(fields=["scheduled_start"], name="session_start"),
            models.Index(fields=["scheduled_start"], name="session_late", condition=Q(is_late_start=True)),
            models.Index(fields=["scheduled_start"], name="session_no_show", condition=Q(no_show=True)),
        ]
        constraints = [
            range_check("session", "duration_minutes", 0, 300),
            range_check("session", "late_start_minutes", 0, 60),
            range_check("session", "engagement_score", 0, 1),
            range_check("session", "session_number", 1, 2**31 - 1),
            choice_check("session", "session_type", SessionType),
            models.CheckConstraint(
                condition=Q(late_start_minutes__lte=F("duration_minutes")),
                name="session_late_within_duration",
                violation_error_message="late_start_minutes must not exceed duration_minutes.",
            ),
            models.CheckConstraint(
                condition=Q(actual_end__gt=F("actual_start")),
                name="session_ends_after_start",
                violation_error_message="actual_end must be after actual_start.",
            ),
            models.CheckConstraint(
                condition=Q(no_show=False) | Q(actual_start=None),
                name="session_no_show_has_no_start",
                violation_error_message="actual_start must be absent when no_show is true.",
            ),
        ]

    def __str__(self) -> str:
        return self.session_id

    @property
    def scheduled_start_as_sent(self) -> datetime:
        return self.scheduled_start.astimezone(timezone(timedelta(minutes=self.scheduled_offset)))


class Feedback(StoredRecord):
    feedback_id = models.CharField(max_length=64, primary_key=True)
    session = models.ForeignKey(TutoringSession, models.PROTECT, related_name="feedback", db_index=False)
    student = models.ForeignKey(Student, models.PROTECT, related_name="feedback", db_index=False)
    tutor = models.ForeignKey(Tutor, models.PROTECT, related_name="feedback", db_index=False)
    overall_rating = models.SmallIntegerField()
    submitted_at = models.DateTimeField()
    session_scheduled_start = models.DateTimeField(
        help_text="Overrides the session’s own start.", null=True, blank=True
    )
    subject_knowledge_rating = models.SmallIntegerField(null=True, blank=True)
    communication_rating = models.SmallIntegerField(null=True, blank=True)
    patience_rating = models.SmallIntegerField(null=True, blank=True)
    engagement_rating = models.SmallIntegerField(null=True, blank=True)
    helpfulness_rating = models.SmallIntegerField(null=True, blank=True)
    is_first_session = models.BooleanField()
    free_text_feedback = models.CharField(max_length=5000, null=True, blank=True)
    would_recommend = models.BooleanField(null=True, blank=True)
    improvement_areas = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(null=True, blank=True)

    is_positive = models.BooleanField(editable=False, help_text="overall_rating is 4 or 5.")
    is_poor = models.BooleanField(editable=False, help_text="overall_rating is 1 or 2.")
    avg_category_rating = models.FloatField(
        editable=False, null=True, blank=True, help_text="Mean of the category ratings given."
    )
    category_variance = models.FloatField(
        editable=False, null=True, blank=True, help_text="Population variance of the category ratings."
    )
    has_text_feedback = models.BooleanField(editable=False, help_text="free_text_feedback is not blank.")
    feedback_delay_hours = models.FloatField(
        editable=False,
        null=True,
        blank=True,
        help_text="From the session’s scheduled start to submitted_at; negative if submitted earlier.",
    )
    session_start_used = models.DateTimeField(
        editable=False, help_text="Session start that the delay was computed from.", null=True, blank=True
    )

    class Meta:
        verbose_name_plural = "feedback"
        indexes = [
            models.Index(fields=["session"], name="feedback_session"),
            models.Index(fields=["student"], name="feedback_student"),
            models.Index(fields=["tutor"], name="feedback_tutor"),
            models.Index(fields=["submitted_at"], name="feedback_submitted"),
            models.Index(fields=["submitted_at"], name="feedback_poor", condition=Q(is_poor=True)),
        ]
        constraints = [
            *(range_check("feedback", rating, 1, 5) for rating in ("overall_rating", *RATINGS)),
            models.CheckConstraint(
                condition=Q(is_first_session=False) | Q(would_recommend__isnull=False),
                name="feedback_first_would_recommend",
                violation_error_message="would_recommend is required when is_first_session is true.",
            ),
        ]

    def __str__(self) -> str:
        return self.feedback_id
