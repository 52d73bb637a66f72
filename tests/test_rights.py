"""The table in docs/rights.md is what really happens, at every address and for every action."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import rights

pytestmark = pytest.mark.django_db(transaction=True)
TABLE = Path(__file__).parent.parent / "docs" / "rights.md"


@pytest.fixture
def rows() -> Iterator[None]:
    with rights.a_row_of_everything():
        yield


def test_everybody_may_what_the_table_says(rows: None) -> None:
    written = rights.rows_of(TABLE.read_text(encoding="utf-8"))
    found = rights.observed()
    places = {place.label: place for place in rights.places()}
    differing = [
        rights.line_of(label, cells, rights.needed(places[label]))
        for label, cells in found.items()
        if written.get(label, [])[:-1] != cells
    ]
    assert not differing, "\n".join(["docs/rights.md lacks:", *differing])
    assert not written.keys() - found.keys()


def test_it_is_the_permissions_named_that_open_it(rows: None) -> None:
    places = {place.label: place for place in rights.places()}
    wrong = []
    for label, cells in rights.rows_of(TABLE.read_text(encoding="utf-8")).items():
        names = cells[-1].replace("`", "").split()
        if names == ["superusers"]:
            everything = rights.with_permissions(rights.all_permissions())
            wrong += [label] if places[label].may(everything) else []
            continue
        wrong += [] if places[label].may(rights.with_permissions(names)) else [f"{label}: not by {names}"]
        for name in names:
            fewer = rights.with_permissions(set(names) - {name})
            wrong += [f"{label}: also without {name}"] if places[label].may(fewer) else []
    assert not wrong
