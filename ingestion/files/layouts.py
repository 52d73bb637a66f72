"""Which kind of file another system has exported: told by its path and its header (ingestion.streams.Layout)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ingestion.files.formats.csv_reader import MAX_COLUMN_NAME, normalized_name
from ingestion.refusals import RequestRejected
from ingestion.streams import Layout, Stream, all_streams, get
from ingestion.text import plain

TEXT_EXTENSIONS = (".csv", ".tsv", ".txt", ".xlsx", ".csv.gz")
"""A table is the same one in each of these."""
MAX_NAMED = 20
"""Columns of a header that a message names."""

Mapped: TypeAlias = "Callable[[str], Mapping[str, str]]"
"""Stream → column → field."""

_copy = re.compile(r"\s*\(\d+\)(?=\.[^./]*$)")
"""What browsers add to the name of a second download."""


def _none(stream: str) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Candidate:
    """A layout and the stream that declares it."""

    stream: Stream
    layout: Layout


def candidates_of(streams: Iterable[Stream]) -> list[Candidate]:
    return [Candidate(stream, layout) for stream in streams for layout in stream.layouts]


def layout_of(stream: Stream, kind: str, given: Mapping[str, Any]) -> Layout | None:
    """The layout of that kind which gives the most of these members: that of a file that has been recognised."""
    fitting = [each for each in stream.layouts if each.kind == kind and each.given.items() <= given.items()]
    return max(fitting, key=lambda each: len(each.given), default=None)


def kinds_of(candidates: Iterable[Candidate]) -> list[str]:
    """Their kinds, each once, those left out aside."""
    return list(dict.fromkeys(each.layout.kind for each in candidates if not each.layout.left_out))


def stream_of_fields(header: Sequence[str], mapped: Mapped = _none) -> Stream | None:
    """The only stream all of whose required fields a header names; None where there is none, or several.

    `mapped` is asked only where no stream has all its fields by their names.
    """
    for mapping in (_none, mapped):
        if found := [stream for stream in all_streams() if not missing_fields(header, stream, mapping)]:
            return found[0] if len(found) == 1 else None
    return None


def missing_fields(header: Sequence[str], stream: Stream, mapped: Mapped) -> list[str]:
    """The required fields of a stream that no column of a header is."""
    fields = mapped(stream.name)
    names = _names((*header, *(fields[name] for name in header if name in fields)))
    required = (name for name, field in stream.schema.model_fields.items() if field.is_required())
    return [name for name in required if normalized_name(name) not in names]


def why_no_stream(header: Sequence[str], mapped: Mapped) -> str:
    """Why stream_of_fields() finds none; empty where the header is like that of none."""
    missing = {stream.name: missing_fields(header, stream, mapped) for stream in all_streams()}
    if fitting := [name for name, fields in missing.items() if not fields]:
        return f"its columns fit {' and '.join(fitting)}"
    known = {name: fields for name, fields in missing.items() if len(fields) < _number_of_required(name)}
    if not known:
        return ""
    name = min(known, key=lambda each: len(known[each]))
    return f"for {name} it lacks {', '.join(known[name])}"


def _number_of_required(stream: str) -> int:
    return sum(field.is_required() for field in get(stream).schema.model_fields.values())


def by_path(path: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those whose paths fit the end of the path, the longest that does: deleted/diary.csv is no diary.csv."""
    parts = _plain_path(path).split("/")
    for start in range(len(parts)):
        tail = "/".join(parts[start:])
        if found := [each for each in candidates if _fits_path(tail, each.layout)]:
            return found
    return []


def _plain_path(path: str) -> str:
    path = _copy.sub("", path.strip())
    extension = next((each for each in TEXT_EXTENSIONS if path.lower().endswith(each)), "")
    return f"{path.removesuffix(path[-len(extension) :])}.csv" if extension else path


def _fits_path(path: str, layout: Layout) -> bool:
    return any(re.fullmatch(pattern, path, re.IGNORECASE) for pattern in layout.paths)


