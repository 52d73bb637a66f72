"""A new kind of record is one declaration: a folder and a line in INSTALLED_APPS, and nothing else is touched."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import NewDatabase
from tests.api import ask
from tests.forks import ROOT, loaded
from tests.servers import WebServer, manage

DOMAIN = {
    "toys/__init__.py": "",
    "toys/migrations/__init__.py": "",
    "toys/apps.py": """
        from importlib import import_module

        from django.apps import AppConfig


        class ToysConfig(AppConfig):
            name = "toys"

            def ready(self) -> None:
                import_module("toys.streams")
    """,
    "toys/schemas.py": """
        from typing import Annotated

        from pydantic import Field

        from ingestion.fields import Day, Identifier, PastTime, Record, Text100, WholeNumber


        class ToyRecord(Record):
            "A toy."

            toy_id: Identifier
            name: Text100
            pieces: Annotated[int, Field(ge=1, le=10_000), WholeNumber]
            seen_at: PastTime | None = None


        class LoanRecord(Record):
            "Somebody has taken a toy home."

            toy_id: Identifier
            "The toy."
            child: Text100
            "Who has it."
            day: Day
            "Since when."
    """,
    "toys/models.py": """
        from django.db import models
        from django.utils import timezone

        from enrichment.models import StoredRecord


        class Toy(StoredRecord):
            toy_id = models.CharField(max_length=64, primary_key=True)
            name = models.CharField(max_length=100)
            pieces = models.IntegerField()
            seen_at = models.DateTimeField(null=True, blank=True)
            is_big = models.BooleanField(editable=False, help_text="More than 100 pieces.")

            def __str__(self) -> str:
                return self.toy_id


        class Loan(StoredRecord):
            loan_id = models.CharField(max_length=200, primary_key=True, help_text="Toy and child.")
            toy = models.ForeignKey(Toy, models.PROTECT)
            child = models.CharField(max_length=100)
            day = models.DateField()
            shelf = models.ForeignObject(
                "Shelf", models.DO_NOTHING, from_fields=["toy"], to_fields=["shelf_id"], related_name="+", null=True
            )

            def __str__(self) -> str:
                return self.loan_id


        class Shelf(models.Model):
            shelf_id = models.CharField(max_length=64, primary_key=True, help_text="That of the toy.")
            toy = models.ForeignKey(Toy, models.CASCADE, help_text="The toy.")
            loans = models.IntegerField(help_text="How often it has been lent.")
            counted = models.BooleanField(default=False, help_text="A whole file has been counted.")
            stored_at = models.DateTimeField(default=timezone.now, db_index=True, help_text="When it changed.")

            def __str__(self) -> str:
                return self.shelf_id
    """,
    "toys/shelves.py": """
        from toys.models import Loan, Shelf


        def count_loans(rows, context):
            for toy in sorted({row.columns["toy_id"] for row in rows}):
                number = Loan.objects.filter(toy=toy).count()
                Shelf.objects.update_or_create(shelf_id=toy, defaults={"toy_id": toy, "loans": number})


        def all_counted(upload):
            Shelf.objects.update(counted=True)
    """,
    "toys/enrich.py": """
        def enrich_toy(toy, context):
            return {"is_big": toy.pieces > 100}


        def warn_toy(toy, context):
            return ["pieces: more than 1,000 is unusual"] if toy.pieces > 1000 else []
    """,
    "toys/streams.py": """
        from ingestion.streams import Readable, Reference, Stream, register, register_list
        from toys.enrich import enrich_toy, warn_toy
        from toys.models import Loan, Shelf, Toy
        from toys.schemas import LoanRecord, ToyRecord
        from toys.shelves import all_counted, count_loans

        TOYS = Stream(
            name="toys",
            schema=ToyRecord,
            model=Toy,
            key="toy_id",
            enrich=enrich_toy,
            warn=warn_toy,
            version_field="seen_at",
            search=("toy_id", "name"),
            example={"toy_id": "TOY-1", "name": "Blocks", "pieces": 120, "seen_at": "2025-02-28T18:00:00Z"},
        )
        LOANS = Stream(
            name="loans",
            schema=LoanRecord,
            model=Loan,
            key="loan_id",
            key_of=lambda loan: f"{loan.get('toy_id')} {loan.get('child')}",
            enrich=lambda loan, context: {},
            references=(Reference(field="toy_id", stream="toys"),),
            stored=count_loans,
            file_completed=all_counted,
            related={"times_lent": "shelf__loans", "toy_name": "toy__name"},
            search=("toy_name",),
            example={"toy_id": "TOY-1", "child": "Kim", "day": "2025-02-28"},
        )
        SHELVES = Readable(
            name="shelves",
            model=Shelf,
            key="shelf_id",
            related={"toy_name": "toy__name", "toy_is_big": "toy__is_big"},
            listed=lambda rows: rows.exclude(loans=0),
            search=("toy_name",),
            example={"shelf_id": "TOY-1", "toy_id": "TOY-1", "loans": 2, "counted": True, "toy_name": "Blocks"},
        )
        register(TOYS)
        register(LOANS)
        register_list(SHELVES)
    """,
    "toys/admin.py": """
        from django.contrib import admin

        from console.filters import WarningsFilter, flag_filter
        from console.stored.admin import StoredRecordAdmin
        from toys.models import Toy
        from toys.streams import TOYS


        @admin.register(Toy)
        class ToyAdmin(StoredRecordAdmin):
            stream = TOYS
            ordering = ["toy_id"]
            list_display = ("toy_id", "name", "is_big", "stored")
            list_filter = (flag_filter("is_big", "big"), WarningsFilter)
    """,
    "toy_settings.py": """
        from tutormax.settings import *

        INSTALLED_APPS = [*INSTALLED_APPS, "toys"]
    """,
}
PAGES = """
import json
from django.test import Client
from django.contrib.auth.models import Group, User
user = User.objects.create_user("{group}", is_staff=True)
user.groups.add(Group.objects.get(name="{group}"))
client = Client(SERVER_NAME="localhost")
client.force_login(user)
answers = [client.get(path, follow=True) for path in {paths}]
print(json.dumps([[answer.status_code, answer.content.decode()] for answer in answers]))
"""
RECORDS = [
    {"toy_id": "T-1", "name": "Castle", "pieces": 1200, "seen_at": "2025-03-01T00:00:00Z"},
    {"toy_id": "T-2", "name": "Ball", "pieces": 1},
    {"toy_id": "T-3", "name": "Nothing", "pieces": 0},
]


class Installation:
    """TutorMax with the toys, on a database of its own."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory, self.database_url = directory, database_url
        path = os.pathsep.join([str(directory), str(ROOT)])
        self.settings = {"PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "toy_settings"}
        for name, text in DOMAIN.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(line.removeprefix(" " * 8) for line in text.split("\n")).strip() + "\n")

    def install(self) -> None:
        self.manage("makemigrations", "toys")
        self.manage("migrate", "--verbosity=0")
        self.key = self.manage("create_api_key", "toys").strip()

    def manage(self, *args: str) -> str:
        result = manage(*args, database_url=self.database_url, check=False, **self.settings)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def pages(self, group: str, *paths: str) -> list[str]:
        """The pages of the admin, as a member of this group sees them."""
        answers = json.loads(self.manage("shell", "-v0", "-c", PAGES.format(group=group, paths=paths)).splitlines()[-1])
        for path, (status, text) in zip(paths, answers, strict=True):
            assert status == 200, (path, text[:1000])
        return [text for _, text in answers]


