import os
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest
from django.http.response import HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
django.setup(set_prefix=False)

from api.plain_posts import door  # noqa: E402
from ingestion.capacity import limit_statements  # noqa: E402
from tutormax import logs  # noqa: E402


class Utf8Request(WSGIRequest):
    """Ignores the charset sent by the client. Django would decode the query string with it while it creates the
    request, where a charset such as rot13, or a thousand parameters, ends in a 500 that no middleware sees.
    """

    encoding = "utf-8"  # a property there

    def __init__(self, environ: dict[str, Any]) -> None:
        if length := environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = CompleteBody(environ["wsgi.input"], length)
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        """A parameter with an unknown or wrong charset would be a 500 as well."""
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except (LookupError, ValueError):
            meta["CONTENT_TYPE"] = self.content_type = "unreadable"
            self.content_params = {}


class CompleteBody:
    """Raises if a body ends before its Content-Length: Django would accept a truncated form and a truncated file."""

    def __init__(self, stream: Any, length: str) -> None:
        self.stream = stream
        self.left = int(length) if length.isdecimal() else 0

    def read(self, size: int = -1) -> bytes:
        return self.checked(self.stream.read(size), size)

    def readline(self, size: int = -1) -> bytes:
        return self.checked(self.stream.readline(size), size)

    def checked(self, data: bytes, size: int) -> bytes:
        self.left -= len(data)
        if size and not data and self.left > 0:
            raise OSError(f"The body ended {self.left} bytes early.")
        return data


class Handler(WSGIHandler):
    """Django, and before it the plain case of a single POST."""

    request_class = Utf8Request

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if sock := environ.get("gunicorn.socket"):
            sock.settimeout(settings.CLIENT_TIMEOUT)  # one that neither sends nor reads must not hold the thread
        post = environ["tutormax.post"] = door.recognize(environ)
        return (post and answer_plain(post, start_response)) or super().__call__(environ, start_response)

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        response = super().get_response(request)
        if post := request.META["tutormax.post"]:
            door.learn(post, request, response)
        return response


def answer_plain(post: door.PlainPost, start_response: Any) -> "Sent | None":
    """With the request's id and line of log, as of all requests."""
    served = logs.ServedRequest(post)
    logs.current.set(served)
    answer = door.answer(post)
    if answer is None:
        logs.current.set(None)
        return None
    served.status = answer.status
    start_response(f"{answer.status} {answer.reason}", [*answer.headers, ("X-Request-ID", served.id)])
    return Sent([answer.body])


class Sent(list[bytes]):
    def close(self) -> None:
        """Called by the server when all has been sent."""
        logs.log_request()


application = Handler()
limit_statements()
