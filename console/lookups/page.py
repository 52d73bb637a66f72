"""What the page of one lookup shows: the question, candidates side by side, what became of it, who decided what."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from csp.constants import SELF
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from enrichment.lookups import providers
from enrichment.lookups.models import Lookup
from enrichment.lookups.providers import Description, Provider, Question, describe_as_json, describe_key
from ingestion.text import cut, plain, pretty

MAX_CARDS = 20
MAX_HISTORY = 50
MAX_UPLOADS = 10
MAX_TEXT = 300
"""Characters of a title or fact."""
TILE = (14, 6)
"""Characters of a line, and lines, of a title in place of a picture."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Card:
    """A description, safe to show."""

    title: str
    year: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    picture: str = ""
    link: str = ""
    digest: str = ""
    """Of the candidate, for who chooses it; empty if it cannot be chosen."""
    is_chosen: bool = False
    heading: str = ""
    """Of a question: what its title is."""
    has_picture: bool = True
    """Or a tile in its place; False of a provider that has no pictures."""

    @property
    def name(self) -> str:
        return f"{self.title} ({self.year})" if self.year else self.title

    @property
    def tile(self) -> list[tuple[int, str]]:
        """The title in lines of a picture of 200 × 300, each with its height."""
        width, most = TILE
        lines = textwrap.wrap(self.title, width, max_lines=most, placeholder=" …") or [""]
        return [(120 + 30 * number - 15 * len(lines), line) for number, line in enumerate(lines)]


def names_apart(shown: Sequence[Card]) -> list[str]:
    """Their names; where several have the same, with the fact by which they differ most, or their links."""
    alike: dict[str, list[Card]] = {}
    for card in shown:
        alike.setdefault(card.name, []).append(card)
    return [card.name if len(alike[card.name]) == 1 else _name_among(card, alike[card.name]) for card in shown]


def _name_among(card: Card, alike: Sequence[Card]) -> str:
    all_facts = [{**dict(each.facts), "": each.link} for each in alike]
    names = dict.fromkeys(name for facts in all_facts for name in facts if name) | {"": None}
    numbers = {name: len({text for facts in all_facts if (text := facts.get(name))}) for name in names}
    best = max(numbers, key=lambda name: numbers[name])
    text = {**dict(card.facts), "": card.link}.get(best, "")
    return f"{card.name}, {text}" if text and numbers[best] > 1 else card.name


def provider_of(lookup: Lookup) -> Provider | None:
    return providers.get(lookup.provider) if lookup.provider in providers.names() else None


def can_be_decided(lookup: Lookup) -> bool:
    """By a person, who may do so."""
    provider = provider_of(lookup)
    return provider is not None and lookup.kind in provider.decided_kinds


def question_of(lookup: Lookup) -> Card:
    provider = provider_of(lookup)
    question = _question(lookup)
    try:
        found = provider.describe_question(question) if provider else describe_key(question)
    except Exception:
        logger.exception("%s cannot be described.", lookup)
        found = describe_key(question)
    return _card(found, provider)


def rule_of(lookup: Lookup) -> str:
    """How it was answered, in the provider's words."""
    provider = provider_of(lookup)
    return provider.rules.get(lookup.how, plain(lookup.how)) if provider else plain(lookup.how)


def asked_by(lookup: Lookup) -> Sequence[Model]:
    """The rows of the domain that it is about."""
    provider = provider_of(lookup)
    return provider.asked_by(_question(lookup)) if provider else ()


def alike(lookup: Lookup) -> list[int]:
    """The ids of other lookups that have the same answer, as the provider says."""
    provider = provider_of(lookup)
    keys = provider.alike(_question(lookup)) if provider else ()
    rows = Lookup.objects.filter(provider=lookup.provider, kind=lookup.kind, key__in=keys).exclude(pk=lookup.pk)
    return list(rows.values_list("pk", flat=True)) if keys else []


def _question(lookup: Lookup) -> Question:
    return Question(lookup.provider, lookup.kind, lookup.key, lookup.question)


def description_of(lookup: Lookup, candidate: Any) -> Description:
    """In the provider's words; in JSON where it has none for it, as of what an older version has stored."""
    provider = provider_of(lookup)
    try:
        return provider.describe(candidate) if provider else describe_as_json(candidate)
    except Exception:
        logger.exception("A candidate of %s cannot be described.", lookup)
        return describe_as_json(candidate)


