"""Anchors: harmless requests that are sampled for a few tokens, not judged, and held by their KL alone."""

import pytest
import torch

from cada_trl.records import Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.training.cada import CADATrainer

from .preset_run import MAX_TOK, UNSCORED_WORD, distance, request_rows, rows_of, score, score_all, weights

pytestmark = pytest.mark.slow

# Two harmful requests and their harmless twins, two rollouts each: four judged rows and four anchors per step.
TWINS = {
    "n_requests": 4,
    "n_harmless": 2,
    "benign_per_step": 2,
    "twin_of": {0: 2, 1: 3},
    "benign_tok": 2,
    "benign_beta_kl": 2.0,
    "baseline": "running",
}


def _constant(rows, texts, truncated):
    """The same reward for all: with the batch's baseline no rollout has an advantage."""
    scored = score_all(rows, texts, truncated)
    return [ScoredCompletion(one.completion, one.reasoning, Verdict.REFUSED, 1.0) for one in scored]


def _apart(trainer):
    """Move the policy away from the reference, so that there is a KL with a gradient."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))


def test_no_judge_is_asked_about_an_anchor_and_each_verdict_goes_to_the_row_that_was_judged(run):
    asked = []

    def seeing(rows, texts, truncated):
        asked.extend(rows)
        assert len(rows) == len(texts) == len(truncated) == 4
        return score_all(rows, texts, truncated)

    rows = rows_of(run(scorer=seeing, **TWINS)[1])
    assert len(asked) == 3 * 4 and all(row["harmful"] for row in asked)
    assert [row["anchor"] for row in rows] == [not row["harmful"] for row in rows]
    anchors = [row for row in rows if row["anchor"]]
    assert len(anchors) == 3 * 4
    assert {(row["verdict"], row["reward"], row["advantage"]) for row in anchors} == {("UNSCORED", None, 0.0)}
    for row in (row for row in rows if not row["anchor"]):
        assert row["reward"] == score_all([row], [row["completion"]], [row["truncated"]])[0].reward


def test_no_anchor_is_longer_than_a_completion_may_be(build):
    """As the planner counts, and as vLLM samples them."""
    trainer, _ = build(trainer_class=CADATrainer, **{**TWINS, "benign_tok": 4 * MAX_TOK})
    said = trainer.sample(request_rows(4, n_harmless=2).to_list(), seed=1)
    assert max(map(len, said)) == MAX_TOK


def test_anchors_have_no_part_in_the_running_mean_and_the_metrics_of_the_reward(run):
    trainer, records = run(**TWINS)
    means = []
    for _, metrics, rows in records:
        means.append(sum(row["reward"] for row in rows if row["harmful"]) / 4)
        assert metrics["train/reward_mean"] == pytest.approx(means[-1])
        assert metrics["train/unscored_frac"] == 0.0
        assert metrics["train/baseline"] == pytest.approx(sum(means) / len(means))
    assert trainer.baselines.harmful.value == pytest.approx(sum(means) / 3)
    assert (trainer.baselines.benign.value, trainer.baselines.benign.n_steps) == (None, 0)


def test_an_anchor_counts_like_any_scored_rollout_in_the_mean_over_the_step(build):
    def silent_on_the_first(rows, texts, truncated):
        return score(rows, [UNSCORED_WORD, *texts[1:]], truncated)

    trainer, records = build(scorer=silent_on_the_first, micro=(2, 4), **TWINS)
    _apart(trainer)
    trainer.train()
    for _, metrics, rows in records:
        counted = [row for row in rows if row["anchor"] or row["reward"] is not None]
        assert len(counted) < len(rows)
        cost = sum((2.0 if row["anchor"] else 0.3) * row["kl_nats"] for row in counted)
        wanted = (sum(-row["advantage"] * row["logp_nats"] for row in counted) + cost) / len(counted)
        assert metrics["train/loss"] == pytest.approx(wanted, abs=1e-5)


def test_an_anchors_kl_is_learned_from_and_its_reward_is_not(build):
    def moved(**changes):
        values = {**TWINS, "scorer": _constant, "baseline": "batch", "beta_kl": 0.0, "max_steps": 1, **changes}
        trainer, _ = build(**values)
        _apart(trainer)
        before = weights(trainer.model)
        trainer.train()
        return distance(before, weights(trainer.model))

    # no advantage anywhere, and of harmful rows no KL either: what moves the policy is the KL of the anchors
    assert moved() > 1e-4
    assert moved(benign_beta_kl=0.0) == 0.0
    assert moved(benign_tok=None, benign_beta_kl=0.0, scorer=score_all) > 1e-4


def test_an_anchor_is_sampled_for_its_few_tokens_and_a_judged_rollout_for_its_own(run):
    rows = rows_of(run(trainer_class=CADATrainer, max_steps=4, **TWINS)[1])
    assert max(row["completion_tok"] for row in rows if row["anchor"]) == 2
    assert max(row["completion_tok"] for row in rows if not row["anchor"]) == MAX_TOK
    assert all(row["completion_tok"] >= 1 for row in rows)


FIRST_TOK = {"n_requests": 8, "n_harmless": 4, "twin_of": {n: n + 4 for n in range(4)}}
FIRST_TOK |= {"benign_per_step": 4, "first_tok_per_step": (2, 2), "micro": (16, 1)}


def test_a_pair_whose_first_token_alone_is_sampled_is_not_judged_and_is_paid_what_that_token_is_worth(run):
    asked = []

    def seeing(rows, texts, truncated):
        asked.extend(rows)
        return score_all(rows, texts, truncated)

    _, records = run(**{**TWINS, **FIRST_TOK, "scorer": seeing, "trainer_class": CADATrainer})
    assert len(asked) == 3 * 4  # two harmful requests of four, two rollouts each
    for _, _, rows in records:
        # four harmful requests, then their twins, two rollouts each; of both kinds the last two are short
        assert [row["completion_tok"] == 1 for row in rows[4:8]] == [True] * 4
        assert [row["completion_tok"] == 1 for row in rows[12:]] == [True] * 4
        assert [row["anchor"] for row in rows] == [False] * 4 + [True] * 12
        worth = {}
        for row in rows[:4]:
            worth.setdefault((row["completion"].split() or [""])[0], []).append(row["advantage"])
        for row in rows[4:8]:
            same = worth.get(row["completion"], [0.0])
            assert row["advantage"] == pytest.approx(sum(same) / len(same))
        assert {row["advantage"] for row in rows[8:]} == {0.0}
