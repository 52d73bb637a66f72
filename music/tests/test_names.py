"""When names are equal, and what is never a match."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music import matching, names
from music.matching import SPECIAL, Artist, Asked, Credit, Recording
from music.names import Equality

WORDS = st.sampled_from(
    [
        "The",
        "Bo",
        "BÖ",
        "bo",
        "&",
        "and",
        "!!!",
        "†††",
        "ボア",
        "ホア",
        "보아",
        "Beyoncé",
        "feat.",
        ",",
        "AC/DC",
        "A",
        " ",
    ]
)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
ARTISTS = st.builds(
    Artist,
    id=st.sampled_from(["a", "b", "c", *sorted(SPECIAL)[:2]]),
    name=NAMES,
    names=st.lists(NAMES, max_size=2).map(tuple),
    score=st.sampled_from([83.0, 95.0, 100.0]),
    joined=st.sampled_from(["", " feat. ", ", "]),
    credited=NAMES,
)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("Placebo", "Placebo", Equality.WRITTEN),
        ("  Pla cebo", "Pla  cebo ", Equality.WRITTEN),
        ("Beyoncé", "Beyonce\u0301", Equality.WRITTEN),
        ("Beyonce", "Beyoncé", Equality.FOLDED),
        ("MOTORHEAD", "Motörhead", Equality.FOLDED),
        ("Simon and Garfunkel", "Simon & Garfunkel", Equality.FOLDED),
        ("Guns N Roses", "Guns N’ Roses", Equality.FOLDED),
        ("REM", "R.E.M.", Equality.FOLDED),
        ("Jay Z", "Jay-Z", Equality.FOLDED),
        ("Straße", "STRASSE", Equality.FOLDED),
        ("Ｐｅｒｆｕｍｅ", "Perfume", Equality.FOLDED),
        ("Beatles", "The Beatles", Equality.WITHOUT_THE),
        ("THE EAGLES", "Eagles", Equality.WITHOUT_THE),
        ("Theatre", "atre", None),
        ("The The", "The", None),
        ("The", "", None),
        ("", "", None),
        ("!!!", "†††", None),
        ("!!!", "!!!", Equality.WRITTEN),
        ("+/-", "!!!", None),
        ("ボア", "ホア", None),
        ("バンプ", "ハンフ", None),
        ("ﾎﾞｱ", "ボア", Equality.FOLDED),
        ("보아", "BoA", None),
        ("Й", "И", Equality.FOLDED),
        ("Motorheads", "Motörhead", None),
        ("Earth, Wind & Fire", "Earth", None),
        ("Lala &ce", "Lala", None),
    ],
)
def test_equality(one: str, other: str, equal: Equality | None) -> None:
    assert names.equality(one, [other]) == equal
    assert names.equality(other, [one]) == equal


@given(NAMES, st.lists(NAMES, max_size=3))
@settings(max_examples=100, deadline=None)
def test_equality_is_that_of_some_name_and_does_not_depend_on_their_order(asked: str, there: Sequence[str]) -> None:
    found = names.equality(asked, there)
    assert found == names.equality(asked, list(reversed(there)))
    assert (found is None) == (not any(names.equality(asked, [name]) is not None for name in there))


@given(st.text(st.characters(max_codepoint=127), max_size=30))
def test_plain_letters_are_folded_like_others(name: str) -> None:
    assert names.fold(f"{name}e") == names.fold(f"{name}é")


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_folding_twice_is_folding_once_and_empties_no_name(name: str) -> None:
    folded = names.fold(name)
    assert names.fold(folded) == folded
    assert bool(folded) == bool(name.strip())
    assert names.fold(unicodedata.normalize("NFD", name)) == names.fold(unicodedata.normalize("NFC", name))


@pytest.mark.parametrize(
    ("title", "plain"),
    [
        ("That That (prod. & feat. SUGA of BTS)", "That That"),
        ("Time [2011 Remaster] (Live (at home))", "Time"),
        ("Time - 2011 Remaster", "Time"),
        ("Time - Remastered 2011", "Time"),
        ("Dance - Up", "Dance - Up"),
        ("(Interlude)", "(Interlude)"),
        ("Time", "Time"),
    ],
)
def test_titles_without_versions(title: str, plain: str) -> None:
    assert names.plain_title(title) == plain


class Anything:
    """Answers whatever it was given, whoever is asked for."""

    def __init__(self, credits: Sequence[Credit], recordings: Sequence[Recording], found: Sequence[Artist]) -> None:
        self._credits, self._recordings, self._found = credits, recordings, found

    def credits_of(self, isrc: str) -> Sequence[Credit]:
        return self._credits

    def recordings(self, name: str, titles: Sequence[str]) -> Sequence[Recording]:
        return self._recordings

    def search(self, name: str) -> Sequence[Artist]:
        return self._found


CREDITS = st.lists(st.lists(ARTISTS, min_size=1, max_size=3), max_size=3)
RECORDINGS = st.lists(
    st.builds(Recording, st.sampled_from(["Time", "Time (Live)", "Home"]), st.lists(ARTISTS, min_size=1, max_size=2)),
    max_size=4,
)


@given(
    NAMES, st.lists(st.sampled_from(["Time", "Home"]), max_size=2), CREDITS, RECORDINGS, st.lists(ARTISTS, max_size=4)
)
@settings(max_examples=400, deadline=None)
def test_nobody_is_matched_without_an_equal_name(
    name: str,
    titles: list[str],
    credits: Sequence[Credit],
    recordings: Sequence[Recording],
    found: Sequence[Artist],
) -> None:
    asked = Asked.of({"name": name, "titles": titles, "isrcs": ["X"]})
    verdict = matching.by_evidence(asked, Anything(credits, recordings, found))
    all_credits = [*credits, *(recording.credit for recording in recordings)]
    credited = {artist.id for credit in all_credits for artist in credit if artist.equality(asked.name) is not None}
    whole = {
        credit[0].id
        for credit in all_credits
        if names.equality(asked.name, [names.written_out([(each.credited, each.joined) for each in credit])])
        is not None
    }
    searched = {artist.id for artist in found if artist.equality(asked.name) is not None}
    if verdict.status in ("found", "special"):
        assert verdict.artist is not None and verdict.artist.id in credited | whole | searched
        assert (verdict.artist.id in SPECIAL) == (verdict.status == "special")
        assert verdict.mbid not in SPECIAL
    if verdict.status == "ambiguous":
        assert len({artist.id for artist in verdict.candidates}) == len(verdict.candidates) > 1
        assert {artist.id for artist in verdict.candidates} <= credited | whole | searched
    assert not SPECIAL & {artist.id for artist in verdict.candidates}


def test_aliases_of_various_artists_mean_nothing() -> None:
    """They are collected there from everywhere."""
    various = Artist("89ad4ac3-39f7-470e-963a-56509c546377", "Various Artists", ("La's",), score=100)
    real = Artist("a", "La's", score=99)
    assert matching.by_evidence(Asked("La's"), Anything([], [], [various, real])).mbid == "a"
    assert matching.by_evidence(Asked("La's"), Anything([], [], [various])).status == "not_found"


def test_titles_part_namesakes_if_one_has_all_and_more() -> None:
    first, second = Artist("a", "Bo", credited="Bo"), Artist("b", "Bo", credited="Bo")
    asked = Asked("Bo", titles=("Time", "Home"))

    def verdict(*recordings: tuple[str, Artist]) -> tuple[str, str | None]:
        found = matching.by_evidence(asked, Anything([], [Recording(title, [who]) for title, who in recordings], []))
        return found.status, found.mbid

    assert verdict(("Time", first), ("Time", second), ("Home", second)) == ("found", "b")
    assert verdict(("Time", first), ("Home", second)) == ("ambiguous", None)
    assert verdict(("Time", first), ("Time", second)) == ("ambiguous", None)


def test_evidence_parts_the_artists_of_one_page() -> None:
    first, second = Artist("a", "Bo", credited="Bo"), Artist("b", "BÖ", credited="BÖ")
    other = Artist("c", "bo", credited="bo")
    recordings = [Recording("Time", [second]), Recording("Time", [other])]
    asked = Asked("bo", titles=("Time",), among=("a", "b"))
    assert matching.by_evidence(asked, Anything([], recordings[1:], [other])).status == "ambiguous"
    assert matching.by_evidence(asked, Anything([], recordings, [])).mbid == "b"
    assert matching.by_evidence(replace(asked, isrcs=("X",)), Anything([[first]], recordings, [])).mbid == "a"
