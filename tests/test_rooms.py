"""Every file stands where CONTRIBUTING.md says, and pages, API and engine do not meet in one file."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.streams import all_streams
from tests.servers import ROOT

NO_PRODUCT = {"tests", "bench", "faults", "fuzz"}
NOT_LISTED = {"tests", "migrations"}
MAX_FILES = 18
OF_THE_API = ("rest_framework.views", "rest_framework.response", "rest_framework.request")
OF_THE_ADMIN = ("django.contrib.admin",)
ALSO_ELSEWHERE = ("django.contrib.admin.models",)
"""The history of the admin is a table like any other."""


def product_files(root: Path) -> set[str]:
    """The modules of the product, as paths below the root."""
    packages = [path.parent for path in root.glob("*/__init__.py") if path.parent.name not in NO_PRODUCT]
    paths = [path.relative_to(root) for package in packages for path in package.rglob("*.py")]
    return {str(path) for path in paths if path.name != "__init__.py" and not NOT_LISTED.intersection(path.parts)}


def listed_files(text: str) -> Counter[str]:
    """The paths in the block of CONTRIBUTING.md: a folder begins a line, its files follow."""
    heading = text.index("## Which names may stand in which folder")
    block = re.search(r"^```text\n(.*?)^```", text[heading:], re.MULTILINE | re.DOTALL)
    assert block, "CONTRIBUTING.md has no list of files below its heading."
    found: Counter[str] = Counter()
    folder = ""
    for word in block[1].split():
        if word.endswith("/"):
            folder = word
        else:
            found[folder + word] += 1
    return found


def imported(source: str) -> Iterator[str]:
    """The dotted names that the source imports, in functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def crossings(path: str, source: str, domains: set[str]) -> list[str]:
    """The imports of the API's or the admin's framework in a file that is of another face."""
    folder, _, name = path.partition("/")
    may_admin = (
        folder == "console"
        or path in ("tutormax/apps.py", "tutormax/urls.py")
        or (folder in domains and re.fullmatch(r"admin\w*\.py", name) is not None)
    )
    names = list(imported(source))
    of_api = [name for name in names if folder != "api" and _within(name, OF_THE_API)]
    of_admin = [name for name in names if _within(name, OF_THE_ADMIN) and not _within(name, ALSO_ELSEWHERE)]
    return of_api if may_admin else of_api + of_admin


def of_test_files(source: str) -> list[str]:
    """The imports of a test file or of something in it."""
    return [name for name in imported(source) if any(part.startswith("test_") for part in name.split("."))]


def _domains() -> set[str]:
    return {stream.model.__module__.partition(".")[0] for stream in all_streams()}


def test_every_file_is_listed_once_and_every_listed_file_is_there() -> None:
    listed = listed_files((ROOT / "CONTRIBUTING.md").read_text())
    there = product_files(ROOT)
    assert len(there) > 100
    assert there - set(listed) == set(), "These are not in the list of CONTRIBUTING.md."
    assert set(listed) - there == set(), "These are in the list of CONTRIBUTING.md and nowhere else."
    assert [path for path, times in listed.items() if times > 1] == []


def test_no_folder_is_crowded() -> None:
    folders = Counter(str(Path(path).parent) for path in product_files(ROOT))
    assert {folder: number for folder, number in folders.items() if number > MAX_FILES} == {}


def test_no_file_is_of_two_faces() -> None:
    files = {path: (ROOT / path).read_text() for path in product_files(ROOT)}
    assert "tutoring" in _domains()
    assert {path: found for path, source in files.items() if (found := crossings(path, source, _domains()))} == {}


@pytest.mark.parametrize(
    ("path", "line", "wrong"),
    [
        ("enrichment/held/page.py", "from rest_framework.response import Response", True),
        ("console/keys.py", "import rest_framework.views", True),
        ("ingestion/services.py", "def late():\n    from rest_framework import request", True),
        ("api/records.py", "from rest_framework.response import Response", False),
        ("api/records.py", "from django.contrib import admin", True),
        ("enrichment/stats.py", "from django.contrib.admin import site", True),
        ("enrichment/stats.py", "from django.contrib.admin.models import LogEntry", False),
        ("tutormax/checks.py", "from django.contrib.admin.sites import site", True),
        ("tutormax/urls.py", "from django.contrib import admin", False),
        ("console/held/admin.py", "from django.contrib import admin", False),
        ("a_domain/admin_filters.py", "from django.contrib import admin", False),
        ("a_domain/models.py", "from django.contrib import admin", True),
        ("a_domain/models.py", "from django.contrib import messages", False),
    ],
)
def test_a_file_of_two_faces_is_found(path: str, line: str, wrong: bool) -> None:
    assert bool(crossings(path, line, {"a_domain"})) is wrong


def test_no_test_file_is_imported() -> None:
    """What several of them use is in a module beside them."""
    sources = [*ROOT.glob("*.py"), *(path for folder in ROOT.glob("[a-z]*/") for path in folder.rglob("*.py"))]
    assert len([path for path in sources if path.name.startswith("test_")]) > 50
    assert {str(path): found for path in sources if (found := of_test_files(path.read_text()))} == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("from tests.test_rooms import imported", True),
        ("from tests import test_rooms", True),
        ("def late():\n    import tests.promises.test_once", True),
        ("from tests.records import send", False),
        ("from django.test import Client", False),
    ],
)
def test_an_import_of_a_test_file_is_found(line: str, wrong: bool) -> None:
    assert bool(of_test_files(line)) is wrong
