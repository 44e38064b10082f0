"""The trainer against stock GRPO and against itself, on preset rollouts."""

import math

import pytest
import torch
from peft import LoraConfig

from cada_trl.training.cada import CADATrainer

from .preset_run import (
    MAX_TOK,
    PresetCADATrainer,
    distance,
    load,
    request_rows,
    reward_of_text,
    rows_of,
    score,
    score_all,
    stock_trainer,
    weights,
)
from .tiny import tiny_tokenizer

pytestmark = pytest.mark.slow

LR = 0.02


def _stock_reward(completions, **_):
    values = [reward_of_text(messages[0]["content"]) for messages in completions]
    return [0.0 if math.isnan(value) else value for value in values]


def test_group_baseline_and_a_sampled_kl_learned_on_the_rollout_prompt_are_stock_grpo(tiny_folder, tmp_path, run):
    ends = {}
    for kl, bias_correction in (("k2", True), ("k3", False)):
        stock_lr = LR * MAX_TOK  # dr_grpo divides by max_completion_length, the sum does not
        values = {"sgd_lr": stock_lr, "use_bias_correction_kl": bias_correction}
        trainer = stock_trainer(tiny_folder, tmp_path / kl, _stock_reward, **values)
        trainer.train()
        stock = weights(trainer.model)
        ends[kl] = weights(run(kl=kl, learn_on="rollout", sgd_lr=LR)[0].model)
        assert distance(ends[kl], stock) < 1e-6
        assert distance(stock, weights(load(tiny_folder))) > 1e-2
    assert distance(ends["k2"], ends["k3"]) > 1e-4


@pytest.mark.parametrize("kl", ["exact", "k3"])
@pytest.mark.parametrize("logp", ["sum", "mean"])
def test_the_cut_into_micro_batches_does_not_matter(tiny_folder, run, kl, logp):
    whole, halves, single = (weights(run(micro=cut, kl=kl, logp=logp)[0].model) for cut in ((8, 1), (2, 4), (1, 8)))
    assert distance(whole, single) < 1e-6
    assert distance(whole, halves) < 1e-6
    assert distance(whole, weights(load(tiny_folder))) > 1e-3


def test_sharing_the_prefix_does_not_matter(run):
    shared, whole = (weights(run(share_prefix=on, learn_on="rollout")[0].model) for on in (True, False))
    assert distance(shared, whole) < 1e-6


@pytest.mark.parametrize("kl_in", ["loss", "reward_sequence", "reward_to_go"])
def test_every_place_of_the_kl_starts_at_zero_grows_and_is_told_from_the_others(run, kl_in):
    _, records = run(kl="exact" if kl_in == "loss" else "k1", kl_in=kl_in, beta_kl=1.0)
    kls = [metrics["train/kl_nats"] for _, metrics, _ in records]
    assert kls[0] == pytest.approx(0.0, abs=1e-6)
    assert abs(kls[2]) > 1e-3
    _, metrics, rows = records[-1]
    # the sequence's cost is the same for each token, and so comes out of the sum over them
    whole = sum(-(row["advantage"] - row["kl_k1_nats"]) * row["logp_nats"] for row in rows) / 8
    assert (metrics["train/loss"] == pytest.approx(whole, abs=1e-5)) == (kl_in == "reward_sequence")


def test_lora_trains_on_its_own_rollouts_from_no_kl_and_leaves_the_base_weights_alone(build):
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    trainer, records = build(trainer_class=CADATrainer, peft_config=lora, learning_rate=1e-2)
    before, reference = weights(trainer.model), trainer.reference_hash()
    trainer.train()
    after = weights(trainer.model)
    assert distance(before, after) > 1e-3
    assert all("lora_" in name for name in before if not torch.equal(before[name], after[name]))
    assert trainer.reference_hash() == reference
    assert all(row["completion_tok"] >= 1 for row in rows_of(records))
    kls = [metrics["train/kl_nats"] for _, metrics, _ in records]
    assert kls[0] == pytest.approx(0.0, abs=1e-6)
    assert kls[2] > 1e-5


