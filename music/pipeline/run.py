"""Enriching in one go: plays in, services asked, tables out; and the result of it all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl
from django.core.management.base import CommandError
from django.db import Error, connection
from django.utils import timezone
from polars.exceptions import PolarsError

from enrichment.lookups import providers
from enrichment.management.commands.enrich_pending import CtrlC
from ingestion.backlog import BacklogFull
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected
from music import questions
from music.models import Artist, Listen, Match
from music.parquet.export import Refused, WrongRows, export, files_of, refuse_others
from music.parquet.tables import ENRICHED, TABLES, TRACKS_PLAYED, Table
from music.pipeline import processors
from music.pipeline.intake import Say, stop_if_asked, take_in
from music.pipeline.processors import PROCESSORS, Result

Status = Literal["success", "partial_success", "failed"]
EXPECTED = (
    *(Refused, WrongRows, ParseError, TooLarge, BacklogFull, RequestRejected),
    *(OSError, Error, PolarsError, CommandError),
)
"""What may go wrong with files and database; anything else is a bug."""


@dataclass(kw_only=True)
class Run:
    """What is wanted, and what has come of it so far."""

    wanted: Sequence[str]
    folder: Path | None
    limit: int | None
    skip_on_error: bool
    ctrl_c: CtrlC
    say: Say
    started: datetime = field(default_factory=timezone.now)
    results: dict[str, Result] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    prerequisites: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    is_stopped: bool = False
    """By Ctrl-C."""

    def execute(self) -> None:
        """Raises KeyboardInterrupt after Ctrl-C."""
        try:
            if self.folder:
                _require(self.folder)
                for table in ENRICHED:
                    refuse_others(self.folder / table.name, table.name)
                take_in(self.folder, self.ctrl_c, self.say)
            self.prerequisites = prerequisites()
            questions.plan()
            self._run_processors()
            if self.folder:
                self.written = export(self.folder, ENRICHED, lambda table, rows: stop_if_asked(self.ctrl_c))
        except EXPECTED as error:
            self.error = explained(error)

    def stop(self) -> None:
        """After the KeyboardInterrupt of `execute`, which may have come in the middle of a query."""
        self.is_stopped, self.error = True, "Stopped. All answers are saved; run it again to go on."
        with contextlib.suppress(Error):
            connection.close()

    def _run_processors(self) -> None:
        for name in self.wanted:
            result = self.results[name] = processors.run(name, self.limit, self.ctrl_c)
            stop_if_asked(self.ctrl_c)
            self.say(sentence(name, result))
            if result.status == "failed" and not self.skip_on_error:
                return

    @property
    def status(self) -> Status:
        """Processors that are off count for nothing."""
        statuses = {result.status for result in self.results.values()} - {"skipped"}
        if self.error or statuses == {"failed"} or ("failed" in statuses and not self.skip_on_error):
            return "failed"
        has_gaps = bool(statuses & {"failed", "waiting"}) or any(result.failed for result in self.results.values())
        return "partial_success" if has_gaps else "success"

    def as_json(self) -> dict[str, Any]:
        ended = timezone.now()
        numbers: Mapping[str, int] = {}
        try:
            self.prerequisites = self.prerequisites or prerequisites()
            numbers = _numbers()
        except Error as error:
            self.error = self.error or explained(error)
        completed = self._those("completed", "waiting")
        failed = self._those("failed")
        seconds = round((ended - self.started).total_seconds(), 3)
        return {
            "pipeline_info": {
                "pipeline_id": f"enrichment_{self.started:%Y%m%d_%H%M%S}",
                "start_time": self.started,
                "end_time": ended,
                "duration_seconds": seconds,
                "processors_completed": completed,
                "processors_failed": failed,
                "overall_status": self.status,
            },
            "prerequisites": self.prerequisites,
            "processor_results": {name: result.as_json() for name, result in self.results.items()},
            "summary": {
                "status": self.status,
                "duration_seconds": seconds,
                "processors_completed": len(completed),
                "processors_failed": len(failed),
                **numbers,
                "tables_written": self.written,
                **({"error": self.error} if self.error else {}),
            },
        }

    def _those(self, *statuses: str) -> list[str]:
        return [name for name, result in self.results.items() if result.status in statuses]


def explained(error: Exception) -> str:
    return f"The database failed: {error}" if isinstance(error, Error) else str(error)


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise Refused(f"{folder} is not a folder.")


def _numbers() -> dict[str, int]:
    return {
        "plays": Listen.objects.count(),
        "artists": Artist.objects.count(),
        "artists_found": Artist.objects.filter(match=Match.FOUND).count(),
        "artists_with_country": Artist.objects.exclude(country_code=None).count(),
    }


def prerequisites() -> dict[str, Any]:
    """Whether there are plays, and which providers are on, or which setting they lack."""
    plays = Listen.objects.count()
    asked = {name: providers.get(name).why_off() for names in PROCESSORS.values() for name in names}
    return {
        "tracks_played_exists": plays > 0,
        "tracks_played_info": {"record_count": plays},
        "providers": {name: {"on": not why, "why": why} for name, why in asked.items()},
    }


def tables(folder: Path | None) -> dict[str, dict[str, Any]]:
    """By name: whether it is there, how many rows and which columns it has; in the folder, else in the database.

    Raises Refused, OSError and database errors.
    """
    if folder:
        _require(folder)
    return {table.name: _in_folder(table, folder) if folder else _in_database(table) for table in TABLES}


def _in_folder(table: Table, folder: Path) -> dict[str, Any]:
    files = files_of(folder, table.name)
    if not files:
        return {"exists": False, "record_count": 0, "columns": []}
    columns: dict[str, None] = {}
    rows = 0
    for file in files:
        frame = pl.scan_parquet(file)
        try:
            rows += int(frame.select(pl.len()).collect().item())
            columns |= dict.fromkeys(frame.collect_schema().names())
        except PolarsError as error:
            raise Refused(f"{file} is no Parquet: {error}") from error
    return {"exists": True, "record_count": rows, "columns": list(columns)}


def _in_database(table: Table) -> dict[str, Any]:
    rows = Listen.objects.filter(duplicate_of=None).count() if table is TRACKS_PLAYED else _rows(table)
    return {"exists": True, "record_count": rows, "columns": table.schema.names()}


def _rows(table: Table) -> int:
    return sum(frame.height for frame in table.frames())


def sentence(name: str, result: Result) -> str:
    counts: Mapping[str, int] = {
        "found": result.found,
        "not found": result.not_found,
        "ambiguous": result.ambiguous,
        "failed": result.failed,
        "waiting": result.waiting,
    }
    numbers = ", ".join(f"{number:,} {word}" for word, number in counts.items() if number)
    parts = [f"{name}: {result.status}", *([numbers] if numbers else []), f"{result.requests:,} requests"]
    return f"{'; '.join(parts)}. {result.reason}".rstrip()