def cards(lookup: Lookup) -> list[Card]:
    """Of its candidates."""
    return [_candidate(lookup, candidate) for candidate in lookup.candidates[:MAX_CARDS]]


def _candidate(lookup: Lookup, candidate: Any) -> Card:
    found = description_of(lookup, candidate)
    digest = digest_of(candidate) if found.answer is not None else ""
    is_chosen = lookup.is_chosen and lookup.answer is not None and found.answer == lookup.answer
    return _card(found, provider_of(lookup), digest, is_chosen=is_chosen)


def answer_card(lookup: Lookup) -> Card | None:
    """Of its answer, or rather of the lookup it led to, which says more."""
    answered = lookup.next if lookup.next and lookup.next.answer is not None else lookup
    if answered.answer is None:
        return None
    return _card(description_of(answered, answered.answer), provider_of(answered))


def leads_nowhere(lookup: Lookup) -> bool:
    """What was chosen or found is not there, as the provider said when asked for it."""
    next_one = lookup.next
    return next_one is not None and (next_one.status == Lookup.Status.NOT_FOUND or next_one.gone_at is not None)


def digest_of(candidate: Any) -> str:
    """So that what is chosen is what was shown, whatever the candidates are by then."""
    return hashlib.sha256(json.dumps(candidate, sort_keys=True).encode()).hexdigest()[:16]


def _card(found: Description, provider: Provider | None, digest: str = "", *, is_chosen: bool = False) -> Card:
    hosts = tuple(f"{host}/" for host in provider.picture_hosts()) if provider else ()
    return Card(
        title=_text(found.title),
        year=_text(found.year),
        facts=[(_text(name), _text(text)) for name, text in found.facts.items() if text],
        picture=found.picture if hosts and found.picture.startswith(hosts) else "",
        link=found.link if re.match("https?://", found.link) else "",
        digest=digest,
        is_chosen=is_chosen,
        heading=_text(found.heading),
        has_picture=provider is None or provider.has_pictures,
    )


def _text(text: Any) -> str:
    text = plain(str(text))
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def as_json(value: Any) -> str:
    return cut(pretty(value))


def picture_sources() -> dict[str, list[str]]:
    """For csp_update: a page with candidates, and no other, loads pictures from the hosts that providers name."""
    hosts = sorted({host for provider in providers.all_providers() for host in provider.picture_hosts()})
    return {"img-src": [SELF, "data:", *hosts]}


def history(lookup: Lookup) -> list[LogEntry]:
    """What people did to this lookup, newest first; what was done to all that matched a filter is not in it."""
    logged = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Lookup), object_id=str(lookup.pk))
    return list(logged.select_related("user").order_by("-pk")[:MAX_HISTORY])


def bulk_history(most: int) -> list[LogEntry]:
    """What people did to all lookups that matched a filter, newest first."""
    logged = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Lookup), object_id=None)
    return list(logged.select_related("user").order_by("-pk")[:most])


def details(lookup: Lookup) -> Mapping[str, Any]:
    """All else that the page shows."""
    return {
        "question": question_of(lookup),
        "rule": rule_of(lookup),
        "question_json": as_json(lookup.question) if lookup.question else "",
        "cards": cards(lookup),
        "more_candidates": max(0, len(lookup.candidates) - MAX_CARDS),
        "answer": answer_card(lookup),
        "answer_json": "" if lookup.answer is None else as_json(lookup.answer),
        "previous": list(lookup.previous.only("provider", "kind", "key").order_by("pk")[:MAX_UPLOADS]),
        "uploads": _uploads(lookup),
        "history": history(lookup),
    }


def _uploads(lookup: Lookup) -> list[tuple[int, str]]:
    """(number, name) of the newest that asked; those of one name have their numbers added."""
    found = list(lookup.uploads.order_by("-pk").values_list("pk", "name")[:MAX_UPLOADS])
    names = Counter(name for _, name in found)
    return [(pk, f"{plain(name)} (upload {pk})" if names[name] > 1 else plain(name)) for pk, name in found]
