import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from itertools import pairwise
from pathlib import Path
from statistics import mean
from threading import Thread
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pydantic import BaseModel, ValidationError
from pytest_django import Settings

from ingestion import streams
from ingestion.streams import Context
from ingestion.validation import validate
from tests.servers import free_port, manage
from tutoring.management.commands.generate_data import post
from tutoring.synthetic.faults import COPIES, KEY_FIELDS, Fault, Outcome, in_batches, plant
from tutoring.synthetic.generate import generate
from tutoring.synthetic.people import Plan
from tutoring.synthetic.profiles import ARCHETYPES, DURATIONS, PARTS_OF_DAY, WEEKDAYS
from tutoring.synthetic.regular import BATCH_RECORDS, Batch, regular

# The clocks of the American zones change within these days.
PLAN = Plan(tutors=400, students=1200, days=28, seed=7, until=date(2026, 3, 23))
SMALL = Plan(tutors=20, students=50, days=3, seed=7, until=date(2026, 3, 23))

Records = dict[str, list[dict[str, Any]]]


def collect(plan: Plan) -> Records:
    records: Records = {stream: [] for stream in KEY_FIELDS}
    for stream, batch in regular(plan):
        records[stream] += batch
    return records


@pytest.fixture(scope="module")
def made() -> Records:
    return collect(PLAN)


@pytest.fixture(scope="module")
def kind_of(made: Records) -> dict[str, str]:
    return {tutor["tutor_id"]: tutor["behavioral_archetype"] for tutor in made["tutors"]}


