"""A stream's schema compiled to msgspec: the ordinary record, typed and checked in a fraction of the time.

It takes only what the schema takes, with equal values (ingestion/tests/test_compiled.py), and not all of that: what it
refuses, for whatever reason, the schema judges and words. It never changes a value, but for null where that stands for
a default. A schema that has anything unknown here is not compiled.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ingestion import fields

FIRST_DAY = "1970-01-03"
"""Later times are after 1970 began, by whatever offset. Those in whole seconds of UTC, or with an offset of less than
OFFSETS hours, are read alike by Python and msgspec.
"""
IN_SECONDS, WITH_OFFSET = len("2025-03-01T15:00:00Z"), len("2025-03-01T15:00:00-05:00")
OFFSETS = "16"
MICROSECONDS = len("2025-03-01T15:00:00.000000")
"""A digit behind so many characters is cut off by Python, and rounded by msgspec."""


def read(schema: type[BaseModel], item: Any, now: datetime) -> Any:
    """The record that `item`, typed as in JSON, stands for; None: the schema has to judge."""
    compiled = compile_schema(schema)
    return compiled.read(item, now) if compiled else None


@cache
def compile_schema(schema: type[BaseModel]) -> Compiled | None:
    """None for a schema that has anything unknown here."""
    try:
        return Compiled(schema)
    except _Unknown:
        return None


class Compiled:
    def __init__(self, schema: type[BaseModel]) -> None:
        rules = schema.__pydantic_decorators__
        if schema.model_config != fields.Record.model_config or any(
            (rules.validators, rules.root_validators, rules.computed_fields)
        ):
            raise _Unknown(schema)
        found = [_Field(name, field) for name, field in schema.model_fields.items()]
        self.type = msgspec.defstruct(
            schema.__name__, [each.column for each in found], namespace=METHODS, kw_only=True, gc=False
        )
        self.identifiers = _getter([each.name for each in found if each.kind is fields.identifier])
        self.names = _getter([each.name for each in found if each.kind is fields.tidy and not each.is_list])
        self.lists = [each.name for each in found if each.is_list]
        self.texts = _getter([each.name for each in found if each.kind is fields.stripped])
        self.time_names = [each.name for each in found if each.type is datetime]
        self.times = _getter(self.time_names)
        self.are_past = [each.kind is fields.past_time for each in found if each.type is datetime]
        self.days = [each.name for each in found if each.type is date]
        self.nulls = {each.name: each.null for each in found if each.null is not None}
        self.nullable = _getter(list(self.nulls))
        self.checks = [(each.name, function) for each in found for function in each.functions]
        self.rules = list(_field_rules(schema))
        self.record_rules = list(_record_rules(schema))

    def read(self, item: Any, now: datetime) -> Any:
        try:
            record = msgspec.convert(item, self.type)
            good = self._texts_are_plain(record, item) and self._times_are_good(record, item, now)
            return record if good and self._keeps_rules(record, item, now) else None
        except (msgspec.ValidationError, ValueError, AssertionError, TypeError):
            # ValueError: of rules, and of surrogates. TypeError: of what is not typed as in JSON.
            return None

    def _texts_are_plain(self, record: Any, item: Any) -> bool:
        """Whether they are stored as they are: keys in ASCII, nothing invisible in names, nothing to strip."""
        keys = self.identifiers(record)
        for text in keys:
            if "/" in text or text in fields.RESERVED_IDENTIFIERS or not text.isascii():
                return False
        if not _are_plain(keys) or not _are_plain(self.names(record)):
            return False
        for name in self.lists:
            if (texts := getattr(record, name)) and not (type(item[name]) is list and _are_plain(texts)):
                return False
        for text in self.texts(record):
            if text and fields.check_storable(text).strip() != text:
                return False
        for name, check in self.checks:
            if (text := getattr(record, name)) is not None and check(text) is not text:
                return False
        return True

    def _times_are_good(self, record: Any, item: Any, now: datetime) -> bool:
        for name in self.days:
            if (day := getattr(record, name)) is not None and (type(item[name]) is not str or day > fields.LAST_DAY):
                return False
        before = _day_before(now)
        for name in self.time_names:
            if (text := item.get(name)) is not None:
                is_ordinary = len(text) == IN_SECONDS or (len(text) == WITH_OFFSET and text[-5:-3] < OFFSETS)
                if not (is_ordinary and FIRST_DAY < text < before):
                    return self._odd_times_are_good(record, item, now)
        return True

    def _odd_times_are_good(self, record: Any, item: Any, now: datetime) -> bool:
        """Whether they are in range, and read alike: not with an offset that PostgreSQL does not read, nor with a digit
        that Python cuts off and msgspec rounds.
        """
        for name, moment, is_past in zip(self.time_names, self.times(record), self.are_past, strict=True):
            if moment is None:
                continue
            if not fields.MIN_TIME <= moment < fields.MAX_TIME or (is_past and moment > now + fields.CLOCK_TOLERANCE):
                return False
            if abs(moment.utcoffset()) >= fields.MAX_OFFSET or item[name][MICROSECONDS : MICROSECONDS + 1].isdigit():
                return False
        return True

    def _keeps_rules(self, record: Any, item: Any, now: datetime) -> bool:
        if None in self.nullable(record):
            for name, default in self.nulls.items():
                if getattr(record, name) is None:
                    setattr(record, name, default)
        if self.rules:
            info = Info(record, now)
            for name, rule, of_absent in self.rules:
                if of_absent or name in item:
                    value = getattr(record, name)
                    if (checked := rule(value, info)) is not value:
                        setattr(record, name, checked)
        for whole_rule in self.record_rules:
            whole_rule(record)
        return True


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that gets these attributes, as a tuple in any case."""
    match names:
        case []:
            return lambda record: ()
        case [name]:
            return lambda record: (getattr(record, name),)
    return attrgetter(*names)


