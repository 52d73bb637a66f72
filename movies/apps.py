from importlib import import_module

from django.apps import AppConfig


class MoviesConfig(AppConfig):
    name = "movies"
    verbose_name = "Films"

    def ready(self) -> None:
        from enrichment import retention
        from movies import libraries

        import_module("movies.streams")  # registers the stream, the list and the provider
        retention.register("libraries", libraries.RETENTION)
