"""The schema of the API. That it holds against the running views is another matter."""

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.core.management import call_command
from django.test import Client

from ingestion.streams import all_streams

pytestmark = pytest.mark.django_db


def test_it_is_complete_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert "Warning" not in capsys.readouterr().err


def test_it_has_every_path_without_a_slash_and_the_schemas_of_the_streams() -> None:
    schema = Client().get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    own = {path for stream in all_streams() for path in _paths(stream.name)}
    assert own | {"/", "/health", "/api/deliveries/{id}", "/api/queue/stats"} <= set(schema["paths"])
    assert not [path for path in schema["paths"] if path.endswith("/") and path != "/"]
    for stream in all_streams():
        single, batch = (schema["paths"][f"/api/{stream.name}{rest}"]["post"] for rest in ("", "/batch"))
        reference = single["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert batch["requestBody"]["content"]["application/json"]["schema"]["items"]["$ref"] == reference
        record = schema["components"]["schemas"][reference.rpartition("/")[2]]
        assert set(record["properties"]) == set(stream.schema.model_fields)
        jsonschema.validate(dict(stream.example), {**record, "components": schema["components"]})


def _paths(stream: str) -> list[str]:
    return [f"/api/{stream}", f"/api/{stream}/batch", f"/api/{stream}/{{key}}"]
