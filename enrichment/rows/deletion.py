"""Stored rows are deleted: never one that others refer to, and what was computed from them is brought up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from enrichment.pipeline.patience import lock_timeout
from ingestion import streams
from ingestion.streams import Stream

PATIENCE = 5
"""Seconds to wait for the lock of a row."""


def delete_rows(stream: Stream, keys: Sequence[str]) -> list[str]:
    """Deletes these rows, but for those that others refer to; returns the keys of those deleted."""
    rows = _rows_of(stream)
    with transaction.atomic(), lock_timeout(PATIENCE):
        stream.lock(list(rows.filter(pk__in=keys).order_by("pk").values()))
        locked = list(rows.filter(pk__in=keys).order_by("pk").select_for_update().values_list("pk", flat=True))
        free = list(rows.filter(pk__in=locked).exclude(referred_to(stream.model)).order_by("pk"))  # with the locks held
        found = [row.pk for row in free]
        if found and stream.delete:
            stream.delete(found)
        elif found:
            rows.filter(pk__in=found).delete()
    return found


def referred_to(model: type[models.Model]) -> Q:
    """The rows that other stored rows refer to."""
    return _referred_to(model, {})


def is_referred_to(row: models.Model) -> bool:
    return type(row)._default_manager.filter(referred_to(type(row)), pk=row.pk).exists()


def outdated(stream: Stream, cutoffs: Mapping[str, datetime], *, after_others: bool = False) -> Q:
    """The rows of older versions than the stream's cutoff, to which no others refer; `after_others`: when those of all
    other streams that are as old have been deleted. Nothing without a cutoff.
    """
    by_model = {streams.get(name).model: at for name, at in cutoffs.items()}
    return _outdated(stream.model, by_model, after_others=after_others)


def _outdated(model: type[models.Model], cutoffs: Mapping[type[models.Model], datetime], *, after_others: bool) -> Q:
    if model not in cutoffs:
        return Q(pk__in=[])
    return Q(version_at__lt=cutoffs[model]) & ~_referred_to(model, cutoffs if after_others else {})


def _referred_to(model: type[models.Model], going: Mapping[type[models.Model], datetime]) -> Q:
    """By rows that are not about to be deleted by these cutoffs."""
    found = Q(pk__in=[])
    for relation in model._meta.related_objects:
        related = relation.related_model
        referring = related._default_manager.filter(**{relation.field.name: OuterRef("pk")})
        found |= Q(Exists(referring.exclude(_outdated(related, going, after_others=True))))
    return found


def _rows_of(stream: Stream) -> models.QuerySet[Any]:
    return stream.model._default_manager.all()
