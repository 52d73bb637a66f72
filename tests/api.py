"""The API as a client sees it, in process: an exception that becomes a 500 fails the test with its traceback."""

import csv
import io
import json
import urllib.error
import urllib.request
from typing import Any

from django.test import Client

from ingestion.models import ApiKey
from tests.servers import PATIENCE

NDJSON = "application/x-ndjson"


def new_key(**fields: Any) -> str:
    _, key = ApiKey.objects.create_key(name="test", **fields)
    return str(key)


def api(key: str | None = None, **headers: str) -> Client:
    """A client with that key, or a new one that may do all."""
    return Client(headers={"authorization": f"Api-Key {key or new_key()}", **headers})


def post(client: Client, path: str, body: Any, content_type: str = "application/json", **extra: Any) -> Any:
    """The answer to `body`: bytes as they are, all else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", path, data, content_type, **extra)  # post() would encode it by the charset


def ndjson(*records: Any) -> bytes:
    return b"\n".join(json.dumps(record).encode() for record in records)


def refusal(response: Any, status: int) -> Any:
    """The error of an answer, which must have the one shape of all errors."""
    assert response.status_code == status, (response.status_code, response.content[:500])
    assert response["Content-Type"].startswith("application/json")
    body = response.json()
    assert set(body) - {"errors"} == {"success", "error", "timestamp"}
    assert body["success"] is False
    assert set(body["error"]) - {"fields"} == {"code", "message"}
    assert body["error"]["message"]
    return body["error"]


def text(response: Any) -> str:
    """The body of a list that is streamed."""
    assert response.status_code == 200, response.getvalue()
    return b"".join(response.streaming_content).decode()


def table(response: Any) -> list[dict[str, str]]:
    """The rows of a list as CSV."""
    return list(csv.DictReader(io.StringIO(text(response), newline="")))


def lines(response: Any) -> list[Any]:
    """The records of a list as NDJSON."""
    return [json.loads(line) for line in text(response).split("\n")[:-1]]


def ask(url: str, key: str = "", body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    """(status, headers, JSON or text) of a server of ours (tests/servers.py); a body is posted: bytes, or JSON."""
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json", **headers}
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        is_json = response.headers["Content-Type"].startswith("application/json")
        return response.status, response.headers, json.load(response) if is_json else response.read().decode()
