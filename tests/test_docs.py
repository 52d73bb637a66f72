"""The documents say what the code does: every setting and command, no other default, no link that leads nowhere."""

import importlib.util
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from api.deliveries import DELIVERY_FILTERS, HELD_FILTERS
from tests.forks import setting_names
from tests.servers import ROOT

REFERENCE = (ROOT / "docs" / "reference.md").read_text()
APPS = ("tutormax", "tutoring", "enrichment", "ingestion")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
MAX_README_LINES = 150


def _commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in APPS)


def _row(name: str) -> str:
    """The row of a table that begins with this name."""
    found = re.search(rf"^\| `{name}\b.*$", REFERENCE, re.MULTILINE)
    assert found, f"docs/reference.md has no row for {name}."
    return found[0]


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_has_a_row(name: str) -> None:
    assert _row(name).count("|") == 4


def test_no_default_is_another() -> None:
    source = (ROOT / "tutormax" / "settings.py").read_text()
    defaults = dict(re.findall(r"""env\.\w+\("(\w+)", "?([^",)]+)"?""", source))
    assert len(defaults) > 10
    for name, default in defaults.items():
        if name not in ("DATABASE_URL", "ALLOWED_HOSTS"):
            assert default.replace("_", "").lower() in _row(name).split("|")[2].lower(), name


@pytest.mark.parametrize("name", _commands())
def test_every_command_has_a_row_with_its_options(name: str) -> None:
    module = importlib.util.find_spec(f"{get_commands()[name]}.management.commands.{name}")
    assert module and module.origin
    for option in re.findall(r"""add_argument\(\s*"(--[\w-]+)\"""", Path(module.origin).read_text()):
        assert option in _row(name), option


@pytest.mark.parametrize(("path", "filters"), [("deliveries", DELIVERY_FILTERS), ("dead-letters", HELD_FILTERS)])
def test_every_filter_of_a_clients_own_lists_is_named(path: str, filters: dict[str, object]) -> None:
    assert set(re.findall(r"`(\w+)`", _row(f"/api/{path}"))) == set(filters)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README_LINES


def _text(document: Path) -> str:
    """Without its examples, in which brackets are no links."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def _targets(document: Path) -> list[str]:
    """What it links to and shows."""
    text = re.sub(r"`[^`\n]*`", "", _text(document))
    found = re.findall(r"""\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)\"""", text)
    return [link or attribute for link, attribute in found]


def _anchors(document: Path) -> set[str]:
    """Of its headings, as the hosting site makes them."""
    headings = re.findall(r"^#+ (.*)$", _text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(document: Path) -> None:
    for target in _targets(document):
        if not re.match(r"https?:", target):
            path, _, anchor = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            assert file.exists(), target
            assert not anchor or anchor in _anchors(file), target


def test_each_document_leads_to_the_next() -> None:
    """From the client guide through all of docs/, and back to the README."""
    passed, document = [], ROOT / "docs" / "client-guide.md"
    while document != ROOT / "README.md":
        passed.append(document)
        following = re.search(r"^Next: [^(]*\]\(([^)]+)\)", document.read_text(), re.MULTILINE)
        assert following, document
        document = (document.parent / following[1]).resolve()
        assert document not in passed
    assert sorted(passed) == sorted((ROOT / "docs").rglob("*.md"))
    assert "docs/client-guide.md" in _targets(ROOT / "README.md")


def _product_files() -> dict[str, set[str]]:
    """folder → its modules, of everything but tests and migrations."""
    found: dict[str, set[str]] = {}
    for app in ("tutormax", "tutoring", "movies", "music", "console", "api", "enrichment", "ingestion", "standins"):
        for path in (ROOT / app).rglob("*.py"):
            if path.name != "__init__.py" and not {"tests", "migrations"} & set(path.parts):
                found.setdefault(f"{path.parent.relative_to(ROOT)}/", set()).add(path.name)
    return found


@pytest.mark.parametrize("folder", sorted(_product_files()))
def test_the_architecture_names_every_file(folder: str) -> None:
    row = re.search(rf"^\| `{re.escape(folder)}` \|(.*)$", ARCHITECTURE, re.MULTILINE)
    assert row, f"docs/architecture.md has no row for {folder}"
    assert set(re.findall(r"`(\w+\.py)`", row[1])) == _product_files()[folder]


def test_every_promise_has_its_test() -> None:
    rows = re.findall(r"^\| (P\d+) \| .* \| `([\w/.]+)` \|$", ARCHITECTURE, re.MULTILINE)
    assert [number for number, _ in rows] == [f"P{number}" for number in range(1, 12)]
    for number, file in rows:
        assert (ROOT / file).read_text().startswith(f'"""{number}: '), file


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    explained = re.findall(r"^(\w+):.*## ", makefile, re.MULTILINE)
    assert set(phony[1].split()) - {"programs"} == set(explained)