@pytest.fixture
def toys(new_database: NewDatabase, tmp_path: Path) -> Iterator[Installation]:
    toys = Installation(tmp_path, new_database())
    with loaded(database_url=toys.database_url, **toys.settings):
        toys.install()
        yield toys


@pytest.fixture
def server(toys: Installation) -> Iterator[WebServer]:
    with WebServer(toys.database_url, **toys.settings) as server:
        yield server


def test_a_domain_is_a_folder_and_a_line_in_the_settings(toys: Installation, server: WebServer) -> None:
    def call(path: str, body: Any = None) -> Any:
        status, _, answer = ask(server.url + path, toys.key, body)
        assert status < 300, answer
        return answer

    toys.manage("check", "--fail-level=WARNING")

    # It is posted, and what is invalid becomes a dead letter.
    accepted = call("/api/toys/batch?invalid=dead-letter", RECORDS)
    assert accepted["count"] == 3
    assert accepted["warnings"] == [{"index": 0, "id": "T-1", "warnings": ["pieces: more than 1,000 is unusual"]}]
    toys.manage("enrich_pending")
    outcome = call(accepted["status_url"].removeprefix(server.url))
    assert (outcome["status"], outcome["inserted"], outcome["dead"]) == ("processed", 2, 1)

    # It is listed, filtered, searched and read.
    assert [row["toy_id"] for row in call("/api/toys")["results"]] == ["T-1", "T-2"]
    assert [row["toy_id"] for row in call("/api/toys?is_big=true&pieces_min=1000")["results"]] == ["T-1"]
    assert [row["toy_id"] for row in call("/api/toys?search=ball")["results"]] == ["T-2"]
    assert call("/api/toys/T-1")["is_big"] is True
    [dead] = call("/api/dead-letters?stream=toys")["results"]
    assert (dead["id"], dead["code"], set(dead["messages"])) == ("T-3", "invalid", {"pieces"})
    assert call("/api/stats")["streams"]["toys"]["inserted"] == 2
    description = json.loads(call("/openapi.json"))
    assert {"/api/toys", "/api/toys/batch", "/api/toys/{key}"} <= set(description["paths"])
    assert "/api/toys" in call("/")["endpoints"]

    # It has its pages in the admin, for every group.
    listed, filtered, one, index, failed, found = toys.pages(
        "viewer",
        "/admin/toys/toy/",
        "/admin/toys/toy/?is_big__exact=1",
        "/admin/toys/toy/T-1/change/",
        "/admin/",
        "/admin/enrichment/deadletter/?stream=toys",
        "/admin/find/?q=toys+T-2",
    )
    assert "Castle" in listed and "Ball" in listed
    assert "Castle" in filtered and "Ball" not in filtered
    assert "more than 1,000 is unusual" in one
    assert "toys" in index and "T-3" in failed and "T-2" in found
    [fix] = toys.pages("operator", f"/admin/enrichment/deadletter/{primary_key(toys)}/fix/")
    assert "pieces" in fix

    # A file of it is imported, and it is exported.
    (toys.directory / "toys.csv").write_text("Toy ID,Name,Pieces\nT-3,Doll,12\n")
    toys.manage("ingest_file", str(toys.directory / "toys.csv"), "--stream=toys")
    toys.manage("enrich_pending")
    assert call("/api/dead-letters?stream=toys")["results"] == []
    toys.manage("export_data", "--stream=toys", "--format=csv", f"--out={toys.directory / 'export.csv'}")
    with open(toys.directory / "export.csv", newline="") as file:
        assert {(row["toy_id"], row["is_big"]) for row in csv.DictReader(file)} == {
            ("T-1", "true"),
            ("T-2", "false"),
            ("T-3", "false"),
        }

    # What is newer is known by its own field.
    call("/api/toys", {**RECORDS[0], "name": "Old castle", "seen_at": "2025-02-01T00:00:00Z"})
    toys.manage("enrich_pending")
    assert call("/api/toys/T-1")["name"] == "Castle"
    toys.manage("refresh_derived", "--all", "--stream=toys")


