"""manage.py with a provider for tests and benchmarks: python -m tests.oracle URL REQUESTS/SECONDS COMMAND …

The provider is called oracle. A question of kind "age" costs a request and raises one of kind "detail", which costs
another; a question of kind "two" costs two.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from enrichment.lookups.models import Lookup
    from enrichment.lookups.providers import Provider, Question, Want

PROGRAM = (sys.executable, "-m", "tests.oracle")


def main() -> None:
    url, rate, *command = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    from django.core.management import call_command

    requests, seconds = rate.split("/")
    register(url, int(requests), float(seconds))
    call_command(*command)


def register(url: str, requests: int, seconds: float) -> Provider:
    from enrichment.lookups import providers

    providers._registered.clear()
    return providers.register(
        providers.Provider(name="oracle", url=url, rate=providers.Rate(requests, seconds), ask=ask, apply=raise_details)
    )


def ask(questions: Sequence[Question]) -> Mapping[str, Any]:
    from enrichment.lookups.http import get_json

    (question,) = questions
    if question.kind == "two":
        get_json("oracle", "/search", {"q": question.key})
    return {question.key: get_json("oracle", f"/{question.kind}", {"q": question.key})}


def raise_details(rows: Sequence[Lookup]) -> list[Want]:
    from enrichment.lookups import Want

    return [Want("oracle", "detail", row.key, after=row) for row in rows if row.kind == "age"]


if __name__ == "__main__":
    main()
