"""The warning that a policy may have learned its own judge: the one that paid its reward also judged its responses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cada_trl.reporting.evaluation.eval_record import EvalRecord


def reward_judge_warnings(records: Sequence[EvalRecord]) -> list[str]:
    """A sentence for each judge that also paid the reward of a model it judged (design: What is easy to get wrong)."""
    own = [record for record in records if _reward_judge(record) == record.scores.judge_id]
    return [
        f"Warning: the judge {judge} also paid the reward in the training of "
        f"{', '.join(record.name for record in own if record.scores.judge_id == judge)}. A policy can learn what its "
        "judge looks for: judge the same responses by another one before a gain counts as evidence of safety."
        for judge in dict.fromkeys(record.scores.judge_id for record in own)
    ]


def _reward_judge(record: EvalRecord) -> str | None:
    """judge_id of the run whose final/ was evaluated; None where no run stands beside the weights."""
    model = record.config.get("model") or {}
    if model.get("source") != "folder":
        return None
    try:
        manifest = json.loads((Path(str(model.get("path"))).parent / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    judge = manifest.get("judge_id") if isinstance(manifest, dict) else None
    return judge if isinstance(judge, str) else None
