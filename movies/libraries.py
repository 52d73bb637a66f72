"""Libraries: found or created, locked, linked to and deleted."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.models import HeldRecord
from enrichment.pipeline.patience import lock_timeout
from enrichment.retention import STEP, Table
from ingestion.models import Delivery, Upload
from movies.models import Entry, Library, LibraryFilm

DAYS_KEPT = 30
"""A library whose address somebody was given is deleted so many days after the last look at it."""
PATIENCE = 25
"""Seconds to wait for the lock of a library: below the limit of a statement."""


def new_name() -> str:
    """For who uploads an export without naming its library."""
    return f"library-{secrets.token_hex(6)}"


def lock_for_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Locks the libraries that rows belong to, in order of name; creates those that are new."""
    clients = {row["library"]: row["client"] for row in reversed(rows)}
    known = set(Library.objects.filter(pk__in=clients).values_list("pk", flat=True))
    if missing := sorted(clients.keys() - known):
        new = [Library(name=name, client=clients[name]) for name in missing]
        Library.objects.bulk_create(new, ignore_conflicts=True)
    lock(clients)


def lock(names: Iterable[str]) -> list[Library]:
    """In order of name; those that do not exist are left out.

    Batches about one library take turns: that somebody holds the lock for a while is no failure.
    """
    with lock_timeout(PATIENCE):
        return list(Library.objects.filter(pk__in=list(names)).order_by("pk").select_for_update(no_key=True))


def of_upload(upload: Upload) -> Library | None:
    """The library that all records of the upload belong to; created before the first of them is stored."""
    name = upload.given.get("library")
    if not isinstance(name, str) or not name:
        return None
    library, _ = Library.objects.get_or_create(name=name, defaults={"client": upload.client})
    return library


def link_of(upload: Upload) -> str:
    """The path of the page of the upload's library, for who sent its first record; empty for anybody else."""
    library = of_upload(upload)
    if library is None or library.client != upload.client:
        return ""
    if library.linked_at is None:
        Library.objects.filter(pk=library.pk, linked_at=None).update(linked_at=Now(), last_seen_at=Now())
    seen(library)
    return f"/uploads/{library.token}"


def expires_at(upload: Upload) -> datetime | None:
    """When the upload's library is deleted, unless somebody looks at it; None for one without a link."""
    library = Library.objects.filter(pk=upload.given.get("library") or "", linked_at__isnull=False).first()
    return library.last_seen_at + timedelta(days=DAYS_KEPT) if library else None


def seen(library: Library) -> None:
    """Notes a look at the library, at most once an hour."""
    hour_ago = timezone.now() - timedelta(hours=1)
    Library.objects.filter(pk=library.pk, last_seen_at__lt=hour_ago).update(last_seen_at=Now())


def expired(now: datetime) -> QuerySet[Library]:
    return Library.objects.filter(linked_at__isnull=False, last_seen_at__lt=now - timedelta(days=DAYS_KEPT))


def rows_of(name: str) -> dict[str, QuerySet[Any]]:
    """What is stored for a library besides its entries."""
    return {
        "libraries": Library.objects.filter(pk=name),
        "library films": LibraryFilm.objects.filter(library=name),
    }


def delete(name: str) -> dict[str, int]:
    """Deletes a library with all that was sent for it; kind of row → how many. Films are shared, and stay."""
    with transaction.atomic():
        whole = Upload.objects.filter(given__library=name)
        uploads = Upload.objects.filter(Q(pk__in=whole.values("pk")) | Q(part_of__in=whole.values("pk")))
        deliveries = list(
            Delivery.objects.filter(upload__in=uploads.values("pk"))
            .order_by("pk")
            .select_for_update()
            .values_list("pk", flat=True)
        )
        HeldRecord.objects.filter(delivery__in=deliveries).only("pk").delete()
        Delivery.objects.filter(pk__in=deliveries).only("pk").delete()
        Library.objects.filter(pk=name).select_for_update().first()
        entries, _ = Entry.objects.filter(library=name).only("pk").delete()
        films = LibraryFilm.objects.filter(library=name).delete()[1].get("movies.LibraryFilm", 0)
        Upload.objects.filter(pk__in=uploads.exclude(part_of=None).values("pk")).only("pk").delete()
        whole.only("pk").delete()
        deleted, _ = Library.objects.filter(pk=name).delete()
    return {"libraries": deleted, "entries": entries, "library films": films}


def delete_all(names: Sequence[str]) -> dict[str, int]:
    deleted: Counter[str] = Counter()
    for name in names:
        deleted.update(delete(name))
    return dict(deleted)


RETENTION = Table(
    rows=lambda before: expired(timezone.now()),
    weight=Value(STEP),  # one in a step: it may have thousands of entries
    delete=delete_all,
)
