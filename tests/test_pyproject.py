"""The package's metadata: everything the package reads is shipped, and what CI runs is pinned."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import cada_trl

ROOT = Path(__file__).parents[1]
PACKAGE = Path(cada_trl.__file__).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_file_that_is_not_python_is_package_data() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["cada_trl"]
    shipped = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    present = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert present
    assert present - shipped == set()


def test_every_folder_of_the_package_is_found_by_setuptools() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("tool", ["ruff", "mypy", "pytest", "pytest-timeout", "hypothesis"])
def test_a_tool_that_can_fail_ci_is_pinned(tool: str) -> None:
    assert any(line.startswith(f"{tool}==") for line in PYPROJECT["project"]["optional-dependencies"]["dev"])


@pytest.mark.parametrize("library", ["torch", "trl", "transformers", "accelerate", "peft", "datasets", "hydra-core"])
def test_a_library_that_can_change_a_result_is_pinned(library: str) -> None:
    assert any(line.startswith(f"{library}==") for line in PYPROJECT["project"]["dependencies"])


def test_the_lock_was_made_from_these_requirements_and_names_no_index_but_pypi() -> None:
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    (own,) = (package for package in tomllib.loads(text)["package"] if package["name"] == "cada-trl")
    locked = {(line["name"], SpecifierSet(line.get("specifier", ""))) for line in own["metadata"]["requires-dist"]}
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    lines = [Requirement(line) for lines in (PYPROJECT["project"]["dependencies"], *extras) for line in lines]
    assert {(canonicalize_name(line.name), line.specifier) for line in lines} == locked, "run uv lock"
    hosts = {"https://pypi.org", "https://files.pythonhosted.org"}
    assert set(re.findall(r"\w+://[^/\"]*", text)) == hosts


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = PYPROJECT["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
