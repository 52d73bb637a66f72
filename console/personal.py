"""Who may see personal data: names, e-mail addresses and free texts."""

from __future__ import annotations

from typing import Any

from enrichment.rows.masking import PERMISSION, AnyRows, mask_rows
from ingestion.subjects.masking import masked


def is_hidden_from(user: Any) -> bool:
    return not user.has_perm(PERMISSION)


def shown_to(user: Any, value: Any) -> Any:
    """The value of a personal field, for this person."""
    return masked(value) if is_hidden_from(user) else value


def for_user(user: Any, rows: AnyRows) -> AnyRows:
    """Rows to show to this person: masked, unless they may see personal data."""
    return mask_rows(rows) if is_hidden_from(user) else rows
