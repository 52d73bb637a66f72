"""Lookups: questions to outside services, asked in the background, each once for everybody.

A domain declares a `Provider`, registers it, and asks by `want`.
"""

from enrichment.lookups.choices import ask_again, choose, choose_each, reject_all, undo_choice
from enrichment.lookups.providers import Answer, Description, Provider, Question, Rate, Want, register
from enrichment.lookups.questions import ask, want

__all__ = [
    "Answer",
    "Description",
    "Provider",
    "Question",
    "Rate",
    "Want",
    "ask",
    "ask_again",
    "choose",
    "choose_each",
    "register",
    "reject_all",
    "undo_choice",
    "want",
]
