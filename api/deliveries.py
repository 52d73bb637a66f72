"""A client's own deliveries, and their records that could not be stored."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

from django.db.models import Count, Q, QuerySet
from django.http.response import HttpResponseBase
from django_filters.filters import CharFilter, Filter
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import client_of, is_personal_hidden, is_staff, visible_streams
from api.base import ApiView, PrefilledForm
from api.lists import ListView
from api.schema.deliveries import (
    DELIVERIES_ANSWER,
    DELIVERY_ANSWER,
    DELIVERY_FIELDS,
    DELIVERY_ID,
    HELD_ANSWER,
    HELD_FIELDS,
    PAYLOAD,
    DeliveryCounts,
)
from api.schema.deliveries import Delivery as DeliveryBody
from api.schema.rows import filter_parameters, list_parameters
from api.schema.spec import describe
from enrichment.models import HeldRecord
from enrichment.retention import retention_hint
from enrichment.rows.access import note_look
from enrichment.rows.filters import ChoiceFilter, ChoicesFilter, IntegerFilter, TimeFilter, apply_filters
from enrichment.rows.listing import Item, Listing, read_fields
from enrichment.rows.masking import mask_rows
from enrichment.rows.ordering import NEWEST_FIRST, read_ordering
from enrichment.rows.writers import Streamed
from ingestion.models import Delivery
from ingestion.query import read_flag, read_query
from ingestion.refusals import RequestRejected
from ingestion.streams import names

MAX_HELD = 1000
"""Held records named in a delivery's answer."""
UNREAD = ("body", "answer", "refused", "last_error")
"""Columns of a delivery that no list shows, and that may be long."""


# The streams are registered by now: urls.py, which imports this, has a path for each.
DELIVERY_FILTERS: dict[str, Filter] = {
    "status": ChoiceFilter("processed_at", {"pending": True, "processed": False}, "isnull"),
    "stream": ChoicesFilter("stream", names()),
    "since": TimeFilter("received_at", "gte"),
}
HELD_FILTERS: dict[str, Filter] = {
    "status": ChoicesFilter("status", HeldRecord.Status.values),
    "stream": ChoicesFilter("stream", names()),
    "code": ChoicesFilter("code", HeldRecord.Code.values),
    "since": TimeFilter("held_at", "gte"),
    "key": CharFilter("key", strip=False),
    "delivery": IntegerFilter("delivery", min_value=0, max_value=2**63 - 1),
}

ORDERINGS = [each.name for each in NEWEST_FIRST]
DELIVERY_PARAMETERS = (
    *list_parameters(DELIVERY_FIELDS, ORDERINGS),
    *filter_parameters(
        DELIVERY_FILTERS,
        {
            "processed_at": "Whether records are pending, or all are processed.",
            "stream": "Stream of its records.",
        },
    ),
)
HELD_PARAMETERS = (
    *list_parameters(HELD_FIELDS, ORDERINGS),
    PAYLOAD,
    *filter_parameters(
        HELD_FILTERS,
        {
            "status": "Current status. Default: dead.",
            "stream": "Stream of the records.",
            "code": "Why they are held.",
            "key": "The record's key.",
            "delivery": "ID of the delivery.",
        },
    ),
)


class DeliveriesView(ListView):
    """The client's deliveries."""

    any_scope = True

    @describe(DELIVERIES_ANSWER, parameters=DELIVERY_PARAMETERS, tag="deliveries")
    def get(self, request: Request) -> HttpResponseBase:
        """Your deliveries, newest first."""
        query = self.read_query(request, DELIVERY_FILTERS)
        rows = apply_filters(own_deliveries(request), DELIVERY_FILTERS, query)
        fields = read_fields(query, DELIVERY_FIELDS)
        listing = Listing(rows, read_ordering(query, NEWEST_FIRST), fields, delivery_items(fields))
        return self.answer_list(request, query, listing, "deliveries")


class DeliveryView(ApiView):
    """One of the client's deliveries."""

    any_scope = True

    @describe(DELIVERY_ANSWER, parameters=(DELIVERY_ID,), tag="deliveries")
    def get(self, request: Request, id: str) -> Response:
        """Progress and outcomes of one of your deliveries."""
        read_query(request.query_params, [])
        delivery = own_deliveries(request).filter(pk=int(id)).first()
        if delivery is None:
            raise RequestRejected(404, f"Delivery not found{retention_hint()}.")
        return Response(delivery_body(delivery, held_records(request)))


class EscapedJson(JSONRenderer):
    """JSON in ASCII: a payload may contain lone surrogates, which UTF-8 cannot express."""

    ensure_ascii = True


