"""What a judge is: (raw request, final response) pairs in, one verdict each out. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cada_trl.errors import UserError
from cada_trl.records import Verdict

if TYPE_CHECKING:
    from cada_trl.config import JudgeConfig


@dataclass(frozen=True)
class Judged:
    """One verdict. raw is what the judge itself said (a model's answer, the matched words); reason is for a reader.

    Refused and harmful are two labels. harmful None: this judge does not label harm, or could not in this case.
    harmful_score in [0, 1]; None: this judge gives no score.
    """

    verdict: Verdict
    raw: str
    reason: str
    harmful: bool | None = None
    harmful_score: float | None = None

    @property
    def scored(self) -> bool:
        """The judge labelled something: refusal, harm or both."""
        return self.verdict is not Verdict.UNSCORED or self.harmful is not None


class Judge(Protocol):
    """Says whether a final response refuses the request.

    Every judge gives UNSCORED to an empty final response (ours: it neither refuses nor answers, and the paper's reward
    needs one of the two; the reward turns it into NaN and counts it).
    """

    id: str

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
        """Judge pairs of (raw request, final response), never the rendered prompt; one Judged a pair, in order."""
        ...


EMPTY = Judged(Verdict.UNSCORED, raw="", reason="empty final response")
_SEES = "-sees-"
LABEL_HARM_ONLY = {"llamaguard3", "harmbench"}  # their verdict is UNSCORED throughout, their label is `harmful`


def make_judge(config: JudgeConfig, cache_dir: Path | None = None) -> Judge:
    """The judge that the configuration names; one that is a model keeps its verdicts under cache_dir.

    Its id ends in what it sees wherever that is not the final response alone. Errors: UserError when a needed setting
    or key is missing.
    """
    judge = _make(config, cache_dir)
    if config.judge_sees != "final_response":
        judge.id += f"{_SEES}{config.judge_sees}"
    return judge


def split_sees(judge_id: str) -> tuple[str, str]:
    """(id of the judge that sees the final response alone, what this one sees), from the id that make_judge gave."""
    own, _, sees = judge_id.partition(_SEES)
    return own, sees or "final_response"


def check_reachable(judge: Judge) -> None:
    """Errors: UserError where its endpoint or weights are not there; a judge without them has nothing to check."""
    check = getattr(judge, "check_reachable", None)
    if check is not None:
        check()


def check_pays_reward(config: JudgeConfig) -> None:
    """Errors: UserError for a judge that cannot pay the training's reward, which is for refusals (paper: Reward)."""
    if config.kind in LABEL_HARM_ONLY:
        raise UserError(f"judge={config.kind} labels harm and the reward pays refusal; train with judge=phrases")
    if config.judge_sees != "final_response":
        raise UserError(f"judge_sees={config.judge_sees} is for evaluation; the reward is for final_response")


def _make(config: JudgeConfig, cache_dir: Path | None) -> Judge:
    if config.kind == "phrases":
        from cada_trl.judging.phrases import PhraseJudge

        return PhraseJudge()
    from cada_trl.judging import guards, rubric, strongreject, xstest
    from cada_trl.judging.cache import VerdictCache
    from cada_trl.judging.endpoint import ChatEndpoint
    from cada_trl.judging.model_judge import Model, ModelJudge
    from cada_trl.judging.weights import LocalModel

    rubrics = {"rubric": rubric.FORM, "strongreject": strongreject.FORM, "xstest": xstest.FORM}
    form = (rubrics | guards.FORMS)[config.kind]
    if not config.llm or (config.kind not in guards.FORMS and not config.base_url):
        raise UserError(f"judge={config.kind} needs llm and base_url, as in hydra_conf/judge/{config.kind}.yaml")
    model: Model = LocalModel(config.llm)
    if config.base_url:
        settings = config.api_key_env, config.timeout_s, config.max_retries
        model = ChatEndpoint.from_settings(config.base_url, config.llm, *settings)
    return ModelJudge(form, model, config.max_calls, VerdictCache(cache_dir / "verdicts.jsonl") if cache_dir else None)
