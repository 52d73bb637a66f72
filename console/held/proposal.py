"""A bulk action on failed records as a page proposes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from django.db.models import Max

from console.proposal import SignedProposal
from enrichment.held import bulk_actions
from enrichment.models import HeldRecordQuerySet


class Proposal(SignedProposal):
    @classmethod
    def now(cls, kind: str, selection: Mapping[str, Any]) -> Self:
        """For the records that the selection matches now."""
        newest = bulk_actions.matching_records(kind, dict(selection)).aggregate(pk=Max("pk"))["pk"]
        return cls(kind=kind, filter=dict(selection), up_to=newest or 0)

    @property
    def records(self) -> HeldRecordQuerySet:
        return bulk_actions.matching_records(self.kind, self.filter).filter(pk__lte=self.up_to)
