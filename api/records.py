"""Records over HTTP: post one or many; read enriched ones, filtered, ordered and paged."""

from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import client_of, is_personal_hidden
from api.base import ApiView, JsonBody, NdjsonBody, read_body
from api.deliveries import own_deliveries
from api.headers import warning_of_misspelt
from api.idempotency import IdempotentRequest, read_idempotency_key
from api.lists import ListView
from api.schema.ingest import DRY_RUN_ANSWER, post_many, post_one
from api.schema.rows import get_row, list_rows
from api.schema.spec import describe_stream
from enrichment.models import HeldRecord
from enrichment.rows import reading
from enrichment.rows.listing import read_fields
from ingestion.fields import normalized
from ingestion.models import Delivery
from ingestion.payloads import parse_json, parse_ndjson
from ingestion.pending import newest_containing
from ingestion.query import read_choice, read_flag, read_query
from ingestion.refusals import RequestRejected
from ingestion.services import Acceptance, accept
from ingestion.streams import Readable, Stream
from ingestion.validation import NoValidRecords, ValidationReport, check, key_of


class IngestView(ApiView):
    """Post one record."""

    stream: Stream = None  # type: ignore[assignment]  # given to as_view()

    def get_view_name(self) -> str:
        return self.stream.name

    def example(self) -> Any:
        return self.stream.example

    @describe_stream(post_one)
    def post(self, request: Request) -> Response:
        """Post one record.

        202 means durably stored; the record is then enriched. An invalid one is rejected. A record replaces the whole
        row with the same key, unless that row is newer (by `updated_at`, or without it by time of arrival).
        """
        return self.ingest_body(request)

    def ingest_body(self, request: Request) -> Response:
        keep_invalid, dry_run = read_options(request.query_params)
        body = read_body(request)
        idempotent = read_idempotency_key(request, client_of(request), body)
        if idempotent and not dry_run and (first := idempotent.replayed_response()):
            return Response(first, status=202)
        fmt, items = self.read_items(request, body)
        try:
            if dry_run:
                answer = self.answer(items, check(self.stream, items, keep_invalid=keep_invalid)) | DRY_RUN_ANSWER
            else:
                answer = self.accept(request, items, body, idempotent, fmt=fmt, keep_invalid=keep_invalid)
        except NoValidRecords as error:
            raise self.rejection(error) from None
        if warning := warning_of_misspelt(request):
            answer["warnings"] = [*answer["warnings"], *self.header_warnings(warning)]
        return Response(answer, status=200 if dry_run else 202)

    def accept(
        self, request: Request, items: list[Any], body: bytes, idempotent: IdempotentRequest | None, **how: Any
    ) -> dict[str, Any]:
        def answer(accepted: Acceptance) -> dict[str, Any]:
            url = request.build_absolute_uri(reverse("delivery", args=[accepted.delivery.pk]))
            return self.answer(items, accepted) | {"delivery": accepted.delivery.pk, "status_url": url}

        if idempotent:
            return idempotent.accept_idempotently(answer, self.stream, items, body, **how)
        return answer(accept(self.stream, items, body, client=client_of(request), **how))

    def read_items(self, request: Request, body: bytes) -> tuple[Delivery.Format, list[Any]]:
        item = parse_json(body)
        if not isinstance(item, dict):
            raise RequestRejected(422, f"Send one JSON object here; lists go to /api/{self.stream.name}/batch.")
        return Delivery.Format.JSON, [item]

    def answer(self, items: list[Any], checked: ValidationReport) -> dict[str, Any]:
        outcome = "it is invalid and becomes a dead letter" if checked.errors else "it will be stored shortly"
        return {
            "success": True,
            "message": f"Accepted: {outcome}.",
            "id": key_of(self.stream, items[0]),
            "stream": self.stream.name,
            "queued": True,
            "timestamp": checked.at,
            "warnings": [text for warned in checked.warnings for text in warned["warnings"]],
            **({"errors": checked.errors[0]["errors"]} if checked.errors else {}),
        }

    def header_warnings(self, warning: str) -> list[Any]:
        return [warning]

    def rejection(self, error: NoValidRecords) -> RequestRejected:
        return RequestRejected(422, "The record is invalid.", fields=error.errors[0]["errors"])


