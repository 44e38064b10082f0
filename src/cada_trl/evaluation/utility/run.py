"""One task asked of one model through lm-eval, from its plan to a result on disk.

Every answer is kept in a file as it comes, so that a killed run goes on where it was.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from cada_trl.console import shown
from cada_trl.data.sources import ask_hub_once
from cada_trl.errors import UserError, first_line
from cada_trl.evaluation.engines import batches
from cada_trl.evaluation.settings import UtilityConfig
from cada_trl.evaluation.utility.results import RESULT, SAMPLES, accuracies, sample_rows
from cada_trl.evaluation.utility.task import Plan, write_definitions
from cada_trl.models.checks import check_tokenizer
from cada_trl.models.cpu_decoding import decoding_attention
from cada_trl.models.load import load_policy, load_tokenizer
from cada_trl.planning.device import check_gpu
from cada_trl.records import write_jsonl
from cada_trl.storage.digest import json_sha256
from cada_trl.storage.files import replace_json
from cada_trl.storage.log import AppendLog

LIBRARIES = ("lm_eval", "transformers", "torch", "datasets")
# [log-probability in nats, whether it is the greedy answer], or a text
Answer = Any


class RecordedLM(LM):
    """Answers of `lm`, one line of JSON a request in `path`; what is there is not asked again.

    Errors: UserError for an answer that is no number (damaged weights), and as AppendLog.
    """

    def __init__(self, lm: HFLM, path: Path, batch_tok: int) -> None:
        super().__init__()
        self._lm, self._batch_tok, self._log = lm, batch_tok, AppendLog(path)
        try:
            self._answers: dict[str, Answer] = {row["key"]: row["answer"] for row in self._log.rows}
        except KeyError as error:
            raise UserError(f"{path}: a row without {error}; the file was edited: delete that line") from error

    @property
    def tokenizer_name(self) -> str:
        return str(self._lm.tokenizer_name)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return str(self._lm.apply_chat_template(chat_history, add_generation_prompt))

    def n_cut(self, prompts: Sequence[str], reserved_tok: int) -> int:
        """Prompts that lm-eval shortens from the left, as they leave no reserved_tok in the model's context."""
        room = self._lm.max_length - reserved_tok
        return sum(len(self._lm.tok_encode(prompt)) > room for prompt in prompts)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(float(answer[0]), bool(answer[1])) for answer in self._all("loglikelihood", requests)]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        with decoding_attention(self._lm.model):
            return [str(answer) for answer in self._all("generate_until", requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError("no utility task here needs a rolling log-likelihood")

    def _all(self, kind: str, requests: list[Instance]) -> list[Answer]:
        keys = [json_sha256([kind, *request.args])[:16] for request in requests]
        pending = {key: request for key, request in zip(keys, requests, strict=True) if key not in self._answers}
        for _ in shown(self._asked(kind, pending), len(pending), "answers"):
            pass
        return [self._answers[key] for key in keys]

    def _asked(self, kind: str, pending: dict[str, Instance]) -> Iterator[str]:
        """Ask in batches and write each before the next; yields the keys."""
        for batch in self._batches(pending):
            answers = getattr(self._lm, kind)([pending[key] for key in batch], disable_tqdm=True)
            new = {key: _checked(answer) for key, answer in zip(batch, answers, strict=True)}
            self._log.append({"key": key, "answer": answer} for key, answer in new.items())
            self._answers |= new
            yield from batch

    def _batches(self, pending: dict[str, Instance]) -> Iterator[list[str]]:
        """At most batch_tok padded tokens each, the longest prompts first: lm-eval holds every token's logits at once.

        The choices after one prompt stay together: one pass answers them. A prompt beyond batch_tok goes alone.
        """
        by_prompt: dict[str, list[str]] = {}
        for key, request in pending.items():
            by_prompt.setdefault(request.args[0], []).append(key)
        keys = list(by_prompt.values())
        for rows in batches([len(self._lm.tok_encode(prompt)) for prompt in by_prompt], 0, self._batch_tok):
            yield [key for row in rows for key in keys[row]]


def _checked(answer: Any) -> Answer:
    if isinstance(answer, str):
        return answer
    logp, greedy = answer
    if not math.isfinite(logp):
        raise UserError(
            f"the model gave a log-probability of {logp}; its weights are damaged or overflow in this dtype"
        )
    return [float(logp), bool(greedy)]


def load_lm(settings: UtilityConfig) -> HFLM:
    """The model as training loads it (safetensors, no remote code), wrapped for lm-eval.

    Errors: UserError as check_gpu and load_policy.
    """
    check_gpu(settings.device)
    # It warns that a loaded model ignores arguments that are not given here.
    logging.getLogger("lm_eval.models.huggingface").setLevel(logging.ERROR)
    tokenizer = load_tokenizer(settings.model)
    check_tokenizer(tokenizer, settings.model)
    policy: Any = load_policy(settings.model, tokenizer)
    return HFLM(
        pretrained=policy.to(settings.device),
        tokenizer=tokenizer,
        batch_size=settings.batch_tok,  # RecordedLM makes the batches: none has more prompts than tokens
        max_length=settings.model.context_tok,
    )


def run_task(plan: Plan, settings: UtilityConfig, lm: Callable[[], HFLM], folder: Path) -> dict[str, Any]:
    """Ask, score and write samples.jsonl, then result.json; returns the result.

    Answers that are in the folder already are not asked again. Errors: UserError for data that cannot be loaded or has
    another number of rows than published.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    loaded = _load(plan, settings, folder / "definitions")
    recorded = RecordedLM(lm(), folder / "answers.jsonl", settings.batch_tok)
    output: dict[str, Any] = evaluate(
        lm=recorded,
        task_dict=loaded,
        samples={plan.task.leaf_of(subset): numbers for subset, numbers in plan.questions.items()},
        apply_chat_template=plan.task.chat_template,
        fewshot_as_multiturn=plan.task.fewshot_as_turns,
    )
    rows = sample_rows(plan, output)
    samples = (sample for part in output["samples"].values() for sample in part)
    prompts = list({sample["prompt_hash"]: str(sample["arguments"][0][0]) for sample in samples}.values())
    result = {
        "task": plan.task.name,
        "plan_hash": plan.hash,
        "n": plan.n,
        "n_published": plan.task.n,
        **accuracies(plan, rows, output),
        "prompts_cut": recorded.n_cut(prompts, settings.max_answer_tok if plan.task.generates else 0),
        "plan": plan.facts,
        "task_versions": {name: str(number) for name, number in output["versions"].items()},
        "versions": {name: version(name) for name in LIBRARIES},
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(time.process_time() - cpu_started, 1),
    }
    write_jsonl(folder / SAMPLES, rows)
    replace_json(folder / RESULT, result)
    return result


def _load(plan: Plan, settings: UtilityConfig, definitions: Path) -> Any:
    """lm-eval's tasks. Ours alone are indexed: its own thousands take seconds, and a name would stand for two."""
    name = write_definitions(plan.task, plan.questions, plan.data_root, definitions)
    if plan.data_root is None:
        ask_hub_once()
    try:
        loaded = TaskManager(include_path=str(definitions), include_defaults=False).load([name])
    except (OSError, ValueError) as error:  # datasets: a hub that cannot be reached, a file that cannot be parsed
        raise UserError(
            f"{plan.task.name}: cannot load its data ({first_line(error)}); "
            "data_root=<folder with gsm8k/, bbh/, mmlu/> needs no hub"
        ) from error
    for subset in plan.questions:
        task = loaded["tasks"][plan.task.leaf_of(subset)]
        n = len(task.eval_docs)
        if n != plan.task.subsets[subset]:
            raise UserError(
                f"{plan.task.name}: {n} rows of {subset} in {task.config.dataset_path}; expected the published "
                f"{plan.task.subsets[subset]} ({plan.task.source})"
            )
        if plan.task.generates:
            task.set_config("generation_kwargs", {"max_gen_toks": settings.max_answer_tok}, update=True)
    return loaded
