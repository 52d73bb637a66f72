"""HTTP for providers: each request takes a slot of the provider's limit, each error belongs to one of four classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ProviderError(Exception):
    """Base of what `get_json` raises; messages name neither address nor key. Whatever else `ask` raises is a bug."""


class QuestionError(ProviderError):
    """The provider does not take the question: 400, 404, 422 and the other 4xx. `ask` may catch it.

    Uncaught, 404 means not found; after five tries of the others the lookup has failed.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProviderUnavailable(ProviderError):
    """5xx, no answer in time, a connection refused or cut, an answer that is no JSON or too large, a redirect to
    another host: nobody's try is counted, and it is asked again.
    """


class Throttled(ProviderUnavailable):
    """429, for longer than is waited here: a date in the provider's row says when it may be asked again."""


class KeyRefused(ProviderError):
    """401, 403: the provider stops until there is another key, or a person resumes it."""


def get_json(
    provider: str,
    path_or_url: str,
    params: Mapping[str, str | int | float | bool] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The JSON that the provider answers, without what no database stores (NUL, lone surrogates).

    For `ask` alone: takes a slot of the provider's limit, waiting for it; on 429 waits and asks again, within reason.
    Raises ProviderError.
    """
    raise NotImplementedError  # follows with the runner
