"""What happens once for an upload, when all of it has been stored and none of its records is pending."""

from __future__ import annotations

import logging

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from enrichment.pipeline.batch import limit_waiting
from ingestion import streams
from ingestion.models import Delivery, Upload

logger = logging.getLogger(__name__)


def run_next_step() -> bool:
    """Completes the oldest upload that is ready and that no other process is completing; False if there is none.

    One whose completion fails is left for the next round, and does not hold up the others.
    """
    for pk in list(ready().values_list("pk", flat=True)):
        try:
            if _complete(pk):
                return True
        except DatabaseError as error:  # such as a lock that another batch has held for too long
            logger.warning("Upload %s was not completed: %s It is tried again.", pk, error)
        except Exception:
            logger.exception("Upload %s could not be completed; it is tried again.", pk)
    return False


def ready() -> QuerySet[Upload]:
    """Whole uploads, oldest first, that have been stored and processed and are not completed yet."""
    of_it = Q(upload=OuterRef("pk")) | Q(upload__part_of=OuterRef("pk"))
    pending = Delivery.objects.filter(of_it, processed_at=None)
    unstored = Upload.objects.filter(part_of=OuterRef("pk"), finished_at=None)
    uncompleted = Upload.objects.filter(settled_at=None, part_of=None, finished_at__isnull=False)
    return uncompleted.filter(~Exists(pending), ~Exists(unstored)).order_by("pk")


def _complete(pk: int) -> bool:
    """All or nothing: what the stream does with a whole upload, and that it has been done."""
    with transaction.atomic(durable=True):
        limit_waiting()
        upload = ready().select_for_update(skip_locked=True, of=("self",)).filter(pk=pk).first()
        if upload is None:
            return False
        stream = streams.get(upload.stream) if upload.stream in streams.names() else None
        if stream and stream.file_completed:
            stream.file_completed(upload)
        Upload.objects.filter(pk=pk).update(settled_at=Now())
        return True
