"""The page for a form whose token is not valid: after a new login in another tab, a logout, or without cookies."""

import re
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api.auth import is_staff

_SECRET = re.compile(r"password|secret|key|token", re.IGNORECASE)
MAX_SHORT = 80
"""Characters of a field that is kept out of sight; longer ones are shown."""


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Says what to do; what staff have typed can be sent again where that is safe."""
    if not request.path_info.startswith("/admin/"):
        return render(request, "403_cookies.html", {"back": request.path}, status=403)
    fields = typed(request)
    context = {
        "action": request.get_full_path(),
        "short": [(name, value) for name, value in fields if len(value) <= MAX_SHORT and "\n" not in value],
        "long": [(name, value) for name, value in fields if len(value) > MAX_SHORT or "\n" in value],
    }
    return render(request, "403_csrf.html", context, status=403)


def typed(request: HttpRequest) -> list[tuple[str, str]]:
    """(name, text) of the fields of a form of the admin, sent from a page of this site by a member of staff; nothing
    where there are files, passwords or keys.
    """
    if not request.path_info.startswith("/admin/") or not is_staff(request.user) or not is_from_here(request):
        return []
    if request.FILES or any(_SECRET.search(text) for text in (request.path_info, *request.POST) if text != TOKEN):
        return []
    return [(name, value) for name, values in request.POST.lists() if name != TOKEN for value in map(str, values)]


TOKEN = "csrfmiddlewaretoken"  # noqa: S105 (its name)


def is_from_here(request: HttpRequest) -> bool:
    """Whether the browser says that a page of this site sent the form: nobody else's is offered for sending again."""
    source = request.META.get("HTTP_ORIGIN") or request.META.get("HTTP_REFERER", "")
    return bool(urlsplit(source)[:2] == (request.scheme, request.get_host()))
