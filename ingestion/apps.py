from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class IngestionConfig(AppConfig):
    name = "ingestion"

    def ready(self) -> None:
        post_migrate.connect(hang_doorbell, sender=self)


def hang_doorbell(using: str, **kwargs: Any) -> None:
    from ingestion.models import Doorbell

    Doorbell.objects.using(using).bulk_create([Doorbell(pk=1)], ignore_conflicts=True)
