"""Lists over HTTP: a page as JSON, or all rows as CSV or NDJSON."""

from __future__ import annotations

from collections.abc import Iterable

from django.http.response import HttpResponseBase
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth import client_of
from api.base import ApiView
from api.pagination import PARAMETERS, paginate
from enrichment.rows.access import Export
from enrichment.rows.listing import Listing
from enrichment.rows.writers import FORMATS, Csv, CsvForSpreadsheets, Ndjson, Streamed, stream
from ingestion.models import ApiKey
from ingestion.query import read_choice, read_query
from ingestion.refusals import RequestRejected


class FormatNegotiation(DefaultContentNegotiation):
    """?format= overrides Accept. An unknown format is left to the view, which rejects it after authentication."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderers = list(renderers)
        wanted = request.query_params.get("format")
        for renderer in renderers:
            if renderer.format == wanted and wanted in FORMATS:
                return renderer, renderer.media_type
        found: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        return found


def _for_reader(request: Request, form: Streamed) -> Streamed:
    """CSV for a spreadsheet where a person asks, in a browser; for a program as it is."""
    return CsvForSpreadsheets() if isinstance(form, Csv) and not isinstance(request.auth, ApiKey) else form


class ListView(ApiView):
    """A list: a page as JSON, or all rows as CSV or NDJSON."""

    content_negotiation_class = FormatNegotiation

    def get_renderers(self) -> list[BaseRenderer]:
        streamed = [Csv(), Ndjson()] if self.request.method in ("GET", "HEAD") else []
        return [*super().get_renderers(), *streamed]

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(getattr(self.request, "accepted_renderer", None), Streamed):
            self.request.accepted_renderer = JSONRenderer()
            self.request.accepted_media_type = JSONRenderer.media_type
        return super().handle_exception(exc)

    def read_query(self, request: Request, allowed: Iterable[str]) -> dict[str, str]:
        """The parameters: these, those of every list and, unless all rows are returned, those of pages."""
        is_unpaged = isinstance(request.accepted_renderer, Streamed)
        if is_unpaged and (given := [name for name in PARAMETERS if name in request.query_params]):
            message = f"CSV and NDJSON return all rows, unpaged: leave out {', '.join(given)}."
            raise RequestRejected(400, message, fields={name: ["is for JSON pages only"] for name in given})
        of_pages = () if is_unpaged else PARAMETERS
        query = read_query(request.query_params, [*of_pages, "ordering", "fields", "format", *allowed])
        read_choice(query, "format", FORMATS)
        return query

    def answer_list(self, request: Request, query: dict[str, str], listing: Listing, name: str) -> HttpResponseBase:
        if isinstance(request.accepted_renderer, Streamed):
            form = _for_reader(request, request.accepted_renderer)
            export = Export(by=client_of(request), what=name, form=form.format, query=query)
            return stream(request.method, form, listing, name, export)
        page = paginate(request.build_absolute_uri(request.path), listing.rows, query, listing.ordering)
        return Response({**page, "results": listing.serialize(page["results"])})
