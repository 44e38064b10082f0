"""The trainer against stock GRPO and against itself, on preset rollouts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from trl import GRPOTrainer

from cada_trl.training.cada import CADATrainer

from .preset_run import (
    MAX_TOK,
    PresetCADATrainer,
    PresetRollouts,
    cada_trainer,
    distance,
    load,
    request_rows,
    reward_of_text,
    score,
    score_all,
    sgd,
    stock_arguments,
    trained,
    weights,
)
from .tiny import tiny_tokenizer

LR = 0.02


class _StockTrainer(PresetRollouts, GRPOTrainer):
    """Stock GRPO without sampling."""


def _stock_weights(folder: str, output: Path, **changes: Any) -> dict[str, torch.Tensor]:
    def rewards(completions: list[Any], **_: Any) -> list[float]:
        values = [reward_of_text(messages[0]["content"]) for messages in completions]
        return [0.0 if math.isnan(value) else value for value in values]

    model = load(folder)
    trainer = _StockTrainer(
        model=model,
        reward_funcs=rewards,
        args=stock_arguments(output, **changes),
        train_dataset=request_rows(4),
        processing_class=tiny_tokenizer(),
        optimizers=sgd(model, LR * MAX_TOK),  # dr_grpo divides by max_completion_length, the sum does not
    )
    trainer.train()
    return weights(model)


@pytest.mark.parametrize(("kl", "bias_correction"), [("k2", True), ("k3", False)])
def test_group_baseline_and_a_sampled_kl_learned_on_the_rollout_prompt_are_stock_grpo(
    tiny_folder: str, tmp_path: Path, kl: str, bias_correction: bool
) -> None:
    stock = _stock_weights(tiny_folder, tmp_path / "stock", use_bias_correction_kl=bias_correction)
    ours = trained(tiny_folder, tmp_path / "ours", kl=kl, learn_on="rollout", sgd_lr=LR)
    assert distance(weights(ours.model), stock) < 1e-6
    assert distance(stock, weights(load(tiny_folder))) > 1e-2


def test_the_two_sampled_kls_are_told_apart_after_three_steps(tiny_folder: str, tmp_path: Path) -> None:
    k2, k3 = (weights(trained(tiny_folder, tmp_path / kl, kl=kl, learn_on="rollout").model) for kl in ("k2", "k3"))
    assert distance(k2, k3) > 1e-4


@pytest.mark.parametrize("kl", ["exact", "k3"])
@pytest.mark.parametrize("logp", ["sum", "mean"])
def test_the_cut_into_micro_batches_does_not_matter(tiny_folder: str, tmp_path: Path, kl: str, logp: str) -> None:
    whole, halves, single = (
        weights(trained(tiny_folder, tmp_path / str(cut), micro=cut, kl=kl, logp=logp).model)
        for cut in ((8, 1), (2, 4), (1, 8))
    )
    assert distance(whole, single) < 1e-6
    assert distance(whole, halves) < 1e-6
    assert distance(whole, weights(load(tiny_folder))) > 1e-3


def test_sharing_the_prefix_does_not_matter(tiny_folder: str, tmp_path: Path) -> None:
    shared, whole = (
        weights(trained(tiny_folder, tmp_path / str(on), share_prefix=on, learn_on="rollout").model)
        for on in (True, False)
    )
    assert distance(shared, whole) < 1e-6


@pytest.mark.parametrize("kl_in", ["loss", "reward_sequence", "reward_to_go"])
def test_every_place_of_the_kl_starts_at_zero_and_grows(tiny_folder: str, tmp_path: Path, kl_in: str) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, kl="exact" if kl_in == "loss" else "k1", kl_in=kl_in)
    trainer.train()
    kls = [metrics["train/kl_nats"] for _, metrics, _ in records]
    assert kls[0] == pytest.approx(0.0, abs=1e-6)
    assert abs(kls[2]) > 1e-4


def _lora() -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


def test_lora_starts_at_no_kl_and_leaves_the_base_weights_alone(tiny_folder: str, tmp_path: Path) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, peft_config=_lora(), learning_rate=1e-2)
    before, reference = weights(trainer.model), trainer.reference_hash()
    trainer.train()
    after = weights(trainer.model)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("lora_" in name for name in moved)
    assert trainer.reference_hash() == reference
    kls = [metrics["train/kl_nats"] for _, metrics, _ in records]
    assert kls[0] == pytest.approx(0.0, abs=1e-6)
    assert kls[2] > 1e-5


def test_the_reference_stays_and_the_policy_goes(tiny_folder: str, tmp_path: Path) -> None:
    trainer, _ = cada_trainer(tiny_folder, tmp_path)
    assert not any(parameter.requires_grad for parameter in trainer.ref_model.parameters())
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())
    before, reference = weights(trainer.model), trainer.reference_hash()
    trainer.train()
    assert reference is not None
    assert trainer.reference_hash() == reference
    assert distance(before, weights(trainer.model)) > 1e-3
    assert distance(before, weights(trainer.ref_model)) == 0.0


def test_without_a_kl_there_is_no_reference(tiny_folder: str, tmp_path: Path) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, beta_kl=0.0, max_steps=1)
    trainer.train()
    assert trainer.reference_hash() is None
    assert math.isnan(records[0][1]["train/kl_nats"])


@pytest.mark.parametrize("kl_in", ["reward_sequence", "reward_to_go"])
def test_a_cost_of_the_whole_sequence_and_one_to_go_are_told_apart(
    tiny_folder: str, tmp_path: Path, kl_in: str
) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, kl="k1", kl_in=kl_in, beta_kl=1.0)
    trainer.train()
    _, metrics, rows = records[-1]
    # the sequence's cost is the same for each token, and so comes out of the sum over them
    whole = sum(-(row["advantage"] - row["kl_k1_nats"]) * row["logp_nats"] for row in rows) / 8
    assert (metrics["train/loss"] == pytest.approx(whole, abs=1e-5)) == (kl_in == "reward_sequence")
    assert abs(metrics["train/kl_k1_nats"]) > 1e-3


def test_a_rollout_without_an_end_is_recorded_and_judged_as_cut_off(tiny_folder: str, tmp_path: Path) -> None:
    judged: list[tuple[str, bool]] = []

    def seeing(rows: list[Any], texts: list[str], truncated: list[bool]) -> Any:
        judged.extend(zip(texts, truncated, strict=True))
        return score_all(rows, texts, truncated)

    trainer, records = cada_trainer(tiny_folder, tmp_path, scorer=seeing)
    trainer.train()
    rows = [row for _, _, rows in records for row in rows]
    assert judged == [(row["completion"], row["truncated"]) for row in rows]
    # a preset completion of MAX_TOK words has no end, every other one has
    assert [row["truncated"] for row in rows] == [len(row["completion"].split()) == MAX_TOK for row in rows]
    assert {row["truncated"] for row in rows} == {True, False}


@pytest.mark.parametrize("learn_on", ["request", "rollout"])
def test_the_prompt_that_is_learned_on_is_the_one_that_is_scored(
    tiny_folder: str, tmp_path: Path, learn_on: str
) -> None:
    seen: list[dict[str, Any]] = []

    class Watched(PresetCADATrainer):
        def _micro_batches(self, rollouts: dict[str, Any]) -> list[dict[str, Any]]:
            seen.append(rollouts)
            return super()._micro_batches(rollouts)

    trainer, _ = cada_trainer(tiny_folder, tmp_path, trainer_class=Watched, learn_on=learn_on, max_steps=1)
    trainer.train()
    column = "learn_prompt" if learn_on == "request" else "prompt"
    template = {"add_generation_prompt": True, "tokenize": True, "return_dict": False}
    wanted = {tuple(tiny_tokenizer().apply_chat_template(row[column], **template)) for row in request_rows(4)}
    assert {tuple(ids) for ids in seen[0]["learn_ids"]} == wanted


class _MarkedTrainer(PresetCADATrainer):
    """The second rollout of every group is one that the judge does not answer; its other words differ by the step."""

    filler = "w7"

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completions, _ = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        marked = tiny_tokenizer().convert_tokens_to_ids(["w50", self.filler])
        return [[*marked, 2] if place % 4 == 1 else ids for place, ids in enumerate(completions)], None


class _OtherFiller(_MarkedTrainer):
    filler = "w8"


@pytest.mark.parametrize("baseline", ["running", "batch", "group"])
def test_a_rollout_without_a_score_changes_nothing(tiny_folder: str, tmp_path: Path, baseline: str) -> None:
    runs = {}
    for kind in (_MarkedTrainer, _OtherFiller):
        trainer, records = cada_trainer(
            tiny_folder,
            tmp_path / kind.__name__,
            trainer_class=kind,
            scorer=score,
            baseline=baseline,
            rollouts_per_request=4,
            n_requests=2,
        )
        trainer.train()
        runs[kind] = weights(trainer.model)
        metrics, rows = records[0][1:]
        assert metrics["train/unscored_frac"] >= 0.25
        assert all(row["advantage"] == 0.0 for row in rows if row["reward"] is None)
        scored = [row for row in rows if row["reward"] is not None]
        of_scored = sum(-row["advantage"] * row["logp_nats"] + 0.3 * row["kl_nats"] for row in scored)
        assert metrics["train/loss"] == pytest.approx(of_scored / len(scored), abs=1e-5)
    assert distance(runs[_MarkedTrainer], runs[_OtherFiller]) == 0.0


def test_a_step_without_any_score_leaves_the_weights_as_they_are(tiny_folder: str, tmp_path: Path) -> None:
    def silent(rows: list[Any], texts: list[str], truncated: list[bool]) -> Any:
        return score(rows, ["w50"] * len(texts), truncated)

    trainer, records = cada_trainer(tiny_folder, tmp_path, scorer=silent, baseline="running", max_steps=2)
    before = weights(trainer.model)
    trainer.train()
    assert distance(before, weights(trainer.model)) == 0.0
    assert math.isnan(records[0][1]["train/reward_mean"])
    assert trainer.baselines.harmful.value is None


@pytest.mark.parametrize("baseline", ["running", "batch", "none"])
def test_one_rollout_a_request_works(tiny_folder: str, tmp_path: Path, baseline: str) -> None:
    trainer, records = cada_trainer(
        tiny_folder, tmp_path, rollouts_per_request=1, n_requests=8, baseline=baseline, max_steps=2
    )
    before = weights(trainer.model)
    trainer.train()
    rows = records[0][2]
    assert sorted(row["request_id"] for row in rows) == [f"r{i}" for i in range(8)]
    mean = 0.0 if baseline == "none" else sum(row["reward"] for row in rows) / 8
    assert [row["advantage"] for row in rows] == pytest.approx([row["reward"] - mean for row in rows], abs=1e-6)
    assert distance(before, weights(trainer.model)) > 1e-3


def test_the_running_mean_goes_over_the_steps_means(tiny_folder: str, tmp_path: Path) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, baseline="running")
    trainer.train()
    means = [metrics["train/reward_mean"] for _, metrics, _ in records]
    assert [metrics["train/baseline"] for _, metrics, _ in records] == pytest.approx(
        [sum(means[: n + 1]) / (n + 1) for n in range(3)]
    )


@pytest.mark.parametrize("baseline", ["running", "batch"])
def test_harmless_requests_have_a_baseline_of_their_own(tiny_folder: str, tmp_path: Path, baseline: str) -> None:
    trainer, records = cada_trainer(
        tiny_folder,
        tmp_path,
        n_requests=8,
        n_harmless=3,
        rollouts_per_request=1,
        baseline=baseline,
        baseline_start=-1.0,
    )
    trainer.train()
    first = records[0][2]
    for harmful in (True, False):
        rows = [row for row in first if row["harmful"] is harmful]
        mean = sum(row["reward"] for row in rows) / len(rows)
        # the given start is the harmful rows', and counts as one step of their average
        centre = (mean - 1.0) / 2 if baseline == "running" and harmful else mean
        assert len(rows) == (5 if harmful else 3)
        assert [row["advantage"] for row in rows] == pytest.approx([row["reward"] - centre for row in rows], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "harmful_beta", "harmless_beta"),
    [
        ({"micro": (2, 4)}, 0.3, 0.3),
        ({"n_harmless": 2, "benign_beta_kl": 2.0}, 0.3, 2.0),
        ({"n_harmless": 2, "benign_beta_kl": 2.0, "beta_kl": 0.0}, 0.0, 2.0),  # the reference is for the harmless alone
    ],
)
def test_the_recorded_loss_and_advantages_are_those_of_the_objective(
    tiny_folder: str, tmp_path: Path, changes: dict[str, Any], harmful_beta: float, harmless_beta: float
) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, **changes)
    trainer.train()
    assert trainer.ref_model is not None and trainer.reference_hash() is not None
    for _, metrics, rows in records:
        cost = sum((harmful_beta if row["harmful"] else harmless_beta) * row["kl_nats"] for row in rows)
        wanted = (sum(-row["advantage"] * row["logp_nats"] for row in rows) + cost) / 8
        assert metrics["train/loss"] == pytest.approx(wanted, abs=1e-5)
        assert {row["harmful"] for row in rows} == ({True, False} if "n_harmless" in changes else {True})
    assert cost > 1e-4


def test_adaptive_beta_moves_towards_its_target_and_is_used(tiny_folder: str, tmp_path: Path) -> None:
    trainer, records = cada_trainer(tiny_folder, tmp_path, target_kl_nats=5.0)
    trainer.train()
    # the KL stays far below 5 nats, so that each step cuts beta by the clipped 0.1 * 0.2
    assert [metrics["train/beta_kl"] for _, metrics, _ in records] == pytest.approx([0.3, 0.3 * 0.98, 0.3 * 0.98**2])
    assert trainer.beta_controller.value == pytest.approx(0.3 * 0.98**3)
    fixed = weights(trained(tiny_folder, tmp_path / "fixed").model)
    assert distance(fixed, weights(trainer.model)) > 1e-6


def _sampled(folder: str, output: Path, **changes: Any) -> list[list[str]]:
    trainer, records = cada_trainer(folder, output, trainer_class=CADATrainer, **changes)
    trainer.train()
    return [[row["completion"] for row in rows] for _, _, rows in records]


def _drawing_score(rows: list[Any], texts: list[str], truncated: list[bool]) -> Any:
    torch.rand(7)
    return score_all(rows, texts, truncated)


def test_rollouts_are_seeded_by_the_step(tiny_folder: str, tmp_path: Path) -> None:
    # one request and a policy that stands still: what differs between steps is the seed
    still = {"sgd_lr": 1e-9, "n_requests": 1, "rollouts_per_request": 8}
    once = _sampled(tiny_folder, tmp_path / "once", **still)
    assert _sampled(tiny_folder, tmp_path / "drawing", **still, scorer=_drawing_score) == once
    assert once[0] != once[1] and once[1] != once[2]
    assert _sampled(tiny_folder, tmp_path / "seed", **still, seed=6) != once
