"""The student samples and learns on the raw request; what it is held to is its frozen self, shown the cases."""

import math

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig

from cada_trl.config import load_config
from cada_trl.hazards.pack import load_pack
from cada_trl.records import Request, Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.training.requests import rollout_dataset
from cada_trl.training.self_distillation import SelfDistillationTrainer, distillation_rows

from .preset_run import CPU_RUN, PresetRollouts, distance, load, rows_of, score, weights

pytestmark = pytest.mark.slow

TEMPERATURE = CPU_RUN["temperature"]
FIRST_TOK_WEIGHT = 10.0
N_ROWS = 8
DIRECTIONS = ["reverse", "forward", "symmetric"]


class PresetStudent(PresetRollouts, SelfDistillationTrainer):
    """Without sampling; harmless requests have no cases, as in a run. Keeps what each step was made of."""

    def __init__(self, *, train_dataset, **arguments):
        rows = [row if row["harmful"] else {**row, "prompt": row["learn_prompt"]} for row in train_dataset.to_list()]
        super().__init__(train_dataset=Dataset.from_list(rows), **arguments)
        self.parts = []
        self.batches = []

    def _micro_batches(self, part):
        batches = super()._micro_batches(part)
        self.parts.append(part)
        self.batches.append(batches)
        return batches


@pytest.fixture
def student(build):
    """A student of two harmful and two harmless requests, two completions each, and what it records."""
    of_step = {"n_harmless": 2, "benign_per_step": 2, "trainer_class": PresetStudent}
    values = {"baseline": "none", "beta_kl": 1.0, "kl_direction": "symmetric", "max_steps": 1}
    return lambda **changes: build(**{**of_step, **values, **changes})


def plain_kl_b(policy, teacher, part, direction, first_tok_weight):
    """The KL of each completion from whole logits, one row after the other, without packing or tiles."""
    kl_b = []
    rows = zip(part["learn_ids"], part["teacher_ids"], part["completions"], strict=True)
    for learn_ids, teacher_ids, completion in rows:
        logp_tv, logq_tv = (
            (model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE).log_softmax(1)
            for model, prompt in ((policy, learn_ids), (teacher, teacher_ids))
        )
        reverse_t = (logp_tv.exp() * (logp_tv - logq_tv)).sum(1)
        forward_t = (logq_tv.exp() * (logq_tv - logp_tv)).sum(1)
        kl_t = {"reverse": reverse_t, "forward": forward_t, "symmetric": (reverse_t + forward_t) / 2}[direction]
        weight_t = torch.ones(len(completion))
        weight_t[0] = first_tok_weight
        kl_b.append((kl_t * weight_t).sum())
    return torch.stack(kl_b)


def test_harmful_requests_show_the_teacher_the_cases_and_harmless_ones_nothing():
    config = load_config(["algo=self_distillation", "requests_per_step=2", "micro_batch=2"])
    pack = load_pack("builtin")
    hazard = next(iter(pack.hazards))
    requests = [
        Request(id=text, text=text, hazard=hazard, harmful=harmful, source="test")
        for text, harmful in (("one", True), ("two", False))
    ]
    rows = distillation_rows(rollout_dataset(config, requests[:1], requests[1:], pack))
    for row in rows:
        raw = [{"role": "user", "content": row["request"]}]
        assert row["prompt"] == row["learn_prompt"] == raw
        assert row["prompt_arm"] == "none"
        assert (row["teacher_prompt"] == raw) == (not row["harmful"])
    assert "### Analysis" in str(rows[0]["teacher_prompt"])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_loss_is_the_weighed_kl_of_whole_logits_and_so_is_its_gradient(tiny_folder, student, direction):
    trainer, records = student(
        micro=(2, 4),
        kl_direction=direction,
        benign_tok=3,  # harmless rows are not judged, and count all the same
        first_tok_weight=FIRST_TOK_WEIGHT,
        sgd_lr=0.01,
    )
    trainer.train()
    policy, teacher = load(tiny_folder), load(tiny_folder).requires_grad_(False)
    loss = plain_kl_b(policy, teacher, trainer.parts[0], direction, FIRST_TOK_WEIGHT).mean()
    assert records[0][1]["train/loss"] == pytest.approx(loss.item(), rel=1e-4)
    loss.backward()
    torch.optim.SGD(policy.parameters(), lr=0.01).step()
    assert distance(weights(trainer.model), weights(policy)) < 1e-5
    assert distance(weights(policy), weights(teacher)) > 1e-2


def test_at_first_only_harmful_requests_have_something_to_learn(student):
    trainer, records = student(micro=(2, 4))
    trainer.train()
    kls = {harmful: [row["kl_nats"] for row in records[0][2] if row["harmful"] is harmful] for harmful in (True, False)}
    assert max(abs(kl) for kl in kls[False]) < 1e-4
    assert min(kls[True]) > 0.05


@pytest.mark.parametrize("steps_per_rollout", [1, 2])
@pytest.mark.parametrize("share_prefix", [False, True])
def test_teacher_and_student_run_over_the_same_tokens_in_the_same_order(student, steps_per_rollout, share_prefix):
    values = {"steps_per_rollout": steps_per_rollout, "share_prefix": share_prefix}
    trainer, _ = student(micro=(2, 4), max_steps=2, **values)
    trainer.train()
    tokenize = trainer._tokenize_prompts
    seen = []
    for part, batches in zip(trainer.parts, trainer.batches, strict=True):
        for batch in batches:
            student_of, teacher_of = batch["packed"], batch["ref_packed"]
            for name in ("row_n", "t_n", "label_n"):
                assert torch.equal(getattr(student_of, name), getattr(teacher_of, name)), name
            for packed, column in ((student_of, "learn_prompt"), (teacher_of, "teacher_prompt")):
                for place, b in enumerate(batch["rows"]):
                    (prompt,) = tokenize([part["inputs"][b][column]])[0]
                    whole = [*prompt, *part["completions"][b]]
                    assert [*packed.prefix_l.tolist(), *packed.row_bs[place].tolist()][: len(whole)] == whole
            seen += batch["rows"]
    assert sorted(seen) == sorted(2 * list(range(N_ROWS)))


def test_the_judge_pays_nothing_and_its_verdicts_are_recorded(student):
    def never(rows, texts, truncated):
        scored = score(rows, texts, truncated)
        return [ScoredCompletion(one.completion, one.reasoning, Verdict.UNSCORED, math.nan) for one in scored]

    (one, records), (other, _) = (student(scorer=scorer, max_steps=2) for scorer in (score, never))
    one.train()
    other.train()
    assert distance(weights(one.model), weights(other.model)) == 0.0
    rows = rows_of(records)
    assert {row["advantage"] for row in rows} == {0.0}
    assert len({row["reward"] for row in rows}) > 1


def test_with_lora_the_teacher_is_the_model_without_its_adapter(student):
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    changes = {"max_steps": 2, "learning_rate": 1e-2}
    adapted, of_adapted = student(peft_config=lora, **changes)
    full, of_full = student(**changes)
    reference = adapted.reference_hash()
    adapted.train()
    full.train()
    first_losses = [records[0][1]["train/loss"] for records in (of_adapted, of_full)]
    assert first_losses[0] == pytest.approx(first_losses[1], rel=1e-4)
    assert adapted.reference_hash() == reference
