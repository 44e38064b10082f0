"""vLLM in a test's own process leaves the variables of a rank behind, and a run of another file would be refused."""

import os

import pytest

from cada_trl.launching import RANK_VARIABLES


@pytest.fixture(autouse=True, scope="module")
def _a_file_leaves_no_rank_behind():
    yield
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
