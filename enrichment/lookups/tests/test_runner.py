"""What a runner makes of answers and of errors, against a small server."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from enrichment import lookups
from enrichment.lookups import Answer, Want, claims, control, http, limits, runner, want
from enrichment.lookups.errors import QuestionError
from enrichment.lookups.models import Lookup, LookupMinute, ProviderState
from enrichment.lookups.providers import Question
from enrichment.lookups.runner import Runner, in_background
from enrichment.lookups.status import provider_statuses
from enrichment.lookups.tests.conftest import Declare, ask_server
from ingestion.models import Upload
from standins.server import Fault, Request, Server, broken_json, cut, error, not_json, redirect, slow, too_big
from tests.servers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(runner, "LOOK", 0.05)


def run() -> None:
    Runner().run(until_idle=True)


def statuses() -> dict[str, str]:
    return dict(Lookup.objects.values_list("key", "status"))


def asks(*keys: str) -> Callable[[Request], bool]:
    return lambda request: request.query.get("q") in keys


def until_due_again(key: str) -> timedelta:
    lookup = Lookup.objects.get(key=key)
    assert lookup.due_at is not None
    return lookup.due_at - timezone.now()


class TestAnswers:
    def test_what_is_due_is_asked_once_and_stored(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        want("oracle", "age", [f"k{n}" for n in range(40)])
        run()
        run()
        assert set(statuses().values()) == {"found"}
        lookup = Lookup.objects.get(key="k7")
        assert (lookup.answer, lookup.claim, lookup.last_error) == ({"path": "/age", "q": "k7"}, "", "")
        assert timedelta(days=26) < until_due_again("k7") <= timedelta(days=30)
        assert len({until_due_again(key) // timedelta(hours=1) for key in statuses()}) > 10  # spread
        assert len(server.arrivals) == 40
        assert LookupMinute.objects.aggregate(a=Sum("requests"), b=Sum("found")) == {"a": 40, "b": 40}

    def test_a_limit_ends_it_and_the_rest_is_asked_next_time(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server, threads=4)
        want("oracle", "age", [f"k{n}" for n in range(20)])
        left: list[int] = []
        Runner(limit=6).run(until_idle=True, on_round=lambda: left.append(Lookup.objects.open().count()))
        assert (len(server.arrivals), left[-1]) == (6, 14)
        run()
        assert set(statuses().values()) == {"found"}

    def test_what_is_not_known_is_asked_again_ever_more_rarely(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        server.fail(error(404), times=None, when=asks("a"))
        want("oracle", "age", ["a", "b"])
        for days in (1, 3, 10, 30, 30):
            run()
            assert statuses() == {"a": "not_found", "b": "found"}
            assert until_due_again("a") == pytest.approx(timedelta(days=days), abs=timedelta(minutes=1))
            Lookup.objects.filter(key="a").update(due_at=Now())
        server.heal()
        run()
        assert statuses()["a"] == "found"

    def test_a_provider_says_when_what_is_not_known_is_asked_again(self, declare: Declare) -> None:
        declare(not_found_expiry=lambda kind, misses: timedelta(hours=misses) if misses < 3 and kind == "age" else None)
        want("oracle", "age", ["a"])
        want("oracle", "city", ["b"])
        for hours in (1, 2):
            run()
            assert until_due_again("a") == pytest.approx(timedelta(hours=hours), abs=timedelta(minutes=1))
            Lookup.objects.filter(key="a").update(due_at=Now())
        run()
        assert list(Lookup.objects.order_by("key").values_list("misses", "due_at")) == [(3, None), (1, None)]

    def test_a_key_without_an_answer_is_not_found(self, declare: Declare) -> None:
        declare(ask=lambda questions: {"a": {"age": 1}, "b": None})
        want("oracle", "age", ["a", "b", "c"])
        run()
        assert statuses() == {"a": "found", "b": "not_found", "c": "not_found"}

    def test_what_no_database_stores_is_left_out(self, declare: Declare) -> None:
        declare(ask=lambda questions: {"a": {"n\0me": ["\ud800x", float("nan"), 1.5, True, None]}})
        want("oracle", "age", ["a"])
        run()
        assert Lookup.objects.get().answer == {"n�me": ["?x", None, 1.5, True, None]}

    def test_candidates_are_kept_for_people(self, declare: Declare) -> None:
        answer = Answer(status="ambiguous", candidates=[{"id": 1}, {"id": 2}], score=0.5, how="title")
        declare(ask=lambda questions: {"a": answer})
        want("oracle", "age", ["a"])
        run()
        lookup = Lookup.objects.get()
        assert (lookup.status, lookup.candidates, lookup.answer) == ("ambiguous", [{"id": 1}, {"id": 2}], None)
        assert (lookup.score, lookup.how) == (0.5, "title")

    def test_a_rule_may_say_that_it_failed(self, declare: Declare) -> None:
        declare(ask=lambda questions: {"a": Answer(status="failed", message="Its id is of no known kind.")})
        want("oracle", "age", ["a"])
        run()
        lookup = Lookup.objects.get()
        assert (lookup.status, lookup.last_error) == ("failed", "Its id is of no known kind.")

    def test_old_data_stays_when_asking_again_fails(self, declare: Declare, server: Server) -> None:
        seen: list[tuple[str, bool]] = []
        declare(
            url=server.url,
            ask=ask_server,
            apply=lambda rows: seen.extend((r.status, r.gone_at is not None) for r in rows),
        )
        want("oracle", "age", ["a"])
        run()
        first = Lookup.objects.get()
        for fault in (error(404), error(400)):
            server.fail(fault, times=None)
            Lookup.objects.update(due_at=Now())
            run()
            server.heal()
            lookup = Lookup.objects.get()
            assert (lookup.status, lookup.answer, lookup.answered_at) == ("found", first.answer, first.answered_at)
            assert lookup.due_at is not None and lookup.due_at > timezone.now()
        assert seen == [("found", False), ("found", True)]
        Lookup.objects.update(due_at=Now())
        run()
        assert Lookup.objects.get().gone_at is None

    def test_several_are_asked_in_one_request_and_a_bad_one_alone(self, declare: Declare, server: Server) -> None:
        def ask(questions: Sequence[Question]) -> Mapping[str, Any]:
            keys = [question.key for question in questions]
            http.get_json("oracle", "/ages", {"q": ",".join(keys)})
            if "bad" in keys:
                raise QuestionError("No such key.", 400)
            return {key: {"age": 1} for key in keys}

        declare(url=server.url, ask=ask, batch=8)
        want("oracle", "age", [*(f"k{n}" for n in range(15)), "bad"])
        want("oracle", "sex", ["x"])
        run()
        assert {key for key, status in statuses().items() if status != "found"} == {"bad"}
        asked = [arrival.query["q"].split(",") for arrival in server.arrivals]
        assert max(map(len, asked)) == 8
        assert ["x"] in asked  # of another kind
        assert len(asked) <= 3 + 2 * 3 + 4  # three batches, one of them halved three times; four more tries

    def test_answers_that_come_along_are_not_asked_for(self, declare: Declare, server: Server) -> None:
        def ask(questions: Sequence[Question]) -> Mapping[str, Any]:
            found = ask_server(questions)
            also = {("detail", "7"): {"name": "seven"}, ("detail", "8"): Answer(status="not_found")}
            return {key: Answer(status="found", data=data, also=also) for key, data in found.items()}

        applied: list[str] = []
        declare(url=server.url, ask=ask, apply=lambda rows: applied.extend(row.key for row in rows))
        want("oracle", "age", ["a"])
        run()
        assert statuses() == {"a": "found", "7": "found", "8": "not_found"}
        assert Lookup.objects.get(key="7").answer == {"name": "seven"}
        assert sorted(applied) == ["7", "8", "a"]
        assert len(server.arrivals) == 1

    def test_what_follows_is_asked_next_for_the_same_upload(self, declare: Declare, server: Server) -> None:
        def apply(rows: Sequence[Lookup]) -> list[Want]:
            return [Want("oracle", "detail", f"of {row.key}", {"x": 1}, after=row) for row in rows if row.kind == "age"]

        upload = Upload.objects.create(client="c", stream="x", name="a.csv", format="csv", size=1, sha256="0")
        declare(url=server.url, ask=ask_server, apply=apply)
        want("oracle", "age", ["a", "b"], upload=upload.pk)
        run()
        assert statuses() == dict.fromkeys(["a", "b", "of a", "of b"], "found")
        detail = Lookup.objects.get(key="a").next
        assert detail is not None
        assert (detail.key, detail.question) == ("of a", {"x": 1})
        assert upload.lookups.count() == 4
        assert len(server.arrivals) == 4


class TestPrepared:
    def test_questions_are_completed_as_they_are_claimed(self, declare: Declare) -> None:
        asked: list[Question] = []

        def prepare(lookups: Sequence[Lookup]) -> None:
            for lookup in lookups:
                lookup.question["uploads"] = Upload.objects.count()

        def answer(questions: Sequence[Question]) -> Mapping[str, Any]:
            asked.extend(questions)
            return {question.key: True for question in questions}

        declare(ask=answer, prepare=prepare, batch=10)
        want("oracle", "age", {"a": {"born": 1970}, "b": {}})
        Upload.objects.create(client="c", stream="x", name="a.csv", format="csv", size=1, sha256="x", fingerprint="x")
        run()
        sent = {question.key: question.data for question in asked}
        assert sent == {"a": {"born": 1970, "uploads": 1}, "b": {"uploads": 1}}
        assert dict(Lookup.objects.values_list("key", "question")) == sent
        Upload.objects.all().delete()
        Lookup.objects.filter(key="b").update(due_at=Now())
        run()
        assert asked[-1].data == Lookup.objects.get(key="b").question == {"uploads": 0}

    def test_a_bug_in_preparing_concerns_its_own_question_alone(
        self, declare: Declare, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = [True]

        def prepare(lookups: Sequence[Lookup]) -> None:
            for lookup in lookups:
                lookup.question["n"] = 1
                if broken and lookup.key == "b":
                    raise ZeroDivisionError

        declare(url=server.url, ask=ask_server, prepare=prepare)
        want("oracle", "age", ["a", "b", "c"])
        with in_background():
            wait_until(lambda: statuses() == {"a": "found", "b": "open", "c": "found"}, "the others are answered")
            wait_until(lambda: Lookup.objects.get(key="b").failures > 2, "it is tried again")
            assert (Lookup.objects.get(key="b").fault, Lookup.objects.get(key="b").question) == ("code", {})
            assert Client().get("/health").json()["status"] == "degraded"
            broken.clear()
            wait_until(lambda: statuses()["b"] == "found", "it goes on by itself")
        assert Lookup.objects.filter(question={"n": 1}).count() == 3
        assert "Preparing a question to oracle failed." in caplog.text


class TestErrors:
    def test_a_question_that_is_refused_fails_after_five_tries(self, declare: Declare, server: Server) -> None:
        seen: list[str] = []
        declare(url=server.url, ask=ask_server, apply=lambda rows: seen.extend(row.status for row in rows))
        server.fail(error(422, {"message": "Too strange."}), times=None)
        want("oracle", "age", ["a"])
        run()
        lookup = Lookup.objects.get()
        assert (lookup.status, lookup.tries, lookup.due_at) == ("failed", 5, None)
        assert lookup.last_error == "The oracle answered 422: Too strange."
        assert len(server.arrivals) == 5
        assert seen == ["failed"]
        assert ProviderState.objects.get().away_since is None

    @pytest.mark.parametrize(
        "fault",
        [error(500), error(503), cut(0), cut(), broken_json(), not_json(), too_big(), redirect("http://127.0.0.1:9/")],
    )
    def test_an_outage_is_nobodys_try_and_ends_by_itself(self, declare: Declare, server: Server, fault: Fault) -> None:
        declare(url=server.url, ask=ask_server, threads=4)
        server.fail(fault, times=None)
        want("oracle", "age", [f"k{n}" for n in range(30)])
        during: list[dict[str, Any]] = []
        with in_background():
            wait_until(lambda: len(server.arrivals) >= 7, "it is tried again")
            during += provider_statuses()
            server.heal()
            wait_until(lambda: set(statuses().values()) == {"found"}, "all are answered")
        assert during[0]["waiting_for"] == "away"
        assert isinstance(during[0]["since"], datetime)
        assert during[0]["why"].startswith("The oracle ")
        assert set(Lookup.objects.values_list("tries", flat=True)) == {0}
        assert len(server.arrivals) - 30 < 20  # four were under way when it began; then one at a time
        (status,) = provider_statuses()
        assert (status["waiting_for"], status["since"], status["why"]) == (None, None, "")

    def test_time_outs_are_an_outage(self, declare: Declare, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http, "READ_TIMEOUT", 0.3)
        declare(url=server.url, ask=ask_server)
        server.fail(slow(1), times=5)
        want("oracle", "age", [f"k{n}" for n in range(5)])
        run()
        assert set(statuses().values()) == {"found"}
        assert set(Lookup.objects.values_list("tries", flat=True)) == {0}

    def test_pauses_of_an_outage_grow(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        server.fail(error(500), times=8)
        want("oracle", "age", ["a"])
        run()
        assert statuses() == {"a": "found"}
        times = [arrival.at for arrival in server.arrivals]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert gaps[-1] > 2  # 0.02 s · 2⁷
        assert gaps[-1] > gaps[3]

    def test_one_that_fails_while_others_are_answered_is_at_fault(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        server.fail(error(500), times=None, when=asks("bad"))
        want("oracle", "age", ["bad", *(f"k{n}" for n in range(20))])
        run()
        assert {key for key, status in statuses().items() if status != "found"} == {"bad"}
        lookup = Lookup.objects.get(key="bad")
        assert (lookup.status, lookup.last_error) == ("failed", "The oracle answered 500.")
        assert ProviderState.objects.get().away_since is None

    def test_a_refused_key_stops_the_provider_with_one_message(
        self, declare: Declare, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = ["old key"]
        declare(url=server.url, ask=ask_server, secret=lambda: secret[0], threads=4)
        server.fail(error(401, {"status_message": "Invalid API key."}), times=None)
        want("oracle", "age", [f"k{n}" for n in range(30)])
        run()
        run()
        assert len(server.arrivals) <= 8
        assert set(statuses().values()) == {"open"}
        assert set(Lookup.objects.values_list("tries", "claim")) == {(0, "")}
        (status,) = provider_statuses()
        assert (status["waiting_for"], status["why"]) == ("key_refused", "The oracle answered 401: Invalid API key.")
        assert status["since"] is not None
        assert "old key" not in repr(list(ProviderState.objects.values()))
        server.heal()
        run()
        assert set(statuses().values()) == {"open"}
        secret[0] = "new key"
        run()
        assert set(statuses().values()) == {"found"}

    def test_a_person_resumes_after_a_refused_key(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        server.fail(error(403))
        want("oracle", "age", ["a"])
        run()
        assert statuses() == {"a": "open"}
        assert control.resume("oracle")
        run()
        assert statuses() == {"a": "found"}

    def test_a_bug_in_asking_degrades_health_and_concerns_its_question_alone(
        self, declare: Declare, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = [True]

        def ask(questions: Sequence[Question]) -> Mapping[str, Any]:
            if questions[0].key == "a" and broken:
                raise KeyError("results")
            return ask_server(questions)

        declare(url=server.url, ask=ask)
        want("oracle", "age", ["a", "b", "c"])
        with in_background():
            wait_until(lambda: statuses() == {"a": "open", "b": "found", "c": "found"}, "the others are answered")
            wait_until(lambda: Lookup.objects.get(key="a").failures > 2, "it is tried again")
            assert (Lookup.objects.get(key="a").fault, Lookup.objects.get(key="a").tries) == ("code", 0)
            assert Client().get("/health").json()["status"] == "degraded"
            broken.clear()
            wait_until(lambda: statuses()["a"] == "found", "it goes on by itself")
        assert not Lookup.objects.filter(fault="code").exists()
        assert "KeyError: 'results'" in caplog.text

    def test_a_bug_in_applying_leaves_the_answer_unstored(
        self, declare: Declare, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        broken = [True]

        def apply(rows: Sequence[Lookup]) -> None:
            Upload.objects.create(
                client="c", stream="x", name="a", format="csv", size=1, sha256="0", fingerprint=rows[0].key
            )
            if broken and any(row.key == "a" for row in rows):
                raise ZeroDivisionError

        declare(url=server.url, ask=ask_server, apply=apply)
        want("oracle", "age", ["a", "b", "c"])
        with in_background():
            wait_until(lambda: statuses() == {"a": "open", "b": "found", "c": "found"}, "the others are stored")
            wait_until(lambda: Lookup.objects.get(key="a").fault == "code", "the error is noted")
            assert not Upload.objects.filter(fingerprint="a").exists()
            broken.clear()
            wait_until(lambda: statuses()["a"] == "found", "it goes on by itself")
        assert Upload.objects.filter(fingerprint="a").count() == 1

    def test_a_429_moves_the_next_slot_and_costs_no_try(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        server.fail(error(429, Retry_After="1"))
        want("oracle", "age", [f"k{n}" for n in range(30)])
        run()
        assert set(statuses().values()) == {"found"}
        assert set(Lookup.objects.values_list("tries", flat=True)) == {0}
        refused = next(arrival.at for arrival in server.arrivals if arrival.status == 429)
        after = [arrival.at - refused for arrival in server.arrivals if arrival.at > refused]
        assert not [seconds for seconds in after if 0.2 < seconds < 0.95]  # what was under way arrives in the meantime
        assert LookupMinute.objects.aggregate(a=Sum("throttled"), b=Sum("errors")) == {"a": 1, "b": 0}

    def test_a_long_429_is_a_date_and_the_run_ends(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server, threads=2)
        server.fail(error(429, Retry_After="300"), times=None)
        want("oracle", "age", [f"k{n}" for n in range(30)])
        started = time.monotonic()
        run()
        assert time.monotonic() - started < 20
        assert len(server.arrivals) <= 2
        assert set(Lookup.objects.values_list("status", "claim", "tries")) == {("open", "", 0)}
        (status,) = provider_statuses()
        assert status["waiting_for"] == "away"
        assert status["why"].startswith("The oracle asks to be left alone until ")


class TestTurns:
    def test_fifty_do_not_wait_for_twenty_thousand(self, declare: Declare) -> None:
        provider = declare()
        uploads = [
            Upload.objects.create(
                client="c", stream="x", name="a", format="csv", size=1, sha256=str(n), fingerprint=str(n)
            )
            for n in range(2)
        ]
        with transaction.atomic():
            want("oracle", "age", [f"large{n:05}" for n in range(20_000)], upload=uploads[0].pk)
        claims.claim(provider, 100)
        want("oracle", "age", [f"small{n:05}" for n in range(50)], upload=uploads[1].pk)
        next_ones = [lookup.key[:5] for lookup in claims.claim(provider, 100)]
        assert next_ones.count("small") >= 49

    def test_refreshes_come_last_but_what_a_person_asks_again_before_them(self, declare: Declare) -> None:
        provider = declare()
        found = want("oracle", "age", ["refresh", "again", "new"])
        ago = timezone.now() - timedelta(days=1)
        Lookup.objects.exclude(key="new").update(status="found", answer=1, due_at=ago)
        lookups.ask_again(Lookup.objects.filter(key="again"), "user:eva")
        assert [lookup.key for lookup in claims.claim(provider, 3)] == ["new", "again", "refresh"]
        assert claims.claim(provider, 3) == []
        assert len(found) == 3


class TestChoices:
    def test_a_choice_is_locked_against_answers_under_way(self, declare: Declare) -> None:
        applied: list[Any] = []
        provider = declare(apply=lambda rows: applied.extend((row.status, row.answer) for row in rows))
        want("oracle", "age", ["a"])
        (claimed,) = claims.claim(provider, 1)
        ProviderState.objects.create(provider="oracle")
        chosen = lookups.choose(claimed, "user:eva", {"id": 2})
        answers = [claims.Outcome(claimed, Answer(status="found", data={"id": 1}))]
        claims.store(provider, answers, Counter())
        chosen.refresh_from_db()
        assert (chosen.status, chosen.answer, chosen.how) == ("found", {"id": 2}, "chosen")
        assert (chosen.chosen_by, chosen.due_at) == ("user:eva", None)
        assert applied == [("found", {"id": 2})]
        assert lookups.ask_again(Lookup.objects.all(), "user:eva") == 0
        assert claims.claim(provider, 1) == []

    def test_none_of_the_candidates_is_a_choice_too_and_can_be_undone(self, declare: Declare) -> None:
        declare(ask=lambda questions: {"a": Answer(status="ambiguous", candidates=[{"id": 1}, {"id": 2}])})
        want("oracle", "age", ["a"])
        run()
        rejected = lookups.reject_all(Lookup.objects.get(), "user:eva")
        assert (rejected.status, rejected.candidates, rejected.is_chosen) == ("not_found", [{"id": 1}, {"id": 2}], True)
        Lookup.objects.update(due_at=Now())
        run()
        assert statuses() == {"a": "not_found"}
        undone = lookups.undo_choice(rejected, "user:eva")
        assert (undone.status, undone.is_chosen, undone.asked_again) == ("ambiguous", False, True)
        run()
        assert statuses() == {"a": "ambiguous"}


class TestEnd:
    def test_a_stop_takes_seconds_and_gives_back_what_is_under_way(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server, rate=(10, 1))
        server.fail(slow(20), times=None)
        want("oracle", "age", [f"k{n}" for n in range(40)])
        with in_background():
            wait_until(lambda: server.arrivals, "something is being asked")
            assert Lookup.objects.exclude(claim="").exists()
            started = time.monotonic()
        assert time.monotonic() - started < 6
        assert not [thread for thread in threading.enumerate() if thread.name == "lookups"]
        assert set(Lookup.objects.values_list("claim", "status", "tries")) == {("", "open", 0)}
        assert Lookup.objects.due().count() == 40

    def test_answers_that_arrive_at_the_end_are_stored(self, declare: Declare, server: Server) -> None:
        declare(url=server.url, ask=ask_server)
        server.fail(slow(0.5), times=None)
        want("oracle", "age", ["a"])
        with in_background():
            wait_until(lambda: server.arrivals, "it is being asked")
        assert statuses() == {"a": "found"}
