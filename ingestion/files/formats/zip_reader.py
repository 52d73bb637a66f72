"""ZIP archives of files: what is in one is told from its directory, and then unpacked member by member, as asked for.

Names are labels, never paths: nothing is written under them. The sizes that an archive states are not believed.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, BinaryIO, cast

from django.conf import settings
from openpyxl.xml.constants import ARC_CONTENT_TYPES

from ingestion.files.spool import READ_SIZE, TemporaryFiles, anonymous_tempfile
from ingestion.payloads import ParseError, TooLarge
from ingestion.text import plain, strip_unstorable

ZIP, EMPTY_ZIP = b"PK\x03\x04", b"PK\x05\x06"
MAX_ENTRIES = 10_000
"""Of the directory, folders and files of the operating system among them."""
MAX_DIRECTORY = 2_000_000
"""Bytes of it, which is held in memory."""
MAX_MEMBERS = 400
"""Files that are unpacked."""
MAX_RATIO, RATIO_COUNTS_FROM = 200, 64_000_000
"""To how many times its size an archive may unpack, if that is more than so many bytes."""
MAX_PATH = 200
"""Characters of a member's path that are kept, from its end, which tells what it is."""
NO_TIME = 1980
"""The year that programs write who keep no time."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others may need any amount of memory."""
ENCRYPTED = 0x1
EXCEL = (b"[Content_Types]", b"_rels/", b"docProps/", b"xl/")
"""How the first file of an Excel workbook is called."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class Archive:
    """A ZIP archive whose directory has been read and found harmless. Raises ParseError and TooLarge."""

    def __init__(self, file: BinaryIO, opened: ExitStack) -> None:
        self._file, self._opened = file, opened
        self._unpacked = self._number = 0
        with _refusing_damage("The ZIP archive is damaged or cut off"):
            self._archive = opened.enter_context(zipfile.ZipFile(cast("IO[bytes]", _Bounded(file))))
        entries = [entry for entry in self._archive.infolist() if not entry.filename.endswith(("/", "\\"))]
        if len(entries) > MAX_ENTRIES:
            raise TooLarge(f"The ZIP archive has more than {MAX_ENTRIES} files.")
        if any(entry.flag_bits & ENCRYPTED for entry in entries):
            raise ParseError("The ZIP archive is protected by a password: unpack it, and send what is in it.")
        self._check_sizes(entries)
        members = [Member(entry, self) for entry in entries]
        self.members = [member for member in members if member.path and not member.is_clutter]
        """Its files, in their order."""
        self.clutter = [member.path for member in members if member.is_clutter]
        """The paths of files that an operating system has added."""

    def _check_sizes(self, entries: list[zipfile.ZipInfo]) -> None:
        """By what the archive says of itself, more than which is not unpacked."""
        size = sum(entry.file_size for entry in entries)
        if size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"The ZIP archive unpacks to more than {settings.MAX_UPLOAD_BYTES} bytes.")
        if size > max(RATIO_COUNTS_FROM, MAX_RATIO * self._file.seek(0, 2)):
            raise TooLarge(f"The ZIP archive unpacks to more than {MAX_RATIO} times its size.")

    def unpack(self, entry: zipfile.ZipInfo) -> BinaryIO:
        self._number += 1
        if self._number > MAX_MEMBERS:
            raise TooLarge(f"The ZIP archive has more than {MAX_MEMBERS} files to read.")
        if entry.compress_type not in METHODS:
            raise ParseError("The file is compressed by a method that is not supported: pack it as an ordinary ZIP.")
        unpacked = anonymous_tempfile(self._opened)
        with _refusing_damage("The file is damaged in the ZIP archive"), self._archive.open(entry) as packed:
            while piece := packed.read(READ_SIZE):
                self._spend(len(piece))
                unpacked.write(piece)
        return unpacked

    def _spend(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"The ZIP archive unpacks to more than {settings.MAX_UPLOAD_BYTES} bytes.")
        if isinstance(self._opened, TemporaryFiles):
            self._opened.spend(size)


@dataclass(frozen=True)
class Member:
    entry: zipfile.ZipInfo
    archive: Archive

    @property
    def path(self) -> str:
        """Its name in the archive, as a label: without a root, a drive, or steps upwards."""
        parts = re.split(r"[/\\]+", self.entry.filename)
        kept = [part for part in parts if part not in ("", ".", "..") and not re.fullmatch("[A-Za-z]:", part)]
        path = plain(strip_unstorable("/".join(kept)))
        return path if len(path) <= MAX_PATH else f"…{path[1 - MAX_PATH :]}"

    @property
    def is_clutter(self) -> bool:
        return is_clutter(self.path)

    @property
    def time(self) -> datetime | None:
        """When it was last changed, taken for UTC; None where the archive does not say."""
        try:
            found = datetime(*self.entry.date_time, tzinfo=UTC)
        except ValueError:
            return None
        return found if found.year > NO_TIME else None

    def unpack(self) -> BinaryIO:
        """Its contents, as an open file. Raises ParseError and TooLarge."""
        return self.archive.unpack(self.entry)


def is_clutter(path: str) -> bool:
    """Whether an operating system has added the file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def is_archive(file: BinaryIO) -> bool:
    """Whether it is a ZIP archive of files, and not an Excel workbook, which is a ZIP archive as well.

    Raises TooLarge for either whose directory is too large.
    """
    file.seek(0)
    head = file.read(100)
    if not head.startswith((ZIP, EMPTY_ZIP)):
        return False
    try:
        with zipfile.ZipFile(cast("IO[bytes]", _Bounded(file))) as archive:
            return ARC_CONTENT_TYPES not in archive.NameToInfo
    except TooLarge:
        raise
    except _DAMAGE:
        return not head[30:].startswith(EXCEL)


@contextmanager
def _refusing_damage(what: str) -> Iterator[None]:
    try:
        yield
    except (ParseError, TooLarge):
        raise
    except _DAMAGE as error:
        reason = plain(strip_unstorable(str(error), MAX_PATH)).rstrip(".")
        raise ParseError(f"{what}: {reason}." if reason else f"{what}.") from None


class _Bounded:
    """The file, of which no part of any size is read into memory at once: as zipfile does with the directory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise TooLarge(f"The directory of the ZIP archive has more than {MAX_DIRECTORY} bytes.")
        return self.file.read(min(size, MAX_DIRECTORY) if size >= 0 else MAX_DIRECTORY)
