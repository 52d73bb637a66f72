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
from typing import Annotated, Any, Literal, TypeAlias, Union, cast, get_args, get_origin

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
OFFSETS = "16"
Reader: TypeAlias = "Callable[[Any, datetime], Any]"
MICROSECONDS = len("2025-03-01T15:00:00.000000")
"""A digit behind so many characters is cut off by Python, and rounded by msgspec."""


@cache
def reader(schema: type[BaseModel]) -> Reader | None:
    """A function: of an item, typed as in JSON, and the time of now it makes the record that the item stands for, or
    None: the schema has to judge. There is no such function for a schema that has anything unknown here.
    """
    try:
        return _compile(schema)
    except _Unknown:
        return None


class Info(msgspec.Struct, gc=False):  # as a class of Python it takes three times as long to make
    """What a rule of a field may use of pydantic's ValidationInfo: the context, and the fields before its own."""

    context: dict[str, datetime]
    data: Any


def _get(record: Any, name: str, default: Any = None) -> Any:
    return getattr(record, name, default)


METHODS = {"get": _get, "__dict__": property(msgspec.structs.asdict)}
"""Of records: get(), since rules read other fields as from a dictionary, and vars() as of a pydantic model."""


# The function of a schema is written out, field by field: loops over fields would take twice as long.

READ = """
def read(item, now):
    try:
        record = msgspec.convert(item, type_)
        before = _day_before(now)
        {}
        return record
    except (msgspec.ValidationError, ValueError, AssertionError, TypeError):
        # ValueError: of rules, and of surrogates. TypeError: of what is not typed as in JSON.
        return None
"""
PLAIN = "text.isprintable() and text[0] != ' ' != text[-1]"
"""Nothing invisible, and no space at an end: it is stored as it is."""
ORDINARY = (
    f"FIRST_DAY < text < before and (len(text) == {len('2025-03-01T15:00:00Z')} or "
    f"(len(text) == {len('2025-03-01T15:00:00-05:00')} and text[-5:-3] < OFFSETS))"
)
"""A time in whole seconds, of UTC or with such an offset, that is in range and not of today."""


def _compile(schema: type[BaseModel]) -> Reader:
    decorators = schema.__pydantic_decorators__
    if schema.model_config != fields.Record.model_config or any(
        (decorators.validators, decorators.root_validators, decorators.computed_fields)
    ):
        raise _Unknown(schema)
    found = [_Field(name, field) for name, field in schema.model_fields.items()]
    columns = [each.column for each in found]
    type_ = msgspec.defstruct(schema.__name__, columns, namespace=METHODS, kw_only=True, gc=False)
    names: dict[str, Any] = {**globals(), "type_": type_}
    lines = [line for each in found for line in _checks(each, names)]
    lines += [
        f"if record.{each.name} is None: record.{each.name} = {each.null!r}" for each in found if each.null is not None
    ]
    lines += _rules(schema, names)
    exec(READ.format("\n        ".join(lines)), names)  # noqa: S102 (of the names and the marks of the schema's fields)
    read: Reader = names["read"]
    return read


def _checks(field: _Field, names: dict[str, Any]) -> Iterator[str]:
    """What is checked of a field besides its type, so that its value is stored as it is, or is read alike by Python and
    msgspec.
    """
    name = field.name
    if field.kind is fields.identifier:
        yield f"text = record.{name}"
        yield "if not text.isascii() or '/' in text or text in fields.RESERVED_IDENTIFIERS: return None"
        yield f"if not text or not ({PLAIN}): return None"
    elif field.is_list:
        yield f"if (texts := record.{name}) and not (type(item['{name}']) is list and _are_plain(texts)): return None"
    elif field.kind is fields.tidy:
        yield f"if (text := record.{name}) and not ({PLAIN}): return None"
    elif field.kind is fields.stripped:
        yield f"if (text := record.{name}) and fields.check_storable(text).strip() != text: return None"
    elif field.type is datetime:
        is_past = field.kind is fields.past_time
        odd = f"_odd_time_is_good(record.{name}, text, {is_past}, now)"
        yield f"if (text := item.get('{name}')) is not None and not ({ORDINARY}) and not {odd}: return None"
    elif field.type is date:
        day = f"type(item['{name}']) is str and day <= fields.LAST_DAY"
        yield f"if (day := record.{name}) is not None and not ({day}): return None"
    for number, check in enumerate(field.functions):
        names[f"check_{name}_{number}"] = check
        checked = f"check_{name}_{number}(text) is text"
        yield f"if (text := record.{name}) is not None and not {checked}: return None"


def _rules(schema: type[BaseModel], names: dict[str, Any]) -> Iterator[str]:
    """The validators of fields, in the order of the fields, and those of the whole."""
    rules = list(_field_rules(schema))
    if rules:
        yield "info = Info({'now': now}, record)"
    for number, (name, rule, of_absent) in enumerate(rules):
        names[f"rule_{number}"] = rule
        arguments = "value, info" if len(inspect.signature(rule).parameters) > 1 else "value"
        condition = "" if of_absent else f"'{name}' in item and "
        changed = f"(checked := rule_{number}({arguments})) is not value"
        yield f"value = record.{name}"
        yield f"if {condition}{changed}: record.{name} = checked"
    for number, whole_rule in enumerate(_record_rules(schema)):
        names[f"whole_rule_{number}"] = whole_rule
        yield f"whole_rule_{number}(record)"


def _are_plain(texts: Iterable[str]) -> bool:
    for text in texts:  # noqa: SIM110 (all() with a generator takes twice as long)
        if text and not (text.isprintable() and text[0] != " " != text[-1]):
            return False
    return True


def _odd_time_is_good(moment: datetime, text: str, is_past: bool, now: datetime) -> bool:
    """Whether it is in range, and read alike: not with an offset that PostgreSQL does not read, nor with a digit that
    Python cuts off and msgspec rounds.
    """
    if not fields.MIN_TIME <= moment < fields.MAX_TIME or (is_past and moment > now + fields.CLOCK_TOLERANCE):
        return False
    offset = cast(timedelta, moment.utcoffset())
    return abs(offset) < fields.MAX_OFFSET and not text[MICROSECONDS : MICROSECONDS + 1].isdigit()


@lru_cache(maxsize=1)
def _day_before(now: datetime) -> str:
    return str(now.date() - timedelta(days=1))


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


def _field_rules(schema: type[BaseModel]) -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """(field, validator, whether it is called in any case, not only for a field that is there)."""
    for name, field in schema.model_fields.items():
        for each in schema.__pydantic_decorators__.field_validators.values():
            if name in each.info.fields:
                if each.info.mode != "after":
                    raise _Unknown(name)
                yield name, each.func, bool(field.validate_default) or field.is_required()


def _record_rules(schema: type[BaseModel]) -> Iterator[Callable[[Any], Any]]:
    for each in schema.__pydantic_decorators__.model_validators.values():
        if each.info.mode != "after" or len(inspect.signature(each.func).parameters) > 1:
            raise _Unknown(schema)
        yield each.func
