import pytest

from cada_trl.judging.judge import Panel
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.report.records import read_evaluation
from cada_trl.report.run_record import read_run
from tests.report.made_up_evaluation import RefusedJudge, ScoreJudge, answers_most, refuses_most, write_evaluation
from tests.report.made_up_run import write_run


@pytest.fixture(scope="session")
def before(tmp_path_factory):
    return read_evaluation(write_evaluation(tmp_path_factory.mktemp("evals") / "before-1", answers_most))


@pytest.fixture(scope="session")
def after(tmp_path_factory):
    return read_evaluation(write_evaluation(tmp_path_factory.mktemp("evals") / "after-2", refuses_most))


@pytest.fixture(scope="session")
def scored(tmp_path_factory):
    """LLaMA-3-8B by name, judged by a judge that scores harm."""
    model = {"source": "hub", "path": "meta-llama/Meta-Llama-3-8B-Instruct"}
    path = tmp_path_factory.mktemp("evals") / "llama-3"
    return read_evaluation(write_evaluation(path, answers_most, ScoreJudge(), model=model))


@pytest.fixture(scope="session")
def panelled(tmp_path_factory):
    """By two judges that agree, and one that says REFUSED of all but empty texts."""
    panel = Panel("panel-1", [PhraseJudge(), ScoreJudge(), RefusedJudge()])
    return read_evaluation(write_evaluation(tmp_path_factory.mktemp("evals") / "panelled", refuses_most, panel))


@pytest.fixture(scope="session")
def run_path(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "made-up-s0")


@pytest.fixture(scope="session")
def run(run_path):
    return read_run(run_path)


@pytest.fixture
def make_run(tmp_path):
    def make(seed=0, n_steps=3, lr=2e-5):
        return read_run(write_run(tmp_path / f"run-s{seed}-{lr}", seed, n_steps, lr))

    return make
