"""An evaluation as a log of inspect_ai, built and counted by inspect's own types, as its task would have written it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalRevision,
    EvalSample,
    EvalSpec,
    EvalStats,
    recompute_metrics,
)
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ChatMessageUser, GenerateConfig, ModelOutput
from inspect_ai.util import registry_info

from cada_trl.evaluation.answers import Attempt, Response
from cada_trl.evaluation.inspect_task import benchmarks, expected, metadata, metric_options, rates, scored
from cada_trl.judging.judge import Judged
from cada_trl.report.records import EvalRecord
from cada_trl.storage.digest import content_hash
from cada_trl.tracking.manifest import scrub


def inspect_log(record: EvalRecord) -> EvalLog:
    """The same folder gives the same log: its names and times are the folder's."""
    manifest, config = record.manifest, scrub(record.config)
    log_id = content_hash([record.name, record.scores.judge_id])
    model, git = str(manifest.get("model") or "unknown"), manifest.get("git")
    max_tok = (config.get("generation") or {}).get("max_new_tok")
    asked = list(dict.fromkeys(cell.benchmark for cell in record.scores.cells))
    options = metric_options(record.scores.min_coverage)
    metrics = {label: [{"name": _name(rates), "options": options[label]}] for label in options}
    scorers: Any = [{"name": "judged", "options": {"judge": config.get("judge")}, "metrics": metrics}]
    spec = EvalSpec(
        eval_id=log_id,
        run_id=log_id,
        task_id=log_id,
        task=_name(benchmarks),
        created=manifest["started_utc"],
        task_args={key: config.get(key) for key in ("benchmarks", "attacks", "limit", "seed")},
        dataset=EvalDataset(name=", ".join(asked), samples=len(record.outcomes)),
        model=model,
        model_generate_config=GenerateConfig(temperature=0.0, max_tokens=max_tok),
        config=EvalConfig(epochs=1),
        revision=EvalRevision(type="git", origin="", **git) if git else None,
        packages=manifest.get("packages") or {},
        metadata={
            "judge_id": record.scores.judge_id,
            "min_coverage": record.scores.min_coverage,
            "prompt": config.get("prompt"),
            "missing": Counter(f"{one.benchmark}/{one.attack}" for one in record.missing),
            **{key: manifest.get(key) for key in ("not_run", "attacks", "decides", "decides_sha256", "files")},
        },
        scorers=scorers,
    )
    samples = [
        _sample(one.attempt, record.responses.get(one.attempt.key), record.verdicts.get(one.attempt.key), model)
        for one in record.outcomes
    ]
    stats = EvalStats(started_at=manifest["started_utc"], completed_at=manifest.get("ended_utc") or "")
    log = EvalLog(status="success", eval=spec, stats=stats, samples=samples)
    recompute_metrics(log)
    return log


def _name(made: Any) -> str:
    return str(registry_info(made).name)


def _sample(attempt: Attempt, response: Response | None, verdict: Judged | None, model: str) -> EvalSample:
    asked = ChatMessageUser(id=f"{attempt.key}-prompt", content=attempt.prompt, source="input")
    answers = []
    if response is not None:
        said = ChatMessageAssistant(
            id=f"{attempt.key}-completion", content=response.completion, model=model, source="generate"
        )
        answers.append(ChatCompletionChoice(message=said, stop_reason="max_tokens" if response.truncated else "stop"))
    return EvalSample(
        id=attempt.id,
        uuid=attempt.key,
        epoch=1,
        input=attempt.prompt,
        target=expected(attempt),
        messages=[asked, *(one.message for one in answers)],
        output=ModelOutput(model=model, choices=answers),
        scores={"judged": scored(attempt, response, verdict)},
        metadata=metadata(attempt) | {"completion_tok": response.completion_tok if response else None},
    )
