from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from enrichment.lookups import Want, want
from enrichment.lookups.models import Lookup
from enrichment.lookups.questions import raise_wants
from ingestion.models import Upload
from tests.servers import wait_until


def upload() -> int:
    number = Upload.objects.count()
    return Upload.objects.create(
        client="c", stream="x", name="a.csv", format="csv", size=1, sha256=str(number), fingerprint=str(number)
    ).pk


@pytest.mark.django_db
def test_a_question_is_stored_once_and_read_with_its_answer() -> None:
    first = want("oracle", "age", {"a": {"born": 1970}, "b": {}})
    Lookup.objects.filter(key="a").update(status="found", answer=55)
    again = want("oracle", "age", ["b", "a", "c"])
    assert {key: row.pk for key, row in first.items()} == {key: again[key].pk for key in "ab"}
    assert (again["a"].status, again["a"].answer, again["a"].question) == ("found", 55, {"born": 1970})
    assert again["c"].status == "open"
    assert again["c"].due_at is not None
    assert Lookup.objects.count() == 3
    assert want("oracle", "age", []) == {}


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 501])
def test_a_key_that_fits_no_column_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match="1 to 500 characters"):
        want("oracle", "age", ["a", key])
    assert not Lookup.objects.exists()


@pytest.mark.django_db
def test_uploads_take_turns() -> None:
    large, small = upload(), upload()
    want("oracle", "age", [f"large{n:03}" for n in range(600)], upload=large)
    want("oracle", "age", [f"small{n}" for n in range(3)], upload=small)
    want("oracle", "age", [f"later{n}" for n in range(3)], upload=large)
    order = list(Lookup.objects.order_by("turn", "id").values_list("key", flat=True))
    assert order[:6] == ["large000", "small0", "large001", "small1", "large002", "small2"]
    assert order[-3:] == ["later0", "later1", "later2"]


@pytest.mark.django_db
def test_who_is_in_a_hurry_moves_a_question_forward() -> None:
    large, small = upload(), upload()
    want("oracle", "age", [f"large{n:03}" for n in range(600)], upload=large)
    found = want("oracle", "age", ["large500", "large400"], upload=small)
    assert list(Lookup.objects.order_by("turn", "id").values_list("key", flat=True))[:3] == [
        "large000",
        "large500",
        "large001",
    ]
    assert found["large500"].turn == 0
    assert set(Lookup.objects.of_uploads([small]).values_list("key", flat=True)) == {"large400", "large500"}
    assert Lookup.objects.of_uploads([large]).count() == 600


@pytest.mark.django_db
def test_what_an_answer_raises_comes_in_its_turn_and_for_its_uploads() -> None:
    one, two = upload(), upload()
    first = want("oracle", "age", ["a", "b", "x"], upload=one)
    want("oracle", "age", ["b"], upload=two)
    raise_wants(
        [Want("oracle", "sex", "c", {"of": "b"}, after=first["b"]), Want("oracle", "sex", "c", after=first["a"])]
    )
    raised = Lookup.objects.get(kind="sex")
    assert set(raised.previous.values_list("key", flat=True)) == {"a", "b"}
    assert set(raised.uploads.values_list("pk", flat=True)) == {one, two}
    assert raised.turn == first["a"].turn < first["x"].turn
    first["a"].refresh_from_db()
    assert first["a"].next == raised


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_transactions_that_want_the_same_do_not_deadlock() -> None:
    keys = [f"k{n}" for n in range(40)]
    errors: list[BaseException] = []

    def ask(part: list[str], upload: int) -> None:
        try:
            for _ in range(10):
                with transaction.atomic():
                    want("oracle", "age", part, upload=upload)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=ask, args=(part, upload())) for part in (keys, keys[::-1], keys[20:] + keys[:20])
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: not any(thread.is_alive() for thread in threads), "all have asked")
    assert errors == []
    assert Lookup.objects.count() == 40


@pytest.mark.django_db
def test_turns_may_be_given_so_that_what_matters_most_comes_first() -> None:
    one = upload()
    want("oracle", "age", ["rare", "known", "loved"], turns={"rare": -1, "known": -20, "loved": -300}, upload=one)
    assert list(Lookup.objects.order_by("turn", "id").values_list("key", flat=True)) == ["loved", "known", "rare"]
    assert Lookup.objects.of_uploads([one]).count() == 3
    found = want("oracle", "age", ["rare", "loved"], turns={"rare": -40, "loved": -2})
    assert {key: row.turn for key, row in found.items()} == {"rare": -40, "loved": -300}  # forward, never back
    assert list(Lookup.objects.order_by("turn").values_list("key", "turn")) == [
        ("loved", -300),
        ("rare", -40),
        ("known", -20),
    ]


@pytest.mark.django_db
def test_turns_move_nothing_that_is_answered() -> None:
    want("oracle", "age", ["a"], turns={"a": -1})
    Lookup.objects.update(status="not_found", answer=None)
    want("oracle", "age", ["a"], turns={"a": -9})
    assert Lookup.objects.get().turn == -1


@pytest.mark.django_db
def test_a_question_without_a_turn_among_those_that_have_one_is_an_error() -> None:
    with pytest.raises(KeyError, match="b"), transaction.atomic():
        want("oracle", "age", ["a", "b"], turns={"a": 1})
