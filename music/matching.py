"""Which artist of MusicBrainz a play means: the rules, without any request of their own.

In this order: an id that came with the play; the artist of its page at Spotify; the credits of its recordings' codes
(ISRC); recordings of its titles; a search. The last three count only where a credited name or an alias equals the name
asked for. What evidence does not part is for a person to choose, and special purpose artists are nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from music import names
from music.names import Equality

MAX_CODES = 3
MAX_TITLES = 3
MIN_SCORE = 95
MAX_CANDIDATES = 10
SPECIAL = frozenset(
    {
        "89ad4ac3-39f7-470e-963a-56509c546377",  # Various Artists
        "f731ccc4-e22a-43af-a747-64213329e088",  # [anonymous]
        "33cf029c-63b0-41a0-9855-be2a3665fb3b",  # [data]
        "314e1c25-dde7-4e4d-b2f4-0a7b9f7c56dc",  # [dialogue]
        "eec63d3c-3b81-4ad4-b1e4-7c147d4d2b61",  # [no artist]
        "9be7f096-97ec-4615-8957-8d40b5dcbc41",  # [traditional]
        "125ec42a-7229-4250-afc5-e057484327fe",  # [unknown]
        "66ea0139-149f-4a0c-8fbf-5ea9ec4a6e49",  # [Disney]
        "a0ef7e1d-44ff-4039-9435-7d5fefdeecc9",  # [theatre]
        "90068d37-bae7-4292-be4a-704c145bd616",  # [church chimes]
        "80a8851f-444c-4539-892b-ad2a49292aa9",  # [language instruction]
    }
)
"""They stand for nobody in particular."""

Status = Literal["found", "ambiguous", "not_found", "special", "none"]
How = Literal["given", "url", "isrc", "titles", "name", ""]


@dataclass(frozen=True)
class Asked:
    name: str = ""
    mbid: str = ""
    titles: Sequence[str] = ()
    """The most played ones first; so are the codes."""
    isrcs: Sequence[str] = ()
    among: Sequence[str] = ()
    """If not empty: it is one of these, by their ids."""

    @classmethod
    def of(cls, question: Mapping[str, Any]) -> Asked:
        return cls(
            name=names.tidy(question.get("name") or ""),
            mbid=question.get("mbid") or "",
            titles=tuple(question.get("titles") or ()),
            isrcs=tuple(question.get("isrcs") or ()),
            among=tuple(question.get("among") or ()),
        )


@dataclass(frozen=True)
class Artist:
    """An artist as a link, a credit or a search names it."""

    id: str
    name: str
    names: Sequence[str] = ()
    """All that it is called here: as credited, by its own name, by aliases."""
    disambiguation: str = ""
    type: str = ""
    country: str = ""
    score: float = 0
    joined: str = ""
    """In a credit: what stands between this name and the next."""
    credited: str = ""
    """In a credit: the name as it stands there."""

    def equality(self, asked: str) -> Equality | None:
        """Aliases of special purpose artists mean nothing: they are of everybody."""
        return names.equality(asked, (self.name, *(() if self.id in SPECIAL else self.names)))


Credit = Sequence[Artist]


@dataclass(frozen=True)
class Recording:
    title: str
    credit: Credit


@dataclass(frozen=True)
class Verdict:
    """`special`: the play is nobody's. `none`: there is nothing to ask."""

    status: Status
    how: How = ""
    artist: Artist | None = None
    candidates: Sequence[Artist] = ()

    @property
    def mbid(self) -> str | None:
        return self.artist.id if self.artist and self.status == "found" else None


class Source(Protocol):
    """MusicBrainz, as the rules ask it."""

    def credits_of(self, isrc: str) -> Sequence[Credit]: ...
    def recordings(self, name: str, titles: Sequence[str]) -> Sequence[Recording]: ...
    def search(self, name: str) -> Sequence[Artist]: ...


def given(asked: Asked) -> Verdict | None:
    """What needs nobody to be asked; None: to be matched."""
    if asked.mbid:
        return _found("given", Artist(asked.mbid, asked.name))
    return None if asked.name else Verdict("none")


def by_url(name: str, artists: Sequence[Artist]) -> Verdict:
    """Of the artists to whom MusicBrainz relates the page at Spotify; the link of a single one decides alone."""
    artists = _somebody(artists)
    if len(artists) <= 1:
        return _found("url", artists[0]) if artists else Verdict("not_found")
    closest = _closest(name, artists)
    if len(closest) == 1:
        return _found("url", closest[0])
    return _ambiguous("url", closest or artists)


def by_evidence(asked: Asked, source: Source) -> Verdict:
    """By codes, titles and name."""
    evidence = _Evidence(asked, source)
    for step in (evidence.by_codes, evidence.by_titles, evidence.by_name):
        if verdict := step():
            return verdict
    return evidence.undecided()


