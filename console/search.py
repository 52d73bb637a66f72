"""Where a record is: stored, held, or in a pending delivery; over all streams, as far as who asks may see."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import BooleanField, Case, F, Func, IntegerField, Q, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

from console import senders
from console.held import missing_references
from console.stored.page import HeldFirst, held_first
from enrichment.models import BulkAction, HeldRecord, StoredRecord
from enrichment.retention import retention_hint
from ingestion import streams
from ingestion.models import Delivery, PausedStream, Upload
from ingestion.streams import Stream
from ingestion.text import cut, plain, strip_unstorable

MOST_ASKED = 200
"""Characters of a question; a key has 64."""
MOST_HELD = 20
MOST_SEARCHED = 200
"""Pending deliveries whose bodies are searched, the newest first."""
MOST_SEARCHED_BYTES = 20_000_000
"""Of all these bodies together."""

NUMBERED = {"delivery": Delivery, "upload": Upload, "bulk action": BulkAction}
"""What is found by its number, by its name."""


@dataclass(frozen=True, kw_only=True)
class Question:
    text: str
    keys: dict[str, list[str]]
    """stream → the keys that may be meant."""
    numbers: dict[str, int] = field(default_factory=dict)
    """A name of NUMBERED → the number that may be meant."""
    is_named: bool = False
    """It is asked for by such a name."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    stream: Stream
    row: StoredRecord
    page: str
    delivery_page: str
    held_first: HeldFirst | None


@dataclass(frozen=True, kw_only=True)
class Held:
    record: HeldRecord
    key: str
    message: str
    page: str


@dataclass(frozen=True, kw_only=True)
class Numbered:
    name: str
    thing: Any
    page: str
    sender: str = ""
    """Of a delivery that is pending."""


class Holds(Func):
    """The place, from 1, at which a column of bytes holds some; 0: it does not."""

    function = "INSTR"
    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function='pg_catalog."position"', **context)


def may_find(user: Any) -> bool:
    """Whether there is anything that this person could find."""
    return user.has_perm("enrichment.view_heldrecord") or bool(streams_for(user)) or any(numbered_for(user))


def streams_for(user: Any) -> list[Stream]:
    """The streams whose stored records this person may see."""
    return [stream for stream in streams.all_streams() if _may_see(user, stream.model)]


def numbered_for(user: Any) -> Iterator[str]:
    return (name for name, model in NUMBERED.items() if _may_see(user, model))


def find(request: HttpRequest, text: str) -> dict[str, Any]:
    """What the page shows: where everything is that the question may mean."""
    user = request.user
    shown = plain(cut(strip_unstorable(text), MOST_ASKED)).replace("\n", " ")
    lists = [(capfirst(stream.name), list_of(stream)) for stream in streams_for(user) if stream.search]
    told: dict[str, Any] = {"shown": shown, "lists": lists}
    if len(text) > MOST_ASKED:
        return {**told, "is_too_long": True}
    question = read(strip_unstorable(text))
    if not question.text:
        return told
    found: dict[str, Any] = {
        "stored": stored(request, question),
        "held": [],
        "waiting_on": [],
        "numbered": [*numbered(user, question)],
        "deliveries": [],
    }
    if user.has_perm("enrichment.view_heldrecord"):
        records = held(question)
        found |= {"held": records[:MOST_HELD], "has_more_held": len(records) > MOST_HELD}
        pairs = [(name, key) for name, keys in question.keys.items() for key in keys]
        found |= {"waiting_on": missing_references.waiting_on(pairs)}
    if user.has_perm("ingestion.view_delivery"):
        deliveries, searched, left_out = pending(question)
        found |= {"deliveries": deliveries, "searched": searched, "left_out": left_out}
    found["paused"] = paused([*found["numbered"], *found["deliveries"]])
    is_found = any(found[name] for name in ("stored", "held", "waiting_on", "numbered", "deliveries"))
    return {**told, **found, "question": question, "asked": True, "is_found": is_found, "gone": gone(user, question)}


def gone(user: Any, question: Question) -> str:
    """What there is to say of a number that is asked for by name, where nothing has it."""
    for name in numbered_for(user):
        if question.is_named and name in question.numbers:
            return f"There is no {name} {question.numbers[name]}{'' if name == 'bulk action' else retention_hint()}."
    return ""


def read(text: str) -> Question:
    """What is meant by "session 4711", "4711", "delivery 12", or "where is session 4711?"."""
    text = text.strip()
    if sentence := re.fullmatch(r"where\s+(?:is|are)\s+(?:the\s+)?(.*?)\s*\?*", text, re.IGNORECASE | re.DOTALL):
        text = sentence[1]
    first, _, rest = text.partition(" ")
    first, rest = first.lower(), rest.strip()
    keys = {
        stream.name: [text, rest] if rest and first in names_of(stream) else [text] for stream in streams.all_streams()
    }
    if rest and any(len(meant) > 1 for meant in keys.values()):
        return Question(text=text, keys=keys)
    wanted = _after_its_name(text)
    number = re.fullmatch(r"#?([0-9]{1,18})", next(iter(wanted.values()), text))
    names = wanted or ("delivery", "upload")
    numbers = dict.fromkeys(names, int(number[1])) if number else {}
    return Question(text=text, keys=keys, numbers=numbers, is_named=bool(wanted))