@pytest.fixture(scope="module")
def by_kind(made: Records, kind_of: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Sessions by their tutor's archetype."""
    found = defaultdict(list)
    for session in made["sessions"]:
        found[kind_of[session["tutor_id"]]].append(session)
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def share(of: list[dict[str, Any]], condition: Callable[[dict[str, Any]], Any]) -> float:
    return sum(bool(condition(record)) for record in of) / len(of)


# ── People ──


def test_it_makes_as_many_people_as_asked_for(made: Records) -> None:
    assert len(made["tutors"]) == 400
    assert len(made["students"]) == 1200


def test_archetypes_have_their_shares(made: Records) -> None:
    kinds = Counter(tutor["behavioral_archetype"] for tutor in made["tutors"])
    assert kinds == {"high_performer": 120, "at_risk": 80, "new_tutor": 100, "steady": 80, "churner": 20}


def test_new_tutors_and_they_alone_are_new(made: Records) -> None:
    for tutor in made["tutors"]:
        tenure = (PLAN.until - date.fromisoformat(tutor["onboarding_date"])).days
        assert (tenure < 30) == (tutor["behavioral_archetype"] == "new_tutor")


def test_no_two_records_share_a_key_and_no_two_tutors_an_address(made: Records) -> None:
    for stream, records in made.items():
        assert len({record[KEY_FIELDS[stream]] for record in records}) == len(records)
    assert len({tutor["email"] for tutor in made["tutors"]}) == len(made["tutors"])


@pytest.mark.parametrize(("tutors", "students"), [(1, 1), (1, 9), (40, 1), (40, 7), (7, 40)])
def test_any_numbers_of_people_are_linked(tutors: int, students: int) -> None:
    made = collect(Plan(tutors, students, 14, 1, PLAN.until))
    assert len(made["tutors"]) == tutors
    assert len(made["students"]) == students
    busy = {session["tutor_id"] for session in made["sessions"]}
    for tutor in made["tutors"]:
        is_here = tutor["status"] == "active" and tutor["behavioral_archetype"] != "new_tutor"
        assert tutor["tutor_id"] in busy or not is_here
    check_session_numbers(made["sessions"])


def test_names_and_texts_are_not_a_handful(made: Records) -> None:
    assert len({student["name"] for student in made["students"]}) > 600
    assert len({feedback.get("free_text_feedback") for feedback in made["feedback"]}) > 1500


# ── Sessions ──


def test_1200_tutors_give_about_3000_sessions_a_day() -> None:
    sessions = sum(len(batch) for stream, batch in regular(Plan(1200, 3000, 7, 1, PLAN.until)) if stream == "sessions")
    assert sessions / 7 == pytest.approx(3000, rel=0.1)


def test_tutors_work_about_as_much_as_their_baseline(made: Records) -> None:
    weekly = Counter(session["tutor_id"] for session in made["sessions"])
    for tutor in made["tutors"]:
        assert 5 <= tutor["baseline_sessions_per_week"] <= 30
        if tutor["behavioral_archetype"] in ("high_performer", "steady") and tutor["status"] == "active":
            assert weekly[tutor["tutor_id"]] / 4 == pytest.approx(tutor["baseline_sessions_per_week"], rel=0.25)


@pytest.mark.parametrize("kind", ARCHETYPES)
def test_archetypes_behave_as_the_table_says(kind: str, by_kind: Records) -> None:
    archetype, sessions = ARCHETYPES[kind], by_kind[kind]
    held = [session for session in sessions if not session["no_show"]]
    tolerance = 3 * (0.25 / len(held)) ** 0.5
    assert share(sessions, lambda session: session["no_show"]) == pytest.approx(archetype.no_show, abs=tolerance)
    rescheduled = share(sessions, lambda session: session["tutor_initiated_reschedule"])
    assert rescheduled == pytest.approx(archetype.reschedule, abs=tolerance)
    assert share(held, lambda session: session["late_start_minutes"] > 5) == pytest.approx(
        archetype.late, abs=tolerance
    )
    assert {session["engagement_score"] for session in held} <= {
        n / 100 for n in range(round(archetype.engagement[0] * 100), round(archetype.engagement[1] * 100) + 1)
    }


def test_archetypes_are_rated_in_their_order(made: Records, kind_of: Mapping[str, str]) -> None:
    ratings = defaultdict(list)
    for feedback in made["feedback"]:
        ratings[kind_of[feedback["tutor_id"]]].append(feedback["overall_rating"])
    means = [mean(ratings[kind]) for kind in ("high_performer", "steady", "new_tutor", "at_risk", "churner")]
    assert all(better - worse > 0.2 for better, worse in pairwise(means))
    assert means[0] > 4.5
    assert means[-1] < 2.8


def test_sessions_follow_the_day_and_the_week(made: Records) -> None:
    starts = [moment(session["scheduled_start"]) for session in made["sessions"]]
    parts = Counter("morning" if at.hour < 12 else "afternoon" if at.hour < 17 else "evening" for at in starts)
    for part, expected in PARTS_OF_DAY.items():
        assert parts[part] / len(starts) == pytest.approx(expected, abs=0.02)
    assert {at.hour for at in starts} <= set(range(6, 22))
    days = Counter(at.weekday() for at in starts)
    for weekday, weight in enumerate(WEEKDAYS):
        assert days[weekday] / len(starts) * 7 == pytest.approx(weight, rel=0.1)


def test_sessions_have_usual_durations(made: Records) -> None:
    durations = Counter(session["duration_minutes"] for session in made["sessions"])
    assert set(durations) == {30, 45, 60, 90}
    for minutes, expected in DURATIONS.items():
        assert durations[minutes] / len(made["sessions"]) == pytest.approx(expected, abs=0.04)


def test_no_tutor_is_in_two_sessions_at_once(made: Records) -> None:
    planned = defaultdict(list)
    for session in made["sessions"]:
        start = moment(session["scheduled_start"])
        planned[session["tutor_id"]].append((start, start + timedelta(minutes=session["duration_minutes"])))
    for times in planned.values():
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(sorted(times)))


def test_sessions_of_a_student_are_numbered_in_order_of_time(made: Records) -> None:
    check_session_numbers(made["sessions"])
    per_student = Counter(session["student_id"] for session in made["sessions"])
    assert mean(per_student.values()) > 5
    assert share(made["students"], lambda student: per_student[student["student_id"]] > 1) > 0.5
    assert sum(session["is_first_session"] for session in made["sessions"]) > 200


