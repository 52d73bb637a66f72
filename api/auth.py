"""Authentication and permissions: API keys for clients, sessions for staff."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Model
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from enrichment.rows.masking import PERMISSION
from ingestion.models import ApiKey, Delivery

if TYPE_CHECKING:
    from rest_framework.views import APIView  # whose module imports this one

CHALLENGE = "Api-Key"
SCOPES = {"POST": "ingest", "GET": "read", "HEAD": "read"}

logger = logging.getLogger(__name__)

# Run for each request: building it by the ORM takes twice as long as running it (0.27 ms instead of 0.12). A cache
# would save little more, and keep revoked keys alive.
FIND_KEY = "SELECT * FROM ingestion_apikey WHERE prefix = %s"
# Checked before the query: what cannot be a key never reaches the database.
_key = re.compile(r"(?P<prefix>[A-Za-z0-9]{1,8})\.[A-Za-z0-9]{1,100}")


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key <prefix>.<secret>`; request.auth is the ApiKey. One query, once a day a second one."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ApiKey] | None:
        scheme, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
        if scheme.lower() != CHALLENGE.lower():
            return None
        return AnonymousUser(), self.find(credentials.strip())

    def find(self, credentials: str) -> ApiKey:
        form = _key.fullmatch(credentials)
        key: ApiKey | None = next(iter(ApiKey.objects.raw(FIND_KEY, [form["prefix"]])), None) if form else None
        if key is None or not key.is_valid(credentials):
            raise AuthenticationFailed("Unknown API key.")
        if key.revoked:
            logger.info("The revoked key %s is still in use.", key.prefix)
            raise AuthenticationFailed("This API key has been revoked.")
        if key.has_expired:
            logger.info("The expired key %s is still in use.", key.prefix)
            raise AuthenticationFailed("This API key has expired.")
        self.note_use(key)
        return key

    def note_use(self, key: ApiKey) -> None:
        """Records the first use of the day, once over all processes; warns if the key is about to expire."""
        today = timezone.localdate()
        if key.last_used_on == today:
            return
        first = ApiKey.objects.filter(pk=key.pk).exclude(last_used_on=today).update(last_used_on=today)
        if first and key.expires_soon:
            logger.warning("The key %s (%s) is in use and expires at %s.", key.prefix, key.name, key.expiry_date)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class StaffSessionAuthentication(SessionAuthentication):
    """The admin session of a member of staff, with CSRF protection."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        if not is_staff(getattr(request._request, "user", None)):  # noqa: SLF001 (before CSRF, which reads forms)
            return None
        found: tuple[AbstractBaseUser, None] | None = super().authenticate(request)
        return found


class HasScope(BasePermission):
    """Keys need the method's scope (unless the view takes any) and access to the view's stream; staff permissions."""

    message: str

    def has_permission(self, request: Request, view: APIView) -> bool:
        key, stream = request.auth, getattr(view, "stream", None)
        if not isinstance(key, ApiKey):
            return _staff_may(request, view)
        scope = None if getattr(view, "any_scope", False) else SCOPES.get(request.method or "")
        if scope and not getattr(key, f"can_{scope}"):
            self.message = f"This API key lacks the scope {scope}."
            return False
        if stream and key.streams and stream.name not in key.streams:
            self.message = f"This API key is limited to {', '.join(key.streams)}."
            return False
        return True


def _staff_may(request: Request, view: APIView) -> bool:
    """As in the admin: reading a stream takes the permission to view its rows, posting that to add deliveries."""
    if not is_staff(request.user):
        return False
    if request.method == "POST":
        return bool(request.user.has_perm("ingestion.add_delivery"))
    stream = getattr(view, "stream", None)
    return _may_view(request.user, stream.model if stream else getattr(view, "model", Delivery))


def _may_view(user: Any, model: type[Model]) -> bool:
    return bool(user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"))


class DocsReadable(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return settings.DOCS_PUBLIC or is_staff(request.user)


def is_staff(user: Any) -> bool:
    return bool(getattr(user, "is_staff", False))


def is_personal_hidden(request: Request) -> bool:
    """From members of staff without the permission; a key that may read a stream reads all of it."""
    return not isinstance(request.auth, ApiKey) and not request.user.has_perm(PERMISSION)


def client_of(request: Request) -> str:
    """The owner of deliveries: `key:<prefix of the client's first key>` or `user:<username>`."""
    if isinstance(request.auth, ApiKey):
        return f"key:{request.auth.client}"
    return f"user:{request.user.get_username()}"


def visible_streams(request: Request) -> Sequence[str]:
    """The streams that the key is limited to; empty: all."""
    streams: list[str] = request.auth.streams if isinstance(request.auth, ApiKey) else []
    return streams
