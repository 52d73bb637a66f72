"""Entries: the lines of an export of Letterboxd, as files hold them and clients send them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ingestion.fields import (
    Day,
    Flag,
    Identifier,
    PastTime,
    Record,
    StorableText,
    Stripped,
    Text100,
    Text255,
    Tidy,
    WholeNumber,
)
from movies.identity import link_key

MAX_REVIEW = 100_000
"""Characters."""


def _check_link(value: str) -> str:
    if value and not link_key(value):
        raise PydanticCustomError("link", "must be a link such as https://boxd.it/2a1m")
    return value


Link = Annotated[str, Field(max_length=500), StorableText, AfterValidator(_check_link), Tidy]
KindName = Literal["watched", "ratings", "diary", "reviews", "likes", "watchlist", "import"]


class EntryRecord(Record):
    """One line of an export: a film watched, rated, liked, reviewed or on the watchlist, or a viewing in the diary."""

    library: Identifier
    """The library it belongs to: one person's films."""
    kind: KindName
    """The file it is from. Each kind says something else of a film; of a diary each line is a viewing."""
    exported_on: PastTime | None = None
    """When the export was made. What the library's newest export of a kind lacks is no longer counted; a record
    without it is no part of an export, and counts until it is replaced."""
    letterboxd_uri: Link | None = None
    """Link of the film; in a diary and in reviews that of the viewing."""
    tmdb_id: Annotated[int, Field(ge=1, le=2**31 - 1), WholeNumber] | None = None
    """Number of the film at TMDB, where it is known."""
    imdb_id: Annotated[str, Field(max_length=20, pattern=r"^tt[0-9]+$"), Tidy] | None = None
    """Number at IMDb, such as tt0133093, where it is known."""
    title: Annotated[Text255 | None, Field(validate_default=True)] = None
    """Title; required unless there is a link or a number."""
    year: Annotated[int, Field(ge=1, le=9999), WholeNumber] | None = None
    """Year of the first showing."""
    directors: Annotated[list[Text255], Field(max_length=50)] | None = None
    """Directors, which tell films of one title apart."""
    rating: Annotated[float, Field(ge=0.5, le=5)] | None = None
    """From 0.5 to 5, in halves; in a diary the rating at that time."""
    rating10: Annotated[int, Field(ge=1, le=10), WholeNumber] | None = None
    """From 1 to 10: taken for `rating` where that is absent."""
    rewatch: Flag = False
    """The film had been seen before; default: false."""
    tags: Annotated[list[Text100], Field(max_length=200)] | None = None
    """Tags of the viewing."""
    review: Annotated[str, Field(max_length=MAX_REVIEW), StorableText, Stripped] | None = None
    """Text of the review."""
    watched_on: Day | None = None
    """Day of the viewing."""
    added_on: Day | None = None
    """Day on which the line was added."""
    orphaned: Flag = False
    """A viewing of a film that Letterboxd does not have any more; default: false."""
    deleted: Flag = False
    """It has been deleted: the entry is no longer counted, whatever an older export says; default: false."""
    updated_at: Annotated[PastTime | None, Field(validate_default=True)] = None
    """Which of two records of one entry is newer; default: `exported_on`."""

    @field_validator("title")
    @classmethod
    def _has_a_name(cls, title: str | None, info: ValidationInfo) -> str:
        others = ("letterboxd_uri", "tmdb_id", "imdb_id")
        if not title and not any(info.data.get(name) for name in others):
            raise PydanticCustomError("required", "is required without letterboxd_uri, tmdb_id or imdb_id")
        return title or ""

    @field_validator("rating")
    @classmethod
    def _in_halves(cls, rating: float | None) -> float | None:
        if rating is not None and rating * 2 % 1:
            raise PydanticCustomError("halves", "must be a multiple of 0.5")
        return rating

    @field_validator("updated_at")
    @classmethod
    def _of_the_export(cls, moment: datetime | None, info: ValidationInfo) -> Any:
        return moment or info.data.get("exported_on")
