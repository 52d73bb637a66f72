import os
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

from ingestion.capacity import limit_statements

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")


class Utf8Request(WSGIRequest):
    """Ignores the charset sent by the client. Django would decode the query string with it while it creates the
    request, where a charset such as rot13, or a thousand parameters, ends in a 500 that no middleware sees.
    """

    encoding = "utf-8"  # a property there

    def __init__(self, environ: dict[str, Any]) -> None:
        if sock := environ.get("gunicorn.socket"):
            sock.settimeout(settings.CLIENT_TIMEOUT)  # one that neither sends nor reads must not hold the thread
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


def application(environ: dict[str, Any], start_response: Any) -> Any:
    ignore_script_name(environ)
    return handler(environ, start_response)


def ignore_script_name(environ: dict[str, Any]) -> None:
    """Takes back what gunicorn makes of a header SCRIPT_NAME: with it /x/admin/ would be /admin/, past the path rules
    of a proxy.
    """
    if (prefix := environ.get("SCRIPT_NAME", "")) != os.environ.get("SCRIPT_NAME", ""):
        environ.update(SCRIPT_NAME="", PATH_INFO=prefix + environ.get("PATH_INFO", ""))


handler = get_wsgi_application()
handler.request_class = Utf8Request
limit_statements()
