"""Operations for migrations of tables that are in use: writers do not wait for them."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import AddIndex, RemoveIndex


class AddIndexOnline(AddIndexConcurrently):
    """Needs `atomic = False`. On SQLite, where nobody else writes meanwhile, the plain operation."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        plain = AddIndex.database_forwards
        forwards = super().database_forwards if is_postgresql(schema_editor) else plain.__get__(self)
        forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        plain = AddIndex.database_backwards
        backwards = super().database_backwards if is_postgresql(schema_editor) else plain.__get__(self)
        backwards(app_label, schema_editor, from_state, to_state)


class RemoveIndexOnline(RemoveIndexConcurrently):
    """Likewise."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        plain = RemoveIndex.database_forwards
        forwards = super().database_forwards if is_postgresql(schema_editor) else plain.__get__(self)
        forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        plain = RemoveIndex.database_backwards
        backwards = super().database_backwards if is_postgresql(schema_editor) else plain.__get__(self)
        backwards(app_label, schema_editor, from_state, to_state)


def is_postgresql(schema_editor: Any) -> bool:
    return bool(schema_editor.connection.vendor == "postgresql")