class DeadLettersView(ListView):
    """The client's records that could not be stored."""

    renderer_classes = [EscapedJson, PrefilledForm]
    any_scope = True

    @describe(HELD_ANSWER, parameters=HELD_PARAMETERS, tag="deliveries")
    def get(self, request: Request) -> HttpResponseBase:
        """Your records that could not be stored, newest first.

        By default dead letters; with `status`, others.
        """
        if is_staff(request.user) and not request.user.has_perm("enrichment.view_heldrecord"):
            raise RequestRejected(403, "You lack the permission to view held records.")
        query = self.read_query(request, ["payload", *HELD_FILTERS])
        rows = apply_filters(own_held_records(request), HELD_FILTERS, {"status": HeldRecord.Status.DEAD.value, **query})
        with_payload = read_flag(query, "payload")
        fields = read_fields(query, HELD_FIELDS, default=HELD_FIELDS if with_payload else HELD_FIELDS[:-1])
        if "payload" not in fields:
            rows = rows.defer("payload", "original_payload")
        elif is_staff(request.user) and not isinstance(request.accepted_renderer, Streamed):
            note_look(client_of(request), "dead-letters", query=query)
        listing = Listing(rows, read_ordering(query, NEWEST_FIRST), fields, held_items(fields))
        return self.answer_list(request, query, listing, "dead-letters")


def own_deliveries(request: Request) -> QuerySet[Delivery]:
    """The client's deliveries, of the streams that its key is limited to; all, for staff."""
    rows = Delivery.objects.defer(*UNREAD)
    return rows if is_staff(request.user) else rows.filter(of_client(request))


def held_records(request: Request) -> QuerySet[HeldRecord]:
    """Masked, where personal data are hidden."""
    rows = HeldRecord.objects.all()
    return mask_rows(rows) if is_personal_hidden(request) else rows


def own_held_records(request: Request) -> QuerySet[HeldRecord]:
    rows = held_records(request)
    return rows if is_staff(request.user) else rows.filter(of_client(request))


def of_client(request: Request) -> Q:
    mine = Q(client=client_of(request))
    streams = visible_streams(request)
    return mine & Q(stream__in=streams) if streams else mine


def delivery_items(fields: Sequence[str]) -> Callable[[Sequence[Delivery]], list[Item]]:
    def items_of(deliveries: Sequence[Delivery]) -> list[Item]:
        held = held_by_status([delivery.pk for delivery in deliveries if delivery.held])
        items: list[Any] = [counts_of(delivery, held[delivery.pk]) for delivery in deliveries]
        return [{name: item[name] for name in fields} for item in items]

    return items_of


def held_by_status(deliveries: Collection[int]) -> Mapping[int, dict[str, int]]:
    """delivery → {status: held records of it}"""
    found: dict[int, dict[str, int]] = defaultdict(dict)
    rows = HeldRecord.objects.filter(delivery__in=deliveries) if deliveries else HeldRecord.objects.none()
    for delivery, status, number in rows.values_list("delivery", "status").annotate(Count("pk")):
        found[delivery][status] = number
    return found


def counts_of(delivery: Delivery, held: Mapping[str, int]) -> DeliveryCounts:
    statuses = HeldRecord.Status.values
    counts: Any = {name: held.get(name, 0) if name in statuses else getattr(delivery, name) for name in DELIVERY_FIELDS}
    return cast("DeliveryCounts", counts)


def delivery_body(delivery: Delivery, records: QuerySet[HeldRecord]) -> DeliveryBody:
    held = held_by_status([delivery.pk])[delivery.pk]
    first = records.filter(delivery=delivery).order_by("position")
    return {
        **counts_of(delivery, held),
        "held": [
            {
                "index": each.position,
                "id": each.key,
                "status": each.status,
                "code": each.code,
                "message": "; ".join(f"{field}: {' '.join(texts)}" for field, texts in each.messages.items()),
            }
            for each in first.only("stream", "position", "key", "status", "code", "messages")[:MAX_HELD]
        ],
        "held_is_cut": sum(held.values()) > MAX_HELD,
    }


def held_items(fields: Sequence[str]) -> Callable[[Sequence[HeldRecord]], list[Item]]:
    special: Mapping[str, Any] = {
        "delivery": lambda held: held.delivery_id,
        "index": lambda held: held.position,
        "id": lambda held: held.key,
        "payload": lambda held: json.loads(held.payload),
    }

    def items_of(rows: Sequence[HeldRecord]) -> list[Item]:
        return [
            {name: special[name](row) if name in special else getattr(row, name) for name in fields} for row in rows
        ]

    return items_of
