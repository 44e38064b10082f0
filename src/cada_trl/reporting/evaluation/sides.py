"""Which evaluations stand together on one side of a comparison: the seeds of one training, asked in the same way."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import labels

_RUN_NAME = re.compile(r"(?P<training>.+-[0-9a-f]{8})-s(?P<seed>\d+)")  # as config.run_name


@dataclass(frozen=True)
class Side:
    """One model, or one training by its seeds."""

    label: str
    records: list[EvalRecord]

    @property
    def trained(self) -> bool:
        """Whether it is named as a run: a base model has no seeds to spread."""
        return _named(self.records[0])[0] is not None


def sides(records: Sequence[EvalRecord]) -> list[Side]:
    """In the order given. A seed that is there twice is no seed beside others: such evaluations stand alone."""
    groups: dict[Any, list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(_training(record) or index, []).append(index)
    names = labels(records)
    found = []
    for key, indices in groups.items():
        seeds = {_named(records[index])[1] for index in indices}
        if len(indices) > 1 and len(seeds) == len(indices):
            found.append(Side(f"{key[0]}, {len(indices)} seeds", [records[index] for index in indices]))
        else:
            found += [Side(names[index], [records[index]]) for index in indices]
    return found


def _training(record: EvalRecord) -> tuple[str, ...] | None:
    """What the seeds of one training have in common; None for a model that is not named as a run."""
    training, _ = _named(record)
    if training is None:
        return None
    decides = record.manifest.get("decides") or {}
    asked = [json.dumps(one, sort_keys=True) for one in (decides.get("prompt"), decides.get("generator"))]
    return (training, *asked, record.scores.judge_id)


def _named(record: EvalRecord) -> tuple[str | None, str | None]:
    """(training, seed) from the name of the model."""
    found = _RUN_NAME.fullmatch(str((record.config.get("model") or {}).get("name")))
    return (found["training"], found["seed"]) if found else (None, None)
