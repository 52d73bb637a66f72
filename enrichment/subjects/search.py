"""Texts looked for in every text, JSON and byte column of every table, as the database's catalogue has them."""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.apps import apps
from django.db import connection

from ingestion.subjects.mentions import is_distinct, unchanging_part, unescaped

ROWS = 5000
ROWS_WITH_BYTES = 500
"""Rows looked at together; of tables with bytes fewer, since a body may have many."""
PIECE = 1_000_000
OVERLAP = 1000
"""Bytes that are inflated at once, and of these so many looked at again with the next ones."""
ERASED = "(erased)"
KEY, NAME = "key", "name"
OF_DJANGO = {"auth_permission", "django_content_type", "django_migrations"}
"""Tables of names of ours."""
OUR_WORDS = frozenset(
    {
        "status",
        "stream",
        "streams",
        "stage",
        "code",
        "missing_stream",
        "operation",
        "field",
        "fields",
        "format",
        "ordering",
    }
)
"""Members of filters, changes and the like whose values are words of ours: somebody's name may be one of them."""
ESCAPED_ASCII = r"\\u00[2-7]"
"""What JSON need not escape."""
NOT_TEXT = re.compile(
    r"(small|big)?int|integer|numeric|decimal|real|double|float|bool|date|time|interval|oid|uuid", re.IGNORECASE
)
_DEFLATED = b"\x78"
"""What zlib begins with."""


@dataclass(frozen=True)
class Wanted:
    """A person’s key, as it is written, and names, in capitals or not; both as words of their own. A key that is
    short, or a number, counts only where it is all of a text, or all of a string in JSON.
    """

    key: str
    names: tuple[str, ...] = ()

    @property
    def texts(self) -> list[str]:
        return [self.key, *self.names]

    @cached_property
    def spellings(self) -> list[str]:
        return [each for text in self.texts for each in _spellings(text)]

    @cached_property
    def half_escaped(self) -> list[str]:
        """Of texts that are not ASCII what remains where only some of the other characters are escaped."""
        return [unchanging_part(text) for text in self.texts if not text.isascii()]

    @cached_property
    def _patterns(self) -> list[tuple[str, re.Pattern[str]]]:
        return [(KEY, self._key_pattern), *((NAME, _pattern(name, re.IGNORECASE)) for name in self.names)]

    @cached_property
    def _key_pattern(self) -> re.Pattern[str]:
        return _pattern(self.key) if is_distinct(self.key) else _whole(self.key)

    @cached_property
    def _removable(self) -> list[re.Pattern[str]]:
        """A name of one word only as it is written: Will and Mark are also words, in the history of others. Longer ones
        first: one may be the beginning of another.
        """
        names = sorted(self.names, key=len, reverse=True)
        flags = [re.NOFLAG if name.isalpha() else re.IGNORECASE for name in names]
        return [self._key_pattern, *map(_pattern, names, flags)]

    def found_in(self, text: str) -> set[str]:
        """Also with characters of JSON's escapes."""
        texts = {text, unescaped(text)}
        return {what for what, pattern in self._patterns if any(map(pattern.search, texts))}

    def cleaned(self, value: Any) -> Any:
        """What we have written into a column, in which they are not named. Of an object, its own members stay."""
        if not isinstance(value, dict):
            return self.without(value)
        return {name: each if name in OUR_WORDS else self.without(each) for name, each in value.items()}

    def without(self, value: Any) -> Any:
        """A text, or any JSON, in which they are not named."""
        if isinstance(value, str):
            if any(pattern.search(unescaped(value)) for pattern in self._removable if not pattern.search(value)):
                value = unescaped(value)
            for pattern in self._removable:
                value = pattern.sub(ERASED, value)
        elif isinstance(value, list):
            value = [self.without(each) for each in value]
        elif isinstance(value, dict):
            value = {self.without(name): self.without(each) for name, each in value.items()}
        return value