def check_session_numbers(sessions: list[dict[str, Any]]) -> None:
    reached: dict[str, dict[str, Any]] = {}
    for session in sessions:
        before = reached.get(session["student_id"])
        if before:
            assert session["session_number"] == before["session_number"] + 1
            assert moment(session["scheduled_start"]) >= moment(before["scheduled_start"])
        assert session["is_first_session"] == (session["session_number"] == 1)
        reached[session["student_id"]] = session


def test_times_carry_offsets_by_which_it_is_another_weekday_than_in_utc(made: Records) -> None:
    starts = [moment(session["scheduled_start"]) for session in made["sessions"]]
    assert {timedelta(hours=-5), timedelta(hours=-4), timedelta(), timedelta(hours=5, minutes=30)} <= {
        at.utcoffset() for at in starts
    }
    assert sum((at.weekday() >= 5) != (at.astimezone(UTC).weekday() >= 5) for at in starts) > 100


def test_every_tutor_gets_whole_days() -> None:
    days = defaultdict(set)
    for stream, batch in regular(Plan(400, 400, 5, 1, PLAN.until)):
        if stream == "sessions":
            for session in batch:
                start = moment(session["scheduled_start"])
                days[start.utcoffset()].add(start.date())
    assert {len(dates) for dates in days.values()} == {5}


def test_everything_has_happened_in_order_and_before_the_day_given(made: Records) -> None:
    created = {tutor["tutor_id"]: moment(tutor["created_at"]) for tutor in made["tutors"]}
    created |= {student["student_id"]: moment(student["created_at"]) for student in made["students"]}
    for records in made.values():
        for record in records:
            changed_at = record.get("updated_at") or record["created_at"]
            assert moment(record["created_at"]) <= moment(changed_at) <= PLAN.horizon
    for session in made["sessions"]:
        assert max(created[session["tutor_id"]], created[session["student_id"]]) <= moment(session["created_at"])
        assert moment(session["created_at"]) < moment(session["scheduled_start"]) < moment(session["updated_at"])
        if not session["no_show"]:
            assert moment(session["actual_start"]) < moment(session["actual_end"]) < moment(session["updated_at"])


# ── Feedback ──


def test_85_percent_of_sessions_held_get_feedback_and_30_percent_of_it_has_no_text(made: Records) -> None:
    held = {session["session_id"]: session for session in made["sessions"] if not session["no_show"]}
    assert {feedback["session_id"] for feedback in made["feedback"]} <= set(held)
    assert len(made["feedback"]) / len(held) == pytest.approx(0.85, abs=0.01)
    assert share(made["feedback"], lambda feedback: "free_text_feedback" not in feedback) == pytest.approx(
        0.30, abs=0.015
    )


def test_feedback_is_of_its_session_and_comes_after_it(made: Records) -> None:
    sessions = {session["session_id"]: session for session in made["sessions"]}
    for feedback in made["feedback"]:
        session = sessions[feedback["session_id"]]
        for name in ("tutor_id", "student_id", "is_first_session"):
            assert feedback[name] == session[name]
        assert moment(feedback["submitted_at"]) > moment(session["actual_end"])


@pytest.mark.parametrize(
    "went_badly",
    [
        lambda session: session["late_start_minutes"] > 15,
        lambda session: session["technical_issues"],
        lambda session: not session["learning_objectives_met"],
        lambda session: session["engagement_score"] < 0.5,
    ],
)
def test_sessions_that_went_badly_are_rated_worse(
    went_badly: Callable[[dict[str, Any]], bool], made: Records, kind_of: Mapping[str, str]
) -> None:
    sessions = {session["session_id"]: session for session in made["sessions"]}
    ratings: dict[bool, list[int]] = {True: [], False: []}
    for feedback in made["feedback"]:
        if (
            kind_of[feedback["tutor_id"]] == "at_risk"
        ):  # the same kind of tutor, so that the session makes the difference
            ratings[bool(went_badly(sessions[feedback["session_id"]]))].append(feedback["overall_rating"])
    assert mean(ratings[True]) < mean(ratings[False]) - 0.15


