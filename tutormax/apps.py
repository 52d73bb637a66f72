from importlib import import_module

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.signals import user_logged_in
from django.core.signals import request_finished
from django.db.models.signals import post_migrate

from tutormax.installation import complete_installation


class TutorMaxConfig(AppConfig):
    name = "tutormax"

    def ready(self) -> None:
        import_module("tutormax.checks")
        request_finished.connect(import_module("tutormax.logs").log_request)
        user_logged_in.connect(import_module("tutormax.sessions").note_login)
        # Once in a run of migrate or flush: for any one app, since all tables exist before the first signal is sent.
        once = apps.get_app_config("ingestion")
        post_migrate.connect(complete_installation, sender=once, dispatch_uid="tutormax.complete_installation")


class TutorMaxAdminConfig(AdminConfig):
    default_site = "console.site.TutorMaxAdminSite"

    def ready(self) -> None:
        super().ready()
        import_module("console.third_party")  # when every app has registered its own
        for label, name in import_module("console.site").APP_NAMES.items():
            apps.get_app_config(label).verbose_name = name  # in the menu, and where pages say where they are
