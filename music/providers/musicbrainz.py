"""MusicBrainz: whose artist it is, what is known of artists, and where areas lie.

Questions of the kind `url` have an artist's id at Spotify as their key; the answer is whom MusicBrainz relates to that
page. Those of the kind `match` are of a name, with titles and codes; those of the kinds `artist` and `area` have the id
at MusicBrainz (MBID) as their key. An artist who was merged into another is answered under that one's id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from enrichment.lookups import Answer, Description, Provider, Question, Rate, http
from enrichment.lookups.providers import Apply
from music import matching
from music.matching import Artist, Asked, Credit, Recording, Verdict
from music.names import plain_title

NAME = "musicbrainz"
URL, MATCH, ARTIST, AREA = "url", "match", "artist", "area"
MAX_URLS = 100
"""More in one request are cut off without a word."""
PAGES = "https://musicbrainz.org"
EXAMPLE = f"{PAGES}/artist/5b11f4ce-a62d-471e-81fc-a69a8278c7da"
SPOTIFY_ARTIST = "https://open.spotify.com/artist/"
EXPIRY = timedelta(days=180)
"""Facts about artists and areas change; whose page or name it is hardly ever does."""
MAX_NAMES = 200
"""Aliases, tags and the like that are kept of one artist."""
ONE_REQUEST_A_SECOND = Rate(1, 1)


RULES = {
    "given": "ID in the play",
    "url": "Spotify page",
    "isrc": "recording code",
    "titles": "titles",
    "name": "name",
    "special": "nobody in particular",
    "chosen": "a person",
}
"""How an artist was found, for people."""


@dataclass(frozen=True)
class MusicBrainz:
    """The service, as it is asked: with a contact, or not at all, for it blocks who does not say who they are."""

    contact: str
    version: str
    url: str = "https://musicbrainz.org"
    rate: Rate = ONE_REQUEST_A_SECOND

    def provider(self, apply: Apply) -> Provider:
        return Provider(
            name=NAME,
            label="MusicBrainz",
            rate=self.rate,
            url=self.url,
            ask=self.ask,
            apply=apply,
            batch=lambda kind: MAX_URLS if kind == URL else 1,
            expiry=lambda kind: EXPIRY if kind in (ARTIST, AREA) else None,
            why_off=lambda: "" if self.contact else "MUSICBRAINZ_CONTACT is not set.",
            kinds=(URL, MATCH, ARTIST, AREA),
            decided_kinds=(MATCH,),
            describe=describe,
            describe_question=describe_question,
            parse_choice=parse_choice,
            rules=RULES,
            choice_help=f"Address of an artist at MusicBrainz, such as {EXAMPLE}",
        )

    def ask(self, questions: Sequence[Question]) -> dict[str, Answer]:
        if questions[0].kind == URL:
            return self._artists_of_pages([question.key for question in questions])
        of_kind = {MATCH: self._match, ARTIST: self._artist, AREA: self._area}
        return {question.key: of_kind[question.kind](question) for question in questions}

    # As the rules ask it.

    def credits_of(self, isrc: str) -> list[Credit]:
        found = self._get(f"isrc/{_segment(isrc)}", inc="artist-credits aliases")
        return [_credit(recording) for recording in _list(found, "recordings")]

    def recordings(self, name: str, titles: Sequence[str]) -> list[Recording]:
        spelt = dict.fromkeys(spelling for title in titles for spelling in (title, plain_title(title)))
        either = " OR ".join(f"recording:{quoted(title)}" for title in spelt)
        query = f"{either if len(spelt) == 1 else f'({either})'} AND artist:{quoted(name)}"
        found = self._search("recording", query, limit=100)
        return [Recording(_text(each.get("title")), _credit(each)) for each in found]

    def search(self, name: str) -> list[Artist]:
        query = f"artist:{quoted(name)} OR alias:{quoted(name)}"
        return [_artist(each) for each in self._search("artist", query, limit=25) if each.get("id")]

    # Questions.

    def _artists_of_pages(self, ids: Sequence[str]) -> dict[str, Answer]:
        """Those that MusicBrainz does not know are absent. One page is answered alone, several in a list."""
        addresses = {f"{SPOTIFY_ARTIST}{each}": each for each in ids}
        query = urlencode([("resource", address) for address in addresses])
        found = self._get(f"url?{query}", inc="artist-rels")
        pages = _list(found, "urls") if isinstance(found, dict) and "urls" in found else [found or {}]
        answers: dict[str, Answer] = {}
        for page in pages:
            if asked := addresses.get(_text(page.get("resource"))):
                artists = {artist.id: artist for artist in _related_artists(page)}
                answers[asked] = Answer(status="found", data={"artists": [_small(each) for each in artists.values()]})
        return answers

    def _match(self, question: Question) -> Answer:
        return match_answer(matching.by_evidence(Asked.of(question.data), self))

    def _artist(self, question: Question) -> Answer:
        found = self._get(f"artist/{_segment(question.key)}", inc="genres tags aliases url-rels")
        return Answer(status="found", data=reduce_artist(found)) if found else Answer(status="not_found")

    def _area(self, question: Question) -> Answer:
        found = self._get(f"area/{_segment(question.key)}", inc="area-rels url-rels")
        return Answer(status="found", data=reduce_area(found)) if found else Answer(status="not_found")

    def _search(self, entity: str, query: str, limit: int) -> list[dict[str, Any]]:
        found = self._get(entity, query=query, limit=str(limit))
        if not isinstance(found, dict) or not isinstance(found.get(f"{entity}s"), list):
            raise http.ProviderUnavailable("MusicBrainz answered a search with something else than it documents.")
        return _list(found, f"{entity}s")

    def _get(self, path: str, **params: str) -> Any:
        """None for what it does not have, or does not take for an id or code."""
        agent = {"User-Agent": f"TutorMax/{self.version} ( {self.contact} )"}
        try:
            found = http.get_json(NAME, f"/ws/2/{path}", {**params, "fmt": "json"}, agent)
        except http.QuestionError as error:
            if error.status not in (400, 404) or "query" in params:
                raise
            return None
        if not isinstance(found, dict):
            raise http.ProviderUnavailable("MusicBrainz answered with something else than it documents.")
        return found


def quoted(text: str) -> str:
    """A phrase of the query language: within quotes, nothing but quotes and backslashes means anything."""
    return '"' + re.sub(r'(["\\])', r"\\\1", " ".join(text.split())) + '"'


def match_answer(verdict: Verdict) -> Answer:
    """{"mbid": …}, null of a special purpose artist: the play is nobody's."""
    candidates = [_small(artist) for artist in verdict.candidates]
    if verdict.status == "special":
        return Answer(
            status="found", data={"mbid": None, "name": verdict.artist and verdict.artist.name}, how="special"
        )
    if verdict.status == "found" and verdict.artist:
        data = {"mbid": verdict.artist.id, "name": verdict.artist.name}
        return Answer(status="found", data=data, how=verdict.how)
    status: Any = "ambiguous" if verdict.status == "ambiguous" else "not_found"
    return Answer(status=status, candidates=candidates, how=verdict.how)