def test_the_reference_stays_and_the_policy_goes(build):
    trainer, _ = build()
    assert not any(parameter.requires_grad for parameter in trainer.ref_model.parameters())
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())
    before, reference = weights(trainer.model), trainer.reference_hash()
    trainer.train()
    assert reference is not None
    assert trainer.reference_hash() == reference
    assert distance(before, weights(trainer.model)) > 1e-3
    assert distance(before, weights(trainer.ref_model)) == 0.0


def test_without_a_kl_there_is_no_reference(run):
    trainer, records = run(beta_kl=0.0, max_steps=1)
    assert trainer.reference_hash() is None
    assert math.isnan(records[0][1]["train/kl_nats"])


def test_a_rollout_without_an_end_is_recorded_and_judged_as_cut_off(run):
    judged = []

    def seeing(rows, texts, truncated):
        judged.extend(zip(texts, truncated, strict=True))
        return score_all(rows, texts, truncated)

    rows = rows_of(run(scorer=seeing)[1])
    assert judged == [(row["completion"], row["truncated"]) for row in rows]
    # a preset completion of MAX_TOK words has no end, every other one has
    assert [row["truncated"] for row in rows] == [len(row["completion"].split()) == MAX_TOK for row in rows]
    assert {row["truncated"] for row in rows} == {True, False}


def test_samples_with_log_probabilities_of_their_own_are_weighed_up_to_the_cap(run):
    class Sampled(PresetCADATrainer):
        def _generate_single_turn(self, prompt_ids, *_, **__):
            completions, _none = super()._generate_single_turn(prompt_ids)
            return completions, [[-50.0, *[0.0] * (len(ids) - 1)] for ids in completions]

    _, metrics, rows = run(trainer_class=Sampled, importance_cap=3.0, max_steps=1)[1][0]
    assert [(row["capped_tok"], row["unweighted_tok"]) for row in rows] == [(1, 0)] * 8
    # |logp + 50| of the first token, |logp| of the others, and a completion's log-probability is far above -50
    assert all(row["sampler_gap_sum_nats"] > 20 for row in rows)
    assert metrics["train/importance_capped_frac"] == 8 / sum(row["completion_tok"] for row in rows)


@pytest.mark.parametrize("learn_on", ["request", "rollout"])
def test_the_prompt_that_is_learned_on_is_the_one_that_is_scored(run, learn_on):
    seen = []

    class Watched(PresetCADATrainer):
        def _micro_batches(self, rollouts):
            seen.append(rollouts)
            return super()._micro_batches(rollouts)

    run(trainer_class=Watched, learn_on=learn_on, max_steps=1)
    column = "learn_prompt" if learn_on == "request" else "prompt"
    template = {"add_generation_prompt": True, "tokenize": True, "return_dict": False}
    wanted = {tuple(tiny_tokenizer().apply_chat_template(row[column], **template)) for row in request_rows(4)}
    assert {tuple(ids) for ids in seen[0]["learn_ids"]} == wanted


class _MarkedTrainer(PresetCADATrainer):
    """The second rollout of every group is one that the judge does not answer; its other words differ by the step."""

    filler = "w7"

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        completions, _ = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        marked = tiny_tokenizer().convert_tokens_to_ids(["w50", self.filler])
        return [[*marked, 2] if place % 4 == 1 else ids for place, ids in enumerate(completions)], None


class _OtherFiller(_MarkedTrainer):
    filler = "w8"


@pytest.mark.parametrize("baseline", ["running", "batch", "group"])
def test_a_rollout_without_a_score_changes_nothing(run, baseline):
    values = {"scorer": score, "baseline": baseline, "rollouts_per_request": 4, "n_requests": 2}
    values |= {"target_kl_nats": 2.0}  # a weight of the KL that follows it
    ends = []
    for kind in (_MarkedTrainer, _OtherFiller):
        trainer, records = run(trainer_class=kind, **values)
        ends.append(weights(trainer.model))
        metrics, rows = records[0][1:]
        assert metrics["train/unscored_frac"] >= 0.25
        assert all(row["advantage"] == 0.0 for row in rows if row["reward"] is None)
        scored = [row for row in rows if row["reward"] is not None]
        of_scored = sum(-row["advantage"] * row["logp_nats"] + 0.3 * row["kl_nats"] for row in scored)
        assert metrics["train/loss"] == pytest.approx(of_scored / len(scored), abs=1e-5)
    assert distance(*ends) == 0.0


