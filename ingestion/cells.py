"""The cells of a CSV file: text → JSON by the type of the stream's field, and back.

What cannot be read as its field's type is left as text, so that validation rejects it, naming the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from json.encoder import encode_basestring  # many times as fast as dumps() of a text
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from ingestion.payloads import MAX_DEPTH, ParseError, ascii_json, parse_json

Read: TypeAlias = "Callable[[str], str]"
"""A cell → the JSON of its value; empty for an empty cell, which means that the field is absent."""
Known: TypeAlias = "Mapping[str, Callable[[], Collection[str]]]"
"""field → the items that its lists are known to have."""
Kind: TypeAlias = Literal["text", "time", "number", "boolean", "list"]

BOOLEANS = {**dict.fromkeys(("true", "yes", "1"), "true"), **dict.fromkeys(("false", "no", "0"), "false")}
SEPARATORS = (";", "|")
"""Of the items of a list; the first that occurs. Without one, line ends separate, and then commas (list_reader)."""
ABSENT = {"NULL", "null", "None", "NaN", "nan", "<NA>", "#N/A", "\\N"}
"""What databases, programs and spreadsheets write where there is no value."""
SPREADSHEET_ERRORS = {"#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}

_whole = re.compile(r"[+-]?[0-9]{1,400}")
_number = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_line_ends = re.compile(r"[\r\n]+")
_BLANKS = [number for number in range(0x3001) if chr(number).isspace()]
_INVISIBLE = [0xAD, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)]
_UNSEEN = "".join(map(chr, [*_BLANKS, *_INVISIBLE]))


def readers_of(schema: type[BaseModel], known: Known | None = None) -> dict[str, Read]:
    """field → the function that reads what is typed for it."""
    definitions, fields = _described(schema)
    known = known or {}
    return {name: _reader(field, definitions, known.get(name)) for name, field in fields.items()}


def kinds_of(schema: type[BaseModel]) -> dict[str, Kind]:
    definitions, fields = _described(schema)
    return {name: _kind(_by_type(field, definitions)) for name, field in fields.items()}


def days_of(schema: type[BaseModel]) -> set[str]:
    """The fields that are days without a time."""
    definitions, fields = _described(schema)
    return {
        name
        for name, field in fields.items()
        if any(option.get("format") == "date" for option in _by_type(field, definitions).values())
    }


@cache
def _described(schema: type[BaseModel]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Remembered: it takes 10 ms, and an archive of files asks for it ten times for each."""
    described = schema.model_json_schema()
    return described.get("$defs", {}), described["properties"]


