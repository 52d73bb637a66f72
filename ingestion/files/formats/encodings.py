"""Files as people have them → UTF-8 whose lines end with a line feed: UTF-16, Windows-1252, carriage returns alone."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from django.conf import settings

from ingestion.files.spool import READ_SIZE, anonymous_tempfile
from ingestion.payloads import ParseError, TooLarge

MAX_LINE = 1_000_000
"""Bytes."""
NUL_CHECK_BYTES = 100
"""Bytes in which a file that is no text shows a NUL."""
UTF8, UTF16, WINDOWS = "UTF-8", "UTF-16", "Windows-1252"

_multibyte = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_high = re.compile(rb"[\x80-\xff]")
_no_windows = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\x81\x8d\x8f\x90\x9d]")
_carriage_return = re.compile(r"\r(?!\n)")


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A file in UTF-8 that has been read to its end."""

    file: BinaryIO
    encoding: str
    """Of the file as it came."""
    size: int
    sha256: str
    """In hex."""
    long_line: int
    """The number of the first line of more than MAX_LINE bytes; 0 for none."""


class _NotUtf8(ParseError):
    def __init__(self, position: int, *, is_cut: bool) -> None:
        super().__init__(f"The file is not UTF-8 (byte {position}). Save it as UTF-8.")
        self.is_cut = is_cut


def as_utf8(file: BinaryIO, opened: ExitStack) -> TextFile:
    """The file itself where it is UTF-8, else another one with its text. Raises ParseError and TooLarge."""
    encoding = _by_mark(file)
    if encoding == UTF16:
        file = _converted(file, "utf-16", opened)
    _check_head(file)
    try:
        found = _Scan(file)
    except _NotUtf8 as error:
        if encoding or error.is_cut or not _is_windows(file):
            raise
        encoding, file = WINDOWS, _converted(file, "cp1252", opened)
        found = _Scan(file)
    if found.ends_with_carriage_returns:
        file = _converted(file, "utf-8", opened, lines=True)
        found = _Scan(file)
    return TextFile(
        file=file,
        encoding=encoding or UTF8,
        size=found.size,
        sha256=found.digest.hexdigest(),
        long_line=found.long_line,
    )


def _by_mark(file: BinaryIO) -> str:
    file.seek(0)
    head = file.read(4)
    if head in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise ParseError("The file is UTF-32: save it as UTF-8.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return UTF16
    return UTF8 if head.startswith(codecs.BOM_UTF8) else ""


def _check_head(file: BinaryIO) -> None:
    file.seek(0)
    head = file.read(NUL_CHECK_BYTES)
    if b"\0" in head:
        raise ParseError(f"The file is not text (NUL at byte {head.index(0)}). Save it as UTF-8.")


class _Scan:
    """What there is to know of a file in UTF-8, read once. Raises _NotUtf8, and TooLarge."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.size = self.lines = self.long_line = 0
        self.carriage_returns = 0
        """Those that no line feed follows."""
        self.first_end = b""
        decoder, unended, last = codecs.getincrementaldecoder("utf-8")(), 0, b""
        for piece in pieces_of(file):
            before = self.size - len(decoder.getstate()[0])
            try:
                decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                raise _NotUtf8(before + error.start, is_cut=not piece) from None
            self.digest.update(piece)
            self.size += len(piece)
            if self.size > settings.MAX_UPLOAD_BYTES:
                raise TooLarge(f"The file has more than {settings.MAX_UPLOAD_BYTES} bytes.")
            self._count_ends(piece, last)
            first = piece.find(b"\n")
            if not self.long_line and unended + (len(piece) if first < 0 else first) > MAX_LINE:
                self.long_line = self.lines + 1
            unended = unended + len(piece) if first < 0 else len(piece) - piece.rfind(b"\n") - 1
            self.lines += piece.count(b"\n")
            last = piece[-1:]

    def _count_ends(self, piece: bytes, last: bytes) -> None:
        number = piece.count(b"\r") - piece.count(b"\r\n")
        self.carriage_returns += number - (last == b"\r" and piece[:1] == b"\n")
        if not self.first_end and (found := re.search(rb"\r\n?|\n", last + piece if last == b"\r" else piece)):
            self.first_end = found[0]

    @property
    def ends_with_carriage_returns(self) -> bool:
        return self.carriage_returns > 0 and (self.first_end == b"\r" or self.carriage_returns > self.lines)


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces, the last of them empty."""
    file.seek(0)
    while piece := file.read(READ_SIZE):
        yield piece
    yield b""


def _is_windows(file: BinaryIO) -> bool:
    """A text of Windows-1252 has no control characters, and if bytes happen to be UTF-8 in it, fewer than are not."""
    multibyte = stray = 0
    for piece in pieces_of(file):
        if _no_windows.search(piece):
            return False
        sequences = _multibyte.findall(piece)
        multibyte += len(sequences)
        stray += len(_high.findall(piece)) - sum(map(len, sequences))
    return stray > multibyte


def _converted(file: BinaryIO, encoding: str, opened: ExitStack, *, lines: bool = False) -> BinaryIO:
    """With `lines`, each carriage return that stands alone as a line feed."""
    decoder, other = codecs.getincrementaldecoder(encoding)(), anonymous_tempfile(opened)
    left = ""
    for piece in pieces_of(file):
        try:
            text = left + decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise ParseError(f"The file is not {encoding.upper()}: {error.reason}. Save it as UTF-8.") from None
        left = "\r" if lines and piece and text.endswith("\r") else ""
        text = text.removesuffix(left) if left else text
        other.write((_carriage_return.sub("\n", text) if lines else text).encode("utf-8", "surrogatepass"))
        if other.tell() > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"The file has more than {settings.MAX_UPLOAD_BYTES} bytes as UTF-8.")
    return other
