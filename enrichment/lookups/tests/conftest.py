from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from enrichment.lookups import http, providers
from enrichment.lookups.providers import Provider, Question, Rate
from standins.server import Request, Response, Server

Declare = Callable[..., Provider]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Registers providers for one test; there are no others meanwhile."""
    monkeypatch.setattr(providers, "_registered", {})

    def declare(name: str = "oracle", **declaration: Any) -> Provider:
        declaration.setdefault("rate", Rate(1000, 1))
        declaration.setdefault("label", "The oracle")
        declaration.setdefault("ask", lambda questions: {})
        return providers.register(Provider(name=name, **declaration))

    return declare


@pytest.fixture
def server() -> Iterator[Server]:
    """A service that answers /anything?q=x with {"q": "x"}."""

    def answer(request: Request) -> Response:
        return Response(body={"path": request.path, **request.query})

    with Server(answer) as server:
        yield server


def ask_server(questions: Sequence[Question]) -> Mapping[str, Any]:
    """`ask` of a provider that asks the server one question at a time."""
    return {
        question.key: http.get_json(question.provider, f"/{question.kind}", {"q": question.key})
        for question in questions
    }