@dataclass
class _Evidence:
    """What is known so far: whoever has the name, at the first step where anybody has it."""

    asked: Asked
    source: Source
    among: set[str] = field(default_factory=set)
    how: How = ""
    seen: dict[str, Artist] = field(default_factory=dict)
    credited: dict[str, How] = field(default_factory=dict)
    """Artists in credits under another name, with where: an alias may show that they are meant."""

    def __post_init__(self) -> None:
        self.among = set(self.asked.among)
        self.seen = {mbid: Artist(mbid, self.asked.name) for mbid in self.asked.among}

    def by_codes(self) -> Verdict | None:
        found = [credit for isrc in self.asked.isrcs[:MAX_CODES] for credit in self.source.credits_of(isrc)]
        self._note("isrc", found)
        return self._decide("isrc", self._meant(found))

    def by_titles(self) -> Verdict | None:
        titles = [title for title in self.asked.titles if names.tidy(title)][:MAX_TITLES]
        if not titles:
            return None
        recordings = self.source.recordings(self.asked.name, titles)
        fitting = {title: self._recordings_of(title, recordings) for title in titles}
        self._note("titles", [recording.credit for recording in recordings])
        meant: Sequence[Artist] = self._meant([recording.credit for found in fitting.values() for recording in found])
        if len(meant) > 1:
            meant = _with_most_titles(meant, fitting)
        return self._decide("titles", meant)

    def by_name(self) -> Verdict | None:
        if self.among:
            return None
        found = self.source.search(self.asked.name)
        self._remember(found)
        shown = [artist for artist in found if artist.id in self.credited]
        for how in ("isrc", "titles"):
            credited = [artist for artist in shown if self.credited[artist.id] == how]
            if verdict := self._decide(how, _closest(self.asked.name, credited)):
                return verdict
        return self._decide("name", _closest(self.asked.name, [each for each in found if each.score >= MIN_SCORE]))

    def undecided(self) -> Verdict:
        if self.among:
            return _ambiguous(self.how, [artist for artist in self.seen.values() if artist.id in self.among])
        return Verdict("not_found", candidates=_to_choose(self.seen.values()))

    def _decide(self, how: How, meant: Sequence[Artist]) -> Verdict | None:
        """One has the name: found. Several: only these are looked at from now on."""
        meant = _somebody(meant)
        if len(meant) == 1:
            return _found(how, meant[0])
        if meant:
            self._remember(meant)
            self.among, self.how = {artist.id for artist in meant}, how
        return None

    def _meant(self, credits: Sequence[Credit]) -> list[Artist]:
        """Those of that name; only if there are none, the first ones of credits that read like it as a whole."""
        credited = [artist for credit in credits for artist in credit if self._may_be(artist)]
        firsts = [credit for credit in credits if self._may_be(credit[0])]
        return _closest(self.asked.name, credited) or _firsts(self.asked.name, firsts)

    def _may_be(self, artist: Artist) -> bool:
        return not self.among or artist.id in self.among

    def _note(self, how: How, credits: Sequence[Credit]) -> None:
        for credit in credits:
            self._remember(credit)
            for artist in credit:
                self.credited.setdefault(artist.id, how)

    def _remember(self, artists: Iterable[Artist]) -> None:
        for artist in artists:
            known = self.seen.get(artist.id)
            if known is None or not (known.disambiguation or known.type):
                self.seen[artist.id] = artist

    def _recordings_of(self, title: str, recordings: Sequence[Recording]) -> list[Recording]:
        """Titles are compared without what stands in brackets only where that finds nothing else."""
        for same in (names.same_title, names.same_plain_title):
            found = [recording for recording in recordings if same(title, recording.title)]
            if self._meant([recording.credit for recording in found]):
                return found
        return []


def _closest(asked: str, artists: Iterable[Artist]) -> list[Artist]:
    """Those whose names equal it, each once; if some do so more closely than others, these alone."""
    levels: dict[Equality, dict[str, Artist]] = {}
    for artist in artists:
        if (level := artist.equality(asked)) is not None:
            levels.setdefault(level, {}).setdefault(artist.id, artist)
    return list(levels[min(levels)].values()) if levels else []


def _somebody(artists: Sequence[Artist]) -> Sequence[Artist]:
    """Without those who stand for nobody, unless there is nobody else: then one of them."""
    return [artist for artist in artists if artist.id not in SPECIAL] or artists[:1]


def _firsts(asked: str, credits: Sequence[Credit]) -> list[Artist]:
    """The first artists of the credits that, written out, equal it."""
    whole = [
        Artist(credit[0].id, names.written_out([(artist.credited, artist.joined) for artist in credit]))
        for credit in credits
        if len(credit) > 1
    ]
    meant = {artist.id for artist in _closest(asked, whole)}
    return list({credit[0].id: credit[0] for credit in credits if credit and credit[0].id in meant}.values())


def _with_most_titles(artists: Sequence[Artist], recordings: Mapping[str, Sequence[Recording]]) -> Sequence[Artist]:
    """The one who has all the titles that any other has, and more; else all of them."""
    titles = {
        artist.id: {title for title, found in recordings.items() if _is_credited(artist.id, found)}
        for artist in artists
    }
    for artist in artists:
        if all(titles[artist.id] > titles[other.id] for other in artists if other is not artist):
            return [artist]
    return artists


def _is_credited(id: str, recordings: Iterable[Recording]) -> bool:
    return any(artist.id == id for recording in recordings for artist in recording.credit)


def _found(how: How, artist: Artist) -> Verdict:
    return Verdict("special" if artist.id in SPECIAL else "found", how, artist)


def _ambiguous(how: How, artists: Iterable[Artist]) -> Verdict:
    return Verdict("ambiguous", how, candidates=_to_choose(artists))


def _to_choose(artists: Iterable[Artist]) -> list[Artist]:
    return [artist for artist in artists if artist.id not in SPECIAL][:MAX_CANDIDATES]
