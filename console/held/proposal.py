"""A bulk action as a page proposes it: signed, so that exactly what was shown to a person is what they confirm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Self

from django.core import signing
from django.db.models import Max

from enrichment.held import bulk_actions
from enrichment.models import HeldRecordQuerySet

VALID_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    kind: str
    filter: dict[str, Any]
    up_to: int
    """The newest record when it was proposed: those that fail later are not included."""
    change: dict[str, Any] = field(default_factory=dict)
    """Of a fix."""

    @classmethod
    def now(cls, kind: str, selection: Mapping[str, Any]) -> Self:
        """For the records that the selection matches now."""
        newest = bulk_actions.matching_records(kind, dict(selection)).aggregate(pk=Max("pk"))["pk"]
        return cls(kind=kind, filter=dict(selection), up_to=newest or 0)

    @property
    def records(self) -> HeldRecordQuerySet:
        return bulk_actions.matching_records(self.kind, self.filter).filter(pk__lte=self.up_to)

    def sign(self, user_id: object) -> str:
        """For this person alone."""
        return signing.dumps(asdict(self), salt=_salt(user_id), compress=True)

    @classmethod
    def read(cls, signed: str, user_id: object, kind: str) -> Self | None:
        """None unless it was signed for this person and kind within the last hour."""
        try:
            proposal = cls(**signing.loads(signed, salt=_salt(user_id), max_age=VALID_FOR))
        except signing.BadSignature:
            return None
        return proposal if proposal.kind == kind else None


def _salt(user_id: object) -> str:
    return f"proposal of a bulk action to user {user_id}"
