"""The errors of asking, by whose they are. Their messages name neither address nor key: they are logged and stored."""


class ProviderError(Exception):
    """Base of what `http.get_json` raises. Whatever else `ask` raises is a bug."""


class QuestionError(ProviderError):
    """The provider does not take the question: 400, 404, 422 or another 4xx. `ask` may catch it.

    Uncaught, 404 means not found; with any other status the lookup has failed after five tries.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ProviderUnavailable(ProviderError):
    """5xx, no answer in time, a connection refused or cut, an answer that is no JSON or too large, a redirect to
    another host: asked again, and a try only if others are answered meanwhile.
    """


class Throttled(ProviderUnavailable):
    """The provider wants to be left alone (429) for longer than is waited here; its row says until when."""


class RunnerStopped(ProviderUnavailable):
    """The process ends: the question is asked by another one, or after the next start."""


class KeyRefused(ProviderError):
    """401, 403: the provider stops until there is another key, or a person resumes it. `ask` may catch it."""

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status
