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
from urllib.parse import quote, urlencode

from enrichment.lookups import Answer, Description, Provider, Question, Rate, http
from enrichment.lookups.providers import Apply
from music import matching
from music.geography.areas import MAX_AREAS
from music.geography.places import COUNTRIES
from music.matching import Artist, Asked, Credit, Recording, Verdict
from music.names import plain_title
from music.providers.members import MAX_GENRE, MAX_ITEMS, MAX_WHOLE, mbid_of, member, members, number, text, texts

NAME = "musicbrainz"
URL, MATCH, ARTIST, AREA = "url", "match", "artist", "area"
MAX_URLS = 100
"""More in one request are cut off without a word."""
PAGES = "https://musicbrainz.org"
EXAMPLE = f"{PAGES}/artist/5b11f4ce-a62d-471e-81fc-a69a8278c7da"
SPOTIFY_ARTIST = "https://open.spotify.com/artist/"
EXPIRY = timedelta(days=180)
"""Facts about artists and areas change; whose page or name it is hardly ever does."""
PAGE_OF_ARTIST = re.compile(re.escape(SPOTIFY_ARTIST) + "[0-9A-Za-z_-]{1,64}")
MAX_RECORDINGS, MAX_ARTISTS = 100, 25
"""Asked for in a search, and read of any answer."""
MAX_AREA_NAME = 300
"""Characters: with its country and state an area's name is a question to another service."""
MAX_JOINED = 100
"""Characters between two names of a credit."""
MAX_NUMBERS = 10
"""Of an area at GeoNames."""
COUNTRY, SUBDIVISION = "[A-Z]{2}", "[A-Z]{2}-[0-9A-Z]{1,7}"
"""Codes of ISO 3166."""
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
        return [_credit(recording) for recording in members(found, "recordings")[:MAX_RECORDINGS]]

    def recordings(self, name: str, titles: Sequence[str]) -> list[Recording]:
        spelt = dict.fromkeys(spelling for title in titles for spelling in (title, plain_title(title)))
        either = " OR ".join(f"recording:{quoted(title)}" for title in spelt)
        query = f"{either if len(spelt) == 1 else f'({either})'} AND artist:{quoted(name)}"
        found = self._search("recording", query, limit=MAX_RECORDINGS)
        return [Recording(text(each.get("title")), _credit(each)) for each in found]

    def search(self, name: str) -> list[Artist]:
        query = f"artist:{quoted(name)} OR alias:{quoted(name)}"
        return [_artist(each) for each in self._search("artist", query, limit=MAX_ARTISTS) if mbid_of(each.get("id"))]

    # Questions.

    def _artists_of_pages(self, ids: Sequence[str]) -> dict[str, Answer]:
        """Those that MusicBrainz does not know are absent. One page is answered alone, several in a list."""
        addresses = {f"{SPOTIFY_ARTIST}{each}": each for each in ids}
        query = urlencode([("resource", address) for address in addresses])
        found = self._get(f"url?{query}", inc="artist-rels")
        pages = members(found, "urls") if isinstance(found, dict) and "urls" in found else [found or {}]
        answers: dict[str, Answer] = {}
        for page in pages:
            if asked := addresses.get(text(page.get("resource"))):
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
        return members(found, f"{entity}s")[:limit]

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
    span = member(found, "life-span")
    links = [text(member(relation, "url").get("resource")) for relation in members(found, "relations")]
    return {
        "mbid": mbid_of(found.get("id")),
        "name": text(found.get("name")),
        "sort_name": text(found.get("sort-name")),
        "type": text(found.get("type"), 100),
        "gender": text(found.get("gender"), 100),
        "country": text(found.get("country"), 10),
        "disambiguation": text(found.get("disambiguation")),
        **{name.replace("-", "_"): _part(member(found, name)) for name in ("area", "begin-area", "end-area")},
        "begin": text(span.get("begin"), 20),
        "end": text(span.get("end"), 20),
        "ended": span.get("ended") is True,
        "ipis": texts(found.get("ipis")),
        "aliases": texts([alias.get("name") for alias in members(found, "aliases")]),
        "genres": _counted(found, "genres"),
        "tags": _counted(found, "tags"),
        "spotify_ids": [link.removeprefix(SPOTIFY_ARTIST) for link in links if PAGE_OF_ARTIST.fullmatch(link)][
            :MAX_ITEMS
        ],
    }


