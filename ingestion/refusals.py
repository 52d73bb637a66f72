"""RequestRejected: a request or file that is not accepted, with the message for its sender."""

from collections.abc import Mapping
from typing import Any


class RequestRejected(Exception):
    """A request or file that is not accepted. str() of it is the message for its sender.

    `status` is the HTTP status that the API answers, `fields` is {field: [messages]}, `more` stands beside "error" in
    the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        fields: Mapping[str, list[str]] | None = None,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = fields or {}
        self.more = more or {}
        self.headers = headers or {}
