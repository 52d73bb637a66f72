"""When titles are the same."""

import pytest

from movies.titles import Closeness, closeness, equal_without_article, fold, moved_article, spellings, tidy


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("WALL·E", "Wall-E"),
        ("Amélie", "AMELIE"),
        ("Amélie", "Ame\u0301lie"),
        ("Fast & Furious", "Fast and Furious"),
        ("Romeo + Juliet", "Romeo & Juliet"),
        ("Don’t Look Up", "Don't Look Up"),
        ("Don&#039;t Breathe", "Don't Breathe"),
        ("[REC]²", "[Rec] 2"),
        ("8½", "8 1/2"),
        ("Æon Flux", "Aeon Flux"),
        ("Krótki film o miłości", "Krotki film o milosci"),
        ("Weiß", "WEISS"),
        ("Star Wars: Episode II -\u00a0Attack", "Star Wars: Episode II – Attack"),
        ("One-Punch Man", "One Punch Man"),
        ("…", "..."),
        ("Мы", "мы"),
        ("ガメラ", "ｶﾞﾒﾗ"),
        ("Hedgehog  in the Fog", "Hedgehog in the Fog"),
    ],
)
def test_the_same_title(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alien", "Aliens"),
        ("Room", "The Room"),
        ("Se7en", "Seven"),
        ("★", "☆"),
        ("?", "!"),
        ("1917", "1918"),
        ("ハハ", "ババ"),  # a mark makes another letter
        ("லியோ", "லயோ"),
        ("Rocky II", "Rocky III"),
        ("π", "Pi"),
    ],
)
def test_other_titles(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize("title", ["★", "!!!", "…", "🎬", "$", "—", "1", "あ"])
def test_no_title_is_folded_to_nothing(title: str) -> None:
    assert fold(title)


def test_blanks_are_no_title() -> None:
    assert fold(" \u00a0 ") == ""


def test_searches_are_composed() -> None:
    assert tidy(" A\u0300  propos\u00a0de &amp; nous ") == "À propos de & nous"


@pytest.mark.parametrize(
    ("asked", "title", "expected"),
    [
        ("Leo", "LEO", Closeness.IDENTICAL),
        ("Léo", "Leo", Closeness.SAME_WORDS),
        ("Mother", "mother!", Closeness.SAME_WORDS),
        ("Manhunt", "Man Hunt", Closeness.SAME_LETTERS),
        ("Matrix, The", "The Matrix", Closeness.IDENTICAL),
        ("The Matrix", "Matrix", None),
        ("Max", "Mad Max", None),
    ],
)
def test_closeness(asked: str, title: str, expected: Closeness | None) -> None:
    assert closeness(asked, ["Something else", "", title]) == expected


def test_articles() -> None:
    assert moved_article("Matrix, The") == "The Matrix"
    assert moved_article("Good, the Bad") == "Good, the Bad"
    assert equal_without_article("The Matrix", ["Matrix"])
    assert equal_without_article("Matrix", ["The Matrix"])
    assert not equal_without_article("The", ["A"])
    assert not equal_without_article("Die Hard", ["Hard"])


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Heat", ["Heat"]),
        ("Thelma & Louise", ["Thelma & Louise", "Thelma and Louise"]),
        ("Pride and Prejudice", ["Pride and Prejudice", "Pride & Prejudice"]),
        ("Romeo + Juliet", ["Romeo + Juliet", "Romeo and Juliet"]),
        ("Alien³", ["Alien³", "Alien 3"]),
        ("Don’t…", ["Don’t…", "Don't..."]),
        ("Sandstorm", ["Sandstorm"]),
    ],
)
def test_spellings(title: str, expected: list[str]) -> None:
    assert spellings(title) == expected
