from __future__ import annotations

import pytest

from cada_trl.reporting.evaluation.eval_record import EvalRecord, read_evaluation
from tests.reporting.evaluation.made_up import ScoreJudge, answers_most, refuses_most, write_evaluation


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> EvalRecord:
    return read_evaluation(write_evaluation(tmp_path_factory.mktemp("evals") / "before-1", answers_most))


@pytest.fixture(scope="session")
def after(tmp_path_factory: pytest.TempPathFactory) -> EvalRecord:
    return read_evaluation(write_evaluation(tmp_path_factory.mktemp("evals") / "after-2", refuses_most))


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> EvalRecord:
    """LLaMA-3-8B by name, judged by a judge that scores harm."""
    model = {"source": "hub", "path": "meta-llama/Meta-Llama-3-8B-Instruct"}
    path = tmp_path_factory.mktemp("evals") / "llama-3"
    return read_evaluation(write_evaluation(path, answers_most, ScoreJudge(), model=model))
