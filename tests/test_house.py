"""The house is in order: imports run one way, and only a domain names its streams."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    }.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        (tmp_path / package / f"{contents}.py").touch()
    assert _lint_imports(tmp_path).returncode == 0
    (tmp_path / module / "wrong.py").write_text(f"{line}\n")
    assert f"{module}.wrong" in _lint_imports(tmp_path).stdout


def test_only_a_domain_names_its_streams() -> None:
    quoted = re.compile("|".join(f"[\"']{name}[\"']" for name in streams.names()))
    sources = [path for app in ("ingestion", "enrichment") for path in (ROOT / app).rglob("*.py")]
    guilty = [path for path in sources if "tests" not in path.parts and quoted.search(path.read_text())]
    assert len(sources) > 20
    assert guilty == []
