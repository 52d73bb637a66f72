"""The row that is made of a record: a list of values, in the order of upsert.columns()."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from enrichment.pipeline import upsert
from ingestion.streams import Stream

Row = list[Any]


class Layout(NamedTuple):
    names: tuple[str, ...]
    places: Mapping[str, int]
    own: Callable[[Any], tuple[Any, ...]]
    """The record's own columns, which come first."""
    others: Sequence[Any]
    """The values of the other columns where nothing sets them."""


@cache
def layout(stream: Stream) -> Layout:
    names = tuple(field.attname for field in upsert.columns(stream))
    own = [name for name in names if name in stream.schema.model_fields]
    defaults = upsert.defaults(stream)
    return Layout(
        names=names,
        places={name: place for place, name in enumerate(names)},
        own=attrgetter(*own) if len(own) > 1 else lambda record: tuple(getattr(record, name) for name in own),
        others=[defaults[name] for name in names[len(own) : -len(upsert.OF_ARRIVAL)]],
    )


def make(stream: Stream, record: Any, derived: Mapping[str, Any], of_arrival: Sequence[Any]) -> Row:
    """The row of the record, with what is derived of it, and the values of upsert.OF_ARRIVAL."""
    _, places, own, others = layout(stream)
    row = [*own(record), *others, *of_arrival]
    for name, value in derived.items():
        if (place := places.get(name)) is not None:
            row[place] = value
    return row


def key_getter(stream: Stream) -> Callable[[Sequence[Any]], str]:
    return itemgetter(layout(stream).places[stream.key])


def named(stream: Stream, row: Sequence[Any]) -> dict[str, Any]:
    """column → value."""
    return dict(zip(layout(stream).names, row, strict=True))
