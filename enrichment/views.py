"""Reading: lists and details of what is stored, deliveries, the queue."""

from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from enrichment import stats
from enrichment.filters import exposed_fields, filterset_of
from enrichment.models import HeldRecord, StoredRecord
from enrichment.pagination import PARAMETERS, paginate, read_ordering, stream_orderings
from ingestion.auth import client_of, is_staff
from ingestion.errors import Refused
from ingestion.models import Delivery
from ingestion.openapi import JsonSchema
from ingestion.streams import Stream
from ingestion.views import ApiView, IngestView, read_query

MAX_HELD = 1000
"""Held records named in a delivery's answer."""


class RecordsView(IngestView):
    """Enriched records, filtered, ordered and paged; post one record."""

    def get(self, request: Request) -> Response:
        """Enriched records, filtered, ordered and paged."""
        filterset_class = filterset_of(self.stream)
        search = ("search",) if self.stream.search else ()
        query = read_query(request.query_params, [*PARAMETERS, *search, *filterset_class.base_filters])
        filterset = filterset_class(query, queryset=self.stream.model._default_manager.all())
        if not filterset.is_valid():
            fields = {name: [str(message) for message in found] for name, found in filterset.errors.items()}
            raise Refused(400, f"Not a value of {', '.join(fields)}.", fields=fields)
        rows = searched(filterset.qs, self.stream, query.get("search"))
        times = ("stored_at", *([self.stream.time] if self.stream.time else []))
        ordering = read_ordering(query, stream_orderings(self.stream.key, *times))
        page = paginate(request.build_absolute_uri(request.path), rows, query, ordering)
        return Response({**page, "results": [row_of(self.stream, row) for row in page["results"]]})


class RecordView(ApiView):
    """One enriched record."""

    stream: Stream = None  # type: ignore[assignment]  # given to as_view()
    schema = JsonSchema()

    def get_view_name(self) -> str:
        return self.stream.name

    def get(self, request: Request, key: str) -> Response:
        read_query(request.query_params, [])
        row: Any = self.stream.model._default_manager.filter(pk=key).first()
        if row:
            return Response(row_of(self.stream, row))
        held = HeldRecord.objects.open().filter(stream=self.stream.name, key=key).order_by("-id").first()
        raise Refused(404, f"Not stored: the record with this key is {fate(held)}." if held else "Not stored.")


class DeliveryView(ApiView):
    """What became of the records of one delivery; the client that sent it may ask."""

    schema = JsonSchema()
    any_scope = True

    def get(self, request: Request, id: str) -> Response:
        read_query(request.query_params, [])
        own = {} if is_staff(request.user) else {"client": client_of(request)}
        delivery = Delivery.objects.defer("body").filter(pk=int(id), **own).first()
        if delivery is None:
            raise Refused(404, "You have sent no such delivery.")
        return Response(delivery_body(delivery))


class QueueStatsView(ApiView):
    """Records not yet processed, how old the oldest is, and what is held."""

    schema = JsonSchema()

    def get(self, request: Request) -> Response:
        read_query(request.query_params, [])
        return Response({"timestamp": timezone.now(), **stats.queue_stats()})


def searched(rows: QuerySet[StoredRecord], stream: Stream, text: str | None) -> QuerySet[StoredRecord]:
    """The rows of which a searched column contains `text`, in any case."""
    if text is None:
        return rows
    found = Q()
    for column in stream.search:
        field = stream.model._meta.get_field(column)
        name = f"{field.name}__pk" if field.is_relation else field.name  # of a reference the key is searched
        found |= Q(**{f"{name}__icontains": text})
    return rows.filter(found)


def row_of(stream: Stream, row: StoredRecord) -> dict[str, Any]:
    """The flat object that a client reads; the record's own fields as they were sent (a time in its own offset)."""
    sent = row.as_record(stream.schema)
    return {
        field.attname: getattr(sent if field.attname in stream.schema.model_fields else row, field.attname)
        for field in exposed_fields(stream)
    }


def fate(held: HeldRecord) -> str:
    if held.status == HeldRecord.Status.WAITING:
        return f"waiting for {held.missing_stream} {held.missing_key}"
    return f"dead ({held.code})"


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    held = HeldRecord.objects.filter(delivery=delivery)
    by_status = dict(held.values_list("status").annotate(Count("pk")))
    named = held.order_by("position").only("position", "key", "status", "code", "messages")[:MAX_HELD]
    return {
        "id": delivery.pk,
        "stream": delivery.stream,
        "status": delivery.status,
        "count": delivery.count,
        "inserted": delivery.inserted,
        "updated": delivery.updated,
        "stale": delivery.stale,
        **{status: by_status.get(status, 0) for status in HeldRecord.Status.values},
        "pending": delivery.pending,
        "held": [
            {
                "index": each.position,
                "id": each.key,
                "status": each.status,
                "code": each.code,
                "message": "; ".join(f"{field}: {' '.join(texts)}" for field, texts in each.messages.items()),
            }
            for each in named
        ],
        "held_is_cut": sum(by_status.values()) > MAX_HELD,
        "received_at": delivery.received_at,
        "processed_at": delivery.processed_at,
    }
