"""Shared fixtures. Real public datasets are read from ../shared/data where that folder is; they are never committed."""

import functools
import gc
import importlib.metadata
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cada_trl", deadline=None)  # a busy machine is no failure
settings.load_profile("cada_trl")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")
importlib.metadata.metadata = functools.cache(
    importlib.metadata.metadata
)  # accelerate reads files at every use of a model

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_finish():
    """Every training of transformers collects garbage: half a second each over what the imports hold."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _a_cpu_without_bfloat16(monkeypatch):
    """bf16=auto means the same on every machine that runs the tests, but for those that start a process."""
    monkeypatch.setattr("cada_trl.config.sections.CPU_INFO", Path(os.devnull))


@pytest.fixture(autouse=True)
def _pictures_are_drawn_where_reports_are_tested(request, monkeypatch):
    """A report's pictures take nearly half of a tiny run. tests/report and whatever starts a process draws them."""
    if "report" not in request.path.parts:
        for part in ("drawing", "run_part", "sweep_part"):
            monkeypatch.setattr(f"cada_trl.report.{part}.picture", lambda *_, **__: b"<svg></svg>")


@pytest.fixture
def shared_data():
    """The folder with real public datasets; a test that needs it is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real datasets are not at ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a tiny model, which is only read."""
    from tests.end_to_end.tiny_model import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
