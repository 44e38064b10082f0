"""bench-gpu without a GPU: its plan, its arithmetic and its refusals. The measurement itself is not run here."""

import subprocess
import sys

import pytest
import torch

from benchmarks import harness
from benchmarks.gpu import LIMIT_S, OVERRIDES, Seen, card_tflops, main, measured
from benchmarks.trainers import BETA_KL
from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.planning.shapes import Shape

SHAPE = Shape(vocab=100, hidden=10, layers=2, heads=2, kv_heads=1, head_dim=5, intermediate=20, tied=True)
SEEN = Seen("NVIDIA A100-SXM4-80GB", rollout_s=2.0, update_s=4.0, prompt_tok=600, completion_tok=1000, peak_gib=1.0)


def test_the_work_is_on_a_gpu_with_vllm_in_bfloat16_under_eight_minutes():
    config = load_config([*OVERRIDES, "max_new_tok=64"])
    assert config.hardware.device == "cuda" and config.hardware.bf16
    assert config.rollout.backend == "vllm_colocate" and config.rollout.max_new_tok == 64
    assert config.algo.learn_on == "rollout" and config.algo.kl == "k2"
    algo = config.algo
    assert (algo.baseline, algo.beta_kl) == ("group", BETA_KL)
    # both learn on all that was sampled, and on each token alike
    assert (algo.skip_zero_advantage, algo.first_tok_weight, algo.first_tok_frac) == (False, 1.0, 0.0)
    assert 2 * LIMIT_S < 8 * 60


def test_tokens_a_second_and_mfu_by_hand():
    assert SEEN.rollout_tok_s == 1000 / 2 and SEEN.update_tok_s == 1600 / 4
    # attention 10 x (2 x 10 + 2 x 5), MLP 3 x 10 x 20, norms 20, two layers; last norm 10; tied head 100 x 10
    n_params = 2 * (300 + 600 + 20) + 10 + 1000
    assert SEEN.mfu(SHAPE) == pytest.approx(8 * n_params * 400 / 312e12)


def test_a_card_that_is_not_known_has_no_mfu():
    assert card_tflops("NVIDIA H100 80GB HBM3") == 989.0
    assert card_tflops("Some Card 9000") is None
    assert Seen("Some Card 9000", 1.0, 1.0, 1, 1, 1.0).mfu(SHAPE) is None


def test_a_dry_run_shows_the_plan_and_starts_nothing(capsys):
    assert main(["--dry-run"]) == 0
    stock, cada = (line.partition(":") for line in capsys.readouterr().out.splitlines())
    assert (stock[0], cada[0]) == ("stock", "cada")
    assert stock[2] == cada[2] and "rollout=vllm_colocate" in stock[2]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_one_line_and_exit_code_2():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], cwd=harness.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: no GPU here") and len(done.stderr.splitlines()) == 1


def test_a_wrong_override_is_refused_before_anything_runs():
    with pytest.raises(UserError, match="max_new_tok"):
        main(["max_new_token=3"])


def test_a_process_that_hangs_is_ended(monkeypatch):
    def hangs(command, **_):
        raise subprocess.TimeoutExpired(command, LIMIT_S)

    monkeypatch.setattr(harness.subprocess, "run", hangs)
    with pytest.raises(UserError, match=f"took over {LIMIT_S} s"):
        measured("stock", OVERRIDES)
