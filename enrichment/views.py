"""Reading: lists and details of what is stored."""

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from enrichment.formats import ListView
from enrichment.models import HeldRecord
from enrichment.openapi import ROW, ROWS, key_and_fields, record_parameters
from enrichment.rows import reading
from enrichment.rows.listing import read_fields
from ingestion.openapi import describe
from ingestion.query import read_query
from ingestion.refusals import Refused
from ingestion.streams import Stream
from ingestion.views import ApiView, IngestView


class RecordsView(ListView, IngestView):
    """Enriched records, filtered, ordered and paged; post one record."""

    @describe(ROWS, parameters=record_parameters)
    def get(self, request: Request) -> HttpResponseBase:
        """Enriched records, filtered, ordered and paged.

        As CSV or NDJSON all that is filtered, not a page.
        """
        query = self.read_query(request, reading.parameters(self.stream))
        return self.answer_list(request, query, reading.read(self.stream, query), self.stream.name)


class RecordView(ApiView):
    """One enriched record."""

    stream: Stream = None  # type: ignore[assignment]  # given to as_view()

    def get_view_name(self) -> str:
        return self.stream.name

    @describe(ROW, parameters=key_and_fields)
    def get(self, request: Request, key: str) -> Response:
        """One enriched record.

        A 404 says so when a record with this key is waiting or dead.
        """
        fields = read_fields(read_query(request.query_params, ["fields"]), reading.names_of(self.stream))
        rows = self.stream.model._default_manager.filter(pk=key)
        if found := reading.shown_by(self.stream, fields)(reading.only(rows, self.stream, fields)[:1]):
            return Response(found[0])
        held = HeldRecord.objects.open().filter(stream=self.stream.name, key=key).order_by("-id").first()
        raise Refused(404, f"Not stored: the record with this key is {fate(held)}." if held else "Not stored.")


def fate(held: HeldRecord) -> str:
    if held.status == HeldRecord.Status.WAITING:
        return f"waiting for {held.missing_stream} {held.missing_key}"
    return f"dead ({held.code})"
