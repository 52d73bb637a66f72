"""What views are described with: @describe, answers, bodies, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

from ingestion.streams import Stream

Schema = dict[str, Any]
"""A JSON schema."""
JSON = "application/json"
Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Of a query, path or header; in an answer: a header."""

    name: str
    schema: Schema
    description: str
    location: str = "query"
    required: bool = False
    example: Any = None

    def described(self) -> dict[str, Any]:
        with_commas = {"style": "form", "explode": False} if self.schema.get("type") == "array" else {}
        return {"name": self.name, "in": self.location, **self.as_header(), **with_commas}

    def as_header(self) -> dict[str, Any]:
        example = {} if self.example is None else {"example": self.example}
        required = {"required": True} if self.required else {}
        return {"description": self.description, **required, "schema": self.schema, **example}


@dataclass(frozen=True, kw_only=True)
class Component:
    """A schema made by hand, by which name others refer to it."""

    name: str
    schema: Schema


Shape = Any
"""What pydantic makes a schema of (a TypedDict, a model, list[…] of them), a Component, or None: text."""


@dataclass(frozen=True)
class Body:
    """Of one media type."""

    shape: Shape = None
    _: KW_ONLY
    example: Any = None
    description: str = ""


@dataclass(frozen=True)
class Answer:
    """What a status comes with. Where the view has a stream, `shape`, `example` and `media` may be functions of it."""

    shape: Shape | Callable[[Stream], Shape] = None
    """Of the JSON; None: there is none."""
    status: int = 200
    description: str = "As asked for."
    _: KW_ONLY
    example: Any = None
    media: Mapping[str, Body] | Callable[[Stream], Mapping[str, Body]] = field(default_factory=dict)
    """Other forms than JSON, by media type."""
    headers: tuple[Parameter, ...] = ()


class describe:  # noqa: N801  # a decorator
    """Says what a view's get() or post() takes and answers; its docstring is summary (first line) and description.

    `errors` are the statuses in the shape of errors beside those that every such view has (JsonSchema.common_errors);
    `body` is what is posted, by media type; `tag` one of TAGS. Where the view has a stream, `parameters` and `body` may
    be functions of it, and the tag is its name.
    """

    def __init__(
        self,
        *answers: Answer,
        errors: tuple[int, ...] = (),
        parameters: tuple[Parameter, ...] | Callable[[Stream], tuple[Parameter, ...]] = (),
        body: Mapping[str, Body] | Callable[[Stream], Mapping[str, Body]] | None = None,
        tag: str = "",
    ) -> None:
        self.answers, self.errors, self.parameters, self.body, self.tag = answers, errors, parameters, body, tag

    def __call__(self, method: Method) -> Method:
        vars(method)["described"] = self
        return method
