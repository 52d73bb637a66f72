"""The history of who took rows out, and who looked at the payload of a failed record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import DatabaseError

from enrichment.models import DataAccess
from ingestion.text import cut_short, strip_unstorable

MAX_VALUE = 500
"""Characters of a filter's value that are kept."""
Chunk = TypeVar("Chunk", bound=Sized)
logger = logging.getLogger(__name__)


@dataclass
class Export:
    """An export that is about to begin. It is in the history before its first row leaves, and with the number of rows
    once it has ended, however that was.
    """

    by: str
    what: str
    form: str
    query: Mapping[str, str] = field(default_factory=dict)
    rows: int = 0
    pk: int | None = None

    def begin(self) -> None:
        self.pk = _write(DataAccess.Kind.EXPORT, self.by, self.what, self.query, format=self.form).pk

    def counting(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self.rows += len(chunk)
            yield chunk

    def end(self) -> None:
        """Never raises: the rows have left already."""
        if self.pk is None:
            return
        try:
            DataAccess.objects.filter(pk=self.pk, rows=None).update(rows=max(0, self.rows))
        except DatabaseError as error:
            logger.warning("That export %s had %s rows could not be written: %s", self.pk, self.rows, error)


def note_look(by: str, what: str, *, record: int | None = None, query: Mapping[str, str] | None = None) -> None:
    """Somebody sees the payload of this failed record, or those on a page."""
    _write(DataAccess.Kind.PAYLOAD, by, what, query or {}, record=record)


def _write(kind: DataAccess.Kind, by: str, what: str, query: Mapping[str, str], **columns: object) -> DataAccess:
    kept = {name: strip_unstorable(cut_short(value, MAX_VALUE)) for name, value in query.items()}
    return DataAccess.objects.create(kind=kind, by=by, what=what[:200], query=kept, **columns)
