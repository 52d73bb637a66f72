"""What synthetic people are like: archetypes of tutors, subjects, names, habits of the week."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Archetype:
    """How a kind of tutor behaves. Shares lie between 0 and 1; ranges are inclusive."""

    share: float
    weekly: tuple[int, int]
    """Sessions a week."""
    tenure: tuple[int, int]
    """Days since onboarding."""
    no_show: float
    reschedule: float
    late: float
    """Share of sessions that start more than 5 minutes late."""
    max_lateness: int
    """Minutes."""
    engagement: tuple[float, float]
    rating: float
    """What their sessions are rated in the mean, before the session's own luck."""
    technical_issues: float = 0.04
    leaves: float = 0.0
    """Share of those who stop teaching within the days generated, with `status_after_leaving` as status."""
    status_after_leaving: str = "inactive"


ARCHETYPES = {
    "high_performer": Archetype(
        share=0.30,
        weekly=(16, 30),
        tenure=(120, 1800),
        no_show=0.01,
        reschedule=0.02,
        late=0.03,
        max_lateness=9,
        engagement=(0.75, 1.0),
        rating=4.7,
    ),
    "at_risk": Archetype(
        share=0.20,
        weekly=(10, 22),
        tenure=(60, 900),
        no_show=0.15,
        reschedule=0.25,
        late=0.35,
        max_lateness=25,
        engagement=(0.35, 0.70),
        rating=3.5,
        technical_issues=0.12,
        leaves=0.08,
        status_after_leaving="suspended",
    ),
    "new_tutor": Archetype(
        share=0.25,
        weekly=(10, 24),
        tenure=(1, 29),
        no_show=0.05,
        reschedule=0.10,
        late=0.15,
        max_lateness=15,
        engagement=(0.55, 0.85),
        rating=4.0,
        technical_issues=0.08,
    ),
    "steady": Archetype(
        share=0.20,
        weekly=(14, 28),
        tenure=(100, 1500),
        no_show=0.03,
        reschedule=0.05,
        late=0.08,
        max_lateness=10,
        engagement=(0.60, 0.90),
        rating=4.3,
        leaves=0.02,
    ),
    "churner": Archetype(
        share=0.05,
        weekly=(5, 14),
        tenure=(45, 700),
        no_show=0.25,
        reschedule=0.40,
        late=0.40,
        max_lateness=30,
        engagement=(0.20, 0.55),
        rating=2.9,
        technical_issues=0.12,
        leaves=0.60,
        status_after_leaving="churned",
    ),
}
WEEKDAYS = (1.15, 1.20, 1.20, 1.10, 0.70, 0.90, 0.75)
"""Sessions on Monday … Sunday, beside an average day."""
PARTS_OF_DAY = {"morning": 0.20, "afternoon": 0.35, "evening": 0.45}
HOURS = {"morning": (6, 12), "afternoon": (12, 17), "evening": (17, 22)}
"""When the sessions of a part of the day begin and end, by the tutor's clock."""
DURATIONS = {30: 0.20, 45: 0.20, 60: 0.45, 90: 0.15}
SESSION_TYPES = {"1-on-1": 0.86, "group": 0.10, "workshop": 0.04}
FEEDBACK_SHARE = 0.85
NO_TEXT_SHARE = 0.315
"""Share of ratings of 3 and more; those of 1 and 2 always say why. Makes 30 % of all."""
NEW_STUDENT_SHARE = 0.35
"""Share of students who have had no session before the days generated."""
SECOND_TUTOR_SHARE = 0.40
"""Share of students who learn from a second tutor."""
# Zone: share of tutors, cities. Zones west of UTC end their last day after midnight UTC: see last_day().
ZONES: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "America/New_York": (0.28, ("New York", "Boston", "Philadelphia", "Atlanta", "Miami")),
    "America/Chicago": (0.20, ("Chicago", "Houston", "Minneapolis", "Nashville")),
    "America/Los_Angeles": (0.22, ("Los Angeles", "Seattle", "San Diego", "Portland")),
    "Europe/London": (0.12, ("London", "Leeds", "Bristol", "Edinburgh")),
    "Asia/Kolkata": (0.12, ("Pune", "Chennai", "Bengaluru", "Kolkata")),
    "Australia/Sydney": (0.06, ("Sydney", "Newcastle", "Wollongong")),
}
# Type: subject: minimum age of a student, topics.
SUBJECTS: Mapping[str, Mapping[str, tuple[int, tuple[str, ...]]]] = {
    "STEM": {
        "Mathematics": (7, ("fractions", "long division", "word problems", "percentages")),
        "Algebra": (12, ("linear equations", "factoring", "inequalities", "systems of equations")),
        "Calculus": (16, ("limits", "the chain rule", "integration by parts", "related rates")),
        "Geometry": (11, ("similar triangles", "circle theorems", "proofs", "areas and volumes")),
        "Physics": (14, ("Newton's laws", "electric circuits", "projectile motion", "energy and work")),
        "Chemistry": (14, ("balancing equations", "the mole", "acids and bases", "chemical bonds")),
        "Biology": (13, ("cell division", "genetics", "photosynthesis", "the nervous system")),
        "Computer Science": (12, ("loops", "recursion", "sorting", "binary numbers")),
    },
    "Language": {
        "English": (7, ("reading comprehension", "grammar", "vocabulary", "punctuation")),
        "Writing": (9, ("essay outlines", "topic sentences", "editing a draft", "citing sources")),
        "Literature": (13, ("Macbeth", "poetry analysis", "character study", "themes and symbols")),
        "Spanish": (9, ("the past tenses", "ser and estar", "conversation", "object pronouns")),
        "French": (9, ("the passé composé", "pronunciation", "conversation", "irregular verbs")),
    },
    "TestPrep": {
        "SAT Prep": (15, ("the reading section", "the math section", "pacing", "grammar questions")),
        "ACT Prep": (15, ("the science section", "the math section", "pacing", "the English section")),
        "AP Test Prep": (15, ("free-response questions", "document questions", "timed practice", "past papers")),
        "GRE Prep": (20, ("quantitative comparison", "text completion", "the analytical essay", "vocabulary")),
    },
}
SUBJECT_TYPES = {"STEM": 0.50, "Language": 0.28, "TestPrep": 0.22}
MIN_AGE = {subject: min_age for subjects in SUBJECTS.values() for subject, (min_age, _) in subjects.items()}
TOPICS = {subject: topics for subjects in SUBJECTS.values() for subject, (_, topics) in subjects.items()}
EDUCATION = {"Bachelor's degree": 0.45, "Master's degree": 0.30, "Doctorate": 0.08, "Undergraduate student": 0.17}
FIRST_NAMES = (
    *("Amara", "Ben", "Carla", "Daniel", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jamal", "Keiko", "Liam", "Maya"),
    *("Noah", "Olga", "Priya", "Quentin", "Rosa", "Samir", "Tessa", "Uma", "Victor", "Wen", "Ximena", "Yusuf", "Zoë"),
    *("Aiden", "Beatriz", "Chidi", "Dana", "Esther", "Felix", "Greta", "Hannah", "Ivan", "Joy", "Kofi", "Leïla"),
    *("Marcus", "Nadia", "Omar", "Paula", "Renée", "Sofía", "Thomas", "Vera", "William", "Yara"),
)
LAST_NAMES = (
    *("Adams", "Baker", "Chen", "Diaz", "Evans", "Fischer", "García", "Hughes", "Ibrahim", "Johnson", "Kim", "Lopez"),
    *("Mehta", "Nguyen", "O'Brien", "Patel", "Quinn", "Rossi", "Singh", "Taylor", "Usman", "Vargas", "Walker", "Xu"),
    *("Young", "Zimmer", "Almeida", "Brown", "Cohen", "Davies", "Edwards", "Ferrari", "Green", "Hernández", "Iyer"),
    *("Jones", "Kowalski", "Lee", "Müller", "Nowak", "Okafor", "Peterson", "Reid", "Santos", "Tanaka", "Weber"),
)