def _after_its_name(text: str) -> dict[str, str]:
    """The name of NUMBERED that the text begins with → what stands behind it; empty for none."""
    for name in NUMBERED:
        for word in (name, f"{name}s", _plural(name)):
            if text.lower().startswith(f"{word} "):
                return {name: text[len(word) :].strip()}
    return {}


def names_of(stream: Stream) -> set[str]:
    meta = stream.model._meta
    return {stream.name.lower(), str(meta.verbose_name).lower(), str(meta.verbose_name_plural).lower()}


def _plural(name: str) -> str:
    return str(NUMBERED[name]._meta.verbose_name_plural).lower()


def stored(request: HttpRequest, question: Question) -> list[Stored]:
    found: list[tuple[Stream, StoredRecord]] = []
    user = request.user
    for stream in streams_for(user):
        rows = stream.model._default_manager.filter(pk__in=question.keys[stream.name])
        told = rows.only("pk", "stored_at", "version_at", "delivery", "position", "warnings")
        found += [(stream, cast("StoredRecord", row)) for row in told]
    pks = {row.delivery for _, row in found} if _may_see(user, Delivery) else set()
    kept = set(Delivery.objects.filter(pk__in=pks).values_list("pk", flat=True))  # retention may have deleted it
    firsts = held_first(request, [row for _, row in found])
    return [
        Stored(
            stream=stream,
            row=row,
            page=page_of(row),
            delivery_page=reverse("admin:ingestion_delivery_change", args=[row.delivery])
            if row.delivery in kept
            else "",
            held_first=firsts.get((type(row), row.pk)),
        )
        for stream, row in found
    ]


def held(question: Question) -> list[Held]:
    """Held records with such a key, those that are open first; one more than MOST_HELD when there are more."""
    is_closed = Case(When(status__in=HeldRecord.OPEN, then=False), default=True, output_field=BooleanField())
    meant = Q(key=question.text)
    for stream, keys in question.keys.items():
        meant |= Q(stream=stream, key__in=keys[1:])
    records = HeldRecord.objects.filter(meant).defer("payload", "original_payload")
    return [
        Held(record=record, key=plain(record.key), message=record.message, page=page_of(record))
        for record in records.order_by(is_closed, "-pk")[: MOST_HELD + 1]
    ]


def numbered(user: Any, question: Question) -> Iterator[Numbered]:
    for name in numbered_for(user):
        if name in question.numbers:
            things = NUMBERED[name]._default_manager.filter(pk=question.numbers[name])
            for thing in things.defer("body", "refused", "answer") if name == "delivery" else things:
                yield Numbered(name=name, thing=thing, page=page_of(thing))


def pending(question: Question) -> tuple[list[Numbered], int, bool]:
    """(pending deliveries that hold such a key, how many were searched, whether that was not all of them)."""
    ahead: list[tuple[int, int, str]] = []
    for name in question.keys:  # one question for each stream is answered from the index, in its order
        of_stream = Delivery.objects.pending().filter(stream=name, source=Delivery.Source.CLIENT).order_by("-id")
        ahead += of_stream.values_list("pk", "size", "stream")[: MOST_SEARCHED + 1]
    chosen, space = [], MOST_SEARCHED_BYTES
    for pk, size, name in sorted(ahead, reverse=True)[:MOST_SEARCHED]:
        if size <= space:
            chosen.append((pk, name))
            space -= size
    found = []
    for keys in {tuple(keys) for keys in question.keys.values()}:
        pks = [pk for pk, name in chosen if tuple(question.keys[name]) == keys]
        found += _holding(pks, keys)
    found.sort(key=lambda delivery: -delivery.pk)
    names = senders.key_names(delivery.client for delivery in found)
    told = [
        Numbered(
            name="delivery",
            thing=delivery,
            page=page_of(delivery),
            sender=senders.display_name(delivery.client, names),
        )
        for delivery in found
    ]
    return told, len(chosen), len(chosen) < len(ahead)


def paused(found: Iterable[Numbered]) -> list[PausedStream]:
    """Why nobody works on those of these that are pending deliveries."""
    names = {each.thing.stream for each in found if each.name == "delivery" and each.thing.processed_at is None}
    return list(PausedStream.objects.filter(stream__in=names).order_by("stream")) if names else []


def _holding(pks: Sequence[int], keys: Sequence[str]) -> list[Delivery]:
    """Of these deliveries those whose bodies hold one of the keys as a JSON string, with or without escapes."""
    written = {json.dumps(key, ensure_ascii=escaped).encode() for key in keys for escaped in (True, False)}
    holds = Q()
    deliveries = Delivery.objects.filter(pk__in=pks)
    for number, text in enumerate(sorted(written)):
        deliveries = deliveries.alias(**{f"place_{number}": Holds(F("body"), Value(text))})
        holds |= Q(**{f"place_{number}__gt": 0})
    return list(deliveries.filter(holds).defer("body", "refused", "answer"))


def page_of(thing: Any) -> str:
    """Its page in the admin; empty where there is none."""
    meta = thing._meta
    if not admin.site.is_registered(meta.model):
        return ""
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(thing.pk)])


def list_of(stream: Stream) -> str:
    meta = stream.model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")


def _may_see(user: Any, model: Any) -> bool:
    return bool(user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"))
