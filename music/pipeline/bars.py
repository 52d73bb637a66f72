"""Bars of progress, at terminals alone."""

from __future__ import annotations

import os
import sys
from typing import Any

from tqdm import tqdm

COLUMNS, ROWS = 80, 24
"""Of terminals that do not know their size, as in containers: tqdm shows nothing there by itself."""


def bar(unit: str, desc: str | None = None, total: int | None = None) -> tqdm[Any]:
    columns, rows = (None, None) if _knows_its_size() else (COLUMNS, ROWS)
    return tqdm(desc=desc, total=total, unit=unit, ncols=columns, nrows=rows, disable=None)


def _knows_its_size() -> bool:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return True  # it is no terminal