def test_texts_speak_of_what_happened(made: Records) -> None:
    sessions = {session["session_id"]: session for session in made["sessions"]}
    spoken = 0
    for feedback in made["feedback"]:
        text = feedback.get("free_text_feedback", "")
        assert "{" not in text
        if "minutes late" in text:
            spoken += 1
            assert f"{sessions[feedback['session_id']]['late_start_minutes']} minutes late" in text
    assert spoken > 50


# ── By our own schemas ──


Rows = dict[tuple[str, str], BaseModel]
"""The records that have been stored, by stream and key."""


def checker(rows: Rows, now: datetime) -> Callable[[str, Any], list[str]]:
    """check(stream, item) → the item's warnings, knowing `rows`; ValidationError where the item is invalid."""
    facts = {stream.name: stream.facts() for stream in streams.all_streams()}

    def check(stream: str, item: Any) -> list[str]:
        record = validate(streams.get(stream), item, now)
        known = {}
        for reference in streams.get(stream).references:
            key = (reference.stream, getattr(record, reference.field))
            if key in rows:
                known[key] = {name: getattr(rows[key], name) for name in reference.reads}
        return streams.get(stream).warn(record, Context(now=now, facts=facts[stream], rows=known))

    return check


def store(stream: str, item: Any, now: datetime, rows: Rows) -> None:
    rows[stream, item[KEY_FIELDS[stream]]] = validate(streams.get(stream), item, now)


