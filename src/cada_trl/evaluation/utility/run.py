"""One task asked of one model through lm-eval, from its plan to a result on disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.data.sources import ask_hub_once
from cada_trl.errors import UserError, first_line
from cada_trl.evaluation.settings import UtilityConfig
from cada_trl.evaluation.utility.files import write_definitions
from cada_trl.evaluation.utility.plan import Plan
from cada_trl.evaluation.utility.results import RESULT, SAMPLES, accuracies, sample_rows
from cada_trl.planning.device import check_gpu
from cada_trl.records import write_jsonl
from cada_trl.storage.files import replace_json

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

LIBRARIES = ("lm_eval", "transformers", "torch", "datasets")


def load_lm(settings: UtilityConfig) -> HFLM:
    """The model as training loads it (safetensors, no remote code), wrapped for lm-eval.

    Errors: UserError as check_gpu and load_policy.
    """
    from lm_eval.models.huggingface import HFLM

    from cada_trl.models.checks import check_tokenizer
    from cada_trl.models.load import load_policy, load_tokenizer

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
    from lm_eval.evaluator import evaluate

    from cada_trl.evaluation.utility.recorded import RecordedLM

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
    from lm_eval.tasks import TaskManager

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
