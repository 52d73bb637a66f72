from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from enrichment.lookups.models import Lookup
from tests.lookups import oracle, registered


@pytest.fixture(autouse=True)
def applied() -> Iterator[list[Sequence[Lookup]]]:
    """What the oracle, the only provider meanwhile, was given to apply."""
    found: list[Sequence[Lookup]] = []
    with registered(oracle(found)):
        yield found
