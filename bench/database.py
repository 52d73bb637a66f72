"""The database that a benchmark measures with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import PostgreSQL, manage

MAKE_KEY = "from ingestion.models import ApiKey; print(ApiKey.objects.create_key(name='bench')[1])"
"""For `manage.py shell`, where Django is not set up here."""


@contextmanager
def database(**options: str) -> Iterator[tuple[PostgreSQL, str]]:
    """A PostgreSQL of its own, as it is installed but for its memory, and the URL of a database with all tables, for
    which Django is set up here.
    """
    with PostgreSQL(fsync="on", full_page_writes="on", shared_buffers="256MB", **options) as server:
        server.start()
        with server.connect() as connection:
            connection.execute("CREATE DATABASE bench")
        url = server.url("bench")
        os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tutormax.settings"}
        manage("migrate", "--verbosity=0", database_url=url)
        import django

        django.setup()
        yield server, url


def new_key() -> str:
    from ingestion.models import ApiKey

    return str(ApiKey.objects.create_key(name="bench")[1])
