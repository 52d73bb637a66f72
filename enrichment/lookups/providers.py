"""Providers: the outside services that answer questions, each one declaration in a domain, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from enrichment.lookups.models import Lookup

MAX_THREADS = 16

Json: TypeAlias = Any
Settled: TypeAlias = Literal["found", "not_found", "ambiguous", "failed"]


class Rate(NamedTuple):
    """At most so many requests in any window of so many seconds."""

    requests: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.requests}/{self.seconds:g}"


@dataclass(frozen=True)
class Question:
    """One question as `ask` gets it, far from the database."""

    provider: str
    kind: str
    key: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """`Lookup.question`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What `ask` says to one question. Any other value means Answer(status="found", data=value)."""

    status: Settled
    data: Json = None
    """Stored as `Lookup.answer`; of a found one never None."""
    candidates: Sequence[Mapping[str, Json]] = ()
    """Small: what a person chooses from, where it is ambiguous; else what came close."""
    score: float | None = None
    how: str = ""
    """The rule that decided, in a word or two."""
    also: Mapping[tuple[str, str], Json] = field(default_factory=dict)
    """(kind, key) → answer (or Answer) to other questions of the provider that came along: these are not asked."""
    message: str = ""
    """Of a failed one: why."""


class Want(NamedTuple):
    """A question that an answer raises: what `apply` returns."""

    provider: str
    kind: str
    key: str
    question: Mapping[str, Json] = {}
    after: Lookup | None = None
    """The answer that raised it: its `next` becomes this question, which is asked in its turn and for its uploads."""


Ask: TypeAlias = Callable[[Sequence[Question]], Mapping[str, "Answer | Json"]]
Apply: TypeAlias = Callable[[Sequence["Lookup"]], "Iterable[Want] | None"]


def nothing_to_apply(lookups: Sequence[Lookup]) -> None:
    pass


def after_30_days(kind: str) -> timedelta | None:
    return timedelta(days=30)


def is_on() -> str:
    return ""


def no_secret() -> str:
    return ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Provider:
    """An outside service: how often it may be asked, how, and what follows from its answers.

    `ask` gets up to `batch` questions of one kind and returns key → answer; a key that is absent was not found. It runs
    in a thread and does HTTP alone, by `http.get_json`: never a query.

    `apply` gets lookups just answered, with their rows locked, in the transaction that stores the answers; and those a
    person has decided. What it raises undoes that transaction. It gets answers again when they are refreshed, and an
    answer that is gone (`gone_at`): it must be repeatable. A transaction takes locks in this order: lookups by kind and
    key, then the domain's rows by key.
    """

    name: str
    rate: Rate | Callable[[], Rate]
    ask: Ask
    apply: Apply = nothing_to_apply
    label: str = ""
    """As pages call it; empty: the name."""
    url: str | Callable[[], str] = ""
    """What relative addresses in `get_json` begin with."""
    batch: int = 1
    max_retry_after: float = 600
    """Seconds: the longest Retry-After that is believed."""
    expiry: Callable[[str], timedelta | None] = after_30_days
    """Kind → when what was found is asked again, spread by a tenth; None: never."""
    threads: int = MAX_THREADS
    why_off: Callable[[], str] = is_on
    """Empty, or which setting is missing, as a sentence: then nothing is asked."""
    secret: Callable[[], str] = no_secret
    """The key, so that another one ends a stop after 401. It is compared by its hash, and kept nowhere."""

    def __str__(self) -> str:
        return self.label or self.name

    @property
    def limit(self) -> Rate:
        return Rate(*(self.rate() if callable(self.rate) else self.rate))

    @property
    def base_url(self) -> str:
        return (self.url() if callable(self.url) else self.url).rstrip("/")


_registered: dict[str, Provider] = {}


def register(provider: Provider) -> Provider:
    """Called by a domain's `streams.py` (or the module of its provider), once."""
    _registered[provider.name] = provider
    return provider


def get(name: str) -> Provider:
    """KeyError if there is none of that name."""
    return _registered[name]


def all_providers() -> list[Provider]:
    """In order of name."""
    return [provider for _, provider in sorted(_registered.items())]


def names() -> list[str]:
    return sorted(_registered)
