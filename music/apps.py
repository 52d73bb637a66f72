from importlib import import_module

from django.apps import AppConfig


class MusicConfig(AppConfig):
    name = "music"
    verbose_name = "Music"

    def ready(self) -> None:
        import_module("music.streams")  # registers the stream and the lists
        import_module("music.pages.dashboard")  # registers the panel
