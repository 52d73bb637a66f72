"""A person of each kind and what is held about them in every place, beside another person, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from enrichment import completion
from enrichment.models import BulkAction
from enrichment.subjects.person import Person
from enrichment.subjects.search import everywhere, numbers, tables
from ingestion.models import Upload
from ingestion.streams import get
from tests.api import NDJSON, api, post
from tests.files import ndjson_of
from tests.people import person as member_of_staff
from tests.records import deliver, send, work_off
from tutoring.tests.factories import feedback, session, student, tutor

Record = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A kind of person. `records` makes those of each stream about one of them, in order of reference."""

    kind: str
    key: str
    other: str
    records: Callable[[str], Mapping[str, Record]]
    invalid: Record
    """What makes the last of these records invalid."""
    names: tuple[str, ...] = ()
    given: str = ""
    """The field that an upload gives to all of its records."""

    def __str__(self) -> str:
        return self.kind

    @property
    def person(self) -> Person:
        return Person.of(self.kind, self.key)

    @property
    def stream(self) -> str:
        """The last one."""
        return list(self.records(self.key))[-1]


def of_student(key: str) -> dict[str, Record]:
    return {
        "students": student(student_id=key, name="Zoë Quill" if key == "ST-zoë" else "Charles Babbage"),
        "sessions": session(session_id=f"X-{key}", student_id=key),
        "feedback": feedback(feedback_id=f"F-{key}", session_id=f"X-{key}", student_id=key),
    }


def of_tutor(key: str) -> dict[str, Record]:
    who = {"name": "Ida Rhodes", "email": "ida.rhodes@example.com"} if key == "T-ida" else {}
    return {
        "tutors": tutor(tutor_id=key, **who),
        "sessions": session(session_id=f"X-{key}", tutor_id=key),
        "feedback": feedback(feedback_id=f"F-{key}", session_id=f"X-{key}", tutor_id=key),
    }


def of_library(key: str) -> dict[str, Record]:
    return {"entries": {**get("entries").example, "library": key}}


def of_listener(key: str) -> dict[str, Record]:
    return {"listens": {**get("listens").example, "user_id": key}}


CASES = [
    Case("student", "ST-zoë", "ST-zoëra", of_student, {"overall_rating": 9}, ("Zoë Quill",)),
    Case("tutor", "T-ida", "T-idas", of_tutor, {"overall_rating": 9}, ("Ida Rhodes", "ida.rhodes@example.com")),
    Case("library", "zora", "zora-2", of_library, {"year": -1}, given="library"),
    Case("listener", "wilma", "wilma-2", of_listener, {"ms_played": -1}, given="user_id"),
]


def hold_everything(case: Case) -> None:
    """About the person and another one: stored, refused, failed, fixed, in a file, answered, and in the history."""
    send("tutors", tutor())
    send("students", student())
    for stream, record in case.records(case.key).items():
        send(stream, case.records(case.other)[stream], record)
    last, other = case.records(case.key)[case.stream], case.records(case.other)[case.stream]
    deliver(case.stream, {**last, **case.invalid}, other)  # refused at the door, and kept in the body
    client = api()
    for number, body in enumerate(([last, {**last, **case.invalid}, other], last)):
        path = f"/api/{case.stream}/batch" if isinstance(body, list) else f"/api/{case.stream}"
        answer = post(client, path, body, headers={"Idempotency-Key": f"{number}"})
        assert answer.status_code == 202, answer.content
    upload(case.stream, [other, last], name="both.ndjson")
    if case.given:
        without = {name: value for name, value in last.items() if name != case.given}
        upload(case.stream, [without], name="own.ndjson", **{case.given: case.key})
    send(case.stream, {**last, **case.invalid}, {**other, **case.invalid}, keep_invalid=True)
    write_history(case)


def upload(stream: str, records: list[Record], **given: str) -> Upload:
    query = "&".join(f"{name}={value}" for name, value in given.items())
    path = f"/api/uploads?stream={stream}&missing=clear&{query}"
    answer = post(api(), path, ndjson_of(records), NDJSON)
    assert answer.status_code == 201, answer.content
    finish()
    return Upload.objects.get(pk=answer.json()["uploads"][0]["id"])


def finish() -> None:
    work_off()
    while completion.run_next_step():
        pass


def write_history(case: Case) -> None:
    user = member_of_staff("operator")
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(get(next(iter(case.records(case.key)))).model),
        object_id=case.key,
        object_repr=f"{case.kind} {case.key}",
        action_flag=2,
        change_message=f"Refreshed {case.key} and {case.other}.",
    )
    BulkAction.objects.create(
        kind=BulkAction.Kind.FIX,
        by="user:operator",
        filter={"key": case.key},
        change={"operation": "set", "field": "name", "value": f'"{case.key}"'},
        reason=f"{case.key} asked for it",
    )


def places(case: Case) -> dict[str, int]:
    """table.column → rows in which the person is found by key or name, in the whole database."""
    return numbers(everywhere(case.person.wanted(case.names), tables()))
