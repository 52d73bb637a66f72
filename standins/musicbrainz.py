"""Stands in for MusicBrainz: its documented web service, version 2, over a few artists, recordings and areas.

Who does not say whom to ask about their requests, in the User-Agent, is refused. Queries of searches are read as
strictly as their language is: fields with phrases in quotes, joined by AND, OR and brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from standins.server import Fault, Request, Response, Server, child_options, error, serve_child

MAX_RESOURCES = 100
INCLUDED = {
    "url": {"artist-rels"},
    "isrc": {"artist-credits", "aliases"},
    "artist": {"genres", "tags", "aliases", "url-rels", "area-rels"},
    "area": {"area-rels", "url-rels", "aliases"},
}
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
HELP = "For usage, please see: https://musicbrainz.org/development/mmd"
TOO_FAST = "Your requests are exceeding the allowable rate limit. Please see the documentation for more information."


@dataclass(frozen=True)
class Area:
    id: str
    name: str
    type: str | None = None
    ended: bool = False
    countries: Sequence[str] = ()
    subdivisions: Sequence[str] = ()
    part_of: Sequence[tuple[str, bool]] = ()
    """Ids of areas, and whether that has ended."""
    geonames: int | None = None


@dataclass(frozen=True)
class Artist:
    id: str
    name: str
    aliases: Sequence[str] = ()
    type: str | None = None
    country: str | None = None
    disambiguation: str = ""
    area: str = ""
    begin_area: str = ""
    """Ids of areas."""
    begin: str | None = None
    genres: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, int] = field(default_factory=dict)
    pages: Sequence[str] = ()
    """Its addresses elsewhere."""


@dataclass(frozen=True)
class Credited:
    artist: Artist
    name: str = ""
    """As credited; empty: as the artist is named."""
    joined: str = ""


@dataclass(frozen=True)
class Recording:
    title: str
    credit: Sequence[Credited]
    isrcs: Sequence[str] = ()
    id: str = ""


class MusicBrainz:
    """The protocol; `merged` leads from ids that are no more to those of the artists they were merged into."""

    def __init__(
        self,
        artists: Iterable[Artist] = (),
        recordings: Iterable[Recording] = (),
        areas: Iterable[Area] = (),
        merged: Mapping[str, str] | None = None,
    ) -> None:
        self.artists, self.recordings = list(artists), list(recordings)
        self.areas = {area.id: area for area in areas}
        self.merged = dict(merged or {})
        self.queries: list[str] = []
        """Of all searches."""

    def __call__(self, request: Request) -> Response:
        if not re.search(r"\(.*(@|://).*\)", request.headers.get("user-agent", "")):
            return Response(403, {"error": "blocked"})
        path = re.fullmatch(r"/ws/2/(\w+)(?:/([^/]+))?", request.path)
        handle = _ROUTES.get((path[1], bool(path[2]))) if path else None
        if not path or not handle or request.query.get("fmt") != "json":
            return NOT_FOUND
        asked = set(request.query.get("inc", "").split())
        if unknown := asked - INCLUDED.get(path[1], set()):
            return failure(400, f"{min(unknown)} is not a valid inc parameter for the {path[1]} resource.")
        return handle(self, request, path[2] or "", asked)

    def is_id(self, id: str) -> bool:
        return re.fullmatch(UUID, id) is not None

    def found_artists(self, phrases: Sequence[str]) -> list[tuple[Artist, int]]:
        """With their scores, the best first: whoever shares a word with the phrase."""
        scored = [(artist, max(_score(phrase, artist) for phrase in phrases)) for artist in self.artists]
        return sorted(((artist, score) for artist, score in scored if score), key=lambda each: -each[1])

    def found_recordings(self, titles: Sequence[str], name: str) -> list[Recording]:
        """Those with one of the titles as part of theirs, by whoever is credited in these words."""
        return [
            recording
            for recording in self.recordings
            if any(_within(title, recording.title) for title in titles) and _within(name, _written_out(recording))
        ]

    def url(self, request: Request, _id: str, inc: set[str]) -> Response:
        resources = request.all("resource")
        if not resources:
            return failure(400, "A query or a linked entity is required.")
        pages = [page for resource in resources[:MAX_RESOURCES] if (page := self._page(resource, inc))]
        if len(resources) == 1:
            return Response(body=pages[0]) if pages else NOT_FOUND
        return Response(body={"url-count": len(pages), "url-offset": 0, "urls": pages[::-1]})

    def isrc(self, _request: Request, code: str, inc: set[str]) -> Response:
        if not re.fullmatch("[A-Z]{2}[A-Z0-9]{3}[0-9]{7}", code):
            return failure(400, "Invalid isrc.")
        found = [recording for recording in self.recordings if code in recording.isrcs]
        if not found:
            return NOT_FOUND
        return Response(body={"isrc": code, "recordings": [_recording(each, inc) for each in found]})

    def artist(self, _request: Request, id: str, inc: set[str]) -> Response:
        if not self.is_id(id):
            return failure(400, "Invalid mbid.")
        wanted = self.merged.get(id, id)
        found = next((artist for artist in self.artists if artist.id == wanted), None)
        return Response(body=self._artist(found, inc)) if found else NOT_FOUND

    def area(self, _request: Request, id: str, inc: set[str]) -> Response:
        """With the areas within it, as well as those that it is part of."""
        if not self.is_id(id):
            return failure(400, "Invalid mbid.")
        area = self.areas.get(id)
        return Response(body=self._area(area, inc)) if area else NOT_FOUND

    def search_artists(self, request: Request, _id: str, _inc: set[str]) -> Response:
        phrases = self._phrases(request, {"artist", "alias"})
        if phrases is None:
            return INVALID_QUERY
        found = self.found_artists([phrase for _, phrase in phrases])
        artists = [
            {**_small(artist), "score": score, "country": artist.country, "aliases": _aliases(artist)}
            for artist, score in found
        ]
        return Response(
            body={"created": "2026-01-01T00:00:00.000Z", "count": len(found), "offset": 0, "artists": artists}
        )

    def search_recordings(self, request: Request, _id: str, _inc: set[str]) -> Response:
        phrases = self._phrases(request, {"recording", "artist"})
        if phrases is None:
            return INVALID_QUERY
        titles = [phrase for name, phrase in phrases if name == "recording"]
        name = next((phrase for name, phrase in phrases if name == "artist"), "")
        found = self.found_recordings(titles, name)[: int(request.query.get("limit", "25"))]
        recordings = [{**_recording(each, {"artist-credits"}), "score": 100} for each in found]
        return Response(body={"count": len(found), "offset": 0, "recordings": recordings})

    def _phrases(self, request: Request, fields: set[str]) -> list[tuple[str, str]] | None:
        """The fields and phrases of the query; None if it is none."""
        query = request.query.get("query", "")
        self.queries.append(query)
        clause = r'\(*(\w+):"((?:[^"\\]|\\.)+)"\)*'
        if not re.fullmatch(rf"{clause}(?: (?:AND|OR) {clause})*", query):
            return None
        found = [(name, re.sub(r"\\(.)", r"\1", phrase)) for name, phrase in re.findall(clause, query)]
        return found if {name for name, _ in found} <= fields else None

    def _page(self, resource: str, inc: set[str]) -> dict[str, Any] | None:
        related = [artist for artist in self.artists if resource in artist.pages]
        known = related or resource in self.pages_of_nobody()
        if not known:
            return None
        relations = [
            {
                "type": "free streaming",
                "direction": "backward",
                "target-type": "artist",
                "ended": False,
                "artist": _small(artist),
            }
            for artist in related
        ]
        page: dict[str, Any] = {"id": "00000000-0000-4000-8000-000000000301", "resource": resource}
        return page | ({"relations": relations} if "artist-rels" in inc else {})

    def pages_of_nobody(self) -> set[str]:
        """Addresses that are known without a relation to any artist."""
        return set()

    def _artist(self, artist: Artist, inc: set[str]) -> dict[str, Any]:
        body = {
            **_small(artist),
            "gender": None,
            "country": artist.country,
            "isnis": [],
            "ipis": [],
            "area": self._named_area(artist.area),
            "begin-area": self._named_area(artist.begin_area),
            "end-area": None,
            "life-span": {"begin": artist.begin, "end": None, "ended": False},
        }
        if "tags" in inc:
            body["tags"] = [{"name": name, "count": count} for name, count in artist.tags.items()]
        if "genres" in inc:
            genres = artist.genres.items()
            body["genres"] = [
                {"id": name, "name": name, "count": count, "disambiguation": ""} for name, count in genres
            ]
        if "aliases" in inc:
            body["aliases"] = _aliases(artist)
        if "url-rels" in inc:
            body["relations"] = [_link("free streaming", address) for address in artist.pages]
        return body

    def _area(self, area: Area, inc: set[str]) -> dict[str, Any]:
        body: dict[str, Any] = {
            **self._small_area(area),
            "disambiguation": "",
            "life-span": {"begin": None, "end": None, "ended": area.ended},
        }
        if area.countries:
            body["iso-3166-1-codes"] = list(area.countries)
        if area.subdivisions:
            body["iso-3166-2-codes"] = list(area.subdivisions)
        relations: list[dict[str, Any]] = []
        if "area-rels" in inc:
            within = [
                (each, ended) for each in self.areas.values() for above, ended in each.part_of if above == area.id
            ]
            relations += [self._part_of(each, "forward", ended) for each, ended in within]
            relations += [self._part_of(self.areas[above], "backward", ended) for above, ended in area.part_of]
        if "url-rels" in inc and area.geonames:
            relations.append(_link("geonames", f"http://sws.geonames.org/{area.geonames}/"))
        return body | {"relations": relations}

    def _part_of(self, area: Area, direction: str, ended: bool) -> dict[str, Any]:
        relation = {"type": "part of", "direction": direction, "target-type": "area", "attributes": [], "ended": ended}
        return relation | {"area": self._small_area(area)}

    def _small_area(self, area: Area) -> dict[str, Any]:
        return {"id": area.id, "name": area.name, "sort-name": area.name, "type": area.type}

    def _named_area(self, id: str) -> dict[str, Any] | None:
        return self._small_area(self.areas[id]) if id else None


def _small(artist: Artist) -> dict[str, Any]:
    return {
        "id": artist.id,
        "name": artist.name,
        "sort-name": artist.name,
        "disambiguation": artist.disambiguation,
        "type": artist.type,
    }


def _aliases(artist: Artist) -> list[dict[str, Any]]:
    return [
        {"name": alias, "sort-name": alias, "locale": None, "primary": None, "type": None} for alias in artist.aliases
    ]


def _recording(recording: Recording, inc: set[str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": recording.id or "00000000-0000-4000-8000-000000000101",
        "title": recording.title,
        "length": None,
        "video": False,
        "disambiguation": "",
    }
    if "artist-credits" not in inc:
        return body
    credit = [
        {
            "name": each.name or each.artist.name,
            "joinphrase": each.joined,
            "artist": _small(each.artist) | ({"aliases": _aliases(each.artist)} if "aliases" in inc else {}),
        }
        for each in recording.credit
    ]
    return body | {"artist-credit": credit}


def _link(type: str, address: str) -> dict[str, Any]:
    url = {"id": "00000000-0000-4000-8000-000000000302", "resource": address}
    return {"type": type, "direction": "forward", "target-type": "url", "ended": False, "url": url}


def _written_out(recording: Recording) -> str:
    return "".join((each.name or each.artist.name) + each.joined for each in recording.credit)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold()) or [text.strip()]


def _within(part: str, text: str) -> bool:
    return f" {' '.join(_words(part))} " in f" {' '.join(_words(text))} "


def _score(phrase: str, artist: Artist) -> int:
    """100 for the name or an alias in the same words, less the more words are different."""
    wanted = set(_words(phrase))
    scores = [0]
    for name in (artist.name, *artist.aliases):
        there = set(_words(name))
        scores.append(round(100 * len(wanted & there) / len(wanted | there)))
    return max(scores)


def failure(status: int, message: str) -> Response:
    return Response(status, {"error": message, "help": HELP})


NOT_FOUND = failure(404, "Not Found")
INVALID_QUERY = failure(400, "Unable to parse search query.")


def too_fast(seconds: int = 1) -> Fault:
    """What everybody at an address gets once it sends more than a request a second."""
    return error(503, {"error": TOO_FAST}, Retry_After=str(seconds))


_ROUTES = {
    ("url", False): MusicBrainz.url,
    ("isrc", True): MusicBrainz.isrc,
    ("artist", True): MusicBrainz.artist,
    ("area", True): MusicBrainz.area,
    ("artist", False): MusicBrainz.search_artists,
    ("recording", False): MusicBrainz.search_recordings,
}


def start(musicbrainz: MusicBrainz) -> Server:
    """A stand-in in threads of this process, to be used as a context manager."""
    return Server(musicbrainz)


if __name__ == "__main__":
    from standins.music import at_musicbrainz

    serve_child(at_musicbrainz(), child_options(__doc__).parse_args())
