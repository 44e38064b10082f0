"""The judge that a configuration names."""

from __future__ import annotations

from pathlib import Path

from cada_trl.config import JudgeConfig
from cada_trl.errors import UserError
from cada_trl.judging.endpoint import ChatEndpoint
from cada_trl.judging.forms import GUARDS, RUBRICS
from cada_trl.judging.judge import Judge
from cada_trl.judging.model_judge import Model, ModelJudge, VerdictCache
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.judging.weights import LocalModel

_SEES = "-sees-"
LABEL_HARM_ONLY = {"llamaguard3", "harmbench"}  # their verdict is UNSCORED throughout, their label is `harmful`


def make_judge(config: JudgeConfig, cache_dir: Path | None = None) -> Judge:
    """A judge that is a model keeps its verdicts under cache_dir.

    Its id ends in what it sees wherever that is not the final response alone. Errors: UserError when a needed setting
    or key is missing.
    """
    judge: Judge = PhraseJudge() if config.kind == "phrases" else _model_judge(config, cache_dir)
    if config.judge_sees != "final_response":
        judge.id += f"{_SEES}{config.judge_sees}"
    return judge


def split_sees(judge_id: str) -> tuple[str, str]:
    """(id of the judge that sees the final response alone, what this one sees), from the id that make_judge gave."""
    alone, _, sees = judge_id.partition(_SEES)
    return alone, sees or "final_response"


def check_pays_reward(config: JudgeConfig) -> None:
    """Errors: UserError for a judge that cannot pay the training's reward, which is for refusals (paper: Reward)."""
    if config.kind in LABEL_HARM_ONLY:
        raise UserError(f"judge={config.kind} labels harm and the reward pays refusal; train with judge=phrases")
    if config.judge_sees != "final_response":
        raise UserError(f"judge_sees={config.judge_sees} is for evaluation; the reward is for final_response")


def _model_judge(config: JudgeConfig, cache_dir: Path | None) -> ModelJudge:
    if not config.llm or (config.kind in RUBRICS and not config.base_url):
        raise UserError(f"judge={config.kind} needs llm and base_url, as in hydra_conf/judge/{config.kind}.yaml")
    model: Model = ChatEndpoint.from_config(config) if config.base_url else LocalModel(config.llm)
    form = (RUBRICS | GUARDS)[config.kind]
    return ModelJudge(form, model, config.max_calls, VerdictCache(cache_dir / "verdicts.jsonl") if cache_dir else None)