def test_a_step_without_any_score_leaves_the_weights_as_they_are(build):
    def silent(rows, texts, truncated):
        return score(rows, ["w50"] * len(texts), truncated)

    trainer, records = build(scorer=silent, baseline="running", max_steps=2)
    before = weights(trainer.model)
    trainer.train()
    assert distance(before, weights(trainer.model)) == 0.0
    assert math.isnan(records[0][1]["train/reward_mean"])
    assert trainer.baselines.harmful.value is None


@pytest.mark.parametrize("baseline", ["running", "batch", "none"])
def test_of_one_rollout_a_request_each_kind_is_centred_on_a_baseline_of_its_own(build, baseline):
    values = {"n_requests": 8, "n_harmless": 3, "rollouts_per_request": 1, "baseline_start": -1.0, "max_steps": 1}
    trainer, records = build(baseline=baseline, **values)
    before = weights(trainer.model)
    trainer.train()
    assert sorted(row["request_id"] for row in records[0][2]) == [f"r{i}" for i in range(8)]
    for harmful in (True, False):
        rows = [row for row in records[0][2] if row["harmful"] is harmful]
        mean = sum(row["reward"] for row in rows) / (5 if harmful else 3)
        # the given start is the harmful rows', and counts as one step of their average
        centre = {"batch": mean, "none": 0.0, "running": (mean - 1.0) / 2 if harmful else mean}[baseline]
        assert [row["advantage"] for row in rows] == pytest.approx([row["reward"] - centre for row in rows], abs=1e-6)
    assert distance(before, weights(trainer.model)) > 1e-3


@pytest.mark.parametrize(
    ("changes", "harmful_beta", "harmless_beta"),
    [
        ({"micro": (2, 4)}, 0.3, 0.3),
        ({"n_harmless": 2, "benign_beta_kl": 2.0}, 0.3, 2.0),
        ({"n_harmless": 2, "benign_beta_kl": 2.0, "beta_kl": 0.0}, 0.0, 2.0),  # the reference is for the harmless alone
    ],
)
def test_the_recorded_loss_and_advantages_are_those_of_the_objective(run, changes, harmful_beta, harmless_beta):
    trainer, records = run(**changes)
    assert trainer.ref_model is not None and trainer.reference_hash() is not None
    for _, metrics, rows in records:
        cost = sum((harmful_beta if row["harmful"] else harmless_beta) * row["kl_nats"] for row in rows)
        wanted = (sum(-row["advantage"] * row["logp_nats"] for row in rows) + cost) / 8
        assert metrics["train/loss"] == pytest.approx(wanted, abs=1e-5)
        assert {row["harmful"] for row in rows} == ({True, False} if "n_harmless" in changes else {True})
    assert cost > 1e-4


def test_adaptive_beta_moves_towards_its_target_and_is_used(run):
    trainer, records = run(target_kl_nats=5.0)
    # the KL stays far below 5 nats, so that each step cuts beta by the clipped 0.1 * 0.2
    assert [metrics["train/beta_kl"] for _, metrics, _ in records] == pytest.approx([0.3, 0.3 * 0.98, 0.3 * 0.98**2])
    assert trainer.beta_kl == pytest.approx(0.3 * 0.98**3)
    assert distance(weights(run()[0].model), weights(trainer.model)) > 1e-6


def _drawing_score(rows, texts, truncated):
    torch.rand(7)
    return score_all(rows, texts, truncated)


def test_rollouts_are_seeded_by_the_step(run):
    # one request and a policy that stands still: what differs between steps is the seed
    still = {"trainer_class": CADATrainer, "sgd_lr": 1e-9, "n_requests": 1, "rollouts_per_request": 8}
    once, drawing, other = (
        [[row["completion"] for row in rows] for _, _, rows in run(**still, **changes)[1]]
        for changes in ({}, {"scorer": _drawing_score}, {"seed": 6})
    )
    assert drawing == once != other
    assert once[0] != once[1] and once[1] != once[2]