def reduce_area(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of an area. Its answer lists the areas within it as well: only those that it is part of are kept."""
    above = [
        member(relation, "area")
        for relation in members(found, "relations")
        if (relation.get("type"), relation.get("direction")) == ("part of", "backward") and not relation.get("ended")
    ]
    return {
        "id": mbid_of(found.get("id")),
        "name": text(found.get("name"), MAX_AREA_NAME),
        "sort_name": text(found.get("sort-name"), MAX_AREA_NAME),
        "type": text(found.get("type"), 100),
        "disambiguation": text(found.get("disambiguation")),
        "begin": text(member(found, "life-span").get("begin"), 20),
        "ended": member(found, "life-span").get("ended") is True,
        "countries": _codes(found.get("iso-3166-1-codes"), COUNTRY),
        "subdivisions": _codes(found.get("iso-3166-2-codes"), SUBDIVISION),
        "parents": [
            {
                "id": mbid_of(area.get("id")),
                "name": text(area.get("name"), MAX_AREA_NAME),
                "type": text(area.get("type"), 100),
            }
            for area in above
            if mbid_of(area.get("id"))
        ][:MAX_AREAS],
        "geonames": _geonames(found),
    }


def describe(stored: Any) -> Description:
    """An artist to choose, or who was found."""
    mbid, name = stored.get("mbid"), stored.get("name") or ""
    if mbid is None:
        return Description(title=name or "Nobody in particular", answer={"mbid": None, "name": name})
    facts = {heading: stored.get(heading.lower()) or "" for heading in ("Disambiguation", "Type", "Country")}
    if isinstance(facts["Country"], str) and (country := COUNTRIES.get(facts["Country"])):
        facts["Country"] = country.name
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
    aliases = texts([alias.get("name") for alias in members(found, "aliases")])
    return Artist(
        id=mbid_of(found.get("id")),
        name=text(found.get("name")) or credited,
        names=tuple(name for name in (credited, *aliases) if name),
        disambiguation=text(found.get("disambiguation")),
        type=text(found.get("type"), 100),
        country=text(found.get("country"), 10),
        score=number(found.get("score")),
        joined=joined,
        credited=credited or text(found.get("name")),
    )


def _credit(recording: Mapping[str, Any]) -> list[Artist]:
    return [
        _artist(member(each, "artist"), text(each.get("name")), _verbatim(each.get("joinphrase")))
        for each in members(recording, "artist-credit")[:MAX_ARTISTS]
        if mbid_of(member(each, "artist").get("id"))
    ]


def _related_artists(page: Mapping[str, Any]) -> list[Artist]:
    """A relation that has ended was of a page that is another's now."""
    related = [
        member(relation, "artist") for relation in members(page, "relations") if not relation.get("ended", False)
    ]
    return [_artist(artist) for artist in related if mbid_of(artist.get("id"))][:MAX_ITEMS]


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
    if not mbid_of(area.get("id")):
        return None
    return {
        "id": mbid_of(area.get("id")),
        **{name: text(area.get(name.replace("_", "-"))) for name in ("name", "sort_name", "disambiguation")},
        "begin": text(member(area, "life-span").get("begin"), 20),
    }


def _counted(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Tags and genres that people agree to, the most agreed ones first."""
    counted: list[dict[str, Any]] = [
        {"name": text(each.get("name"), MAX_GENRE), "count": int(min(number(each.get("count")), MAX_WHOLE))}
        for each in members(found, name)
        if text(each.get("name")) and number(each.get("count")) > 0
    ]
    return sorted(counted, key=lambda each: (-each["count"], each["name"]))[:MAX_ITEMS]


def _geonames(found: Mapping[str, Any]) -> list[int]:
    """From links such as http://sws.geonames.org/6122085/."""
    numbers = []
    for relation in members(found, "relations"):
        address = text(member(relation, "url").get("resource"))
        if relation.get("type") == "geonames" and (
            number_in := re.fullmatch(r"https?://[^/]+/([0-9]{1,12})(/.*)?", address)
        ):
            numbers.append(int(number_in[1]))
    return numbers[:MAX_NUMBERS]


def _codes(value: Any, form: str) -> list[str]:
    return [code for code in texts(value) if re.fullmatch(form, code)]


def _segment(text: str) -> str:
    return quote(text, safe="")


def _verbatim(value: Any) -> str:
    """With the blanks at its ends."""
    return value[:MAX_JOINED] if isinstance(value, str) else ""