def _by_type(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[Any, Mapping[str, Any]]:
    options = [_resolved(option, definitions) for option in field.get("anyOf", [field])]
    return {option.get("type"): option for option in options if option.get("type") != "null"}


def _kind(by_type: Mapping[Any, Mapping[str, Any]]) -> Kind:
    match sorted(map(str, by_type)):
        case ["integer"] | ["number"] | ["integer", "number"]:
            return "number"
        case ["boolean"]:
            return "boolean"
        case ["array"]:
            return "list"
        case ["string"] if by_type["string"].get("format") in ("date-time", "date"):
            return "time"
        case _:
            return "text"


def _reader(
    field: Mapping[str, Any], definitions: Mapping[str, Any], known: Callable[[], Collection[str]] | None = None
) -> Read:
    by_type = _by_type(field, definitions)
    match _kind(by_type):
        case "number":
            return read_number
        case "boolean":
            return read_boolean
        case "list":
            return list_reader(_reader(by_type["array"].get("items", {}), definitions), known)
        case _:
            return read_text


def _resolved(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions[field["$ref"].rsplit("/", 1)[-1]] if "$ref" in field else field
    return found


def read_text(cell: str) -> str:
    return encode_basestring(cell) if cell else ""


def read_number(cell: str) -> str:
    text = cell.strip()
    if _whole.fullmatch(text):
        return str(int(text))
    if _number.fullmatch(text) and math.isfinite(number := float(text)):
        return repr(number)
    return read_text(cell) if text else ""


def read_boolean(cell: str) -> str:
    text = cell.strip()
    return BOOLEANS.get(text.lower()) or (read_text(cell) if text else "")


def list_reader(read_item: Read, known: Callable[[], Collection[str]] | None = None) -> Read:
    """Items stand with `;` or `|` between them; without either, one in a line; without that, with commas between them.

    Where the field's items are `known`, commas separate only if each part is one of them: an item may have a comma.
    """

    def read_list(cell: str) -> str:
        text = cell.strip()
        if text.startswith("["):
            try:
                value = parse_json(text.encode(), MAX_DEPTH - 1)  # in a record
            except ParseError:
                return read_text(cell)
            return ascii_json(value)
        items = [read_item(item) for each in split(text) if (item := each.strip())]
        return f"[{','.join(items)}]" if items else ""

    def split(text: str) -> list[str]:
        for separator in SEPARATORS:
            if separator in text:
                return text.split(separator)
        if len(lines := _line_ends.split(text)) > 1:
            return [line.strip().rstrip(",") for line in lines]
        if "," not in text:
            return [text]
        parts = [part for each in text.split(",") if (part := each.strip())]
        return parts if parts and (known is None or _are_known(parts, known())) else [text]

    return read_list


def _are_known(parts: Collection[str], known: Collection[str]) -> bool:
    return {part.casefold() for part in parts} <= {item.casefold() for item in known}


def separated_reader(separator: str) -> Read:
    """Of texts with this separator between them, and with no other."""

    def read_list(cell: str) -> str:
        items = [item for each in unescape(cell)[0].split(separator) if (item := each.strip(_UNSEEN))]
        return ascii_json(items) if items else ""

    return read_list


def read_verbatim(cell: str) -> str:
    """The text as it stands, of a cell in which a program has written what somebody wrote: None is a text."""
    text = unescape(cell)[0]
    return ascii_json([text]) if text in SPREADSHEET_ERRORS else read_text(text) if text.strip(_UNSEEN) else ""


def ignore(cell: str) -> str:
    return ""


# A cell of a file holds what people and programs leave in it, and what we escape.

MARK = "¬"
"""Before what a spreadsheet would compute, in every CSV that we write for people; taken away when it is read.

A character that texts do not begin with, that nobody types by chance, that spreadsheets leave alone (an apostrophe they
take for their own), and that every encoding in which they save has (an invisible one would become a question mark).
"""
_FORMULA = "=+\\-@\t\r＝＋－＠"
_BREAKS = ",;|\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Behind these a cell begins, to one spreadsheet or another."""
_begins_formula = re.compile(f'["{MARK}]*[{_FORMULA}]')
_to_mark = re.compile(f'(?<=[{_BREAKS}])(?=["{MARK}]*[{_FORMULA}])')
_marked = re.compile(f'(?<=[{_BREAKS}]){MARK}(?=["{MARK}]*[{_FORMULA}])')


def escape_formula(text: str) -> str:
    """`text` in which no cell begins a formula, by whichever separator it is read; unescape() gives it back."""
    inner = _to_mark.sub(MARK, text)
    return f"{MARK}{inner}" if text.startswith(MARK) or _begins_formula.match(text) else inner


def escape_mark(text: str) -> str:
    """The same for programs, which take formulas for text: only what unescape() would change is escaped."""
    return escape_formula(text) if MARK in text and unescape(text)[0] != text else text


def unescape(cell: str) -> tuple[str, bool]:
    """What escape_formula() made it from, and whether a mark stood in front: then the text is meant as it is."""
    if MARK not in cell:
        return cell, False
    marked = cell.startswith(MARK)
    return _marked.sub("", cell[1:] if marked else cell), marked


def text_cell(text: str, escape: Callable[[str], str] = escape_formula) -> str:
    """A text as a cell from which it is read again exactly; marked where a cell with it would be read otherwise."""
    escaped = escape(text)
    is_plain = tidy(text) == text != "" and text not in SPREADSHEET_ERRORS
    return escaped if is_plain or escaped.startswith(MARK) else f"{MARK}{escaped}"


def tidy(text: str) -> str:
    """Without blanks and invisible characters at either end; empty where the cell says that there is no value."""
    text = text.strip(_UNSEEN)
    return "" if text in ABSENT else text


def cell_reader(read: Read, kind: Kind = "text") -> Read:
    """How the cells of a file are read for a field of this kind."""

    def read_cell(cell: str) -> str:
        text, marked = unescape(cell)
        if marked and kind == "text":
            return encode_basestring(text)
        text = tidy(text)
        # As a list it is invalid in every field, and comes back from the rejected rows as what it is.
        return ascii_json([text]) if text in SPREADSHEET_ERRORS else read(text)

    return read_cell


# The other way: a value of a record as a cell.


def cell_of(value: Any) -> str:
    """The cell that is read as `value` again if the field has its type. No spreadsheet takes it for a formula."""
    if isinstance(value, str):
        return text_cell(value)
    return escape_formula(text_of(value)) if isinstance(value, list) else text_of(value)


def text_of(value: Any) -> str:
    """The same, as a person types it: nothing is escaped."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(map(_is_plain, value)):
        return SEPARATORS[0].join(map(str, value))
    return ascii_json(value)


def _is_plain(item: Any) -> bool:
    """Reads back as one item of a list with separators."""
    if not isinstance(item, str):
        return type(item) in (int, float)
    return item == tidy(item) != "" and not any(mark in item for mark in ("[", *SEPARATORS, ",", "\n", "\r"))
