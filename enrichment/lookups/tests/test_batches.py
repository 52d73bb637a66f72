"""Batches whose size depends on the kind, and requests of other forms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from enrichment.lookups import Question, Rate, http, want
from enrichment.lookups.models import Lookup
from enrichment.lookups.runner import Runner
from enrichment.lookups.tests.conftest import Declare
from standins.server import Request, Response, Server

pytestmark = pytest.mark.django_db(transaction=True)


def test_batches_are_as_large_as_their_kind_allows(declare: Declare) -> None:
    asked: list[tuple[str, int]] = []

    def ask(questions: Sequence[Question]) -> dict[str, str]:
        asked.append((questions[0].kind, len(questions)))
        assert {question.kind for question in questions} == {questions[0].kind}
        return {question.key: "yes" for question in questions}

    declare(ask=ask, batch=lambda kind: 10 if kind == "many" else 1, rate=Rate(1, 1))
    for number in range(23):
        want("oracle", "many", [f"m{number}"])
        if number < 4:
            want("oracle", "one", [f"o{number}"])
            want("oracle", "two", [f"t{number}"])
    Runner().run(until_idle=True)
    assert Counter(asked) == {("many", 10): 2, ("many", 3): 1, ("one", 1): 4, ("two", 1): 4}
    assert set(Lookup.objects.values_list("status", flat=True)) == {"found"}


def test_a_form_is_posted_and_its_secrets_stay_out_of_errors(declare: Declare) -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(400, {"error": "invalid_grant", "error_description": "s3cret+ is no token"})

    declare()
    with Server(answer) as server, pytest.raises(http.QuestionError) as refused:
        http.post_form("oracle", f"{server.url}/token", {"refresh_token": "s3cret+"}, {"Authorization": "Basic abc"})
    assert (seen[0].method, seen[0].body) == ("POST", b"refresh_token=s3cret%2B")
    assert seen[0].headers["authorization"] == "Basic abc"
    assert str(refused.value) == "The oracle answered 400: … is no token"


@pytest.mark.parametrize("status", [401, 403])
def test_whoever_catches_a_refused_key_knows_its_status(declare: Declare, status: int) -> None:
    declare()
    with Server(lambda request: Response(status, {})) as server, pytest.raises(http.KeyRefused) as refused:
        http.get_json("oracle", server.url)
    assert refused.value.status == status
