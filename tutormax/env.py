"""Reads settings from the environment; an invalid value stops the start with a message that names it."""

import logging
import os
import re
import secrets
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ImproperlyConfigured

Rate = tuple[int, int]
"""Requests, and the seconds in which that many may be sent."""

MAX_PORT = 65_535
_redis = re.compile(
    r"rediss?://([^\s/?#@\[\]]*@)?([a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[0-9]{1,3})?"
)
_origin = re.compile(r"https?://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def string(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    value = string(name, str(default)).lower()
    if value not in ("true", "false"):
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")
    return value == "true"


def integer(name: str, default: int, minimum: int = 0, maximum: int = 2**53) -> int:
    value = string(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 17) or not minimum <= int(value) <= maximum:
        limits = f"of at least {minimum}" if maximum == 2**53 else f"from {minimum} to {maximum}"
        raise ImproperlyConfigured(f"{name} must be a whole number {limits}, not {value!r}.")
    return int(value)


def time_zone(name: str, default: str) -> str:
    value = string(name, default)
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ImproperlyConfigured(f"{name} must be a time zone such as Europe/Berlin, not {value!r}.") from None
    return value


def log_level(name: str, default: str) -> str:
    value = string(name, default).upper()
    if value not in logging.getLevelNamesMapping():
        raise ImproperlyConfigured(f"{name} must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {value!r}.")
    return value


def choice(name: str, *choices: str) -> str:
    """One of these words; the first where there is none."""
    value = string(name, choices[0]).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be {', '.join(choices[:-1])} or {choices[-1]}, not {value!r}.")
    return value


def string_list(name: str, default: str = "") -> list[str]:
    return [word.strip() for word in string(name, default).split(",") if word.strip()]


def origins(name: str) -> list[str]:
    """As browsers send them: scheme, host and port, in lower case."""
    found = [word.lower() for word in string_list(name)]
    for value in found:
        if not _origin.fullmatch(value):
            raise ImproperlyConfigured(f"{name} must be origins such as https://app.example, not {value!r}.")
    return found


def address(name: str, default: str) -> str:
    """Scheme, host and port of a service, without a path."""
    value = string(name, default).lower().removesuffix("/")
    if not _origin.fullmatch(value):
        raise ImproperlyConfigured(f"{name} must be an address without a path, such as {default}, not {value!r}.")
    return value


def redis_address(name: str) -> str:
    """Of a Redis, or empty. It may have a password, and so stays out of the message: also out of that which the client
    of Redis would make of a password with `#`, when it is first used.
    """
    value = string(name)
    found = _redis.fullmatch(value)
    if value and (not found or int((found[3] or ":0")[1:]) > MAX_PORT):
        raise ImproperlyConfigured(
            f"{name} must be like redis://:password@host:6379/0 (with %23 for #), or rediss:// with TLS."
        )
    return value


def rate(name: str, default: str) -> Rate:
    value = string(name, default)
    found = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", value)
    if not found:
        raise ImproperlyConfigured(
            f"{name} must be requests/seconds, two whole numbers such as {default}, not {value!r}."
        )
    return int(found[1]), int(found[2])


def language(name: str, default: str) -> str:
    value = string(name, default)
    if not re.fullmatch(r"[a-z]{2}(-[A-Z]{2})?", value):
        raise ImproperlyConfigured(f"{name} must be a language such as en-US or de, not {value!r}.")
    return value


def credential(name: str) -> str:
    """A key or token, without blanks; it stays out of the message."""
    value = string(name)
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ImproperlyConfigured(f"{name} must be a key or token in one line, without blanks.")
    return value


def contact(name: str) -> str:
    """Where a service reaches who runs this: part of a header of requests."""
    value = string(name)
    if not (value.isascii() and value.isprintable() and len(value) <= 200 and not set(value) & set("()")):
        raise ImproperlyConfigured(f"{name} must be an e-mail address or that of a page, not {value[:50]!r}.")
    return value


def load_or_create_secret(path: Path) -> str:
    """The secret in the file `path`, which is created, readable by its owner only, if it does not exist."""
    path.parent.mkdir(exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return path.read_text().strip()
