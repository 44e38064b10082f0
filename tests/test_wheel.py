"""The package outside its checkout: sdist, the wheel built from it, and the console command in a fresh environment.

Nothing is fetched: the build is not isolated, and the environment sees this one's packages through a .pth file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
BESIDE_SRC = ("hydra_conf", "recipes", "launch")
SOURCES = ("src", *BESIDE_SRC, "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
BUILD_SDIST = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"


def call(cwd: Path, *command: str | Path, code: int | None = 0) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert code in {None, done.returncode}, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def cada(wheel: Path) -> Path:
    """The console command of an environment with the wheel."""
    env = wheel.parent / "env"
    venv.create(env)
    own = {"base": str(env), "platbase": str(env)}
    python, packages = env / "bin/python", Path(sysconfig.get_path("purelib", vars=own))
    (packages / "stack.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    call(env, sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel)
    assert Path(call(env, python, "-c", "import cada_trl; print(cada_trl.__file__)")).is_relative_to(packages)
    return python.with_name("cada")


def test_the_wheel_of_the_sdist_holds_every_file_of_the_folders_beside_src(wheel: Path) -> None:
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
def test_the_console_command_works_in_an_empty_folder(cada: Path, tmp_path: Path, words: str, said: str) -> None:
    assert said in call(tmp_path, cada, *words.split())
    assert list(tmp_path.iterdir()) == []


def test_doctor_reads_the_pins_and_the_twins_that_were_shipped(cada: Path, tmp_path: Path) -> None:
    lines = call(tmp_path, cada, "doctor", "hardware.threads=1", code=None).splitlines()
    found = {line.split()[1]: line.split()[0] for line in reversed(lines[:-1])}
    assert (found["versions"], found["inputs"], found["prompt"]) == ("ok", "ok", "ok")


def test_a_wrong_word_is_one_line_there_too(cada: Path, tmp_path: Path) -> None:
    assert call(tmp_path, cada, "train", "beta_kk=0.1", code=2) == ""
