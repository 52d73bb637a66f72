"""The films of `make run`."""

from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from enrichment.lookups.models import Lookup
from movies.models import Library
from tutormax.runner import films


@pytest.mark.django_db
def test_films_are_asked_for_again_when_another_answers(settings: Settings, tmp_path: Path) -> None:
    settings.RUN_DIR = tmp_path
    found = {"status": Lookup.Status.FOUND, "answer": {"id": 1}, "due_at": None}
    Lookup.objects.create(provider="tmdb", kind="match", key="a", **found)
    Lookup.objects.create(provider="other", kind="match", key="a", **found)
    chosen = Lookup.objects.create(provider="tmdb", kind="match", key="b", chosen_at=timezone.now(), **found)
    for name in ("stand-in", "stand-in"):
        films.note_source(name)
        assert not Lookup.objects.filter(asked_again=True).exists()
    films.note_source("TMDB")
    assert [(each.provider, each.key) for each in Lookup.objects.filter(asked_again=True)] == [("tmdb", "a")]
    chosen.refresh_from_db()
    assert chosen.due_at is None


@pytest.mark.django_db
def test_the_link_is_there_as_long_as_the_library() -> None:
    assert films.link("http://x") == ""
    library = Library.objects.create(name=films.LIBRARY, client="key:x")
    assert films.link("http://x") == f"http://x/uploads/{library.token}"
