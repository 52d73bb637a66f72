import os

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")


class PlainRequest(WSGIRequest):
    """Takes no charset from the client: Django would read the query string by it while it makes the request, where a
    charset such as rot13 or a thousand parameters end in a 500 that no middleware sees.
    """

    encoding = "utf-8"  # a property there


application = get_wsgi_application()
application.request_class = PlainRequest
