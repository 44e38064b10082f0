"""The probes of a run: held-out requests given raw, before the training, every few steps and after it.

Does the model know harmful from harmless? Sampled rates hang on where its threshold stands at that step, which drifts;
the area under the curve of P(answer begins with the analysis header | raw request) over held-out twins, one forward
pass each, does not (ours: docs/results.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cada_trl.algo.packing import left_padded
from cada_trl.config import Config
from cada_trl.judging.judge import Judge
from cada_trl.models.load import all_ends
from cada_trl.models.prompts import request_ids
from cada_trl.models.sampling import continued, sampled
from cada_trl.prompting.reasoning import MARKS
from cada_trl.records import Request, Verdict, read_jsonl
from cada_trl.reward import score_completions
from cada_trl.statistics.intervals import mean
from cada_trl.statistics.resampled import auc_and_j
from cada_trl.training.run import Run, Trained

BEGINS = 0.5  # a greedy answer to the raw request begins with the header from about here on


def probe_run(run: Run, trainer: Trained, name: str, step: int) -> list[dict[str, Any]]:
    """Sample, judge and record the held-out requests, raw; the rows, on every process."""
    tracking, data = run.config.tracking, run.data
    sets = {
        "harmful": data.probe[: tracking.n_probe_harmful],
        "held_out": data.held_out[: tracking.n_probe_harmful],
        "harmless": data.harmless_probe[: tracking.n_probe_harmless],
        "xstest_safe": data.xstest_safe_probe[: tracking.n_probe_harmless],
    }
    sets = {key: requests for key, requests in sets.items() if requests}
    n_done, n_asked = 0, sum(map(len, sets.values()))

    def progress(n: int) -> None:
        nonlocal n_done
        n_done += n
        run.say(f"probe {name}, held-out requests given raw: {n_done}/{n_asked}")

    before_file = run.folder.path / "probes" / "before.jsonl"
    rows: list[dict[str, Any]] = []
    harmless: list[dict[str, Any]] = []
    if sets:  # a model that is gathered whole need not fit where nothing is asked
        with trainer.sampling_model() as model:
            rows = probe(model, run.tokenizer, sets, run.config, run.judge, progress)
            before = rows if name == "before" else [row for _, row in read_jsonl(before_file)]
            harmless = [row for row in before if row["set"] == "harmless"]
            nll_nats = mean_nll_nats(model, run.tokenizer, harmless)
    values = summary(rows) | header_of_run(run, trainer) | ({"probe/harmless/nll_nats": nll_nats} if harmless else {})
    run.folder.write_probe(name, step, rows, values)
    run.mirror.log(step, values)
    run.mirror.probe(step, rows)
    return rows


def header_of_run(run: Run, trainer: Trained) -> dict[str, float]:
    """How well P(header | raw request) tells held-out twins apart now; empty where none are asked."""
    tracking = run.config.tracking
    requests = run.data.twins_probe[: 2 * tracking.n_header_pairs]
    if not requests:
        return {}
    with trainer.sampling_model() as model:
        texts, form = [request.text for request in requests], run.config.prompt.reasoning_as
        logp_n = header_logp_n(model, run.tokenizer, texts, tracking.probe_batch, form)
    return header_metrics(logp_n, requests)


@torch.no_grad()
def header_logp_n(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    batch: int,
    reasoning_as: str = "headers",
) -> list[float]:
    """log P(the analysis header's tokens | raw request) of each request, in nats at temperature 1."""
    header = tokenizer(MARKS[reasoning_as][0].strip(), add_special_tokens=False)["input_ids"]
    prompts = [request_ids(tokenizer, request) for request in requests]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    logp_n = [0.0] * len(prompts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        ids, mask = left_padded([prompts[index] + header for index in chosen], model.device)
        position = (mask.cumsum(-1) - 1).clamp(min=0)
        logits_btv = model(
            input_ids=ids, attention_mask=mask, position_ids=position, logits_to_keep=len(header) + 1
        ).logits[:, :-1]
        label_bt = ids[:, -len(header) :]
        logp_bt = logits_btv.float().log_softmax(-1).gather(-1, label_bt[..., None])[..., 0]
        for index, logp in zip(chosen, logp_bt.sum(1).tolist(), strict=True):
            logp_n[index] = logp
    return logp_n


def header_metrics(logp_n: Sequence[float], requests: Sequence[Request]) -> dict[str, float]:
    """probe/twins/...: AUC of harmful over harmless, and the share of each whose answer would begin with the header."""
    logp, harmful = np.asarray(logp_n), np.asarray([request.harmful for request in requests])
    begins = logp > np.log(BEGINS)
    return {
        "probe/twins/header_auc": auc_and_j(logp[harmful], logp[~harmful])[0],
        "probe/twins/header_harmful_frac": float(begins[harmful].mean()),
        "probe/twins/header_harmless_frac": float(begins[~harmful].mean()),
    }


@torch.no_grad()
def generate_raw(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[str],
    config: Config,
    seed: int,
    progress: Callable[[int], None] = lambda n: None,
) -> list[list[int]]:
    """Answer raw requests at the training's temperature and top_p; batches are cut from the length-sorted requests.

    The token ids of one answer per request, in the requests' order. progress: called after each batch with its size.
    """
    prompts = [request_ids(tokenizer, request) for request in requests]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers: dict[int, list[int]] = {}
    rollout, size = config.rollout, config.tracking.probe_batch
    choose = sampled(rollout.temperature, rollout.top_p)
    ends = all_ends(tokenizer, model.generation_config.eos_token_id)
    # Dropout draws from the same generator: how much is probed must not decide what is learned.
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            for place, ids in continued(model, [prompts[index] for index in chosen], choose, ends, rollout.max_new_tok):
                answers[chosen[place]] = ids
            progress(len(chosen))
    return [answers[index] for index in range(len(prompts))]


def probe(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sets: dict[str, list[Request]],
    config: Config,
    judge: Judge,
    progress: Callable[[int], None] = lambda n: None,
) -> list[dict[str, Any]]:
    """Answer and judge every request of every set; a row per completion, as in probes/<name>.jsonl.

    sets: name (harmful, harmless, xstest_safe, held_out) -> requests. The same seed each time, so that before and after
    differ by the model.
    """
    ends = all_ends(tokenizer, model.generation_config.eos_token_id)
    rows = []
    for name, requests in sets.items():
        asked = [
            {"set": name, "request_id": one.id, "request": one.text, "hazard": one.hazard, "harmful": one.harmful}
            for one in requests
        ]
        texts = [one.text for one in requests]
        answers = generate_raw(model, tokenizer, texts, config, config.seed, progress)
        said = [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in answers]
        cut = [ids[-1] not in ends for ids in answers]
        scored = score_completions(asked, said, cut, judge, config.reward)
        for row, ids, was_cut, paid in zip(asked, answers, cut, scored, strict=True):
            lengths = {"completion_tok": len(ids), "truncated": was_cut, "token_ids": ids}
            rows.append({**row, **paid.fields(), **lengths})
    return rows


@torch.no_grad()
def mean_nll_nats(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[dict[str, Any]]
) -> float | None:
    """Mean negative log-likelihood a token of given answers to raw requests, in nats at temperature 1.

    The answers are the untrained model's own to harmless requests: it rises as a model drifts from what it could say
    (ours, a stand-in for perplexity where no text may be downloaded). None without rows.
    """
    total_nats, n_tok = 0.0, 0
    for row in rows:
        prompt = request_ids(tokenizer, row["request"])
        ids = torch.tensor([prompt + row["token_ids"]], device=model.device)
        logits_tv = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        total_nats += float(torch.nn.functional.cross_entropy(logits_tv, ids[0, len(prompt) :], reduction="sum"))
        n_tok += len(row["token_ids"])
    return total_nats / n_tok if n_tok else None


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """probe/<set>/... metrics; shares of verdicts are over the scored completions, None where there is none."""
    values: dict[str, float | None] = {}
    for name in dict.fromkeys(row["set"] for row in rows):
        mine = [row for row in rows if row["set"] == name]
        scored = [row for row in mine if row["reward"] is not None]
        refused = [row["verdict"] == Verdict.REFUSED for row in scored]
        reasoned = [row["verdict"] == Verdict.REFUSED and row["reasoned"] for row in scored]
        values |= {
            f"probe/{name}/reward_mean": mean([row["reward"] for row in scored]),
            f"probe/{name}/refused_frac": mean(refused),
            f"probe/{name}/answered_frac": mean([not one for one in refused]),
            f"probe/{name}/reasoned_refusal_frac": mean(reasoned),
            f"probe/{name}/reasoning_frac": mean([row["reasoned"] for row in mine]),
            f"probe/{name}/unscored_frac": mean([row["reward"] is None for row in mine]),
            f"probe/{name}/completion_tok": mean([row["completion_tok"] for row in mine]),
        }
    return values
