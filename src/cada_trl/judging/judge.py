"""What a judge is: (raw request, final response) pairs in, one verdict each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

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


def make_judge(config: JudgeConfig, cache_dir: Path | None = None) -> Judge:
    """The judge that the configuration names; the rubric judge keeps its verdicts under cache_dir.

    Errors: UserError when the rubric judge's endpoint or key is missing.
    """
    if config.kind == "phrases":
        from cada_trl.judging.phrases import PhraseJudge

        return PhraseJudge()
    from cada_trl.judging.rubric import RubricJudge

    return RubricJudge.from_config(config, cache_dir)
