"""The row that is made of a record: a list of values, in the order of upsert.columns()."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from enrichment.pipeline import upsert
from ingestion.streams import Stream

Row = list[Any]


class Layout(NamedTuple):
    names: tuple[str, ...]
    places: Mapping[str, int]
    own: Callable[[Any], tuple[Any, ...]]
    """The record's own columns, which come first."""
    derived: Callable[[Mapping[str, Any]], Sequence[Any]]
    """The other columns, where just these have been derived."""
    others: Sequence[Any]
    """Their values where nothing sets them."""


@cache
def layout(stream: Stream) -> Layout:
    names = tuple(field.attname for field in upsert.columns(stream))
    own = [name for name in names if name in stream.schema.model_fields]
    others = names[len(own) : -len(upsert.OF_ARRIVAL)]
    defaults = upsert.defaults(stream)
    return Layout(
        names=names,
        places={name: place for place, name in enumerate(names)},
        own=_own_getter(own, own == list(stream.schema.model_fields)),
        derived=itemgetter(*others) if len(others) > 1 else lambda derived: [derived[name] for name in others],
        others=[defaults[name] for name in others],
    )


def _own_getter(names: Sequence[str], are_all: bool) -> Callable[[Any], tuple[Any, ...]]:
    """A record of a compiled schema is copied as a whole, in a tenth of the time."""

    def get(record: Any) -> tuple[Any, ...]:
        if are_all and isinstance(record, msgspec.Struct):
            return msgspec.structs.astuple(record)
        return tuple([getattr(record, name) for name in names])

    return get


def make(stream: Stream, record: Any, derived: Mapping[str, Any], of_arrival: Sequence[Any]) -> Row:
    """The row of the record, with what is derived of it, and the values of upsert.OF_ARRIVAL."""
    _, places, own, get_derived, others = layout(stream)
    if len(derived) == len(others):
        try:
            return [*own(record), *get_derived(derived), *of_arrival]
        except KeyError:  # of as many other columns
            pass
    row = [*own(record), *others, *of_arrival]
    for name, value in derived.items():
        if (place := places.get(name)) is not None:
            row[place] = value
    return row


def key_getter(stream: Stream) -> Callable[[Sequence[Any]], str]:
    return itemgetter(layout(stream).places[stream.key])


class NamedRow(Mapping[str, Any]):
    """A row by the names of its columns. Few of them are read, and a dictionary would be long."""

    __slots__ = ("places", "row")

    def __init__(self, places: Mapping[str, int], row: Sequence[Any]) -> None:
        self.places, self.row = places, row

    def __getitem__(self, name: str) -> Any:
        return self.row[self.places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def named(stream: Stream, row: Sequence[Any]) -> NamedRow:
    return NamedRow(layout(stream).places, row)
