"""Whether a record is about a person whose data have been erased: asked once for a batch, and only if there are any."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from ingestion.models import ErasureSecret, Suppression
from ingestion.streams import Stream
from ingestion.subjects.mentions import Mention, mentions

SECRET_TTL = 5.0
"""Seconds for which a web server may not know that the first person has been erased; the workers always do."""
HASHES_AT_ONCE = 500
MESSAGE = "is a {kind} whose data have been erased: records about them are not stored"

_lock = threading.Lock()
_secret = ""
_due = 0.0


def digest(secret: str, kind: str, key: str) -> str:
    return hmac.digest(secret.encode(), f"{kind}\0{key}".encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


def find(stream: Stream, items: Sequence[Any], secret: str) -> dict[int, Mention]:
    """Index → the first person erased that the item is about, of those that are about one."""
    persons: dict[tuple[str, str], list[tuple[int, Mention]]] = defaultdict(list)
    for index, item in enumerate(items):
        for mention in mentions(stream, item):
            persons[mention.kind, mention.key].append((index, mention))
    places = {digest(secret, *person): those for person, those in persons.items()}
    found: dict[int, Mention] = {}
    hashes = list(places)
    for start in range(0, len(hashes), HASHES_AT_ONCE):
        some = Suppression.objects.filter(digest__in=hashes[start : start + HASHES_AT_ONCE])
        for each in some.values_list("digest", flat=True):
            for index, mention in places[each]:
                found.setdefault(index, mention)
    return found


def find_at_the_door(stream: Stream, items: Sequence[Any]) -> dict[int, Mention]:
    """The same, by what this process knew of the secret a few seconds ago: what it misses, the workers find."""
    secret = _recent_secret() if items else ""
    return find(stream, items, secret) if secret else {}


def _recent_secret() -> str:
    global _secret, _due  # noqa: PLW0603
    if time.monotonic() >= _due and _lock.acquire(blocking=False):
        try:
            _secret = ErasureSecret.objects.values_list("secret", flat=True).first() or ""
            _due = time.monotonic() + SECRET_TTL
        finally:
            _lock.release()
    return _secret


def reset_cache() -> None:
    """Makes the next question read the secret anew."""
    global _due  # noqa: PLW0603
    _due = 0.0


def suppress(kind: str, key: str) -> str:
    """From now on records about this person are not stored; returns the hash."""
    with transaction.atomic():
        secret = ErasureSecret.objects.get_or_create(pk=1)[0].secret
        hashed = digest(secret, kind, key)
        Suppression.objects.get_or_create(digest=hashed, defaults={"kind": kind})
    reset_cache()
    return hashed


def digest_of(kind: str, key: str) -> str:
    """The hash; empty if nobody was ever erased."""
    secret = ErasureSecret.objects.values_list("secret", flat=True).first()
    return digest(secret, kind, key) if secret else ""


def is_suppressed(hashed: str) -> bool:
    return bool(hashed) and Suppression.objects.filter(digest=hashed).exists()


def label_of(kind: str, key: str) -> str:
    """What the history may call a person: the key; of one whose data have been erased the beginning of the hash."""
    hashed = digest_of(kind, key)
    return f"hash {hashed[:12]}" if is_suppressed(hashed) else key


def lift(hashed: str) -> bool:
    """Records about this person may be stored again; whether they might not."""
    return bool(Suppression.objects.filter(digest=hashed).delete()[0])


def message_of(mention: Mention) -> str:
    return MESSAGE.format(kind=mention.kind)
