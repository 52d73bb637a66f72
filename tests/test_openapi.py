"""The description of the API: complete, true to the views, and with examples that hold. Its test by hundreds of
requests is test_schemathesis.py.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from rest_framework.views import APIView

from api.docs import GuideView
from api.errors import CODES
from api.schema import generator as openapi
from api.schema.generator import TAGS, Generator
from ingestion.streams import all_streams, get, readable_names
from music.tests import factories as songs
from tests.api import api, post, refusal
from tests.records import send
from tutoring.tests.factories import feedback, session, student, tutor

DOCUMENTATION = (GuideView, SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView)
MOMENT = "2025-03-01T15:00:00Z"

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    made: dict[str, Any] = Generator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return made


@pytest.fixture
def client(db: None) -> Client:
    return api()


def operations_of(description: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolved(description: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The component that a reference names; all else as it is."""
    while "$ref" in value:
        found: Any = description
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def complaints(description: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    whole = {**schema, "components": description["components"]}
    found = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def test_it_is_complete_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert "Warning" not in capsys.readouterr().err


def test_every_view_and_method_is_in_it(description: dict[str, Any]) -> None:
    views = [view for view in _views(get_resolver().url_patterns) if not issubclass(view.cls, DOCUMENTATION)]
    assert len(views) > 15
    methods = sum(len({"get", "post", "put", "patch", "delete"} & set(dir(view.cls))) for view in views)
    assert methods == len(list(operations_of(description)))


def _views(patterns: list[URLPattern | URLResolver]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        elif issubclass(getattr(pattern.callback, "cls", object), APIView):
            yield pattern.callback


def test_every_method_says_what_it_takes_and_answers(description: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in description["tags"] if tag["description"]}
    assert tags <= set(TAGS) | set(readable_names())
    for path, method, operation in operations_of(description):
        about = (path, method)
        assert not path.endswith("/") or path == "/", about
        assert operation["summary"], about
        assert set(operation["tags"]) <= tags, about
        assert [status for status in operation["responses"] if status.startswith("2")], about
        assert ("requestBody" in operation) == (method == "post"), about
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, about
        assert all(each["description"] for each in operation["parameters"]), about


def test_errors_have_one_shape_and_say_when_to_try_again(description: dict[str, Any]) -> None:
    for path, method, operation in operations_of(description):
        for status, response in operation["responses"].items():
            if not status.startswith("2") and not (path == "/health" and status == "503"):
                assert response == {"$ref": f"#/components/responses/{CODES[int(status)]}"}, (path, method)
        if operation["security"] != [{}]:
            assert {"400", "401", "403", "406", "429", "503"} <= set(operation["responses"]), (path, method)
    for code, response in description["components"]["responses"].items():
        assert ("Retry-After" in response["headers"]) == (code in ("throttled", "unavailable"))
        assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}


def test_the_schemas_of_records_are_the_streams_own(description: dict[str, Any]) -> None:
    for stream in all_streams():
        single, batch = (description["paths"][f"/api/{stream.name}{rest}"]["post"] for rest in ("", "/batch"))
        reference = single["requestBody"]["content"]["application/json"]["schema"]
        assert batch["requestBody"]["content"]["application/json"]["schema"]["items"] == reference
        record = resolved(description, reference)
        assert set(record["properties"]) == set(stream.schema.model_fields)
        assert all(each["description"] for each in record["properties"].values())


def test_every_example_holds(description: dict[str, Any]) -> None:
    examples = list(_examples(description))
    wrong = {where: found for where, schema, value in examples if (found := complaints(description, schema, value))}
    assert len(examples) > 100
    assert wrong == {}


def _examples(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(where, schema, example): of bodies, of all answers, of parameters and headers."""
    for path, method, operation in operations_of(description):
        where = f"{method} {path}"
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        answers = [resolved(description, each) for each in operation["responses"].values()]
        for media in (media for each in (*bodies, *answers) for media in each["content"].items()):
            assert "example" in media[1] or media[0] not in ("application/json", "application/x-ndjson"), (where, media)
            if "example" in media[1]:
                yield f"{where} {media[0]}", media[1]["schema"], media[1]["example"]
        headers = [resolved(description, header) for each in answers for header in each["headers"].values()]
        for each in (*operation["parameters"], *headers):
            if "example" in each:
                yield where, each["schema"], each["example"]


class TestParameters:
    """What is described is what views read: no more, no less."""

    def test_views_allow_those_that_are_described(self, description: dict[str, Any], client: Client) -> None:
        checked = 0
        for path, method, operation in operations_of(description):
            if path.startswith("/api"):
                described = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
                assert self.allowed(client, path, method) == described, (path, method)
                checked += 1
        assert checked > 15

    def allowed(self, client: Client, path: str, method: str) -> set[str]:
        path = path.replace("{id}", "1").replace("{key}", "x") + "?nonsense=1"
        response = client.get(path) if method == "get" else post(client, path, {})
        message: str = refusal(response, 400)["message"]
        names = message.partition("Allowed: ")[2].removesuffix(".")
        return set() if names == "none" else set(names.split(", "))

    def test_views_take_values_as_they_are_described(self, description: dict[str, Any], client: Client) -> None:
        """Of lists, where nearly all parameters are."""
        checked = 0
        for path, method, operation in operations_of(description):
            if method == "get" and path.startswith("/api") and "{" not in path:
                for each in operation["parameters"]:
                    if each["name"] != "cursor":
                        for value in self.values(each["schema"]):
                            assert complaints(description, each["schema"], value) == []
                            response = client.get(path, {each["name"]: self.sent(value)})
                            assert response.status_code == 200, (path, each, value, response.content)
                            checked += 1
        assert checked > 300

    def values(self, schema: dict[str, Any]) -> list[Any]:
        if "enum" in schema:
            return list(schema["enum"])
        match schema["type"]:
            case "array":
                return [schema["items"]["enum"]]
            case "boolean":
                return [True, False]
            case "integer" | "number":
                return [schema.get("minimum", -1.5), schema.get("maximum", 1.5)]
        return [{"date-time": MOMENT, "date": MOMENT[:10]}.get(schema.get("format", ""), "x")]

    def sent(self, value: Any) -> str:
        if isinstance(value, list):
            return ",".join(value)
        return str(value).lower() if isinstance(value, bool) else str(value)


class TestRows:
    def test_they_have_the_fields_described(self, description: dict[str, Any], client: Client) -> None:
        send("tutors", tutor(age=99))
        send("students", student())
        send("sessions", session(no_show=True, actual_start=None, actual_end=None))
        send("feedback", feedback(improvement_areas=None))
        send("entries", dict(get("entries").example))
        send("listens", dict(get("listens").example))
        songs.album("Dummy", songs.artist("Portishead", country_code="GB"))
        songs.area("Bristol", country_code="GB", params="Bristol,GB")
        for name in readable_names():
            self.check(description, client, name)

    def test_also_where_a_field_is_empty(self, description: dict[str, Any], client: Client, settings: Any) -> None:
        settings.CREATE_MISSING_STUDENTS = True
        bare = {"tutor_id": "T-1001", "name": "A", "email": "a@b.de", "subjects": ["Go"], "onboarding_date": MOMENT}
        send("tutors", bare)
        send("sessions", {name: session()[name] for name in get("sessions").schema.model_json_schema()["required"]})
        for stream in ("tutors", "students", "sessions"):
            self.check(description, client, stream)

    def check(self, description: dict[str, Any], client: Client, stream: str) -> None:
        detail = description["paths"][f"/api/{stream}/{{key}}"]["get"]["responses"]["200"]["content"]
        schema = detail["application/json"]["schema"]
        row = client.get(f"/api/{stream}").json()["results"][0]
        assert set(row) == set(resolved(description, schema)["properties"])
        assert complaints(description, schema, row) == []


@pytest.mark.django_db
def test_it_is_served_without_a_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        served = Client().get("/openapi.json")
    assert served.json()["openapi"].startswith("3.1")


def test_many_may_ask_for_it_at_once() -> None:
    """Also while it is made: of a process that has just begun."""
    number = 12
    ready = threading.Barrier(number)

    def ask(_: int) -> bytes:
        ready.wait()
        return bytes(Client().get("/openapi.json").content)

    openapi._description.cache_clear()
    with ThreadPoolExecutor(number) as pool:
        answers = set(pool.map(ask, range(number)))
    assert len(answers) == 1
    assert Client().get("/openapi.json").content in answers
