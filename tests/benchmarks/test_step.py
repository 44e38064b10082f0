"""The step benchmark on a model of two layers: both trainers really run, on the same rollouts."""

import json
from dataclasses import asdict, replace

import pytest

from benchmarks import step
from benchmarks.step import CHAT_PREFIX_TOK, COMPLETION_TOK, K2, PROMPT_TOK, ROWS, main, measure
from benchmarks.trainers import EOS, preset_rollouts


def _measured(row, trainer):
    return measure(asdict(row.work(trainer, "tiny", n_timed=1)))


def test_completions_are_30_tokens_in_the_median_and_96_at_most():
    assert sorted(COMPLETION_TOK)[3] + sorted(COMPLETION_TOK)[4] == 2 * 30
    assert max(COMPLETION_TOK) == 96
    assert 16 <= min(PROMPT_TOK) <= max(PROMPT_TOK) <= 64


def test_both_trainers_get_the_same_rollouts_of_the_listed_lengths():
    stock, cada = (K2.work(trainer, "tiny", 1) for trainer in ("stock", "cada"))
    prompts, completions = preset_rollouts(stock)
    assert (prompts, completions) == preset_rollouts(cada)
    assert [len(prompt) for prompt in prompts] == PROMPT_TOK
    assert [len(completion) for completion in completions] == COMPLETION_TOK
    assert {completion[-1] for completion in completions} == {EOS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_rows_prompts_share_its_prefix_and_no_more(row):
    prompts, _ = preset_rollouts(row.work("cada", "smollm2", 1))
    assert len({tuple(prompt[: row.prefix_tok]) for prompt in prompts}) == 1
    assert len({tuple(prompt[: row.prefix_tok + 2]) for prompt in prompts}) == len(prompts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [K2, replace(K2, kl="k3", micro_batch=8), replace(K2, prefix_tok=0, equal_lengths=True)]
)
def test_cada_has_stock_grpos_gradient_and_loss_for_fewer_operations(row):
    stock, cada = _measured(row, "stock"), _measured(row, "cada")
    assert cada["grad_norm"] == pytest.approx(stock["grad_norm"], rel=1e-4)
    assert cada["loss"] == pytest.approx(stock["loss"], rel=1e-4, abs=1e-5)
    assert 0 < cada["gflop"] < stock["gflop"]
    assert len(cada["cpu_s"]) == len(stock["cpu_s"]) == 1


@pytest.mark.slow
def test_the_kl_moves_the_gradient_so_that_equal_norms_say_something():
    k2, k3 = (_measured(replace(K2, kl=kl), "cada")["grad_norm"] for kl in ("k2", "k3"))
    assert k2 != pytest.approx(k3, rel=1e-6)


def _result(cpu_s, grad_norm=2.0, peak_mib=100.0):
    return {"cpu_s": [cpu_s], "gflop": 1.0, "loss": 0.5, "grad_norm": grad_norm, "peak_mib": peak_mib}


@pytest.mark.parametrize(
    ("cada", "code"),
    [(_result(6.0), 0), (_result(7.0), 1), (_result(6.0, grad_norm=2.1), 1), (_result(6.0, peak_mib=101.0), 1)],
    ids=["on target", "too slow", "another gradient", "more memory"],
)
def test_check_fails_where_a_row_misses(monkeypatch, tmp_path, cada, code):
    def measured(_, work, **__):
        return cada if work["trainer"] == "cada" else _result(10.0)

    monkeypatch.setattr(step, "in_own_process", measured)
    arguments = ["model=tiny", "rows=k2_mb2", "--json", str(tmp_path / "step.json")]
    assert main([*arguments, "--check"]) == code
    assert main(arguments) == 0
    row = json.loads((tmp_path / "step.json").read_text())["rows"][0]
    assert row["cpu_ratio"] == cada["cpu_s"][0] / 10.0
    assert row["ok"] == (code == 0)


def test_the_exact_row_is_compared_with_stock_k3_and_not_held_to_its_gradient():
    row = replace(K2, kl="exact", prefix_tok=CHAT_PREFIX_TOK)
    assert row.work("stock", "tiny", 1).kl == "k3"
    assert row.work("cada", "tiny", 1).kl == "exact"
