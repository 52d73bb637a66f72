"""A list in JSON of any length, as NDJSON: read piece by piece, where json_reader.py would need all of it in memory."""

from __future__ import annotations

import codecs
import json
import re
from contextlib import ExitStack
from itertools import count
from typing import Any, BinaryIO

from ingestion.capacity import check_effort
from ingestion.files.formats.csv_rows import CHECK_EVERY
from ingestion.files.formats.encodings import MAX_LINE, pieces_of
from ingestion.files.spool import anonymous_tempfile
from ingestion.payloads import ParseError, TooLarge, ascii_json

_blanks = re.compile(r"[ \t\r\n]*")


def list_as_lines(file: BinaryIO, opened: ExitStack) -> BinaryIO:
    """An item in each line. Raises ParseError, and TooLarge for an item that is too long."""
    text, out = _Text(file), anonymous_tempfile(opened)
    text.take("[")
    for number in count(1):
        if text.next() == "]":
            return out
        if number > 1:
            text.take(",")
        line = ascii_json(text.take_value(number)).encode()
        if len(line) > MAX_LINE:
            raise TooLarge(f"Item {number} has more than {MAX_LINE} bytes.")
        out.write(line + b"\n")
        if not number % CHECK_EVERY:
            check_effort()
    return out


class _Text:
    """The text, of which only the piece that is being read is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._pieces = pieces_of(file)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = json.JSONDecoder(parse_constant=_refuse)
        self._text, self._at, self._is_whole = "", 0, False

    def _read(self) -> None:
        piece = next(self._pieces, b"")
        self._text, self._at = self._text[self._at :] + self._decoder.decode(piece, final=not piece), 0
        self._is_whole = not piece

    def next(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            if found := _blanks.match(self._text, self._at):
                self._at = found.end()
            if self._at < len(self._text) or self._is_whole:
                return self._text[self._at : self._at + 1]
            self._read()

    def take(self, sign: str) -> None:
        if self.next() != sign:
            raise ParseError(f"Not JSON: a {sign} is missing, or the list is cut off.")
        self._at += 1

    def take_value(self, number: int) -> Any:
        """A value that reaches to the end of the piece is read again with the next one."""
        self.next()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except RecursionError:
                raise ParseError(f"Item {number} is nested too deep.") from None
            except ParseError:
                raise
            except ValueError as error:
                if self._is_whole:
                    raise ParseError(f"Item {number} is not JSON: {getattr(error, 'msg', error)}.") from None
            else:
                if end < len(self._text) or self._is_whole:
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_LINE:
                raise TooLarge(f"Item {number} is not JSON, or has more than {MAX_LINE} characters.")
            self._read()


def _refuse(name: str) -> Any:
    raise ParseError(f"{name} is not valid JSON.")
