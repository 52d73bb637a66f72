"""Counters by minute: sums that never fall. Old rows are merged into one a day, never deleted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from django.db import connection, models, transaction
from django.db.models import Count
from django.db.models.functions import TruncDay
from django.utils import timezone

KEPT = timedelta(days=2)
"""How long minutes are kept apart."""


class Minutes(models.Model):
    """Base of the tables of counters: one row for each minute and name, in the column `counted_by`."""

    minute = models.DateTimeField()

    counted_by: ClassVar[str]
    counters: ClassVar[tuple[str, ...]]

    class Meta:
        abstract = True


Model = TypeVar("Model", bound=Minutes)


class MinutesQuerySet(models.QuerySet[Model]):
    def add(self, name: str, at: datetime, numbers: Mapping[str, float]) -> None:
        """Adds numbers, by column, to the minute of `at`; a transaction takes this lock last."""
        names, by = self.model.counters, self.model.counted_by
        table = connection.ops.quote_name(self.model._meta.db_table)
        added = ", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in names)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (minute, {by}, {', '.join(names)}) "  # noqa: S608
                f"VALUES (%s, %s{', %s' * len(names)}) ON CONFLICT (minute, {by}) DO UPDATE SET {added}",
                [
                    connection.ops.adapt_datetimefield_value(at.replace(second=0, microsecond=0)),
                    name,
                    *(numbers.get(column, 0) for column in names),
                ],
            )

    def merge_days(self) -> None:
        """Makes one row, at its midnight, of all rows of a name and day that are older than KEPT."""
        by = self.model.counted_by
        today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        old = self.filter(minute__lt=today - KEPT)
        days = old.values_list(by, TruncDay("minute", tzinfo=UTC)).annotate(rows=Count("pk")).filter(rows__gt=1)
        for name, day, _ in list(days):
            of_day = self.filter(minute__gte=day, minute__lt=day + timedelta(days=1), **{by: name})
            with transaction.atomic():
                rows: list[Any] = list(of_day.order_by("pk").select_for_update())
                numbers = {column: sum(getattr(row, column) for row in rows) for column in self.model.counters}
                self.filter(pk__in=[row.pk for row in rows]).delete()
                self.add(name, day, numbers)
