"""What synthetic feedback says in words."""

from collections.abc import Mapping
from random import Random
from typing import Any

from tutoring.synthetic.people import Slot
from tutoring.synthetic.profiles import TOPICS

# Rating: what is said.
TEXTS: Mapping[int, tuple[str, ...]] = {
    5: (
        "{tutor} made {topic} easy to understand. I finally get it!",
        "Excellent session on {topic}. {tutor} is patient and very well prepared.",
        "The best {subject} session so far. We worked through {topic} step by step.",
        "{tutor} found exactly what I was missing about {topic}. Highly recommended.",
        "Loved it. The examples on {topic} really helped, and I can do the homework on my own now.",
    ),
    4: (
        "Good session. {tutor} explained {topic} well.",
        "I feel more confident with {topic} now. A little more practice would help.",
        "Helpful {subject} session, clear explanations of {topic}.",
        "{tutor} answered all my questions about {topic}.",
        "We made good progress with {topic}.",
    ),
    3: (
        "It was okay. Some of {topic} is still unclear to me.",
        "{tutor} knows {subject}, but went through {topic} too fast.",
        "An average session; I had hoped for more exercises on {topic}.",
        "Parts of it helped. I will have to read up on {topic} again.",
    ),
    2: (
        "I am still confused about {topic} after this session.",
        "{tutor} did not seem prepared for {topic}.",
        "Not what I expected from this {subject} session: little explanation, few examples.",
        "Hard to follow. We jumped around and never finished {topic}.",
    ),
    1: (
        "This was a waste of time. I learned nothing about {topic}.",
        "{tutor} was distracted and could not explain {topic}.",
        "Very disappointed with this {subject} session. I would like another tutor.",
    ),
}
LATE_TEXT = "We started {late} minutes late."
ISSUES_TEXT = "The connection kept dropping."
OBJECTIVES_MISSED_TEXT = "We did not get to what we had planned."
OBJECTIVES_MET_TEXT = "We covered everything we had planned."
FIRST_TEXT = "A great first session."
CATEGORIES = {
    "subject_knowledge_rating": "subject knowledge",
    "communication_rating": "communication",
    "patience_rating": "patience",
    "engagement_rating": "engagement",
    "helpfulness_rating": "helpfulness",
}
IMPROVEMENTS = (
    "pacing",
    "more examples",
    "clearer explanations",
    "preparation",
    "more practice",
    "checking understanding",
)


def feedback_text(rng: Random, slot: Slot, session: dict[str, Any], rating: int) -> str:
    late = session["late_start_minutes"]
    text = rng.choice(TEXTS[rating])
    if rating <= 3 and late > 5:
        text += f" {LATE_TEXT}"
    if rating <= 3 and session["technical_issues"]:
        text += f" {ISSUES_TEXT}"
    if rating <= 3 and not session["learning_objectives_met"]:
        text += f" {OBJECTIVES_MISSED_TEXT}"
    if rating == 5 and session["is_first_session"]:
        text += f" {FIRST_TEXT}"
    if rating >= 4 and session["learning_objectives_met"] and rng.random() < 0.3:
        text += f" {OBJECTIVES_MET_TEXT}"
    tutor, topic = slot.tutor.name.partition(" ")[0], rng.choice(TOPICS[slot.subject])
    return text.format(tutor=tutor, subject=slot.subject, topic=topic, late=late)


def improvement_areas_for(rng: Random, session: dict[str, Any], feedback: dict[str, Any]) -> list[str]:
    """What could be better: always something at 3 and below, sometimes at 4."""
    rating = feedback["overall_rating"]
    if rating == 5 or (rating == 4 and rng.random() < 0.75):
        return []
    areas = [name for category, name in CATEGORIES.items() if feedback.get(category, rating) < rating]
    if session["late_start_minutes"] > 5:
        areas.append("punctuality")
    if session["technical_issues"]:
        areas.append("technical setup")
    return areas[:3] or [rng.choice(IMPROVEMENTS)]
