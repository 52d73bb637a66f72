"""The README says what the code does: every setting, every command, and no default that is another."""

import importlib.util
import re
from pathlib import Path

import pytest
from django.core.management import get_commands

from tests.database import setting_names
from tests.servers import ROOT

README = (ROOT / "README.md").read_text()
APPS = ("tutormax", "tutoring", "enrichment", "ingestion")


def _commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in APPS)


def _row(name: str) -> str:
    """The row of a table that begins with this name."""
    found = re.search(rf"^\| `{name}\b.*$", README, re.MULTILINE)
    assert found, f"README.md has no row for {name}."
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


def test_links_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (ROOT / target).exists(), f"{page}: {target}"


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    explained = re.findall(r"^(\w+):.*## ", makefile, re.MULTILINE)
    assert set(phony[1].split()) - {"chromium"} == set(explained)
