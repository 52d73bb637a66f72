"""Plays, areas and cities with what MusicBrainz has of them, and what is right: music/tests/cases.json.

Each case is complete: `answers` is all that the service has. Ids are real where a public report named them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from standins.musicbrainz import Area, Artist, Credited, MusicBrainz, Recording

SPOTIFY = "https://open.spotify.com/artist/"


@dataclass(frozen=True)
class Case:
    kind: str
    difficulty: str
    input: Mapping[str, Any]
    right: Mapping[str, Any]
    why: str

    def __str__(self) -> str:
        first = self.input.get("play") or self.input
        return f"{self.difficulty}: {first.get('artist') or first.get('area') or self.why}"


def cases(kind: str) -> list[Case]:
    given = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
    return [
        Case(case["kind"], case["difficulty"], case["input"], case["right"], case["why"])
        for case in given
        if case["kind"] == kind
    ]


class Service(MusicBrainz):
    """Has what the case says, under whatever ids, and finds just that."""

    def __init__(self, answers: Mapping[str, Any], spotify_id: str | None) -> None:
        pages: dict[str, list[str]] = {}
        urls = answers.get("url")
        by_page = urls if isinstance(urls, dict) else {spotify_id or "": urls if isinstance(urls, list) else []}
        for page, related in by_page.items():
            for artist in related:
                pages.setdefault(artist["id"], []).append(SPOTIFY + page)
        self.known = set(pages) and {SPOTIFY + page for page in by_page}
        self.searched = [(_artist(each, pages), each["score"]) for each in answers.get("search", ())]
        known = {artist.id: artist for artist, _ in self.searched}
        for related in by_page.values():
            known |= {each["id"]: _artist(each, pages) for each in related if each["id"] not in known}
        credited = (
            [_recording(each["title"], each["artist-credit"], (), known) for each in answers["recordings"]]
            if ("recordings" in answers)
            else []
        )
        coded = [
            _recording(f"Recording {code}", credit, (code,), known)
            for code, credits_of_code in answers.get("isrc", {}).items()
            for credit in credits_of_code
        ]
        merged = answers.get("merged", {})
        known |= {id_: Artist(id_, "Survivor") for id_ in merged.values()}
        super().__init__(known.values(), [*credited, *coded], merged=merged)

    def is_id(self, id: str) -> bool:
        return True

    def found_artists(self, phrases: Sequence[str]) -> list[tuple[Artist, int]]:
        return self.searched

    def found_recordings(self, titles: Sequence[str], name: str) -> list[Recording]:
        return [recording for recording in self.recordings if not recording.isrcs]


class Map(MusicBrainz):
    """Has the areas of the case, under whatever ids."""

    def __init__(self, areas: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(areas=[_area(id_, area) for id_, area in areas.items()])

    def is_id(self, id: str) -> bool:
        return True


def _artist(given: Mapping[str, Any], pages: Mapping[str, Iterable[str]]) -> Artist:
    return Artist(
        id=given["id"],
        name=given["name"],
        aliases=given.get("aliases", ()),
        type=given.get("type"),
        disambiguation=given.get("disambiguation", ""),
        pages=tuple(pages.get(given["id"], ())),
    )


def _recording(
    title: str, credit: Iterable[Mapping[str, Any]], isrcs: Sequence[str], known: Mapping[str, Artist]
) -> Recording:
    """Answers name the credited artists as they are credited."""
    return Recording(
        title,
        [Credited(Artist(each["id"], each["name"]), each["name"], each["joinphrase"]) for each in credit],
        isrcs,
    )


def _area(id: str, given: Mapping[str, Any]) -> Area:
    return Area(
        id=id,
        name=given["name"],
        type=given["type"],
        ended=given["ended"],
        countries=given.get("iso-3166-1-codes", ()),
        subdivisions=given.get("iso-3166-2-codes", ()),
        part_of=[(above["id"], above["ended"]) for above in given["part_of"]],
    )
