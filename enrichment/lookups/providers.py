"""Providers: the outside services that answer questions, each one declaration in a domain, and their registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from django.db.models import Model

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


@dataclass(frozen=True, kw_only=True)
class Description:
    """A question, a candidate or an answer as pages show it; all of it may come from outside."""

    title: str
    year: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What tells it from others: heading → text, in the order shown."""
    picture: str = ""
    """The address of a small picture on one of `Provider.picture_hosts`, upright, two by three."""
    link: str = ""
    """A page about it, for people: http or https."""
    heading: str = "Title"
    """Of a question: what `title` is."""
    answer: Json = None
    """Of a candidate: the answer (`Lookup.answer`) if a person chooses it; None: it cannot be chosen."""


Ask: TypeAlias = Callable[[Sequence[Question]], Mapping[str, "Answer | Json"]]
Apply: TypeAlias = Callable[[Sequence["Lookup"]], "Iterable[Want] | None"]

AGAIN_AFTER_MISSES = (timedelta(days=1), timedelta(days=3), timedelta(days=10), timedelta(days=30))
"""When what was not found is asked again: after the first time, the second, …"""


def nothing_to_apply(lookups: Sequence[Lookup]) -> None:
    pass


def nothing_to_prepare(lookups: Sequence[Lookup]) -> None:
    pass


def ever_more_rarely(kind: str, misses: int) -> timedelta | None:
    return AGAIN_AFTER_MISSES[min(misses, len(AGAIN_AFTER_MISSES)) - 1]


def after_30_days(kind: str) -> timedelta | None:
    return timedelta(days=30)


def is_on() -> str:
    return ""


def no_secret() -> str:
    return ""


def no_notice() -> str:
    return ""


def by_nothing(question: Question) -> Sequence[Model]:
    return ()


def like_no_other(question: Question) -> Collection[str]:
    return ()


def no_hosts() -> Sequence[str]:
    return ()


def describe_as_json(candidate: Json) -> Description:
    return Description(title=json.dumps(candidate, ensure_ascii=False), answer=candidate)


def describe_key(question: Question) -> Description:
    return Description(title=question.key)


@dataclass(frozen=True, kw_only=True, eq=False)
class Provider:
    """An outside service: how often it may be asked, how, and what follows from its answers.

    `ask` gets up to `batch` questions, all of one kind, and returns key → answer; a key that is absent was not found.
    It runs in a thread and does HTTP alone, by `http.get_json`: never a query.

    `apply` gets lookups just answered, with their rows locked, in the transaction that stores the answers; and those a
    person has decided. What it raises undoes that transaction. It gets answers again when they are refreshed, and an
    answer that is gone (`gone_at`): it must be repeatable. A transaction takes locks in this order: lookups by kind and
    key, then the domain's rows by key.
    """

    name: str
    rate: Rate | Callable[[], Rate]
    ask: Ask
    apply: Apply = nothing_to_apply
    prepare: Callable[[Sequence[Lookup]], None] = nothing_to_prepare
    """Called in the transaction that claims lookups, with those that are about to be asked: sets their `question`, as
    the domain's tables have it now, and nothing else; it is saved. It only reads, and quickly, and may be called again
    with each of them alone.
    """
    label: str = ""
    """As pages call it; empty: the name."""
    url: str | Callable[[], str] = ""
    """What relative addresses in `get_json` begin with."""
    batch: int | Callable[[str], int] = 1
    """How many questions one request answers; or by kind."""
    max_retry_after: float = 600
    """Seconds: the longest Retry-After that is believed."""
    expiry: Callable[[str], timedelta | None] = after_30_days
    """Kind → when what was found is asked again, spread by a tenth; None: never."""
    not_found_expiry: Callable[[str, int], timedelta | None] = ever_more_rarely
    """(kind, how many times in a row it was not found, from 1) → when it is asked again; None: never."""
    threads: int = MAX_THREADS
    why_off: Callable[[], str] = is_on
    """Empty, or which setting is missing, as a sentence: then nothing is asked."""
    secret: Callable[[], str] = no_secret
    """The key, so that another one ends a stop after 401. It is compared by its hash, and kept nowhere."""

    kinds: Sequence[str] = ()
    """Of its questions: lists in the admin are filtered by them."""
    decided_kinds: Sequence[str] = ()
    """Of its questions: those that a person may answer, by a candidate, an address, or that it is not there."""
    describe: Callable[[Json], Description] = describe_as_json
    """A candidate, or an answer, as stored; nothing is asked for it."""
    describe_question: Callable[[Question], Description] = describe_key
    parse_choice: Callable[[str], Json] | None = None
    """What a person has pasted, the address of a page of the service, as an answer; ValueError, in words for that
    person, if it is none. None: there is no choice but the candidates.
    """
    choice_help: str = ""
    """What may be pasted, with an example."""
    rules: Mapping[str, str] = field(default_factory=dict)
    """Of its answers: how → in words for people."""
    asked_by: Callable[[Question], Sequence[Model]] = by_nothing
    """A few rows of the domain that the question is about: its page links to theirs."""
    alike: Callable[[Question], Collection[str]] = like_no_other
    """The keys of other questions of this kind that have the same answer: what a person decides about the question is
    decided about these as well, where nobody has decided yet.
    """
    picture_hosts: Callable[[], Sequence[str]] = no_hosts
    """The origins of pictures, as in https://images.example.org: pages with candidates load from there, too."""

    stand_in: Callable[[], str] = no_notice
    """A sentence for pages of operators, with the setting that is missing, where a server of the demo answers in the
    service's place; empty: the service itself is asked.
    """
    notice: Callable[[], str] = no_notice
    """A sentence that its terms want where people see its data; empty: none."""

    def __str__(self) -> str:
        return self.label or self.name

    @property
    def limit(self) -> Rate:
        return Rate(*(self.rate() if callable(self.rate) else self.rate))

    @property
    def has_pictures(self) -> bool:
        """Whether it ever has any: they may be switched off."""
        return self.picture_hosts is not no_hosts

    def batch_of(self, kind: str) -> int:
        return self.batch(kind) if callable(self.batch) else self.batch

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
