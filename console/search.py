"""Find a record: stored, held, or in a pending delivery; over all streams, as far as the person may see it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import BooleanField, Case, Model, Q, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst

from console import senders
from console.held import missing_references
from console.personal import for_user
from console.stored.page import HeldOrigin, held_origins
from console.templatetags.names import error_of
from enrichment.models import BulkAction, DeadLetter, HeldRecord, StoredRecord, WaitingRecord
from enrichment.retention import retention_hint
from ingestion import streams
from ingestion.models import ApiKey, Delivery, PausedStream, Upload
from ingestion.pending import containing
from ingestion.streams import Readable, Stream
from ingestion.text import cut, plain, spellings, strip_unstorable, thousands

MAX_QUERY_LENGTH = 200
"""Characters; an ID has at most 64."""
MAX_HELD = 20
MAX_IN_LIST = 10
MIN_PART = 2
"""Characters of a part of a name: with fewer, all records match."""
MAX_DELIVERIES = 200
"""Pending deliveries whose bodies are searched, the newest first."""
MAX_BODY_BYTES = 20_000_000
"""Of all these bodies together."""

MODELS_BY_NAME: dict[str, type[Model]] = {"delivery": Delivery, "upload": Upload, "bulk action": BulkAction}
"""What is found by its number: its name on pages → its model."""


@dataclass(frozen=True)
class Keys:
    """The keys of one stream that a query may name."""

    exact: str
    """The whole text."""
    named: str | None = None
    """The rest of it, where it begins with the stream's name."""

    def __iter__(self) -> Iterator[str]:
        yield from spellings(self.exact)
        if self.named is not None:
            yield from spellings(self.named)


