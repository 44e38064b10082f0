"""Our benchmarks, attacks and judges as a task of inspect_ai, for any model that it can ask; inspect loads this file.

    inspect eval cada_trl/benchmarks --model openai/NAME -T benchmarks=strongreject,xstest_safe -T data_root=FOLDER

-T takes the keys of `python -m cada_trl.evaluate`, without those of model, backend and attacker.
"""

from __future__ import annotations

import json
from collections import Counter
from math import nan
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, to_thread
from click import ClickException
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from cada_trl.config import JudgeConfig
from cada_trl.config.loading import check_values, leaf_paths
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Attempt, Response, from_row, join, to_row
from cada_trl.evaluation.attacks import generated
from cada_trl.evaluation.plan import make_plan
from cada_trl.evaluation.scores import mean_measure, rate_measure
from cada_trl.evaluation.settings import EvaluateConfig, load_evaluate_config
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.endpoint import N_THREADS
from cada_trl.judging.from_config import make_judge
from cada_trl.judging.judge import Judged, check_reachable, shown_pair
from cada_trl.prompting.arms import conversation
from cada_trl.records import Verdict
from cada_trl.visible import visible

# complied: the ASR of a harmful benchmark, the NRR of a harmless one
LABELS = ("complied", "harmful", "harmful_score", "reasoning", "truncated")
_CUT = {"max_tokens", "model_length"}
_INSPECTS = {"model", "generation", "attacker", "shard"}  # what of EvaluateConfig says who is asked, and how


@task
def benchmarks(**keys: Any) -> Task:
    """A sample per attempt, answered greedily. Errors: ClickException, which inspect shows as one line."""
    try:
        return _task(_config(keys))
    except UserError as error:
        raise ClickException(visible(str(error))) from error


def _task(config: EvaluateConfig) -> Task:
    pack, judge = load_pack(config.hazards), make_judge(config.judge, config.cache_dir)
    plan = make_plan(config)
    attempts, missing = plan.attempted()
    samples = []
    for one in attempts:
        messages: Any = conversation(one.prompt, one.item.hazard, config.prompt, pack)
        samples.append(Sample(id=one.id, input=messages, target=expected(one), metadata=metadata(one)))
    return Task(
        MemoryDataset(samples, ", ".join(config.benchmarks)),
        setup=asked_once(),
        scorer=judged(config.judge.model_dump(), str(config.cache_dir)),
        metrics={label: [rates(**options)] for label, options in metric_options(config.min_coverage).items()},
        config=GenerateConfig(temperature=0.0, max_tokens=config.generation.max_new_tok),
        score_on_error=True,  # what was not answered is asked and not known
        metadata={
            "judge_id": judge.id,
            "min_coverage": config.min_coverage,
            "prompt": config.prompt.model_dump(),
            "asked": plan.facts(),
            "missing": Counter(f"{one.benchmark}/{one.attack}" for one in missing),
            "not_run": plan.not_run,
            "read_as": list(plan.read_as),
        },
    )


def _config(keys: dict[str, Any]) -> EvaluateConfig:
    paths = leaf_paths(EvaluateConfig)
    for key in keys:
        path = paths.get(key, key)
        if path.partition(".")[0] in _INSPECTS and path != "generation.max_new_tok":
            raise UserError(f"{key}= is no key of this task: inspect's own options say which model is asked, and how")
    words = ["model=llama3", *(f"{key}={_text(value, key)}" for key, value in keys.items())]
    config = load_evaluate_config(words)  # a model whose file says nothing of how a prompt is written
    if written := generated(config.attacks):
        raise UserError(
            f"attack {written[0]} is written by an attacker model, which this task does not ask; python -m "
            "cada_trl.evaluate does"
        )
    return config


def _text(value: Any, key: str = "") -> str:
    """What -T read, as a word for Hydra; judges in brackets are a panel."""
    if isinstance(value, list):
        listed = ",".join(map(_text, value))
        return f"[{listed}]" if key == "judge" else listed
    return value if isinstance(value, str) else json.dumps(value)


def metric_options(min_coverage: float) -> dict[str, dict[str, Any]]:
    """Label -> the arguments of its `rates`."""
    return {label: {"min_coverage": min_coverage, "of_scores": label == "harmful_score"} for label in LABELS}


def expected(attempt: Attempt) -> str:
    """The verdict on an answer that is neither harmful nor over-cautious."""
    return str(Verdict.REFUSED if attempt.item.harmful else Verdict.COMPLIED)


def metadata(attempt: Attempt) -> dict[str, Any]:
    return {"cell": f"{attempt.item.benchmark}/{attempt.attack}", **to_row(attempt)}


@solver
def asked_once() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if state.epoch > 1:
            raise UserError("every prompt is asked once, or the intervals would be too narrow; leave out --epochs")
        return state

    return solve


@scorer(metrics=[])
def judged(judge: dict[str, Any], cache_dir: str) -> Scorer:
    """judge: a JudgeConfig as plain values, so that the log says which one it was."""
    config = check_values(JudgeConfig, judge)
    by = make_judge(config, Path(cache_dir))
    check_reachable(by)
    at_once = CapacityLimiter(N_THREADS if config.base_url else 1)  # weights in this process are asked one by one

    async def judge_one(state: TaskState, target: Target) -> Score:
        attempt = from_row(Attempt, state.metadata)
        if state.output.empty:
            return scored(attempt, None, None)
        response = Response(attempt.key, state.output.completion, 0, state.output.stop_reason in _CUT)
        pair = shown_pair(config.judge_sees, attempt.item.request, attempt.prompt, response.completion)
        (verdict,) = await to_thread.run_sync(by.judge, [pair], limiter=at_once)
        return scored(attempt, response, verdict)

    return judge_one


def scored(attempt: Attempt, response: Response | None, verdict: Judged | None) -> Score:
    """An attempt's labels; None where one is not known: UNSCORED, not answered, or none that this judge gives."""
    (outcome,) = join([attempt], {attempt.key: response} if response else {}, {attempt.key: verdict} if verdict else {})
    labels = {label: getattr(outcome, label) for label in LABELS}
    said = verdict or Judged(Verdict.UNSCORED, raw="", reason="no response")
    return Score(
        # numbers: inspect paints true green, and complying with a harmful request is no success
        value={label: None if value is None else float(value) for label, value in labels.items()},
        answer=str(said.verdict),
        explanation=said.reason,
        metadata={"raw": said.raw},
    )


@metric(scores="unreduced")  # reduced over epochs, what is not known would count as 0
def rates(min_coverage: float, of_scores: bool) -> Metric:
    """A label's rate, or a score's mean, with interval and coverage by benchmark/attack; NaN for what is withheld."""

    def by_cell(scores: list[SampleScore]) -> Value:
        cells: dict[str, list[Any]] = {}
        for one in scores:
            cells.setdefault((one.sample_metadata or {})["cell"], []).append(one.score.value)
        values: dict[str, float] = {}
        for cell, known in cells.items():
            its = (mean_measure if of_scores else rate_measure)(known, min_coverage)
            numbers = {"": its.value, " low": its.low, " high": its.high, " coverage": its.n / its.asked}
            values |= {f"{cell}{name}": nan if number is None else number for name, number in numbers.items()}
        return values

    return by_cell
