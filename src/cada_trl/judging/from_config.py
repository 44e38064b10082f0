"""The judge that a configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cada_trl.config import CONF_DIR, JudgeConfig, ModelConfig
from cada_trl.config.loading import load_described
from cada_trl.errors import UserError
from cada_trl.hazards.pack import HazardPack
from cada_trl.judging.classifier import ClassifierJudge
from cada_trl.judging.endpoint import ChatEndpoint, LocalModel, Model
from cada_trl.judging.forms import GUARDS, RUBRICS
from cada_trl.judging.judge import Judge, Panel
from cada_trl.judging.model_judge import ModelJudge, ReasoningJudge, verdict_cache
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.models.named import model_fingerprint
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
    _check_read(config, list(own.values()))
    shared = {key: getattr(config, key) for key in ("judge_sees", "timeout_s", "max_retries", "max_calls")}
    address = {key: value for key in ("base_url", "llm") if (value := getattr(config, key))}
    judges = []
    for one in own.values():
        # the panel's key goes to its own address, or to one that wants a key, and to no other server
        key = {"api_key_env": config.api_key_env if config.base_url or one.api_key_env else None}
        judges.append(make_judge(one.model_copy(update=shared | (address | key if one.base_url else {})), cache_dir))
    alone = sorted(split_sees(one.id)[0] for one in judges)
    return Panel(f"panel-{'-'.join(sorted(own))}-{json_sha256(alone)[:8]}", judges)


def _check_read(config: JudgeConfig, members: Sequence[JudgeConfig]) -> None:
    """Errors: UserError for what was set for a panel and none of its members reads."""
    default = load_described(JudgeConfig, CONF_DIR / "judge", "panel", "judge", ())
    of_address, of_model = ("base_url", "llm", "api_key_env", "timeout_s", "max_retries"), ("max_calls",)
    keys = [] if any(one.base_url for one in members) else [*of_address]
    if not any(one.llm for one in members):
        keys += of_model
    if unread := [key for key in keys if getattr(config, key) != getattr(default, key)]:
        what = "asked at an address" if unread[0] in of_address else "a model"
        raise UserError(f"{_named(config)}: none of them is {what}; leave {', '.join(unread)} out")


def _model_judge(config: JudgeConfig, cache_dir: Path | None) -> ModelJudge:
    if not config.llm or (config.kind in RUBRICS and not config.base_url):
        raise UserError(f"judge={config.kind} needs llm and base_url, as in hydra_conf/judge/{config.kind}.yaml")
    model: Model = ChatEndpoint.from_config(config) if config.base_url else LocalModel(config.llm)
    form = (RUBRICS | GUARDS)[config.kind]
    cache = verdict_cache(cache_dir / "verdicts.jsonl") if cache_dir else None
    judge = ModelJudge(form, model, config.max_calls, cache)
    if not config.base_url and Path(config.llm).expanduser().is_dir():  # other weights are another judge
        folder = ModelConfig.model_construct(source="folder", path=config.llm)
        judge.id += f"-{model_fingerprint(folder)[:8]}"
    return judge