@pytest.mark.django_db
@pytest.mark.parametrize("time_zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize("plan", [SMALL, Plan(60, 150, 21, 99, date(2026, 11, 9)), Plan(9, 4, 40, 5, date(2024, 3, 2))])
def test_our_schemas_find_neither_error_nor_warning(plan: Plan, time_zone: str, settings: Settings) -> None:
    settings.TIME_ZONE = time_zone
    rows: Rows = {}
    check = checker(rows, plan.horizon)
    for stream, batch in regular(plan):
        for record in batch:
            assert check(stream, record) == [], record
            for reference in streams.get(stream).references:
                assert (reference.stream, record[reference.field]) in rows  # it comes before what refers to it
            store(stream, record, plan.horizon, rows)


# ── Faults ──


@pytest.fixture(scope="module")
def planted() -> list[Fault]:
    return plant(SMALL)


def test_every_kind_of_bad_and_late_record_is_planted(planted: list[Fault]) -> None:
    assert {fault.expected for fault in planted} == set(Outcome)
    for stream in KEY_FIELDS:
        expected = {fault.expected for fault in planted if fault.stream == stream}
        assert {Outcome.DEAD, Outcome.INSERTED, Outcome.UPDATED, Outcome.STALE} <= expected
    assert {fault.stream for fault in planted if fault.expected == Outcome.LATER} == {"sessions", "feedback"}
    assert {fault.stream for fault in planted if fault.expected == Outcome.WAITING} == {"sessions", "feedback"}
    assert all(len(fault.records) >= COPIES for fault in planted)


@pytest.mark.django_db
def test_the_schemas_find_what_was_planted(planted: list[Fault]) -> None:
    rows = stored_by_regular()
    check = checker(rows, SMALL.horizon)
    for fault in planted:
        for item in fault.records:
            if fault.expected == Outcome.DEAD:
                with pytest.raises(ValidationError):
                    validate(streams.get(fault.stream), item, SMALL.horizon)
                continue
            warnings = check(fault.stream, item)
            assert bool(warnings) == (fault.expected == Outcome.WARNED), (fault.kind, warnings)
            store(fault.stream, item, SMALL.horizon, rows)


@pytest.mark.django_db
def test_a_planted_record_is_bad_in_one_field_only(planted: list[Fault]) -> None:
    for fault in planted:
        for item in fault.records:
            if fault.expected == Outcome.DEAD and isinstance(item, dict):
                with pytest.raises(ValidationError) as refusal:
                    validate(streams.get(fault.stream), item, SMALL.horizon)
                assert len({error["loc"][0] for error in refusal.value.errors()}) == 1, (fault.kind, refusal.value)


@pytest.mark.django_db
def test_references_of_planted_records_come_when_they_are_expected(planted: list[Fault]) -> None:
    arrived = set(stored_by_regular())
    late: list[tuple[Fault, dict[str, Any]]] = []
    for fault in planted:
        for item in fault.records:
            if fault.expected in (Outcome.WAITING, Outcome.LATER):
                assert missing(fault.stream, item, arrived)
                late.append((fault, item))
            elif fault.expected != Outcome.DEAD:
                assert not missing(fault.stream, item, arrived), fault.kind
                arrived.add((fault.stream, item[KEY_FIELDS[fault.stream]]))
    for fault, item in sorted(late, key=lambda found: found[0].stream, reverse=True):  # sessions, then feedback
        assert bool(missing(fault.stream, item, arrived)) == (fault.expected == Outcome.WAITING), fault.kind
        if fault.expected == Outcome.LATER:
            arrived.add((fault.stream, item[KEY_FIELDS[fault.stream]]))
    for fault in planted:  # what is bad can be stored once it is fixed
        for item in fault.records:
            if fault.expected == Outcome.DEAD and isinstance(item, dict) and "tutor_id" in item:
                assert not missing(fault.stream, item, arrived), fault.kind


def missing(stream: str, item: dict[str, Any], arrived: set[tuple[str, str]]) -> set[tuple[str, str]]:
    wanted = {(reference.stream, item[reference.field]) for reference in streams.get(stream).references}
    return wanted - arrived


def test_planted_versions_are_older_and_newer_than_what_was_there(planted: list[Fault]) -> None:
    versions: dict[tuple[str, str], datetime] = {}
    seen: set[tuple[str, str]] = set()
    arrival = datetime.combine(SMALL.until, time(), UTC)

    def version(record: dict[str, Any]) -> datetime:
        return moment(record["updated_at"]) if "updated_at" in record else arrival

    for stream, batch in regular(SMALL):
        versions |= {(stream, record[KEY_FIELDS[stream]]): version(record) for record in batch}
    for fault in planted:
        if fault.expected == Outcome.DEAD:
            continue
        for item in fault.records:
            key = (fault.stream, item[KEY_FIELDS[fault.stream]])
            if fault.expected == Outcome.UPDATED:
                assert version(item) >= versions[key]
            elif fault.expected == Outcome.STALE:
                assert key in seen or version(item) < versions[key]
            else:
                assert key not in versions
                seen.add(key)
            versions[key] = max(version(item), versions.get(key, version(item)))


def test_planted_records_can_be_sent_as_json(planted: list[Fault]) -> None:
    for stream, batch in in_batches(planted):
        assert stream in KEY_FIELDS
        assert len(batch) <= BATCH_RECORDS
        assert json.loads(json.dumps(batch).encode("ascii")) == batch


def test_the_same_record_twice_is_sent_in_one_delivery(planted: list[Fault]) -> None:
    for stream, batch in in_batches(planted):
        keys = Counter(
            item[KEY_FIELDS[stream]] for item in batch if isinstance(item, dict) and KEY_FIELDS[stream] in item
        )
        twice = [fault for fault in planted if fault.stream == stream and "same delivery" in fault.kind]
        if any(item in batch for item in twice[0].records):
            assert all(keys[item[KEY_FIELDS[stream]]] == 2 for item in twice[0].records)


def test_faults_need_feedback_to_copy() -> None:
    with pytest.raises(ValueError, match="more tutors or days"):
        plant(Plan(1, 1, 1, 25, date(2026, 3, 23)))


def stored_by_regular() -> Rows:
    rows: Rows = {}
    for stream, batch in regular(SMALL):
        for record in batch:
            store(stream, record, SMALL.horizon, rows)
    return rows


# ── Reproducible, in batches ──


def test_the_same_seed_and_day_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    written = []
    for hash_seed, clock in (("1", "America/Lima"), ("2", "Asia/Tokyo")):
        out = tmp_path / hash_seed
        arguments = ("--tutors=20", "--students=50", "--days=3", "--seed=7", "--until=2026-03-23", "--faults")
        database_url = os.environ["DATABASE_URL"]
        manage(
            "generate_data", *arguments, f"--out={out}", database_url=database_url, PYTHONHASHSEED=hash_seed, TZ=clock
        )
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) > 4