def recognize(path: str, header: Sequence[str], candidates: Sequence[Candidate], kind: str = "") -> Candidate | None:
    """The layout of a file, None if there is none for it. `kind` is what the sender says of files that do not tell.

    Raises RequestRejected (422) where the header fits several kinds and the path does not tell which, and where the
    path or the sender names a kind that the header does not fit.
    """
    named = by_path(path, candidates)
    if left_out := next((each for each in named if each.layout.left_out), None):
        return left_out
    fitting = [each for each in candidates if _fits_header(header, each.layout)]
    if kind and (of_kind := [each for each in candidates if each.layout.kind == kind and not each.layout.left_out]):
        if found := _only_of(of_kind, named, fitting):
            return found
        raise _wrong_header(path, header, of_kind[0].layout)
    if found := _only_of(named, named, fitting):
        exact = [each for each in fitting if _is_exact(header, each.layout)]
        if exact and not any(each in named for each in exact):
            raise UnknownKind(path, [found, *exact])
        return found
    if named and not fitting:
        raise _wrong_header(path, header, named[0].layout)
    best = _best(header, fitting)
    if len(kinds_of(best)) > 1:
        raise UnknownKind(path, best)
    return best[0] if best else None


def _only_of(
    wanted: Collection[Candidate], named: Collection[Candidate], fitting: Sequence[Candidate]
) -> Candidate | None:
    """Of the fitting ones the first that is wanted, one that the path names before others."""
    found = [each for each in fitting if each in wanted]
    return next((each for each in found if each in named), None) or next(iter(found), None)


def _names(columns: Iterable[str]) -> set[str]:
    return {normalized_name(name) for name in columns}


def _fits_header(header: Sequence[str], layout: Layout) -> bool:
    if layout.members:
        return {*_full_names(layout)} <= {*header}
    names = _names(header)
    if not layout.header and not layout.any_of:
        return False
    return _names(layout.header) <= names and (not layout.any_of or bool(_names(layout.any_of) & names))


def _full_names(layout: Layout) -> list[str]:
    """Of the members, as they stand in the first object of a file."""
    return [f"{layout.items}.{name}" if layout.items else name for name in layout.members]


def of_format(candidates: Iterable[Candidate], *, is_table: bool) -> list[Candidate]:
    """Those of tables, or of JSON and NDJSON; what a path alone tells may be either."""
    return [
        each
        for each in candidates
        if not (each.layout.members if is_table else each.layout.header or each.layout.any_of)
    ]


def advice_on(header: Sequence[str], candidates: Iterable[Candidate]) -> str:
    """What to do about a table that is nearly of one of these layouts; empty where it is like none."""
    return next(filter(None, (each.layout.advise(header) for each in candidates)), "")


def _is_exact(header: Sequence[str], layout: Layout) -> bool:
    return _fits_header(header, layout) and _names(header) <= _known(layout)


def _known(layout: Layout) -> set[str]:
    return _names((*layout.header, *layout.any_of, *layout.optional, *_full_names(layout)))


def _best(header: Sequence[str], fitting: Sequence[Candidate]) -> list[Candidate]:
    """Those that know the most columns of the header."""
    known = [len(_names(header) & _known(each.layout)) for each in fitting]
    return [each for each, number in zip(fitting, known, strict=True) if number == max(known)]


class UnknownKind(RequestRejected):
    """The header fits several kinds, and the name does not tell."""

    def __init__(self, path: str, candidates: Iterable[Candidate]) -> None:
        self.kinds = kinds_of(candidates)
        named = ", ".join(self.kinds)
        self.about = f"{path} may be any of these kinds of file: {named}."
        message = f"{self.about} Say which (kind=), or give it its original name."
        super().__init__(422, message, fields={"kind": [f"must be one of: {named}"]})


def _wrong_header(path: str, header: Sequence[str], layout: Layout) -> RequestRejected:
    if layout.members:
        missing = [name for name in _full_names(layout) if name not in header]
    else:
        missing = [name for name in layout.header if normalized_name(name) not in _names(header)]
    lacks = f"lacks {', '.join(missing)}" if missing else f"has none of {', '.join(layout.any_of)}"
    reads = ", ".join(f"“{plain(name[:MAX_COLUMN_NAME])}”" for name in header[:MAX_NAMED])
    what, one = ("members", "member") if layout.members else ("header", "column")
    fields = {name: [f"is required, but the file has no such {one}"] for name in missing or layout.any_of}
    return RequestRejected(422, f"{path} is no {layout.kind} file: it {lacks}. Its {what}: {reads}.", fields=fields)
