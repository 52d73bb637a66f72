"""How many rows of a file share their key with another row of it, for any number of rows in bounded memory."""

from __future__ import annotations

from array import array
from collections import Counter
from contextlib import ExitStack
from typing import BinaryIO

from ingestion.fields import normalized
from ingestion.files.spool import anonymous_tempfile

MAX_IN_MEMORY = 1_000_000
"""Keys, of eight bytes each; more are put on the disk, in PARTS that are counted one after the other."""
PARTS = 256


class SharedKeys:
    """Takes the keys one after the other, as 64 bits: of a hundred million keys two are taken for one in 1 of 3,000."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._parts = [array("Q") for _ in range(PARTS)]
        self._number = 0
        self._file: BinaryIO | None = None
        self._written: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]
        """part → (byte, bytes) of what was put on the disk."""

    def add(self, key: str) -> None:
        number = hash(normalized(key)) & 0xFFFFFFFFFFFFFFFF
        self._parts[number % PARTS].append(number)
        self._number += 1
        if self._number >= MAX_IN_MEMORY:
            self._flush()

    def count(self) -> int:
        """The rows whose key another row has as well. To be asked once, at the end."""
        return sum(map(self._count_part, range(PARTS)))

    def _count_part(self, part: int) -> int:
        keys = self._parts[part]
        for start, length in self._written[part]:
            if self._file:
                self._file.seek(start)
                keys.frombytes(self._file.read(length))
        if len(set(keys)) == len(keys):
            return 0
        return sum(number for number in Counter(keys).values() if number > 1)

    def _flush(self) -> None:
        self._file = self._file or anonymous_tempfile(self._opened)
        for part, keys in enumerate(self._parts):
            self._written[part].append((self._file.tell(), len(keys) * keys.itemsize))
            self._file.write(keys.tobytes())
            self._parts[part] = array("Q")
        self._number = 0
