"""A small configuration that needs no model and no network."""

from __future__ import annotations

import pytest

from cada_trl.config import Config, load_config


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config(["seed=3"])
