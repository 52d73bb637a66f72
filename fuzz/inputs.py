"""One input: a request, or a form and its confirmation; it can be written to a file and sent again."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from django.test import Client

from enrichment.models import BulkAction, HeldRecord
from ingestion.models import ApiKey, Delivery, Upload
from tests.held_pages import fields_of

Kind: TypeAlias = Literal["post", "file", "form"]
FORM = "application/x-www-form-urlencoded"
_row = re.compile(r"_(held|delivery|upload|key|action)([0-9]+)_")
MODELS: dict[str, Any] = {"held": HeldRecord, "delivery": Delivery, "upload": Upload, "action": BulkAction}


@dataclass(frozen=True, kw_only=True)
class Input:
    kind: Kind
    path: str
    """In it and in a form's body `_held3_` stands for the id of the fourth failed record there is, and the like."""
    body: bytes = b""
    content_type: str = "application/json"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    stream: str = ""
    is_usual: bool = False
    """The body alone decides about the answer: the path, the headers and the options are those of any client."""
    times: int = 1
    """How often it is sent."""
    cells: list[dict[str, str]] | None = None
    """Of a table that was made of them: the rows that it has."""
    confirm: dict[str, str] | None = None
    """Of a form that asks to be confirmed: fields that are then posted besides those it asks with, or instead."""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "body": base64.b64encode(self.body).decode()}

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> Self:
        return cls(**{**members, "body": base64.b64decode(members["body"])})

    def resolved(self) -> Self:
        """With the ids of rows there are."""
        body = self.body if self.kind != "form" else _resolve(self.body.decode("latin-1")).encode("latin-1")
        return replace(self, path=_resolve(self.path), body=body)

    @property
    def options(self) -> str:
        return self.path.partition("?")[2]


@dataclass(frozen=True)
class Answer:
    status: int
    content: bytes
    retry_after: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.content)


def write(path: Path, inputs: Iterable[Input]) -> None:
    path.write_text("".join(json.dumps(each.as_json()) + "\n" for each in inputs))


def read(path: Path) -> list[Input]:
    return [Input.from_json(json.loads(line)) for line in path.read_text().splitlines()]


def send(client: Client, given: Input) -> list[Answer]:
    """What is answered each time; an unhandled exception of a view is raised."""
    sent = given.resolved()
    answers = [_ask(client, sent, sent.body) for _ in range(sent.times)]
    if sent.confirm is not None and answers[-1].status == 200:
        try:
            fields = fields_of(answers[-1].content.decode())
        except ValueError:  # a page without a confirmation
            return answers
        answers.append(_ask(client, sent, encoded([*_pairs(fields | sent.confirm)])))
    return answers


def encoded(pairs: Iterable[tuple[str, Any]]) -> bytes:
    """As a browser posts a form; lone surrogates, which none has, as bytes that are no UTF-8."""
    from urllib.parse import urlencode

    return urlencode(list(pairs), doseq=True, encoding="utf-8", errors="surrogatepass").encode()


def _pairs(fields: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            yield name, value


def _ask(client: Client, sent: Input, body: bytes) -> Answer:
    headers: Any = sent.headers
    response: Any = client.generic(sent.method, sent.path, body, sent.content_type, headers=headers)
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return Answer(response.status_code, content, response.get("Retry-After", ""))


def _resolve(text: str) -> str:
    return _row.sub(lambda found: _id(found[1], int(found[2])), text)


def _id(name: str, number: int) -> str:
    if name == "key":
        ids: list[Any] = list(ApiKey.objects.exclude(name="fuzz").order_by("created").values_list("prefix", flat=True))
    else:
        ids = list(MODELS[name].objects.order_by("pk").values_list("pk", flat=True)[:500])
    return str(ids[number % len(ids)]) if ids else "1"
