from contextlib import suppress
from typing import Any

from django.apps import AppConfig
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class IngestionConfig(AppConfig):
    name = "ingestion"

    def ready(self) -> None:
        post_migrate.connect(create_doorbell_row, sender=self)
        post_migrate.connect(make_throttle_unlogged, sender=self)
        post_migrate.connect(compress_bodies_with_lz4, sender=self)
        connection_created.connect(commit_to_disk)


def commit_to_disk(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """P1: a COMMIT is on disk when it returns, even if the server or role has synchronous_commit off."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )


def create_doorbell_row(using: str, **kwargs: Any) -> None:
    from ingestion import doorbell

    doorbell.hang(using)


def make_throttle_unlogged(using: str, **kwargs: Any) -> None:
    """Requests do not wait for the disk because of THROTTLE (1 to 12 ms); a crash of the server empties the table."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence = 'p' FROM pg_class WHERE oid = 'ingestion_throttle'::regclass")
        if cursor.fetchone() == (True,):
            cursor.execute("ALTER TABLE ingestion_throttle SET UNLOGGED")


def compress_bodies_with_lz4(using: str, **kwargs: Any) -> None:
    """lz4 takes a tenth of the time of PostgreSQL's default compression, which remains where lz4 is not built in."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return
    with suppress(Error), transaction.atomic(using), connection.cursor() as cursor:
        cursor.execute(
            "SELECT attcompression FROM pg_attribute"
            " WHERE attrelid = 'ingestion_delivery'::regclass AND attname = 'body'"
        )
        if cursor.fetchone() != ("l",):
            cursor.execute("ALTER TABLE ingestion_delivery ALTER COLUMN body SET COMPRESSION lz4")
