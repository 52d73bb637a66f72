"""What runs came to: a line on the terminal for each, and the table in docs/reliability.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- runs: written by make faults -->", "<!-- end of runs -->"
KINDS = ("lost", "doubled", "wrong", "other")
OF_KIND = {
    **dict.fromkeys(("kept", "outcome", "newest"), "lost"),
    "once": "doubled",
    **dict.fromkeys(("answers", "limits", "logs", "settled"), "other"),
}
"""How a finding begins → its kind. All others are about records, or numbers of them, that are wrong."""


@dataclass(frozen=True, kw_only=True)
class Result:
    seed: int
    faults: Sequence[str]
    failed_faults: Sequence[str] = ()
    """Those that could not strike, and why."""
    records: int
    """Accepted ones."""
    posts: int
    statuses: Mapping[int, int]
    """Status of an answer → how many; 0: no answer."""
    recovery: float
    """Seconds from the last fault until all had settled."""
    findings: Sequence[str]

    @property
    def unanswered(self) -> int:
        """Attempts to post without an answer, or with 503."""
        return self.statuses.get(0, 0) + self.statuses.get(503, 0)


def line(result: Result) -> str:
    verdict = f"{len(result.findings)} FINDINGS" if result.findings else "clean"
    failed = f" (could not strike: {'; '.join(result.failed_faults)})" if result.failed_faults else ""
    return (
        f"seed {result.seed}: {result.records:,} records in {result.posts} posts, {result.unanswered} unanswered;"
        f" {', '.join(result.faults)}{failed}; recovered in {result.recovery:.1f} s; {verdict}"
    )


def counted(results: Sequence[Result]) -> Counter[str]:
    """Findings by kind."""
    findings = (finding for result in results for finding in result.findings)
    return Counter(OF_KIND.get(finding.partition(":")[0], "wrong") for finding in findings)


def summary(results: Sequence[Result]) -> str:
    if not results:
        return "No run."
    numbers, recoveries = counted(results), sorted(result.recovery for result in results)
    return (
        f"{len(results)} runs, seeds {results[0].seed} to {results[-1].seed}, with "
        f"{sum(len(result.faults) for result in results)} faults and "
        f"{sum(result.records for result in results):,} accepted records in "
        f"{sum(result.posts for result in results):,} posts, of which "
        f"{sum(result.unanswered for result in results):,} attempts got no answer or 503: "
        f"{', '.join(f'{kind} {numbers[kind]}' for kind in KINDS)}. "
        f"From the last fault until all had settled it took {median(recoveries):.1f} s (median), "
        f"{recoveries[-1]:.1f} s (longest)."
    )


def table(results: Sequence[Result]) -> list[str]:
    rows = ["| seed | faults | records | lost / doubled / wrong / other | recovered in |", "|---|---|---|---|---|"]
    for result in results:
        numbers = counted([result])
        verdict = " / ".join(str(numbers[kind]) for kind in KINDS)
        faults = ", ".join(result.faults)
        rows.append(f"| {result.seed} | {faults} | {result.records:,} | {verdict} | {result.recovery:.1f} s |")
    return rows


def by_kind(results: Sequence[Result]) -> list[str]:
    """How often each kind of fault struck, and how long the runs with it took to recover."""
    recoveries: dict[str, list[float]] = {}
    for result in results:
        for fault in result.faults:
            recoveries.setdefault(fault.partition(" (")[0], []).append(result.recovery)
    rows = ["| fault | runs | recovered in (median, longest) |", "|---|---|---|"]
    rows += [
        f"| {kind} | {len(found)} | {median(found):.1f} s, {max(found):.1f} s |"
        for kind, found in sorted(recoveries.items())
    ]
    return rows


def write(results: Sequence[Result], left_out: Mapping[str, str], document: Path = DOCUMENT) -> None:
    """Puts the results in place of those of the last time."""
    text = document.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    not_tried = (
        [f"Not tried: {', '.join(f'{kind} ({why})' for kind, why in left_out.items())}.", ""] if left_out else []
    )
    today = f"{datetime.now(UTC):%-d %B %Y}"
    lines = ["", f"{today}: {summary(results)}", "", *not_tried, *by_kind(results), "", *table(results), ""]
    document.write_text(before + BEGIN + "\n".join(lines) + END + after, encoding="utf-8")