def _are_plain(texts: Iterable[str | None]) -> bool:
    """Whether none has anything invisible, or a space at an end."""
    for text in texts:  # noqa: SIM110 (all() with a generator takes twice as long)
        if text and not (text.isprintable() and text[0] != " " != text[-1]):
            return False
    return True


@lru_cache(maxsize=1)
def _day_before(now: datetime) -> str:
    return str(now.date() - timedelta(days=1))


def _get(record: Any, name: str, default: Any = None) -> Any:
    return getattr(record, name, default)


METHODS = {"get": _get, "__dict__": property(msgspec.structs.asdict)}
"""Of records: get(), since rules read other fields as from a dictionary, and vars() as of a pydantic model."""


class Info:
    """What a rule of a field may use of pydantic's ValidationInfo: the context, and the fields before its own."""

    __slots__ = ("context", "data")

    def __init__(self, record: Any, now: datetime) -> None:
        self.context, self.data = {"now": now}, record


# Once for each schema: from pydantic's fields to types of msgspec, and what is checked besides.


class _Unknown(Exception):
    pass


class _Field:
    """A field: its type for msgspec, the kind of text or time that it is, and the functions that check it besides."""

    def __init__(self, name: str, field: FieldInfo) -> None:
        if field.alias or field.validation_alias or field.default_factory or field.discriminator:
            raise _Unknown(name)
        self.name = name
        self.null: Any = None
        """What null stands for."""
        self.kind: Callable[..., Any] | None = None
        self.functions: list[Callable[[Any], Any]] = []
        type_, marks = _without_marks(field.annotation, field.metadata)
        is_optional = get_origin(type_) in (Union, types.UnionType)
        if is_optional:
            self.null = _null_of(marks)
            type_, marks = _without_marks(_only_member(type_), [])
        self.is_list = get_origin(type_) is list
        self.type = type_
        typed = self._list(type_, marks) if self.is_list else self._one(type_, marks)
        typed = typed | None if is_optional else typed
        self.column = (name, typed) if field.default is PydanticUndefined else (name, typed, field.default)

    def _list(self, type_: Any, marks: Sequence[Any]) -> Any:
        bounds, functions = _bounds(marks)
        item = self._one(*_without_marks(get_args(type_)[0], []))
        if functions or self.kind is not fields.tidy or self.functions:  # only lists of names are known
            raise _Unknown(self.name)
        return Annotated[list[item], msgspec.Meta(**bounds)]  # type: ignore[valid-type]

    def _one(self, type_: Any, marks: Sequence[Any]) -> Any:
        bounds, functions = _bounds(marks)
        if get_origin(type_) is Literal and not marks:
            return type_
        if type_ is int and functions == [fields.whole_number]:
            functions = []
        elif type_ is datetime and functions in ([fields.parse_time], [fields.past_time]):
            self.kind, functions, bounds = functions[0], [], {"tz": True}
        elif type_ is date and functions == [fields.parse_day]:
            functions = []
        elif type_ is str:
            functions = self._note_kind(functions)
        elif type_ not in (float, bool):
            raise _Unknown(self.name)
        if functions and type_ is not str:
            raise _Unknown(self.name)
        self.functions = functions
        return Annotated[type_, msgspec.Meta(**bounds)] if bounds else type_

    def _note_kind(self, functions: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
        """Returns the functions that are left."""
        for kind in (fields.identifier, fields.tidy, fields.stripped):
            if kind in functions:
                self.kind = kind
        return [function for function in functions if function not in (self.kind, fields.check_storable)]


def _without_marks(annotation: Any, marks: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The type, and all that Annotated says of it."""
    marks = list(marks)
    while get_origin(annotation) is Annotated:
        marks = [*annotation.__metadata__, *marks]
        annotation = annotation.__origin__
    return annotation, [each for mark in marks for each in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]


def _only_member(union: Any) -> Any:
    members = [member for member in get_args(union) if member is not types.NoneType]
    if len(members) != 1:
        raise _Unknown(union)
    return members[0]


def _null_of(marks: Sequence[Any]) -> Any:
    bounds, functions = _bounds(marks)
    match functions:
        case []:
            return None
        case [fields.DefaultForNull(default=default)] if not bounds:
            return default
        case [function] if function is fields.false_for_null:
            return False
    raise _Unknown(marks)


CONVERTING = (
    *(fields.tidy, fields.stripped, fields.whole_number),
    *(fields.parse_time, fields.past_time, fields.parse_day),
)
"""The functions of fields that make another value of what was sent."""
BOUNDS = {Ge: "ge", Le: "le", MinLen: "min_length", MaxLen: "max_length"}


def _bounds(marks: Sequence[Any]) -> tuple[dict[str, Any], list[Callable[..., Any]]]:
    """The bounds as msgspec names them, and the functions of the validators."""
    bounds, functions = {}, []
    for mark in marks:
        if name := BOUNDS.get(type(mark)):
            bounds[name] = getattr(mark, name)
        elif list(getattr(mark, "__dict__", ())) == ["pattern"]:
            bounds["pattern"] = mark.pattern
        elif isinstance(mark, AfterValidator) or getattr(mark, "func", None) in CONVERTING:
            functions.append(mark.func)
        elif not isinstance(mark, WithJsonSchema):
            raise _Unknown(mark)
    return bounds, functions


def _with_info(rule: Callable[..., Any]) -> Callable[[Any, Info], Any]:
    return rule if len(inspect.signature(rule).parameters) > 1 else lambda value, info: rule(value)


def _field_rules(schema: type[BaseModel]) -> Iterator[tuple[str, Callable[[Any, Info], Any], bool]]:
    """(field, validator, whether it is called for an absent field), in the order of the fields."""
    for name, field in schema.model_fields.items():
        for each in schema.__pydantic_decorators__.field_validators.values():
            if name in each.info.fields:
                if each.info.mode != "after":
                    raise _Unknown(name)
                yield name, _with_info(each.func), bool(field.validate_default)


def _record_rules(schema: type[BaseModel]) -> Iterator[Callable[[Any], Any]]:
    for each in schema.__pydantic_decorators__.model_validators.values():
        if each.info.mode != "after" or len(inspect.signature(each.func).parameters) > 1:
            raise _Unknown(schema)
        yield each.func
