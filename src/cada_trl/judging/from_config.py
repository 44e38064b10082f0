"""The judge that a configuration names."""

from __future__ import annotations

from pathlib import Path

from cada_trl.config import CONF_DIR, JudgeConfig
from cada_trl.config.loading import load_described
from cada_trl.errors import UserError
from cada_trl.hazards.pack import HazardPack
from cada_trl.judging.classifier import ClassifierJudge
from cada_trl.judging.endpoint import ChatEndpoint, LocalModel, Model
from cada_trl.judging.forms import GUARDS, RUBRICS
from cada_trl.judging.judge import Judge, Panel
from cada_trl.judging.model_judge import ModelJudge, ReasoningJudge, verdict_cache
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.storage.digest import json_sha256

_SEES = "-sees-"
LABEL_HARM_ONLY = {"llamaguard3", "harmbench"}  # their verdict is UNSCORED throughout, their label is `harmful`


def make_judge(config: JudgeConfig, cache_dir: Path | None = None) -> Judge:
    """A judge that is a model keeps its verdicts under cache_dir.

    Its id ends in what it sees wherever that is not the final response alone. Errors: UserError when a needed setting
    or key is missing.
    """
    judge: Judge
    if config.kind == "panel":
        judge = _panel(config, cache_dir)
    elif config.kind == "classifier":
        judge = ClassifierJudge()
    else:
        judge = PhraseJudge() if config.kind == "phrases" else _model_judge(config, cache_dir)
    if config.judge_sees != "final_response":
        judge.id += f"{_SEES}{config.judge_sees}"
    return judge


def make_reasoning_judge(config: JudgeConfig, pack: HazardPack) -> ReasoningJudge:
    """On the endpoint of the judge of refusals. Errors: UserError when that judge has none, or lacks its key."""
    if not config.base_url or not config.llm:
        raise UserError(f"reward=judged_reasoning needs a judge behind an endpoint; judge={config.kind} has none")
    return ReasoningJudge(ChatEndpoint.from_config(config), pack, config.max_calls)


def split_sees(judge_id: str) -> tuple[str, str]:
    """(id of the judge that sees the final response alone, what this one sees), from the id that make_judge gave."""
    alone, _, sees = judge_id.partition(_SEES)
    return alone, sees or "final_response"


def check_pays_reward(config: JudgeConfig) -> None:
    """Errors: UserError for a judge that cannot pay the training's reward, which is for refusals (paper: Reward)."""
    if config.kind == "panel":
        raise UserError(f"{_named(config)}: a majority pays no reward; train with one judge, and evaluate by the panel")
    if config.kind in LABEL_HARM_ONLY:
        raise UserError(f"judge={config.kind} labels harm and the reward pays refusal; train with judge=phrases")
    if config.judge_sees != "final_response":
        raise UserError(f"judge_sees={config.judge_sees} is for evaluation; the reward is for final_response")


def _named(config: JudgeConfig) -> str:
    return f"judge=[{','.join(config.members)}]"


def _panel(config: JudgeConfig, cache_dir: Path | None) -> Panel:
    """Errors: UserError for fewer than two judges, one that is there twice or unknown, or one without a vote."""
    if len(set(config.members)) < max(2, len(config.members)):
        raise UserError(f"{_named(config)}: a panel takes two judges or more, each once, as in [phrases,classifier]")
    own = {name: load_described(JudgeConfig, CONF_DIR / "judge", name, "judge", ()) for name in config.members}
    if without := [name for name, one in own.items() if one.kind in {"panel", *LABEL_HARM_ONLY}]:
        raise UserError(f"{_named(config)}: {without[0]} has no vote on refusals; leave it out, or judge by it alone")
    address = {key: value for key in ("base_url", "llm") if (value := getattr(config, key))}
    if address and not any(one.base_url for one in own.values()):
        raise UserError(f"{_named(config)}: none of them is asked at an address; leave {', '.join(address)} out")
    shared = {key: getattr(config, key) for key in ("judge_sees", "timeout_s", "max_retries", "max_calls")}
    asked = shared | address | {"api_key_env": config.api_key_env}
    judges = [make_judge(one.model_copy(update=asked if one.base_url else shared), cache_dir) for one in own.values()]
    alone = sorted(split_sees(one.id)[0] for one in judges)
    return Panel(f"panel-{'-'.join(sorted(own))}-{json_sha256(alone)[:8]}", judges)


def _model_judge(config: JudgeConfig, cache_dir: Path | None) -> ModelJudge:
    if not config.llm or (config.kind in RUBRICS and not config.base_url):
        raise UserError(f"judge={config.kind} needs llm and base_url, as in hydra_conf/judge/{config.kind}.yaml")
    model: Model = ChatEndpoint.from_config(config) if config.base_url else LocalModel(config.llm)
    form = (RUBRICS | GUARDS)[config.kind]
    return ModelJudge(form, model, config.max_calls, verdict_cache(cache_dir / "verdicts.jsonl") if cache_dir else None)
