"""What views are described with: @describe and @describe_stream, answers, bodies, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

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

    def as_parameter(self) -> dict[str, Any]:
        with_commas = {"style": "form", "explode": False} if self.schema.get("type") == "array" else {}
        return {"name": self.name, "in": self.location, **self.as_header(), **with_commas}

    def as_header(self) -> dict[str, Any]:
        example = {} if self.example is None else {"example": self.example}
        required = {"required": True} if self.required else {}
        return {"description": self.description, **required, "schema": self.schema, **example}


@dataclass(frozen=True, kw_only=True)
class Component:
    """A schema written by hand; others refer to it by its name."""

    name: str
    schema: Schema


Shape = Any
"""A type that pydantic makes a schema of (a TypedDict, a model, list[…] of them), a Component, or None: text."""


@dataclass(frozen=True)
class Body:
    """Of one media type."""

    shape: Shape = None
    _: KW_ONLY
    example: Any = None
    description: str = ""


@dataclass(frozen=True)
class Answer:
    """What a status comes with."""

    shape: Shape = None
    """Of the JSON; None: there is none."""
    status: int = 200
    description: str = "OK"
    _: KW_ONLY
    example: Any = None
    media: Mapping[str, Body] = field(default_factory=dict)
    """Formats other than JSON, by media type."""
    headers: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Description:
    """What a view's get() or post() takes and answers; the method's docstring is summary (first line) and description.

    `errors` are the error statuses beside those that every such view has (JsonSchema.common_errors); `body` is what is
    posted, by media type; `tag` is a stream's name or one of TAGS.
    """

    answers: tuple[Answer, ...] = ()
    _: KW_ONLY
    errors: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Body] = field(default_factory=dict)
    tag: str = "system"


def describe(
    *answers: Answer,
    errors: tuple[int, ...] = (),
    parameters: tuple[Parameter, ...] = (),
    body: Mapping[str, Body] | None = None,
    tag: str = "system",
) -> Callable[[Method], Method]:
    """Describes a method of a view: the arguments are those of Description."""
    description = Description(answers, errors=errors, parameters=parameters, body=body or {}, tag=tag)
    return _describe_by(lambda view: description)


def describe_stream(description_of: Callable[[Any], Description]) -> Callable[[Method], Method]:
    """Describes a method of a view that has a stream, which the description depends on."""
    return _describe_by(lambda view: description_of(view.stream))


def _describe_by(description_of: Callable[[Any], Description]) -> Callable[[Method], Method]:
    def decorate(method: Method) -> Method:
        vars(method)["description_of"] = description_of
        return method

    return decorate


def description_of(view: Any, method: str) -> Description:
    """What the view's method (`get` or `post`) was described with."""
    make: Callable[[Any], Description] | None = getattr(getattr(view, method), "description_of", None)
    return make(view) if make else Description()


def id_parameter(noun: str, example: int) -> Parameter:
    """The `{id}` in a path."""
    return Parameter(
        name="id",
        location="path",
        required=True,
        schema={"type": "integer", "format": "int64", "minimum": 0, "maximum": 10**18 - 1},
        description=f"ID of the {noun}.",
        example=example,
    )
