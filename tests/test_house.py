"""The house is in order: imports run one way, and only a domain names its streams."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from enrichment.models import StoredRecord
from ingestion import streams
from tests.servers import ROOT


def _lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_imports_run_one_way() -> None:
    result = _lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("ingestion", "import enrichment.models"),
        ("enrichment", "from tutoring import models"),
        ("tutoring", "from tutormax.urls import urlpatterns"),
        ("api", "import console.base"),
        ("console", "import api.urls"),
        ("tutoring", "import movies.models"),
        ("movies", "import tutoring.models"),
    ],
)
def test_an_import_the_other_way_is_found(tmp_path: Path, module: str, line: str) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for package, contents in {
        "tutormax": "urls",
        "tutoring": "models",
        "console": "base",
        "api": "urls",
        "enrichment": "models",
        "ingestion": "models",
        "movies": "models",
        "music": "models",
    }.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / f"{contents}.py").touch()
    assert _lint_imports(tmp_path).returncode == 0
    (tmp_path / module / "wrong.py").write_text(f"{line}\n")
    assert f"{module}.wrong" in _lint_imports(tmp_path).stdout


def test_a_circle_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for package in ("tutormax", "tutoring", "movies", "music", "console", "api", "enrichment", "ingestion"):
        for directory in (tmp_path / package, tmp_path / package / "a", tmp_path / package / "b"):
            directory.mkdir()
            (directory / "__init__.py").touch()
    (tmp_path / "enrichment" / "a" / "one.py").write_text("import enrichment.b.one\n")
    (tmp_path / "enrichment" / "b" / "one.py").touch()
    assert _lint_imports(tmp_path).returncode == 0
    (tmp_path / "enrichment" / "b" / "two.py").write_text("import enrichment.a\n")
    assert "No cycles are allowed in enrichment" in _lint_imports(tmp_path).stdout


def domain_names() -> set[str]:
    """Names of fields that only a domain has: those that records or rows have in common are left out, and words such
    as "name" that mean something elsewhere.
    """
    names: set[str] = set()
    for stream in streams.all_streams():
        names |= set(stream.schema.model_fields)
    for readable in streams.all_readables():
        names |= {name for field in readable.model._meta.concrete_fields for name in (field.name, field.attname)}
        names |= set(readable.related)
    shared = {field.name for field in StoredRecord._meta.get_fields()} | {"created_at", "updated_at", "derived_on"}
    shared |= {"lookup_id", "user_id", "gone_at", "is_complete"}  # which the engine's rows have as well
    return {name for name in names - shared if "_" in name}


def test_only_a_domain_names_its_streams_and_fields() -> None:
    fields = domain_names()
    assert {"tutor_id", "overall_rating", "scheduled_start", "tenure_days", "watched_on", "imdb_id"} <= fields
    quoted = "|".join(f"[\"']{name}[\"']" for name in streams.readable_names())
    words = r"tutor(?!max)\w*|students?\b|ratings?\b|feedback\b|movies?\b|letterboxd\w*"  # TutorMax is the product
    domain = re.compile(rf"{quoted}|\b(?:{'|'.join(fields)}|{words})", re.IGNORECASE)
    sources = [path for app in ("ingestion", "enrichment", "api", "console") for path in (ROOT / app).rglob("*.py")]
    sources = [path for path in sources if not {"tests", "migrations"} & set(path.parts)]
    sources = [path for path in sources if path.name != "earlier.py"]  # which speaks as an earlier API did
    assert len(sources) > 80
    guilty = {path.relative_to(ROOT): found for path in sources if (found := domain.findall(path.read_text()))}
    assert guilty == {}
    assert domain.findall('TutorMax tutormax_up "tutors" tutor\'s x.tutor_id Feedback') != []
