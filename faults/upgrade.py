"""The schema of a next version beneath the running one: all that a migration may do while it works, and back again
(tests/test_migrations.py has the rules).
"""

from __future__ import annotations

import time
from contextlib import closing

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from ingestion.migrations._online import AddIndexOnline

CHANGED = {"ingestion": ("delivery",), "enrichment": ("heldrecord",), "tutoring": ("student", "tutoringsession")}


def operations_of(app: str) -> list[Operation]:
    found: list[Operation] = []
    for model in CHANGED[app]:
        known = models.CheckConstraint(condition=~models.Q(next_kind="?"), name=f"next_{model}")
        found += [
            migrations.AddField(model, "next_note", models.TextField(null=True)),
            migrations.AddField(model, "next_kind", models.CharField(max_length=20, default="", db_default="")),
            AddIndexOnline(model, models.Index(fields=["next_kind"], name=f"{model}_next")),
            AddConstraintNotValid(model, known),
            ValidateConstraint(model, known.name),
        ]
    if app == "tutoring":
        student = models.ForeignKey("tutoring.Student", models.PROTECT, related_name="+")
        found.append(migrations.CreateModel("Next", [("id", models.BigAutoField(primary_key=True)), ("of", student)]))
    return found


def upgrade_for(seconds: float) -> None:
    """As `migrate` does, each operation in a transaction of its own."""
    state = MigrationLoader(None).project_state()
    done = []
    with closing(connection):
        for app in CHANGED:
            for operation in operations_of(app):
                after = state.clone()
                operation.state_forwards(app, after)
                with connection.schema_editor(atomic=operation.atomic) as editor:
                    operation.database_forwards(app, editor, state, after)
                done.append((app, operation, state, after))
                state = after
        time.sleep(seconds)
        for app, operation, before, after in reversed(done):
            with connection.schema_editor(atomic=operation.atomic) as editor:
                operation.database_backwards(app, editor, after, before)
