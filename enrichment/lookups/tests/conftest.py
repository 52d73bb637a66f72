from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enrichment.lookups import providers
from enrichment.lookups.providers import Provider, Rate

Declare = Callable[..., Provider]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Registers providers for one test; there are no others meanwhile."""
    monkeypatch.setattr(providers, "_registered", {})

    def declare(name: str = "oracle", **declaration: Any) -> Provider:
        declaration.setdefault("rate", Rate(1000, 1))
        declaration.setdefault("ask", lambda questions: {})
        return providers.register(Provider(name=name, **declaration))

    return declare
