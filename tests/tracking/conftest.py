"""A small configuration that needs no model and no network."""

import pytest

from cada_trl.config import load_config


@pytest.fixture(scope="session")
def config():
    return load_config(["seed=3"])
