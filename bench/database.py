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
        manage("migrate", "--verbosity=0", database_url=url)
        set_up(url)
        yield server, url


def set_up(url: str) -> None:
    """Django, for this process and for those that it starts."""
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tutormax.settings"}
    import django

    django.setup()


def postmaster(server: PostgreSQL) -> int:
    """The process whose children work for connections."""
    return int((server.data / "postmaster.pid").read_text().split()[0])


def new_key() -> str:
    from ingestion.models import ApiKey

    return str(ApiKey.objects.create_key(name="bench")[1])


def use(name: str) -> None:
    """From now on Django is connected to that database."""
    from django.db import connection

    connection.close()
    connection.settings_dict["NAME"] = name


def multiply(name: str, number: int, **changes: str) -> None:
    """Inserts so many copies of the newest row, with these columns made from i = 1, 2, …"""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name} LIMIT 0")
        columns = [f'"{column.name}"' for column in cursor.description if column.name != "id"]
        values = [changes.get(column.strip('"'), column) for column in columns]
        cursor.execute("SET session_replication_role = replica")  # references are not looked up
        cursor.execute(
            f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM"
            f" generate_series(1, {number}) AS i, (SELECT * FROM {name} ORDER BY ctid DESC LIMIT 1) AS template"
        )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(f"VACUUM ANALYZE {name}")
