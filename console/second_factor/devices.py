"""A person's second factor: the app that shows codes of six digits, and recovery codes for when it is lost."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from django_otp.util import random_hex

DEVICE = "second_factor"
"""In a session: the device by which it was verified."""
RECOVERY_CODES = 10

_app_code = re.compile(r"[0-9]{6}", re.ASCII)
_recovery_code = re.compile(r"[a-z2-7]{8}", re.ASCII)


class TooManyAttempts(Exception):
    """After a wrong code the next one is not looked at for a second, then two, four and so on."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


def device_of(user: Any) -> TOTPDevice | None:
    device: TOTPDevice | None = TOTPDevice.objects.filter(user_id=user.pk, confirmed=True).order_by("pk").first()
    return device


def may_pass(session: SessionBase, user: Any) -> bool:
    """Whether a session in which this user has logged in with the password is enough."""
    if settings.SECOND_FACTOR == "off":
        return True
    device = device_of(user)
    if device is None:
        return bool(settings.SECOND_FACTOR == "optional")
    return bool(session.get(DEVICE) == device.pk)


def remember(session: SessionBase, device: TOTPDevice) -> None:
    """The session is verified from now on, under a new key: one that was known before is worth nothing."""
    session.cycle_key()
    session[DEVICE] = device.pk


# Codes.


def verify(user: Any, code: str) -> bool:
    """Whether it is a code of the app, which none is twice, or a recovery code, which is then used up."""
    text = "".join(code.split()).replace("-", "").lower()
    if _app_code.fullmatch(text):
        model: Any = TOTPDevice
    elif _recovery_code.fullmatch(text):
        model = StaticDevice
    else:
        return False
    with transaction.atomic():
        device = model.objects.select_for_update().filter(user_id=user.pk, confirmed=True).order_by("pk").first()
        if device is None:
            return False
        is_allowed, reason = device.verify_is_allowed()
        if is_allowed:
            return bool(device.verify_token(text))
    raise TooManyAttempts(max(1, round((reason["locked_until"] - timezone.now()).total_seconds())))


def new_key() -> str:
    return str(random_hex(20))


def new_device(user: Any, key: str) -> TOTPDevice:
    """Not saved."""
    return TOTPDevice(user_id=user.pk, user=user, name="app", key=key, confirmed=True)


def typed_key(device: TOTPDevice) -> str:
    """The key as it is typed where no camera is."""
    text = base64.b32encode(device.bin_key).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def enrol(user: Any, key: str, code: str) -> TOTPDevice | None:
    """Sets the app up, if this is a code of it; None if not, or if there is one already."""
    text = "".join(code.split())
    if not _app_code.fullmatch(text):
        return None
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        device = new_device(user, key)
        counter = TOTP(device.bin_key)
        counter.time = time.time()
        if device_of(user) is not None or not counter.verify(int(text), device.tolerance):
            return None
        device.last_t, device.drift = counter.t(), counter.drift  # the code is used up
        device.save()
        return device


def new_recovery_codes(user: Any) -> list[str]:
    """In place of those that there are."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        StaticDevice.objects.filter(user_id=user.pk).delete()
        device = StaticDevice.objects.create(user_id=user.pk, name="recovery codes")
        codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
        StaticToken.objects.bulk_create(StaticToken(device=device, token=code) for code in codes)
    return codes


def codes_left(user: Any) -> int:
    return int(StaticToken.objects.filter(device__user_id=user.pk).count())


def remove(user: Any) -> bool:
    """Whether there was one. Sessions that were verified with it are so no more."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        StaticDevice.objects.filter(user_id=user.pk).delete()
        count, _ = TOTPDevice.objects.filter(user_id=user.pk).delete()
    return bool(count)
