"""The admin account and the API key created by `manage.py run`, in a file of NAME=value lines."""

import os
import secrets
from dataclasses import dataclass, fields, replace
from io import StringIO
from itertools import chain, count
from pathlib import Path
from typing import Self

from django.contrib.auth.models import User
from django.core.management import call_command

from ingestion.models import ApiKey


@dataclass(frozen=True, kw_only=True)
class Credentials:
    url: str = ""
    admin_user: str = ""
    admin_password: str = ""
    api_key: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The values in the file; empty where there are none."""
        lines = [line.partition("=") for line in path.read_text().splitlines()] if path.exists() else []
        values = {name.removeprefix("TUTORMAX_").lower(): value for name, _, value in lines}
        return cls(**{field.name: values.get(field.name, "") for field in fields(cls)})

    def write(self, path: Path) -> None:
        """Replaces the file atomically; only its owner can read it."""
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"TUTORMAX_{field.name.upper()}={getattr(self, field.name)}\n" for field in fields(self))
        new.replace(path)

    @property
    def key_prefix(self) -> str:
        return self.api_key.partition(".")[0]

    def password_is_valid(self) -> bool:
        user = User.objects.filter(username=self.admin_user).first()
        return user is not None and user.check_password(self.admin_password)

    def key_is_valid(self) -> bool:
        return bool(self.api_key) and ApiKey.objects.is_valid(self.api_key)


def ensure_valid(saved: Credentials, url: str) -> Credentials:
    """The saved credentials, with a new account and a new key where they are not valid in this database.

    An account whose password was changed stays as it is: its valid key shows that it belongs to this database. Other
    accounts are never touched.
    """
    key_is_valid = saved.key_is_valid()
    if not (saved.password_is_valid() or key_is_valid):
        saved = replace(saved, admin_user=unused_user_name(), admin_password=secrets.token_urlsafe(12))
        User.objects.create_superuser(saved.admin_user, password=saved.admin_password)
    return replace(saved, url=url, api_key=saved.api_key if key_is_valid else create_key())


def unused_user_name() -> str:
    taken = set(User.objects.filter(username__startswith="admin").values_list("username", flat=True))
    return next(name for name in chain(["admin"], (f"admin{number}" for number in count(2))) if name not in taken)


def create_key() -> str:
    """A key with both scopes for all streams."""
    output = StringIO()
    call_command("create_api_key", "make run", stdout=output, stderr=StringIO())
    return output.getvalue().split()[-1]
