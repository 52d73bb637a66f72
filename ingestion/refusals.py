"""RequestRejected: a request or file that is not accepted, with the message for whoever sent it."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import APIException


class RequestRejected(APIException):
    """A request that is not accepted; `message` is for the client, `fields` is {field: [messages]}.

    `more` stands beside "error" in the answer.
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
        self.status_code = status
        self.fields = fields
        self.more = more or {}
        self.headers = headers or {}
