"""A provider for tests, the oracle, which knows ages of people; and lookups of it made by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.utils import timezone

from enrichment.lookups import Description, Provider, Question, Rate, providers
from enrichment.lookups.models import Lookup

PAGES, PICTURES = "https://oracle.example/people/", "https://pictures.example"
_numbers = count()


def describe(person: Mapping[str, Any]) -> Description:
    return Description(
        title=person["name"],
        year=str(person.get("born", "")),
        facts={"Lives in": person.get("city", "")},
        picture=f"{PICTURES}/{person['picture']}" if person.get("picture") else "",
        link=f"{PAGES}{person['id']}",
        answer={"id": person["id"]},
    )


def describe_question(question: Question) -> Description:
    name = question.data.get("name", question.key)
    return Description(title=name, year=str(question.data.get("born", "")), link="https://people.example/1")


def parse_choice(text: str) -> Any:
    found = re.fullmatch(rf"{PAGES}([0-9]+)", text)
    if not found:
        raise ValueError(f"Paste the address of a person, such as {PAGES}7.")
    return {"id": int(found[1])}


def oracle(applied: list[Sequence[Lookup]] | None = None, **declaration: Any) -> Provider:
    """`applied` gets what `apply` is called with."""
    usual: dict[str, Any] = {
        "name": "oracle",
        "label": "The Oracle",
        "rate": Rate(1000, 1),
        "ask": lambda questions: {},
        "apply": lambda lookups: applied.append(list(lookups)) if applied is not None else None,
        "kinds": ("age", "city", "fact"),
        "decided_kinds": ("age", "city"),
        "describe": describe,
        "describe_question": describe_question,
        "parse_choice": parse_choice,
        "choice_help": f"For example {PAGES}7",
        "picture_hosts": lambda: [PICTURES],
    }
    return Provider(**{**usual, **declaration})


@contextmanager
def registered(*given: Provider) -> Iterator[None]:
    """There are no other providers meanwhile."""
    before = dict(providers._registered)
    providers._registered.clear()
    for provider in given:
        providers.register(provider)
    try:
        yield
    finally:
        providers._registered.clear()
        providers._registered.update(before)


Ask = Callable[..., Lookup]


def person_of(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "name": f"Ada {number}", "born": 1900 + number % 100, "city": "London", **changes}


def ask(**fields: Any) -> Lookup:
    """An open question about a person, unless the fields say otherwise."""
    number = next(_numbers)
    usual = {"provider": "oracle", "kind": "age", "key": f"person {number}", "question": {"name": f"Ada {number}"}}
    return Lookup.objects.create(**{**usual, **fields})


def doubt(*candidates: Mapping[str, Any], **fields: Any) -> Lookup:
    """An ambiguous one, with two candidates unless others are given."""
    found = candidates or (person_of(1), person_of(2))
    answered = {"status": "ambiguous", "how": "same name", "answered_at": timezone.now(), "due_at": None}
    return ask(**{**answered, "candidates": list(found), **fields})
