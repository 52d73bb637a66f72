"""Rows for databases other than the test's own, without a `manage.py` for each: to load the project takes a second."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from typing import Any

import psycopg
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model

from ingestion.models import ApiKey

hash_of = functools.cache(make_password)


def new_key(database_url: str) -> str:
    """The key of a client that may do all."""
    key = ApiKey(name="test")
    text = str(ApiKey.objects.assign_key(key))
    key.client = key.prefix
    insert(database_url, key)
    return text


def new_person(database_url: str, group: str, password: str) -> None:
    """A member of staff, called as the group."""
    user = insert(database_url, User(username=group, password=hash_of(password), is_staff=True))
    [(found,)] = execute(database_url, "SELECT id FROM auth_group WHERE name = %s", [group])
    insert(database_url, User.groups.through(user_id=user, group_id=found))


def insert(database_url: str, row: Model) -> Any:
    """Its primary key."""
    meta = row._meta
    fields = [field for field in meta.concrete_fields if not (field.primary_key and row.pk is None)]
    names, places = ", ".join(f'"{field.column}"' for field in fields), ", ".join(["%s"] * len(fields))
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    assert meta.pk is not None
    statement = f'INSERT INTO {meta.db_table} ({names}) VALUES ({places}) RETURNING "{meta.pk.column}"'
    return execute(database_url, statement, values)[0][0]


def execute(database_url: str, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
    if database_url.startswith("sqlite"):
        path = database_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as sqlite, sqlite:
            return sqlite.execute(statement.replace("%s", "?"), values).fetchall()
    with psycopg.connect(database_url) as postgres:
        return postgres.execute(statement.encode(), values).fetchall()
