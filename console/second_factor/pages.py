"""The pages of the second factor: its code after a login, setting it up, recovery codes, turning it off.

They are there for who has logged in with a password and is nobody yet, to all other pages.
"""

from __future__ import annotations

from typing import Any

import segno
from django import forms
from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import mark_safe

from console.second_factor import devices
from ingestion.text import duration

KEY = "second_factor_key"
"""In a session: the key of an app that is being set up."""


class CodeForm(forms.Form):
    code = forms.CharField(
        label="Code",
        max_length=20,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "size": 12, "spellcheck": "false"}
        ),
        error_messages={"required": "Type the code."},
    )


def person_of(request: HttpRequest) -> Any:
    """Who has logged in, with or without the second factor; None: nobody, or no member of staff."""
    user: Any = request.user if request.user.is_authenticated else getattr(request, "unverified_user", None)
    return user if user is not None and user.is_staff else None


def pending_page(request: HttpRequest) -> str | None:
    """Where who has logged in with a password goes on; None: nowhere."""
    if request.user.is_authenticated or person_of(request) is None:
        return None
    name = "second_factor_verify" if devices.device_of(person_of(request)) else "second_factor"
    return f"{reverse(f'admin:{name}')}?{urlencode({'next': next_page(request)})}"


def next_page(request: HttpRequest) -> str:
    path = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(path, {request.get_host()}, require_https=request.is_secure())
    return path if is_ours else reverse("admin:index")


def verify_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Asks for a code, after the password."""
    person = person_of(request)
    if person is None:
        return redirect_to_login(next_page(request), reverse("admin:login"))
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_page(request))
    if "_logout" in request.POST:
        return _log_out(request)
    device = devices.device_of(person)
    if device is None:
        return HttpResponseRedirect(reverse("admin:second_factor"))
    form = CodeForm(request.POST or None)
    if passes(form, person):
        devices.remember(request.session, device)
        return HttpResponseRedirect(next_page(request))
    return _page(request, site, "verify", title="Second factor", form=form)


def passes(form: CodeForm, person: Any) -> bool:
    """Whether the code is right; else the form says why not."""
    if not form.is_bound or not form.is_valid():
        return False
    try:
        if devices.verify(person, form.cleaned_data["code"]):
            return True
        form.add_error("code", "Wrong code. Each code of the app can be used once: wait for the next one.")
    except devices.TooManyAttempts as error:
        form.add_error("code", f"Too many wrong codes. Try again in {duration(error.seconds)}.")
    return False


def second_factor_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Sets it up; later, new recovery codes, and turning it off where that is allowed."""
    person = person_of(request)
    if person is None:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if settings.SECOND_FACTOR == "off":
        return _page(request, site, "off", title="Second factor")
    if "_logout" in request.POST and not request.user.is_authenticated:
        return _log_out(request)
    if devices.device_of(person) is None:
        return _enrol(site, request, person)
    if not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("admin:second_factor_verify"))
    return _manage(site, request, person)


def _log_out(request: HttpRequest) -> HttpResponse:
    """Of who has given the password alone, whom the admin's own page does not log out."""
    logout(request)
    return HttpResponseRedirect(reverse("admin:login"))


def _enrol(site: AdminSite, request: HttpRequest, person: Any) -> HttpResponse:
    key = request.session.setdefault(KEY, devices.new_key())
    form = CodeForm(request.POST or None)
    if form.is_bound and form.is_valid():
        if device := devices.enrol(person, key, form.cleaned_data["code"]):
            devices.remember(request.session, device)
            del request.session[KEY]
            _log(person, "Second factor set up.")
            return _show_codes(site, request, person)
        form.add_error("code", "Wrong code. Check the clock of the device with the app.")
    device = devices.new_device(person, key)
    return _page(
        request,
        site,
        "enrol",
        title="Set up the second factor",
        form=form,
        picture=mark_safe(segno.make(device.config_url, error="m").svg_inline(scale=5, dark="#000", light="#fff")),  # noqa: S308 (of segno)
        typed_key=devices.typed_key(device),
        is_required=settings.SECOND_FACTOR == "required",
    )


def _manage(site: AdminSite, request: HttpRequest, person: Any) -> HttpResponse:
    may_remove = settings.SECOND_FACTOR == "optional"
    form = CodeForm(request.POST or None)
    if passes(form, person):
        if "_remove" in request.POST and may_remove:
            devices.remove(person)
            _log(person, "Second factor turned off.")
            return HttpResponseRedirect(reverse("admin:second_factor"))
        _log(person, "New recovery codes created.")
        return _show_codes(site, request, person)
    return _page(
        request,
        site,
        "manage",
        title="Second factor",
        form=form,
        codes_left=devices.codes_left(person),
        may_remove=may_remove,
    )


def _show_codes(site: AdminSite, request: HttpRequest, person: Any) -> HttpResponse:
    codes = devices.new_recovery_codes(person)
    return _page(request, site, "codes", title="Recovery codes", codes=codes)


def _page(request: HttpRequest, site: AdminSite, name: str, **context: Any) -> HttpResponse:
    everywhere = {
        **site.each_context(request),
        "is_nav_sidebar_enabled": request.user.is_authenticated,
        "person": person_of(request),
        "next": next_page(request),
    }
    return TemplateResponse(request, f"admin/second_factor/{name}.html", {**everywhere, **context})


def _log(person: Any, text: str) -> None:
    LogEntry.objects.create(
        user_id=person.pk,
        content_type=ContentType.objects.get_for_model(person),
        object_id=str(person.pk),
        object_repr=str(person),
        action_flag=CHANGE,
        change_message=text,
    )