def test_another_seed_or_day_gives_other_records() -> None:
    same, seed, day = (
        collect(Plan(20, 50, 3, seed, until))
        for seed, until in [(7, date(2026, 3, 23)), (8, date(2026, 3, 23)), (7, date(2026, 3, 24))]
    )
    assert same == collect(SMALL)
    assert not {tutor["tutor_id"] for tutor in same["tutors"]} & {tutor["tutor_id"] for tutor in seed["tutors"]}
    assert same["sessions"] != day["sessions"]


def test_records_come_in_batches_as_they_are_made() -> None:
    batches = generate(700, 600, 1000, 1, date(2026, 3, 23))  # of which all would take a minute
    first = [next(batches) for _ in range(8)]
    assert [stream for stream, _ in first[:5]] == ["tutors", "tutors", "students", "students", "sessions"]
    assert [len(batch) for _, batch in first[:4]] == [500, 200, 500, 100]


def test_faults_come_after_everything_else() -> None:
    with_faults = list(generate(20, 50, 3, 7, SMALL.until, faults=True))
    assert with_faults == list(regular(SMALL)) + list(in_batches(plant(SMALL)))


# ── The command ──


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("generate_data", *arguments, stdout=output)
    return output.getvalue()


def small(plan: Plan = SMALL) -> list[str]:
    return [
        f"--tutors={plan.tutors}",
        f"--students={plan.students}",
        f"--days={plan.days}",
        f"--seed={plan.seed}",
        f"--until={plan.until}",
    ]


def test_it_writes_a_file_for_each_stream_in_order(tmp_path: Path) -> None:
    said = run(*small(), f"--out={tmp_path / 'new'}")
    files = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in files] == [
        "01-tutors.ndjson",
        "02-students.ndjson",
        "03-sessions.ndjson",
        "04-feedback.ndjson",
    ]
    read = {path.stem[3:]: [json.loads(line) for line in path.read_text().splitlines()] for path in files}
    assert read == collect(SMALL)
    assert f"Wrote {sum(len(records) for records in read.values())} records: 20 tutors, 50 students, " in said
    assert "lanted" not in said


