from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_migrate, post_save


class TutoringConfig(AppConfig):
    name = "tutoring"
    verbose_name = "Tutoring records"

    def ready(self) -> None:
        from tutoring import catalogue

        import_module("tutoring.streams")  # registers the four
        post_migrate.connect(catalogue.fill_if_empty, sender=self, dispatch_uid="tutoring.fill_catalogue")
        for signal in (post_save, post_delete):
            signal.connect(catalogue.clear_cache, sender="tutoring.Subject", dispatch_uid="tutoring.clear_cache")