class BatchView(IngestView):
    """Post many records."""

    parser_classes = [JsonBody, NdjsonBody]

    def get_view_name(self) -> str:
        return f"{self.stream.name} batch"

    def example(self) -> Any:
        return [self.stream.example]

    @describe_stream(post_many)
    def post(self, request: Request) -> Response:
        """Post many records.

        A JSON list, or NDJSON (one object per line). Valid records are durably stored, then enriched; invalid ones are
        rejected, identified by their index. If none is valid, the answer is 422.
        """
        return self.ingest_body(request)

    def read_items(self, request: Request, body: bytes) -> tuple[Delivery.Format, list[Any]]:
        if request.content_type.lower().startswith(NdjsonBody.media_type):
            fmt, items = Delivery.Format.NDJSON, parse_ndjson(body)
        else:
            fmt, items = Delivery.Format.JSON, parse_json(body)
            if not isinstance(items, list):
                raise RequestRejected(422, "Send a JSON list here, or application/x-ndjson.")
        if not items:
            raise RequestRejected(400, "The batch is empty.")
        if len(items) > settings.MAX_BATCH_RECORDS:
            raise RequestRejected(
                413, f"The batch has {len(items)} records; the limit is {settings.MAX_BATCH_RECORDS}."
            )
        return fmt, items

    def answer(self, items: list[Any], checked: ValidationReport) -> dict[str, Any]:
        rejected = len(items) - checked.count
        message = f"{checked.count} accepted, {rejected} rejected: see errors."
        return {
            "success": True,
            "message": message if rejected else f"{checked.count} of {len(items)} records accepted.",
            "count": checked.count,
            "queued": True,
            "timestamp": checked.at,
            "errors": checked.errors,
            "warnings": with_shared_keys(self.stream, items, checked),
        }

    def header_warnings(self, warning: str) -> list[Any]:
        """With the first record: it is about all."""
        return [{"index": 0, "id": "", "warnings": [warning]}]

    def rejection(self, error: NoValidRecords) -> RequestRejected:
        return RequestRejected(422, "No record is valid.", more={"errors": error.errors})


def with_shared_keys(stream: Stream, items: list[Any], checked: ValidationReport) -> list[dict[str, Any]]:
    """The warnings, and one for each record whose ID an earlier one of the batch has: only one of them is stored. None
    about persons whose data have been erased: the answer may be kept, and a warning names the ID.
    """
    first: dict[str, int] = {}
    by_index = {each["index"]: each for each in checked.warnings}
    suppressed = set(checked.suppressed)
    for index, item in enumerate(items):
        if index in suppressed:
            continue
        if (key := key_of(stream, item)) and (earlier := first.setdefault(key, index)) != index:
            text = f"has the ID of record {earlier}, too: the newest of them is stored"
            known = by_index.get(index, {"index": index, "id": key, "warnings": []})
            by_index[index] = {**known, "warnings": [*known["warnings"], text]}
    return [by_index[index] for index in sorted(by_index)]


def read_options(query: QueryDict) -> tuple[bool, bool]:
    """(whether invalid records are accepted as dead letters, whether it is a dry run)."""
    given = read_query(query, ["invalid", "dry_run"])
    keep_invalid = read_choice(given, "invalid", ["refuse", "dead-letter"]) == "dead-letter"
    return keep_invalid, read_flag(given, "dry_run")


class RowsView(ListView):
    """Rows, filtered, ordered and paged."""

    stream: Readable = None  # type: ignore[assignment]  # given to as_view()

    def get_view_name(self) -> str:
        return self.stream.name

    @describe_stream(list_rows)
    def get(self, request: Request) -> HttpResponseBase:
        """Enriched records, filtered, ordered and paged.

        CSV and NDJSON return all matching rows, unpaged.
        """
        query = self.read_query(request, reading.parameters(self.stream))
        listing = reading.read(self.stream, query, is_masked=is_personal_hidden(request))
        return self.answer_list(request, query, listing, self.stream.name)


class RecordsView(RowsView, IngestView):
    """Enriched records, filtered, ordered and paged; post one record."""

    stream: Stream = None  # type: ignore[assignment]  # given to as_view()


class RowView(ApiView):
    """One row."""

    stream: Readable = None  # type: ignore[assignment]  # given to as_view()

    def get_view_name(self) -> str:
        return self.stream.name

    @describe_stream(get_row)
    def get(self, request: Request, key: str) -> Response:
        """One enriched record.

        If a record with this key is waiting or dead, the 404 says so.
        """
        fields = read_fields(read_query(request.query_params, ["fields"]), reading.names_of(self.stream))
        key = normalized(key)
        rows = reading.listed(self.stream, is_masked=is_personal_hidden(request)).filter(pk=key)
        if found := reading.serializer_of(self.stream, fields)(reading.select_columns(rows, self.stream, fields)[:1]):
            return Response(found[0])
        raise self.not_found(request, key)

    def not_found(self, request: Request, key: str) -> RequestRejected:
        return RequestRejected(404, "No such row.")


class RecordView(RowView):
    """One enriched record."""

    def not_found(self, request: Request, key: str) -> RequestRejected:
        if pending := newest_containing(own_deliveries(request).filter(stream=self.stream.name), key):
            url = request.build_absolute_uri(reverse("delivery", args=[pending.pk]))
            return RequestRejected(
                404,
                f"No such record (delivery {pending.pk} containing it is pending).",
                more={"delivery": pending.pk, "status_url": url},
            )
        held = HeldRecord.objects.open().filter(stream=self.stream.name, key=key).order_by("-id").first()
        return RequestRejected(
            404, f"No such record. One with this key is {state_of(held)}." if held else "No such record."
        )


def state_of(held: HeldRecord) -> str:
    if held.status == HeldRecord.Status.WAITING:
        return f"waiting for {held.missing_stream} {held.missing_key}"
    return f"dead ({held.code})"
