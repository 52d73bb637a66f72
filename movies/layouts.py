"""The files of an export of Letterboxd, and of its import format."""

from ingestion.streams import Layout
from movies.models import Kind

FILM = ("Date", "Name", "Year", "Letterboxd URI")
VIEWING = (*FILM, "Rating", "Rewatch", "Tags", "Watched Date")
REVIEW = (*FILM, "Rating", "Rewatch", "Review", "Tags", "Watched Date")
COMMENTS, LIKES, LIST = ("Date", "Content", "Comment"), ("Date", "Content"), ("Letterboxd list export v7",)
COLUMNS = {
    "Date": "added_on",
    "Name": "title",
    "Year": "year",
    "Letterboxd URI": "letterboxd_uri",
    "Rating": "rating",
    "Rewatch": "rewatch",
    "Review": "review",
    "Tags": "tags",
    "Watched Date": "watched_on",
}
IMPORT_COLUMNS = {
    "LetterboxdURI": "letterboxd_uri",
    "url": "letterboxd_uri",
    "tmdbID": "tmdb_id",
    "imdbID": "imdb_id",
    "Title": "title",
    "Year": "year",
    "Directors": "directors",
    "Rating": "rating",
    "Rating10": "rating10",
    "WatchedDate": "watched_on",
    "Rewatch": "rewatch",
    "Tags": "tags",
    "Review": "review",
}
DATED = ("exported_on", "updated_at")


def export_file(kind: Kind, header: tuple[str, ...], order: int, path: str = "", **given: bool) -> Layout:
    return Layout(
        kind=kind.value,
        paths=(path or rf"{kind.value}\.csv",),
        header=header,
        columns={column: COLUMNS[column] for column in header},
        lists={"Tags": ","} if "Tags" in header else {},
        given={"kind": kind.value, **given},
        dated=DATED,
        order=order,
    )


def left_out(kind: str, reason: str, *paths: str, header: tuple[str, ...] = ()) -> Layout:
    return Layout(kind=kind, paths=paths, header=header, left_out=reason)


# In this order, films come before the lines that join them, and what was deleted comes last.
LAYOUTS = (
    export_file(Kind.WATCHED, FILM, 1),
    export_file(Kind.RATINGS, (*FILM, "Rating"), 2),
    export_file(Kind.LIKES, FILM, 3, r"(likes/)?films\.csv"),
    export_file(Kind.WATCHLIST, FILM, 4),
    export_file(Kind.DIARY, VIEWING, 5),
    export_file(Kind.REVIEWS, REVIEW, 6),
    export_file(Kind.DIARY, VIEWING, 7, r"orphaned/diary\.csv", orphaned=True),
    export_file(Kind.REVIEWS, REVIEW, 8, r"orphaned/reviews\.csv", orphaned=True),
    export_file(Kind.DIARY, VIEWING, 9, r"deleted/diary\.csv", deleted=True),
    export_file(Kind.REVIEWS, REVIEW, 10, r"deleted/reviews\.csv", deleted=True),
    Layout(
        kind=Kind.IMPORT.value,
        any_of=("LetterboxdURI", "url", "tmdbID", "imdbID", "Title"),
        optional=("Year", "Directors", "Rating", "Rating10", "WatchedDate", "Rewatch", "Tags", "Review"),
        columns=IMPORT_COLUMNS,
        lists={"Tags": ",", "Directors": ","},
        given={"kind": Kind.IMPORT.value},
        dated=("updated_at",),
        order=11,
    ),
    left_out("comments", "comments are not imported", r"((deleted|orphaned)/)?comments\.csv", header=COMMENTS),
    left_out("profile", "the profile is not imported", r"profile\.csv"),
    left_out("likes", "likes of reviews and lists are not imported", r"likes/(reviews|lists)\.csv", header=LIKES),
    left_out("lists", "lists are not imported", r"((deleted|orphaned)/)?lists/.*\.csv", header=LIST),
)