def artists_of(answer: Mapping[str, Any]) -> list[Artist]:
    """Of an answer to a question of the kind `url`."""
    return [Artist(each["mbid"], each["name"], disambiguation=each["disambiguation"]) for each in answer["artists"]]


def reduce_artist(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an artist."""
    span = _object(found, "life-span")
    links = [_text(_object(relation, "url").get("resource")) for relation in _list(found, "relations")]
    return {
        "mbid": _text(found.get("id")),
        "name": _text(found.get("name")),
        "sort_name": _text(found.get("sort-name")),
        "type": _text(found.get("type")),
        "gender": _text(found.get("gender")),
        "country": _text(found.get("country")),
        "disambiguation": _text(found.get("disambiguation")),
        **{name.replace("-", "_"): _part(_object(found, name)) for name in ("area", "begin-area", "end-area")},
        "begin": _text(span.get("begin")),
        "end": _text(span.get("end")),
        "ended": span.get("ended") is True,
        "ipis": _texts(found.get("ipis")),
        "aliases": list(dict.fromkeys(_text(alias.get("name")) for alias in _list(found, "aliases")))[:MAX_NAMES],
        "genres": _counted(found, "genres"),
        "tags": _counted(found, "tags"),
        "spotify_ids": [link.removeprefix(SPOTIFY_ARTIST) for link in links if link.startswith(SPOTIFY_ARTIST)],
    }


def reduce_area(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an area. Its answer lists the areas within it as well: only those that it is part of are kept."""
    above = [
        _object(relation, "area")
        for relation in _list(found, "relations")
        if (relation.get("type"), relation.get("direction")) == ("part of", "backward") and not relation.get("ended")
    ]
    return {
        "id": _text(found.get("id")),
        "name": _text(found.get("name")),
        "sort_name": _text(found.get("sort-name")),
        "type": _text(found.get("type")),
        "disambiguation": _text(found.get("disambiguation")),
        "begin": _text(_object(found, "life-span").get("begin")),
        "ended": _object(found, "life-span").get("ended") is True,
        "countries": _texts(found.get("iso-3166-1-codes")),
        "subdivisions": _texts(found.get("iso-3166-2-codes")),
        "parents": [
            {"id": _text(area.get("id")), "name": _text(area.get("name")), "type": _text(area.get("type"))}
            for area in above
            if area.get("id")
        ],
        "geonames": _geonames(found),
    }


def describe(stored: Any) -> Description:
    """An artist to choose, or who was found."""
    mbid, name = stored.get("mbid"), stored.get("name") or ""
    if mbid is None:
        return Description(title=name or "Nobody in particular", answer={"mbid": None, "name": name})
    facts = {heading: stored.get(heading.lower()) or "" for heading in ("Disambiguation", "Type", "Country")}
    return Description(
        title=name or mbid,
        facts={heading: fact for heading, fact in facts.items() if isinstance(fact, str) and fact},
        link=f"{PAGES}/artist/{mbid}",
        answer={"mbid": mbid, "name": name},
    )


def describe_question(question: Question) -> Description:
    titles, codes = question.data.get("titles") or (), question.data.get("isrcs") or ()
    facts = {"Titles": ", ".join(titles), "ISRC": ", ".join(codes)}
    return Description(
        title=str(question.data.get("name") or f"{question.kind} {question.key}"),
        heading="Name" if question.data.get("name") else "Question",
        facts={name: fact for name, fact in facts.items() if fact},
        link=f"{SPOTIFY_ARTIST}{quote(question.key, safe='')}" if question.kind == URL else "",
    )


def parse_choice(pasted: str) -> dict[str, Any]:
    """ValueError, unless it is the address of an artist at MusicBrainz, or an MBID."""
    mbid = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    address = rf"\s*(?:(?:https?://)?(?:beta\.)?musicbrainz\.org/artist/)?({mbid})(?:[/?#]\S*)?\s*"
    found = re.fullmatch(address, pasted, re.ASCII | re.IGNORECASE)
    if not found:
        raise ValueError(f"This is no address of an artist at MusicBrainz, such as {EXAMPLE}.")
    return {"mbid": found[1].lower(), "name": ""}


def _artist(found: Mapping[str, Any], credited: str = "", joined: str = "") -> Artist:
    aliases = [_text(alias.get("name")) for alias in _list(found, "aliases")]
    return Artist(
        id=_text(found.get("id")),
        name=_text(found.get("name")) or credited,
        names=tuple(name for name in (credited, *aliases) if name),
        disambiguation=_text(found.get("disambiguation")),
        type=_text(found.get("type")),
        country=_text(found.get("country")),
        score=_number(found.get("score")),
        joined=joined,
        credited=credited or _text(found.get("name")),
    )


def _credit(recording: Mapping[str, Any]) -> list[Artist]:
    return [
        _artist(_object(each, "artist"), _text(each.get("name")), _verbatim(each.get("joinphrase")))
        for each in _list(recording, "artist-credit")
        if _object(each, "artist").get("id")
    ]


def _related_artists(page: Mapping[str, Any]) -> list[Artist]:
    """A relation that has ended was of a page that is another's now."""
    related = [_object(relation, "artist") for relation in _list(page, "relations") if not relation.get("ended", False)]
    return [_artist(artist) for artist in related if artist.get("id")]


def _small(artist: Artist) -> dict[str, str]:
    return {
        "mbid": artist.id,
        "name": artist.name,
        "disambiguation": artist.disambiguation,
        "type": artist.type,
        "country": artist.country,
    }


def _part(area: Mapping[str, Any]) -> dict[str, str] | None:
    """An area of an artist."""
    if not area.get("id"):
        return None
    return {
        **{name: _text(area.get(name.replace("_", "-"))) for name in ("id", "name", "sort_name", "disambiguation")},
        "begin": _text(_object(area, "life-span").get("begin")),
    }


def _counted(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Tags and genres that people agree to, the most agreed ones first."""
    counted: list[dict[str, Any]] = [
        {"name": _text(each.get("name")), "count": int(_number(each.get("count")))}
        for each in _list(found, name)
        if _text(each.get("name")) and _number(each.get("count")) > 0
    ]
    return sorted(counted, key=lambda each: (-each["count"], each["name"]))[:MAX_NAMES]


def _geonames(found: Mapping[str, Any]) -> list[int]:
    """From links such as http://sws.geonames.org/6122085/."""
    numbers = []
    for relation in _list(found, "relations"):
        address = urlsplit(_text(_object(relation, "url").get("resource")))
        if relation.get("type") == "geonames" and (path := re.fullmatch(r"/([0-9]{1,12})(/.*)?", address.path)):
            numbers.append(int(path[1]))
    return numbers


def _segment(text: str) -> str:
    return quote(text, safe="")


def _object(found: Any, name: str) -> dict[str, Any]:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}


def _list(found: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list that may be absent."""
    value = found.get(name) if isinstance(found, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _verbatim(value: Any) -> str:
    """With the blanks at its ends."""
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    """Also from text, as searches have answered it."""
    try:
        return float(value) if isinstance(value, int | float | str) else 0
    except ValueError:
        return 0
