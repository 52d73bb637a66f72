from importlib import import_module

from django.apps import AppConfig


class MoviesConfig(AppConfig):
    name = "movies"
    verbose_name = "Films"

    def ready(self) -> None:
        import_module("movies.streams")  # registers the stream, the list and the provider
