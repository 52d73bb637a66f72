"""A client of the API with one connection that is kept alive."""

from __future__ import annotations

import http.client
import json
from typing import Any


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self.headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}

    def post(self, path: str, records: Any) -> None:
        self.post_body(path, json.dumps(records))

    def post_body(self, path: str, body: str) -> None:
        status, answer = self.send(path, body)
        assert status == 202, answer

    def send(self, path: str, body: str) -> tuple[int, bytes]:
        try:
            return self._send(path, body)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):  # what was idle has been closed
            self.connection.close()
            return self._send(path, body)

    def _send(self, path: str, body: str) -> tuple[int, bytes]:
        self.connection.request("POST", f"/api/{path}", body, self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()
