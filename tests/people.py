"""Members of staff, for tests of the admin."""

from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client


def person(*groups: str, superuser: bool = False) -> User:
    """One of these groups (viewer, operator, administrator), named after them."""
    name = "-".join(groups) or ("root" if superuser else "nobody")
    user = User.objects.create_user(name, is_staff=True, is_superuser=superuser)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def words_of(response: Any, status: int = 200) -> str:
    """The page with each run of white space as one space, as a browser shows it."""
    return " ".join(text_of(response, status).split())


def text_of(response: Any, status: int = 200) -> str:
    assert response.status_code == status, (response.status_code, response.content[:2000])
    return str(response.content.decode())
