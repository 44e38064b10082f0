"""The package: what is shipped and pinned, the wheel built from its sdist, the console command in a fresh environment.

Nothing is fetched: the build is not isolated, and the environment sees this one's packages through a .pth file.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import cada_trl

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = Path(cada_trl.__file__).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
BESIDE_SRC = ("hydra_conf", "recipes", "launch")
SOURCES = ("src", *BESIDE_SRC, "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
BUILD_SDIST = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"


def test_every_file_that_is_not_python_is_package_data():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["cada_trl"]
    shipped = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    present = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert present
    assert present - shipped == set()


def test_every_folder_of_the_package_is_found_by_setuptools():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_what_can_fail_ci_or_change_a_result_is_pinned():
    pinned = {line.partition("==")[0] for line in PROJECT["dependencies"] if "==" in line}
    assert {"torch", "trl", "transformers", "accelerate", "peft", "datasets", "hydra-core"} <= pinned
    tools = {line.partition("==")[0] for line in PROJECT["optional-dependencies"]["dev"] if "==" in line}
    assert {"ruff", "mypy", "pytest", "pytest-timeout", "hypothesis"} <= tools


def test_the_lock_was_made_from_these_requirements_and_names_no_index_but_pypi():
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    (own,) = (package for package in tomllib.loads(text)["package"] if package["name"] == "cada-trl")
    locked = {(line["name"], SpecifierSet(line.get("specifier", ""))) for line in own["metadata"]["requires-dist"]}
    extras = PROJECT["optional-dependencies"].values()
    lines = [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]
    assert {(canonicalize_name(line.name), line.specifier) for line in lines} == locked, "run uv lock"
    hosts = {"https://pypi.org", "https://files.pythonhosted.org"}
    assert set(re.findall(r"\w+://[^/\"]*", text)) == hosts


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def call(cwd, *command, code=0):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert code in {None, done.returncode}, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files beside what it builds
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    call(source, sys.executable, "-c", BUILD_SDIST, folder)
    (sdist,) = folder.glob("*.tar.gz")
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    call(folder, sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, sdist)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def cada(wheel):
    """The console command of an environment with the wheel."""
    env = wheel.parent / "env"
    venv.create(env)
    own = {"base": str(env), "platbase": str(env)}
    python, packages = env / "bin/python", Path(sysconfig.get_path("purelib", vars=own))
    (packages / "stack.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    call(env, sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    assert Path(call(env, python, "-c", "import cada_trl; print(cada_trl.__file__)")).is_relative_to(packages)
    return python.with_name("cada")


def test_the_wheel_of_the_sdist_holds_every_file_of_the_folders_beside_src(wheel):
    shipped = set(ZipFile(wheel).namelist())
    files = [path.relative_to(ROOT) for name in BESIDE_SRC for path in (ROOT / name).rglob("*") if path.is_file()]
    assert [str(file) for file in files if f"cada_trl/{file}" not in shipped] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --dry-run", "run folder: runs/smollm2-"),
        ("train recipe=llama3/cada hardware=a100x4 --dry-run", "accelerate_zero3_4gpu.yaml"),
        ("sweep beta_kl=0.0,0.01,0.1 --dry-run", "3 of 3 unknown"),
        ("table --help", "table"),
        ("evaluate --help", "strongreject"),
        ("policy --help", "policy"),
    ],
)
def test_the_console_command_works_in_an_empty_folder(cada, tmp_path, words, said):
    assert said in call(tmp_path, cada, *words.split())
    assert list(tmp_path.iterdir()) == []


def test_doctor_reads_the_pins_and_the_twins_that_were_shipped(cada, tmp_path):
    lines = call(tmp_path, cada, "doctor", "hardware.threads=1", code=None).splitlines()
    found = {line.split()[1]: line.split()[0] for line in reversed(lines[:-1])}
    assert (found["versions"], found["inputs"], found["prompt"]) == ("ok", "ok", "ok")


def test_a_wrong_word_is_one_line_there_too(cada, tmp_path):
    assert call(tmp_path, cada, "train", "beta_kk=0.1", code=2) == ""
