"""An export as large as real ones: 1,621 films, 484 viewings."""

import random
from collections import Counter

import pytest

from enrichment import completion
from enrichment.lookups.models import Lookup
from enrichment.uploads import progress_of
from movies.joining import UNCLEAR
from movies.models import Entry, LibraryFilm, UploadFilm
from movies.tests.exports import SECOND, archive, film, finish, send, upload_export, viewing
from tests.records import work_off

pytestmark = pytest.mark.django_db(transaction=True)

FILMS, VIEWINGS = 1621, 484
ODD = ("NA", "None", "True", "1917", "★", 'Say "Hi", again', "A\u00a0B", "null", "-1", "=1+1")
TWINS = ("The Haunted Castle", 1897)


def whole_export(seed: int = 1) -> dict[str, list[dict[str, object]]]:
    """Films of all years, many with viewings; two of one title and year."""
    chance = random.Random(seed)
    films: list[tuple[str, int | None, str]] = [
        (ODD[n] if n < len(ODD) else f"Film {n // 2}", 1900 + n % 125, f"f{n}") for n in range(FILMS - 2)
    ]
    films += [(*TWINS, "twin1"), (*TWINS, "twin2")]
    seen = films[:1400] + films[-2:]
    viewings = [
        viewing(*of[:2], f"v{n}", f"20{10 + n % 15}-01-01") for n, of in enumerate(chance.sample(seen, VIEWINGS))
    ]
    return {
        "watched.csv": [film(*each) for each in seen],
        "watchlist.csv": [film(*each) for each in films[1400:-2]],
        "ratings.csv": [film(*each, Rating=chance.randrange(1, 11) / 2) for each in chance.sample(seen, 1000)],
        "likes/films.csv": [film(*each) for each in chance.sample(seen, 200)],
        "diary.csv": viewings,
        "reviews.csv": [{**viewings[n], "Review": f"Review {n}, long " * 50} for n in range(40)],
        "deleted/diary.csv": [],
        "orphaned/diary.csv": [],
    }


def test_films_stay_as_many_as_they_are() -> None:
    export = whole_export()
    upload = upload_export(export)
    assert LibraryFilm.objects.count() == FILMS
    assert Lookup.objects.filter(kind="match").count() == FILMS
    unclear = Entry.objects.filter(film=None)
    assert all(entry.warnings == [UNCLEAR] and (entry.title, entry.year) == TWINS for entry in unclear)
    diary = Entry.objects.filter(kind="diary")
    assert diary.count() == VIEWINGS
    assert sum(LibraryFilm.objects.values_list("viewings", flat=True)) == diary.exclude(film=None).count()
    titles = Counter(str(line["Name"]) for line in [*export["watched.csv"], *export["watchlist.csv"]])
    assert Counter(LibraryFilm.objects.values_list("title", flat=True)) == titles
    progress = progress_of([upload])[upload.pk]
    assert progress.questions["films"]["total"] == FILMS == progress.count("open")
    assert (progress.pending, progress.dead, progress.status) == (0, 0, "enriching")


def test_the_same_export_again_changes_nothing_and_a_newer_one_keeps_the_films() -> None:
    export = whole_export()
    first = upload_export(export)
    before = set(LibraryFilm.objects.values_list("pk", "title", "viewings", "rating"))
    assert send(archive(export), name="letterboxd-anna.zip").pk == first.pk
    finish()
    second = upload_export(export, SECOND)
    assert set(LibraryFilm.objects.values_list("pk", "title", "viewings", "rating")) == before
    assert UploadFilm.objects.filter(upload=second).count() == FILMS
    assert not Entry.objects.filter(gone=True).exists()


def test_its_percentage_never_falls() -> None:
    upload = send(archive(whole_export()))
    seen = [0.0]

    def look() -> None:
        seen.append(progress_of([upload])[upload.pk].percent)
        upload.refresh_from_db()

    look()
    work_off()
    look()
    while completion.run_next_step():
        look()
    for match in ("found", "ambiguous", "not_found", "failed"):
        some = LibraryFilm.objects.filter(match="open").order_by("pk").values("pk")[:500]
        LibraryFilm.objects.filter(pk__in=list(some.values_list("pk", flat=True))).update(match=match)
        look()
    assert seen == sorted(seen)
    assert seen[-1] == 100
