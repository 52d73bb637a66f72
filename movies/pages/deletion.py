"""*Delete my data*: asked once more, then done at once."""

from __future__ import annotations

import math

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from movies import libraries
from movies.models import Entry
from movies.pages.private import find_library, private_page
from movies.pages.progress import stand_of
from movies.tmdb import is_demo


@require_http_methods(["GET", "HEAD", "POST"])
@private_page(referrer="same-origin")
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    library = find_library(token)
    if request.method == "POST" and request.POST.get("sure"):
        libraries.delete(library.name)
        return HttpResponseRedirect(reverse("library-deleted"))
    context = {
        "library": library,
        "is_demo": is_demo(),
        "here": "delete",
        "days": math.ceil(settings.RETENTION / 86_400),
        "films": stand_of(library).total,
        "lines": Entry.objects.filter(library=library.name).count(),
        "must_tick": request.method == "POST",
    }
    return render(request, "movies/delete.html", context)


@require_safe
@private_page()
def deleted(request: HttpRequest) -> HttpResponse:
    return render(request, "movies/deleted.html")
