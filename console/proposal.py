"""A bulk action as a page proposes it: signed, so that exactly what was shown to a person is what they confirm."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Self

from django.core import signing

VALID_FOR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class SignedProposal:
    kind: str
    filter: dict[str, Any]
    up_to: int
    """The newest row when it was proposed: those that come later are not included."""
    change: dict[str, Any] = field(default_factory=dict)
    """Of a fix."""

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