def test_planted_records_are_written_in_their_order_and_listed(tmp_path: Path) -> None:
    said = run(*small(), "--faults", f"--out={tmp_path}")
    written = [
        (path.stem[3:], [json.loads(line) for line in path.read_text().splitlines()])
        for path in sorted(tmp_path.iterdir())[4:]
    ]
    assert written == list(in_batches(plant(SMALL)))
    for fault in plant(SMALL):
        assert any(
            line.startswith(fault.kind) and line.endswith(f"{len(fault.records)}  {fault.expected}")
            for line in said.splitlines()
        )
    dead = sum(len(fault.records) for fault in plant(SMALL) if fault.expected == Outcome.DEAD)
    assert f" {dead} dead: invalid" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out=.", "--until=2100-01-01"], "after today"),
        (["--out=.", "--until=yesterday"], "invalid"),
        (["--out=."], "not empty"),
        (["--out=/dev/null/here"], "Cannot write"),
        (["--out=.", "--seed=-1"], "--seed"),
        (["--out=.", f"--seed={10**18}"], "--seed"),
        (["--out=.", "--days=0"], "at least 1"),
        (["--out=.", "--days=1000000"], "--days"),
        (["--out=.", "--tutors=many"], "at least 1"),
        (
            ["--out=.", "--faults", "--tutors=1", "--students=1", "--days=1", "--seed=25", "--until=2026-03-23"],
            "faults",
        ),
        (["--post=http://localhost"], "--key"),
        (["--post=localhost:8000", "--key=k"], "not a valid address"),
        (["--post=http://localhost:port", "--key=k"], "not a valid address"),
        (["--post=http://localhost", "--key=k\n"], "key"),
        (["--out=.", "--post=http://localhost"], "not allowed"),
        ([], "required"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(*arguments)


# ── Posting ──


class Door(ThreadingHTTPServer):
    """Takes batches as the API does; answers with `troubles` first."""

    daemon_threads = True

    def __init__(self, *troubles: int) -> None:
        super().__init__(("127.0.0.1", 0), Knock)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.troubles = list(troubles)
        self.taken: list[Batch] = []
        self.keys: set[str] = set()
        self.connections = 0

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


HANG_UP = 0


class Knock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.troubles:
            failure = self.server.troubles.pop(0)
            if failure == HANG_UP:
                self.close_connection = True
            else:
                self.answer(failure, {"success": False, "error": {"code": "x", "message": "The door is shut."}})
            return
        stream = self.path.removeprefix("/under/api/").removesuffix("/batch?invalid=dead-letter")
        self.server.taken.append((stream, json.loads(body)))
        self.server.keys.add(self.headers["Authorization"])
        self.answer(202, {"success": True})

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    with Door(*getattr(request, "param", ())) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_posts_everything_in_order_over_one_connection(door: Door) -> None:
    said = run(*small(), "--faults", f"--post={door.url}/under/", "--key=abc.def")
    assert door.taken == list(generate(20, 50, 3, 7, SMALL.until, faults=True))
    assert door.keys == {"Api-Key abc.def"}
    assert door.connections == 1
    posted = sum(len(batch) for _, batch in door.taken)
    assert f"Posted {posted:,} records:" in said
    assert "dead: invalid" in said


@pytest.mark.parametrize("door", [(503, 429), (HANG_UP, HANG_UP)], indirect=True)
def test_it_sends_a_batch_again_until_it_is_taken(door: Door) -> None:
    assert post([("tutors", [1, 2]), ("students", [3])], door.url + "/under", "k") == {"tutors": 2, "students": 1}
    assert door.taken == [("tutors", [1, 2]), ("students", [3])]


@pytest.mark.parametrize("door", [(401,), (413,), (500,)], indirect=True)
def test_it_stops_where_the_server_refuses(door: Door) -> None:
    with pytest.raises(CommandError, match=r"batch of tutors with \d+: The door is shut\."):
        post([("tutors", [1]), ("students", [3])], door.url + "/under", "k")
    assert door.taken == []


@pytest.mark.parametrize("door", [(HANG_UP,) * 9], indirect=True)
def test_it_gives_up_on_a_connection_that_keeps_breaking(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutoring.management.commands.generate_data.RETRY_DELAYS", (0, 0, 0))
    with pytest.raises(CommandError, match="No answer"):
        post([("tutors", [1])], door.url, "k")


@pytest.mark.parametrize("door", [(503,) * 9], indirect=True)
def test_it_gives_up_on_a_server_that_keeps_asking_to_wait(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutoring.management.commands.generate_data.MAX_WAIT", 1)
    with pytest.raises(CommandError, match="503: The door is shut"):
        post([("tutors", [1])], door.url, "k")


def test_it_says_when_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutoring.management.commands.generate_data.RETRY_DELAYS", (0,))
    with pytest.raises(CommandError, match=r"No answer from 127\.0\.0\.1:\d+: Connection refused"):
        post([("tutors", [1])], f"http://127.0.0.1:{free_port()}", "k")