def _pattern(text: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """T-1 is neither in ST-1 nor in T-10; it is behind a line break, also where JSON writes one."""
    return re.compile(rf"(?:(?<![\w-])|(?<=\\[bfnrt])){_spelt(text)}(?![\w-])", flags)


def _whole(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?:\A|(?<=\")){_spelt(text)}(?:\Z|(?=\\*\"))")


def _spelt(text: str) -> str:
    return f"(?:{'|'.join(map(re.escape, _spellings(text)))})"


def _spellings(text: str) -> list[str]:
    """As texts have it, accents composed or not, and as JSON does, also inside a text that is JSON."""
    found = []
    for form in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
        once = json.dumps(form)[1:-1]
        found += [form, once, json.dumps(once)[1:-1]]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Table:
    name: str
    key: str | None
    """The column that is its primary key."""
    texts: tuple[str, ...] = ()
    bytes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    table: str
    row: str
    column: str
    what: str
    """Of whom it speaks by: key or name."""


def tables() -> list[Table]:
    """All of the database, in order of name, but for those whose rows came with the program: a city has many people's
    names, and what is listed is limited.
    """
    ours = {model._meta.db_table for model in apps.get_models() if getattr(model, "came_with_us", False)}
    columns: dict[str, list[tuple[str, str, bool]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(CATALOGUE[connection.vendor])
        for table, column, type_, is_key in cursor.fetchall():
            columns.setdefault(table, []).append((column, type_.lower(), bool(is_key)))
    return [_table(name, columns[name]) for name in sorted(columns.keys() - ours - OF_DJANGO)]


def _table(name: str, columns: Sequence[tuple[str, str, bool]]) -> Table:
    keys = [column for column, _, is_key in columns if is_key]
    return Table(
        name=name,
        key=keys[0] if len(keys) == 1 else None,
        texts=tuple(column for column, type_, _ in columns if type_ not in BYTES and not NOT_TEXT.match(type_)),
        bytes=tuple(column for column, type_, _ in columns if type_ in BYTES),
    )


BYTES = ("bytea", "blob")
CATALOGUE = {
    "postgresql": """
        SELECT relname, attname, format_type(atttypid, NULL), indexrelid IS NOT NULL
        FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_index ON indrelid = pg_class.oid AND indisprimary AND attnum = ANY(indkey)
        WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
        ORDER BY relname, attnum""",
    "sqlite": """
        SELECT m.name, t.name, t.type, t.pk > 0 FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS t
        WHERE m.type = 'table' AND substr(m.name, 1, 7) <> 'sqlite_' ORDER BY m.name, t.cid""",
}
"""Table, column, type, whether it is of the primary key."""


def everywhere(wanted: Wanted, some: Iterable[Table]) -> Iterator[Place]:
    """Where the texts stand in these tables."""
    for table in some:
        found, after = search(table, wanted)
        yield from found
        while after is not None:
            found, after = search(table, wanted, after)
            yield from found


def numbers(places: Iterable[Place]) -> dict[str, int]:
    """table.column → rows."""
    return dict(Counter(f"{table}.{column}" for table, _, column in {(p.table, p.row, p.column) for p in places}))


def search(
    table: Table, wanted: Wanted, after: Any = None, *, besides: Collection[tuple[str, str]] = ()
) -> tuple[list[Place], Any]:
    """Where the texts stand in the next rows of the table, and the last of these rows: None if there are no more.

    `besides` are rows, (table, key), that are left out.
    """
    if not table.texts and not table.bytes:
        return [], None
    last = _last_of_window(table, after)
    if table.key and last is None:
        return [], None
    found = [
        place
        for row, columns in _candidates(table, wanted, after, last)
        if (table.name, str(row)) not in besides
        for column in columns
        for place in _places(table, row, column, wanted)
    ]
    return found, last


def _last_of_window(table: Table, after: Any) -> Any:
    if not table.key:
        return None
    key, name = _quote(table.key), _quote(table.name)
    where, params = (f"WHERE {key} > %s", [after]) if after is not None else ("", [])
    rows = ROWS_WITH_BYTES if table.bytes else ROWS
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT max(k) FROM (SELECT {key} AS k FROM {name} {where} ORDER BY {key} LIMIT {rows}) AS part",  # noqa: S608 (names are the catalogue's)
            params,
        )
        return cursor.fetchone()[0]


def _candidates(table: Table, wanted: Wanted, after: Any, last: Any) -> list[tuple[Any, list[str]]]:
    """(key, columns) of rows in the window in which a text stands somehow, or that have to be inflated to see."""
    tests, params = _tests(table, wanted)
    window, bounds = ["true"], []
    for sign, bound in ((">", after), ("<=", last)):
        if table.key and bound is not None:
            window.append(f"{_quote(table.key)} {sign} %s")
            bounds.append(bound)
    key = _quote(table.key) if table.key else "NULL"
    statement = (
        f"SELECT * FROM (SELECT {key} AS k, {', '.join(tests)} FROM {_quote(table.name)}"  # noqa: S608 (as above)
        f" WHERE {' AND '.join(window)}) AS part WHERE {' OR '.join(f't{i}' for i in range(len(tests)))}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*params, *bounds])
        rows = cursor.fetchall()
    columns = [*table.texts, *table.bytes]
    return [(row[0], [name for name, is_it in zip(columns, row[1:], strict=True) if is_it]) for row in rows]


def _tests(table: Table, wanted: Wanted) -> tuple[list[str], list[Any]]:
    """For each column whether one of the texts may be in it."""
    is_postgresql = connection.vendor == "postgresql"
    find = "position(lower(%s) in lower({}))" if is_postgresql else "instr(lower({1}), lower(%s))"
    tests, params = [], []
    for number, column in enumerate([*table.texts, *table.bytes]):
        name, is_bytes = _quote(column), number >= len(table.texts)
        if is_postgresql:
            text = f"encode({name}, 'escape')" if is_bytes else f"{name}::text"
            begins = f"substr({name}, 1, 1) = '\\x78'::bytea"
        else:
            text, begins = f"CAST({name} AS TEXT)", f"substr({name}, 1, 1) = x'78'"
        either = [find.format(text, text) + " > 0" for _ in wanted.spellings]
        encoded = _escaped if is_bytes and is_postgresql else str
        params += [encoded(each) for each in wanted.spellings]
        either.append(f"{text} ~ '{ESCAPED_ASCII}'" if is_postgresql else f"{text} GLOB '*{ESCAPED_ASCII[1:]}*'")
        for part in wanted.half_escaped:
            either.append(f"({find.format(text, text)} > 0 AND {find.format(text, text)} > 0)")
            params += ["\\u", encoded(part)]
        tests.append(f"coalesce({' OR '.join([*either, *([begins] if is_bytes else [])])}, false) AS t{number}")
    return tests, params


def _escaped(text: str) -> str:
    """As PostgreSQL's encode(…, 'escape') has it."""
    return "".join(f"\\{byte:03o}" if byte > 127 else "\\\\" if byte == 92 else chr(byte) for byte in text.encode())


def _places(table: Table, row: Any, column: str, wanted: Wanted) -> Iterator[Place]:
    where = f"WHERE {_quote(table.key)} = %s" if table.key else ""
    cast = "::text" if column in table.texts and connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_quote(column)}{cast} FROM {_quote(table.name)} {where}",  # noqa: S608 (as above)
            [row] if table.key else [],
        )
        values = [value for (value,) in cursor.fetchall() if value is not None]
    found = {what for value in values for text in _texts_of(value) for what in wanted.found_in(text)}
    yield from (Place(table.name, "" if row is None else str(row), column, what) for what in sorted(found))


def _texts_of(value: Any) -> Iterator[str]:
    """A text as it is; bytes inflated, if they were deflated, a piece at a time."""
    if not isinstance(value, bytes | memoryview | bytearray):
        yield str(value)
        return
    content = bytes(value)
    yield content.decode("utf-8", "replace")
    if content.startswith(_DEFLATED):
        unpacking, rest, before = zlib.decompressobj(), content, b""
        while rest:
            try:
                piece = unpacking.decompress(rest, PIECE)
            except zlib.error:  # it was not deflated
                return
            rest = unpacking.unconsumed_tail
            yield (before + piece).decode("utf-8", "replace")
            before = piece[-OVERLAP:]


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