@dataclass(frozen=True, kw_only=True)
class Query:
    text: str
    keys: dict[str, Keys]
    """By stream."""
    numbers: dict[str, int] = field(default_factory=dict)
    """A name of MODELS_BY_NAME → the number it may have."""
    names_a_model: bool = False
    """It begins with such a name."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    stream: Stream
    row: StoredRecord
    page: str
    text: str
    """What it is called, besides its ID."""
    delivery_page: str
    held_origin: HeldOrigin | None


@dataclass(frozen=True, kw_only=True)
class Held:
    record: HeldRecord
    key: str
    message: str
    page: str


@dataclass(frozen=True, kw_only=True)
class ById:
    """A delivery, upload or bulk action."""

    name: str
    object: Any
    page: str
    sender: str = ""
    """Of a delivery that is pending."""


@dataclass(frozen=True, kw_only=True)
class InList:
    """Rows of one stream or list that are found by something else than their ID, as by a name."""

    stream: Readable
    rows: list[tuple[Model, str, str]]
    """With their pages, and what they are called besides their ID."""
    has_more: bool
    page: str
    """Their list, with all of them."""


def can_search(user: Any) -> bool:
    """Whether there is anything that this person could find."""
    return (
        user.has_perm("enrichment.view_heldrecord")
        or bool(streams_for(user) or lists_for(user))
        or any(models_for(user))
    )


def streams_for(user: Any) -> list[Stream]:
    """The streams whose stored records this person may see."""
    return [stream for stream in streams.all_streams() if _may_view(user, stream.model)]


def lists_for(user: Any) -> list[Readable]:
    """The other lists whose rows this person may see, and that have pages."""
    return [each for each in streams.all_lists() if _may_view(user, each.model) and list_of(each)]


def models_for(user: Any) -> Iterator[str]:
    """The names of MODELS_BY_NAME that this person may see."""
    return (name for name, model in MODELS_BY_NAME.items() if _may_view(user, model))


def search(request: HttpRequest, text: str) -> dict[str, Any]:
    """The context of the page: everything that the text may mean, as far as the person may see it."""
    user = request.user
    shown = plain(cut(strip_unstorable(text), MAX_QUERY_LENGTH)).replace("\n", " ")
    searched_lists = (*streams_for(user), *lists_for(user))
    lists = [(capfirst(each.name), page) for each in searched_lists if each.search and (page := list_of(each))]
    context: dict[str, Any] = {"query_text": shown, "lists": lists}
    if len(text) > MAX_QUERY_LENGTH:
        return {**context, "is_too_long": True}
    query = parse(strip_unstorable(text))
    if not query.text:
        return context
    found: dict[str, Any] = {
        "stored": stored(request, query),
        "held": [],
        "missing": [],
        "by_id": [*by_id(user, query), *api_keys(user, query)],
        "in_lists": [],
        "deliveries": [],
    }
    searched = [stream.name for stream in streams_for(user)]
    if user.has_perm("enrichment.view_heldrecord"):
        records = held(user, query)
        found |= {"held": records[:MAX_HELD], "has_more_held": len(records) > MAX_HELD}
        pairs = [(name, key) for name, keys in query.keys.items() for key in keys]
        found |= {"missing": missing_references.waiting_on(pairs)}
        searched.append("failed records (open and closed)")
    if user.has_perm("ingestion.view_delivery"):
        deliveries, number, is_partial = pending(query)
        found |= {"deliveries": deliveries, "searched_deliveries": number, "is_partial": is_partial}
        newest = "the newest " if is_partial else ""
        searched.append(f"{newest}{thousands(number)} pending {'delivery' if number == 1 else 'deliveries'}")
    found["paused"] = paused([*found["by_id"], *found["deliveries"]])
    kinds = ("stored", "held", "missing", "by_id", "deliveries", "in_lists")
    if not any(found[name] for name in kinds):
        found["in_lists"] = in_lists(request, query)
    is_found = any(found[name] for name in kinds)
    return {
        **context,
        **found,
        "query": query,
        "is_found": is_found,
        "not_found_message": not_found_message(user, query),
        "searched": ", ".join(searched),
    }


def not_found_message(user: Any, query: Query) -> str:
    """For a number asked for by name that does not exist."""
    for name in models_for(user):
        if query.names_a_model and name in query.numbers:
            return f"There is no {name} {query.numbers[name]}{'' if name == 'bulk action' else retention_hint()}."
    return ""


def parse(text: str) -> Query:
    """Reads "session 4711", "sessions: 4711", "4711", "delivery 12", or "where is session 4711?"."""
    text = text.strip()
    if sentence := re.fullmatch(r"where\s+(?:is|are)\s+(?:the\s+)?(.*?)\s*\?*", text, re.IGNORECASE | re.DOTALL):
        text = sentence[1]
    first, _, rest = text.partition(":") if re.match(r"\w+\s*:", text) else text.partition(" ")
    first, rest = first.strip().lower(), rest.strip()
    keys = {
        stream.name: Keys(text, rest if rest and first in names_of(stream) else None)
        for stream in (*streams.all_streams(), *streams.all_lists())
    }
    if any(each.named is not None for each in keys.values()):
        return Query(text=text, keys=keys)
    named = _with_a_name(text)
    number = re.fullmatch(r"#?([0-9]{1,18})", next(iter(named.values()), text))
    names = named or ("delivery", "upload")
    numbers = dict.fromkeys(names, int(number[1])) if number else {}
    return Query(text=text, keys=keys, numbers=numbers, names_a_model=bool(named))


def _with_a_name(text: str) -> dict[str, str]:
    """The name of MODELS_BY_NAME that the text begins with → the rest of the text; empty if there is none."""
    for name, model in MODELS_BY_NAME.items():
        for word in (name, f"{name}s", str(model._meta.verbose_name_plural).lower()):
            if text.lower().startswith((f"{word} ", f"{word}:")):
                return {name: text[len(word) + 1 :].strip()}
    return {}


def names_of(stream: Readable) -> set[str]:
    meta = stream.model._meta
    return {stream.name.lower(), str(meta.verbose_name).lower(), str(meta.verbose_name_plural).lower()}


def stored(request: HttpRequest, query: Query) -> list[Stored]:
    found: list[tuple[Stream, StoredRecord]] = []
    user = request.user
    for stream in streams_for(user):
        rows = for_user(user, stream.model._default_manager.all()).filter(pk__in=[*query.keys[stream.name]])
        found += [(stream, cast("StoredRecord", row)) for row in rows]
    pks = {row.delivery for _, row in found} if _may_view(user, Delivery) else set()
    existing = set(Delivery.objects.filter(pk__in=pks).values_list("pk", flat=True))  # retention may have deleted it
    origins = held_origins(request, [row for _, row in found])
    return [
        Stored(
            stream=stream,
            row=row,
            page=page_of(row),
            text=text_of(row),
            delivery_page=reverse("admin:ingestion_delivery_change", args=[row.delivery])
            if row.delivery in existing
            else "",
            held_origin=origins.get((type(row), row.pk)),
        )
        for stream, row in found
    ]


def held(user: Any, query: Query) -> list[Held]:
    """Held records with such a key, open ones first; one more than MAX_HELD when there are more."""
    is_closed = Case(When(status__in=HeldRecord.OPEN, then=False), default=True, output_field=BooleanField())
    matching = Q(key__in=spellings(query.text))
    for stream, keys in query.keys.items():
        if keys.named is not None:
            matching |= Q(stream=stream, key__in=spellings(keys.named))
    records = for_user(user, HeldRecord.objects.filter(matching)).defer("payload", "original_payload")
    return [
        Held(record=record, key=plain(record.key), message=error_of(record), page=page_of(_as_listed(user, record)))
        for record in records.order_by(is_closed, "-pk")[: MAX_HELD + 1]
    ]


def _as_listed(user: Any, record: HeldRecord) -> HeldRecord:
    """Of the model in whose list people look after it: dead letters, waiting records."""
    model = {"dead": DeadLetter, "waiting": WaitingRecord}.get(record.status)
    return model(pk=record.pk) if model and _may_view(user, model) else record


def in_lists(request: HttpRequest, query: Query) -> list[InList]:
    """What the lists find: by a name, an e-mail address, the beginning of an ID."""
    found = []
    for stream in (*streams_for(request.user), *lists_for(request.user)):
        if not admin.site.is_registered(stream.model) or len(query.text) < MIN_PART:
            continue
        keys = query.keys[stream.name]
        model_admin, text = admin.site.get_model_admin(stream.model), keys.named or query.text
        if any(each.named is not None for each in query.keys.values()) and keys.named is None:
            continue  # another one is named
        rows_shown = for_user(request.user, stream.model._default_manager.all())
        matching, _ = model_admin.get_search_results(request, rows_shown, text)
        rows: list[Model] = list(matching.order_by()[: MAX_IN_LIST + 1])
        if rows:
            found.append(
                InList(
                    stream=stream,
                    rows=[(row, page_of(row), text_of(row)) for row in rows[:MAX_IN_LIST]],
                    has_more=len(rows) > MAX_IN_LIST,
                    page=f"{list_of(stream)}?{urlencode({'q': text})}",
                )
            )
    return found


def api_keys(user: Any, query: Query) -> Iterator[ById]:
    """Of "key abc123": by prefix, by name, or all of one client."""
    named = re.fullmatch(r"(?:api[ -]?)?keys?[ :]\s*(.+)", query.text, re.IGNORECASE)
    if not _may_view(user, ApiKey):
        return
    text = named[1] if named else query.text
    matching = Q(prefix=text) | Q(name__iexact=text)
    for key in ApiKey.objects.filter(matching | Q(client=text) if named else matching).order_by("-created")[:MAX_HELD]:
        page = reverse("admin:ingestion_apikey_change", args=[quote(key.prefix)])
        yield ById(name="API key", object=key, page=page)


def by_id(user: Any, query: Query) -> Iterator[ById]:
    for name in models_for(user):
        if name in query.numbers:
            objects = MODELS_BY_NAME[name]._default_manager.filter(pk=query.numbers[name])
            for each in objects.defer("body", "refused", "answer") if name == "delivery" else objects:
                yield ById(name=name, object=each, page=page_of(each))


def pending(query: Query) -> tuple[list[ById], int, bool]:
    """(pending deliveries that contain such a key, how many were searched, whether some were left out)."""
    newest: list[tuple[int, int, str]] = []
    for name in streams.names():  # one query for each stream is answered from the index, in its order
        of_stream = Delivery.objects.pending().filter(stream=name, source=Delivery.Source.CLIENT).order_by("-id")
        newest += of_stream.values_list("pk", "size", "stream")[: MAX_DELIVERIES + 1]
    selected, space = [], MAX_BODY_BYTES
    for pk, size, name in sorted(newest, reverse=True)[:MAX_DELIVERIES]:
        if size <= space:
            selected.append((pk, name))
            space -= size
    found = []
    for keys in set(query.keys.values()):
        pks = [pk for pk, name in selected if query.keys[name] == keys]
        found += containing(pks, keys)
    found.sort(key=lambda delivery: -delivery.pk)
    names = senders.key_names(delivery.client for delivery in found)
    deliveries = [
        ById(
            name="delivery",
            object=delivery,
            page=page_of(delivery),
            sender=senders.display_name(delivery.client, names),
        )
        for delivery in found
    ]
    return deliveries, len(selected), len(selected) < len(newest)


def paused(found: Iterable[ById]) -> list[PausedStream]:
    """The paused streams among those of pending deliveries."""
    names = {each.object.stream for each in found if each.name == "delivery" and each.object.processed_at is None}
    return list(PausedStream.objects.filter(stream__in=names).order_by("stream")) if names else []


def page_of(row: Any) -> str:
    """Its page in the admin; empty where there is none."""
    meta = row._meta
    if not admin.site.is_registered(meta.model):
        return ""
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(row.pk)])


def text_of(row: Model) -> str:
    """What it is called, if by something else than its ID."""
    text = str(row)
    return plain(text if str(row.pk) not in text else str(getattr(row, "name", "") or ""))


def list_of(stream: Readable) -> str:
    """Its list in the admin; empty where there is none."""
    meta = stream.model._meta
    if not admin.site.is_registered(stream.model):
        return ""
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")


def _may_view(user: Any, model: Any) -> bool:
    return bool(user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"))