def test_a_domain_computes_keys_and_rows_of_its_own(toys: Installation, server: WebServer) -> None:
    def call(path: str, body: Any = None, status: int = 0) -> Any:
        found, _, answer = ask(server.url + path, toys.key, body)
        assert found == status or (not status and found < 300), answer
        return answer

    kim = {"toy_id": "T-1", "child": "Kim", "day": "1999-12-31"}
    lu = {"toy_id": "T-1", "child": "Lu", "day": "0400-02-29"}
    accepted = call("/api/loans", {**kim, "loan_id": "of the client"})
    assert accepted["id"] == "T-1 Kim"
    call("/api/loans/batch", [lu, {**lu, "child": "Mo", "day": "2025-13-01"}])
    toys.manage("enrich_pending")
    assert call("/api/loans")["results"] == []  # they wait for the toy
    call("/api/toys/batch", RECORDS[:2])
    toys.manage("enrich_pending")
    assert {row["loan_id"] for row in call("/api/loans")["results"]} == {"T-1 Kim", "T-1 Lu"}
    assert [row["loan_id"] for row in call("/api/loans?day_before=1999-12-30")["results"]] == ["T-1 Lu"]
    assert call("/api/loans/T-1%20Kim")["day"] == "1999-12-31"
    assert "day_after" in call("/api/loans?day_after=yesterday", status=400)["error"]["fields"]

    # The rows that are computed from them are listed, filtered, searched and exported, and take no records.
    [shelf] = call("/api/shelves")["results"]
    assert (shelf["shelf_id"], shelf["loans"], shelf["toy_name"], shelf["counted"]) == ("T-1", 2, "Castle", False)
    assert len(call("/api/shelves?toy_is_big=true&search=CAST&loans_min=2")["results"]) == 1
    assert call("/api/shelves?toy_is_big=false")["results"] == []
    assert call("/api/shelves/T-1") == shelf
    call("/api/shelves", {"shelf_id": "T-2"}, status=405)
    assert {"/api/shelves", "/api/shelves/{key}"} <= set(call("/")["endpoints"])
    paths = json.loads(call("/openapi.json"))["paths"]
    assert set(paths["/api/shelves"]) == {"get"} and set(paths["/api/loans"]) == {"get", "post"}
    toys.manage("export_data", "--stream=shelves", "--format=ndjson", f"--out={toys.directory / 'shelves.ndjson'}")
    assert json.loads((toys.directory / "shelves.ndjson").read_text())["toy_is_big"] is True

    # A file is completed once all of its records have been processed.
    (toys.directory / "loans.csv").write_text("toy_id,child,day\nT-2,Kim,03/31/2024\nT-2,Kim,04/30/2024\n")
    toys.manage("ingest_file", str(toys.directory / "loans.csv"), "--stream=loans")
    toys.manage("enrich_pending")
    assert [(row["shelf_id"], row["loans"], row["counted"]) for row in call("/api/shelves")["results"]] == [
        ("T-1", 2, True),
        ("T-2", 1, True),
    ]
    assert call("/api/loans/T-2%20Kim")["day"] == "2024-04-30"

    # Of other tables records show, and are filtered by, what is there now, or nothing.
    found = call("/api/loans?fields=loan_id,times_lent,toy_name&toy_id=T-2&search=bal")["results"]
    assert found == [{"loan_id": "T-2 Kim", "times_lent": 1, "toy_name": "Ball"}]
    assert [row["loan_id"] for row in call("/api/loans?times_lent_min=2")["results"]] == ["T-1 Kim", "T-1 Lu"]
    toys.manage("shell", "-v0", "-c", "from toys.models import Shelf; Shelf.objects.filter(pk='T-2').delete()")
    [alone] = call("/api/loans?times_lent_missing=true")["results"]
    assert (alone["loan_id"], alone["times_lent"], alone["toy_name"]) == ("T-2 Kim", None, "Ball")
    assert len(call("/api/loans")["results"]) == 3
    toys.manage("export_data", "--stream=loans", "--format=csv", f"--out={toys.directory / 'loans-out.csv'}")
    with open(toys.directory / "loans-out.csv", newline="") as file:
        assert [(row["loan_id"], row["times_lent"]) for row in csv.DictReader(file)] == [
            ("T-1 Kim", "2"),
            ("T-1 Lu", "2"),
            ("T-2 Kim", ""),
        ]


def primary_key(toys: Installation) -> str:
    script = "from enrichment.models import HeldRecord; print(HeldRecord.objects.get(stream='toys').pk)"
    return toys.manage("shell", "-v0", "-c", script).splitlines()[-1]
