"""Answers: how one changes its lookup, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from enrichment.lookups import providers
from enrichment.lookups.models import Lookup
from enrichment.lookups.questions import raise_wants


def apply(lookups: Sequence[Lookup]) -> None:
    """Has the provider of these (they have one, and are locked and saved) do what follows from their answers, and asks
    what it wants to know next. What it raises must undo the transaction.
    """
    if lookups:
        raise_wants(providers.get(lookups[0].provider).apply(lookups) or ())
