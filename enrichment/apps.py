from importlib import import_module

from django.apps import AppConfig
from django.db.backends.signals import connection_created


class EnrichmentConfig(AppConfig):
    name = "enrichment"

    def ready(self) -> None:
        connection_created.connect(import_module("enrichment.rows.filters").add_casefold)
        import_module("enrichment.cluster.sentinel").never_unpickle_tasks()
        import_module("ingestion.backlog").register_held(import_module("enrichment.stats").held_by_client)
        import_module("ingestion.files.formats.originals").register(import_module("enrichment.held.originals").find)
