"""Migrations of a release run while the version before still works: they neither lock large tables for long nor take
away what it uses. The first migration of an app makes its tables, and is exempt; so is what happens to a table that the
same migration makes. Any other exception gives its reason in `reviewed`, an attribute of the migration.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.contrib.postgres import operations as postgres_operations
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from ingestion.migrations._online import AddIndexOnline, RemoveIndexOnline
from tests.servers import wait_until
from tests.workers import database_url

OURS = ("ingestion", "enrichment", "tutoring", "movies", "music")
HARMLESS = (
    migrations.CreateModel,
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
    migrations.AlterModelTableComment,
    migrations.RemoveConstraint,
    migrations.RenameIndex,
    postgres_operations.AddConstraintNotValid,
    postgres_operations.ValidateConstraint,
    AddIndexOnline,
    RemoveIndexOnline,
)
BREAKING = (
    migrations.RemoveField,
    migrations.RenameField,
    migrations.RenameModel,
    migrations.DeleteModel,
    migrations.AlterModelTable,
)


def dangers(migration: migrations.Migration, before: ProjectState) -> Iterator[str]:
    """What is wrong with a migration that comes after the first one of its app."""
    if getattr(migration, "reviewed", ""):
        return
    new: set[str] = set()
    state = before.clone()
    for operation in flat(migration.operations):
        if isinstance(operation, migrations.CreateModel):
            new.add(operation.name_lower)
        table = getattr(operation, "model_name_lower", getattr(operation, "name_lower", ""))
        if table not in new and (wrong := danger(operation, migration.app_label, state)):
            yield f"{migration.app_label}.{migration.name}: {operation.describe()}: {wrong}"
        operation.state_forwards(migration.app_label, state)


def flat(operations: Any) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from flat(operation.database_operations)
        else:
            yield operation


def danger(operation: Operation, app: str, state: ProjectState) -> str:
    match operation:
        case migrations.AddField():
            return of_new_field(operation.field)
        case migrations.AlterField():
            old = state.models[app, operation.model_name_lower].get_field(operation.name)
            return of_changed_field(old, operation.field)
        case _ if isinstance(operation, HARMLESS):
            return ""
        case migrations.AddIndex() | migrations.RemoveIndex():
            return "writers wait: AddIndexOnline or RemoveIndexOnline"
        case migrations.AddConstraint():
            return "writers wait while the table is read: AddConstraintNotValid, then ValidateConstraint"
        case _ if isinstance(operation, BREAKING):
            return "the running version still uses it: stop using it in one release, remove it in the next"
    return "say in `reviewed` why the running version goes on beside it"


def of_new_field(field: models.Field[Any, Any]) -> str:
    if field.many_to_many:
        return ""
    default = field.db_default
    if not field.null and default is models.NOT_PROVIDED:
        return "the running version does not fill it: null=True or db_default"
    if hasattr(default, "resolve_expression") and not isinstance(default, models.Value):
        return "the table is written anew for this default: null=True"
    if getattr(field, "db_index", False) or field.unique:
        return "writers wait for its index: db_index=False, and AddIndexOnline"
    if getattr(field, "db_constraint", False):
        return "writers of both tables wait for its constraint: db_constraint=False"
    return ""


def of_changed_field(old: models.Field[Any, Any], new: models.Field[Any, Any]) -> str:
    before, after = of_database(old), of_database(new)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    is_wider = changed <= {"null", "max_length"} and new.null >= old.null and size(new) >= size(old)
    return "" if is_wider else "the table may be written anew under a lock"


def of_database(field: models.Field[Any, Any]) -> dict[str, Any]:
    """What of a field its column has."""
    _, path, args, options = field.deconstruct()
    return {"": (path, args), **{name: value for name, value in options.items() if name not in field.non_db_attrs}}


def size(field: models.Field[Any, Any]) -> float:
    return field.max_length or float("inf")


def test_no_migration_stops_a_running_system() -> None:
    loader = MigrationLoader(None)
    ours = [migration for (app, _), migration in loader.disk_migrations.items() if app in OURS]
    later = [migration for migration in ours if not migration.initial]
    found = [wrong for each in later for wrong in dangers(each, loader.project_state(each.dependencies))]
    assert found == []
    assert {migration.app_label for migration in ours if migration.initial} == set(OURS)


def migration_of(*operations: Operation, **attributes: str) -> migrations.Migration:
    made = type("Migration", (migrations.Migration,), {"operations": list(operations), **attributes})
    return made("0002_next", "app")  # type: ignore[no-any-return]


BEFORE = [
    migrations.CreateModel(
        "Row", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=10))]
    ),
    migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True))]),
]
CHECK = models.CheckConstraint(condition=models.Q(name__gt=""), name="named")
INDEX = models.Index(fields=["name"], name="by_name")


@pytest.mark.parametrize(
    ("operation", "word"),
    [
        (migrations.AddIndex("row", INDEX), "AddIndexOnline"),
        (migrations.SeparateDatabaseAndState([migrations.AddIndex("row", INDEX)]), "AddIndexOnline"),
        (migrations.AddConstraint("row", CHECK), "NotValid"),
        (migrations.AddField("row", "age", models.IntegerField(default=0)), "does not fill it"),
        (migrations.AddField("row", "at", models.DateTimeField(db_default=models.functions.Now())), "written anew"),
        (migrations.AddField("row", "code", models.IntegerField(null=True, unique=True)), "index"),
        (migrations.AddField("row", "of", models.ForeignKey("app.Other", models.CASCADE, null=True)), "index"),
        (
            migrations.AddField("row", "of", models.ForeignKey("app.Other", models.CASCADE, null=True, db_index=False)),
            "constraint",
        ),
        (migrations.AlterField("row", "name", models.IntegerField()), "under a lock"),
        (migrations.AlterField("row", "name", models.CharField(max_length=5)), "under a lock"),
        (migrations.RemoveField("row", "name"), "still uses it"),
        (migrations.RenameField("row", "name", "title"), "still uses it"),
        (migrations.DeleteModel("Other"), "still uses it"),
        (migrations.RunSQL("UPDATE app_row SET name = ''"), "reviewed"),
        (migrations.RunPython(migrations.RunPython.noop), "reviewed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Operation) else "",
)
def test_what_stops_a_running_system_is_found(operation: Operation, word: str) -> None:
    before = state_before()
    (found,) = dangers(migration_of(operation), before)
    assert word in found
    assert [*dangers(migration_of(operation, reviewed="the table is empty"), before)] == []


@pytest.mark.parametrize(
    "operation",
    [
        AddIndexOnline("row", INDEX),
        migrations.AddField("row", "age", models.IntegerField(null=True)),
        migrations.AddField("row", "age", models.IntegerField(db_default=0)),
        migrations.AlterField("row", "name", models.CharField(max_length=20, help_text="x")),
        migrations.AlterField("row", "name", models.CharField(max_length=10, null=True)),
        migrations.AlterField("row", "name", models.CharField(max_length=10, verbose_name="title")),
        postgres_operations.AddConstraintNotValid("row", CHECK),
        migrations.AlterModelOptions("row", {"ordering": ["name"]}),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_runs_beside_others_is_let_through(operation: Operation) -> None:
    assert [*dangers(migration_of(operation), state_before())] == []


def test_a_table_that_the_migration_makes_may_have_all_of_it() -> None:
    table = migrations.CreateModel("New", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())])
    assert [*dangers(migration_of(table, migrations.AddIndex("new", INDEX)), state_before())] == []


def state_before() -> ProjectState:
    state = ProjectState()
    for operation in BEFORE:
        operation.state_forwards("app", state)
    return state


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("kind", "waits"), [(AddIndexOnline, False), (migrations.AddIndex, True)])
def test_writers_do_not_wait_for_an_index(kind: type[migrations.AddIndex], waits: bool) -> None:
    """Beside a transaction that has written and is still open."""
    making = threading.Thread(target=make_index, args=(kind,))
    url = database_url()
    with psycopg.connect(url) as first, psycopg.connect(url, autocommit=True) as writer:
        first.execute("LOCK TABLE tutoring_tutor IN ROW EXCLUSIVE MODE")
        making.start()
        wait_until(lambda: writer.execute(IS_WAITING).fetchone() == (True,), "the index waits")
        writer.execute("SET lock_timeout = '200ms'")
        assert has_to_wait(writer) is waits
        first.commit()
        making.join()
        valid = writer.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_location'::regclass").fetchone()
        assert valid == (True,)
        writer.execute("DROP INDEX by_location")


def make_index(kind: type[migrations.AddIndex]) -> None:
    before = MigrationLoader(None).project_state()
    operation = kind("tutor", models.Index(fields=["location"], name="by_location"))
    after = before.clone()
    operation.state_forwards("tutoring", after)
    with closing(connection), connection.schema_editor(atomic=False) as editor:
        operation.database_forwards("tutoring", editor, before, after)


def has_to_wait(writer: psycopg.Connection[Any]) -> bool:
    try:
        writer.execute("UPDATE tutoring_tutor SET name = name")
    except psycopg.errors.LockNotAvailable:
        return True
    return False


IS_WAITING = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'
"""
