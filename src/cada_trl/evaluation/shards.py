"""An evaluation cut into n parts, each answered by a process of its own: shard=2/8, or the one that Slurm numbered.

A part asks every n-th item of each benchmark, and keeps its answers and verdicts in <folder>/shards/2-of-8/. The same
command without shard= takes them over, asks what is left, and scores: as if one process had asked all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evaluation.folder import RESPONSES, EvaluationFolder, verdict_file
from cada_trl.evaluation.plan import Plan
from cada_trl.storage.digest import json_sha256
from cada_trl.storage.files import held, read_json
from cada_trl.storage.kept import MANIFEST, check_kept
from cada_trl.storage.log import StoredLog


@dataclass(frozen=True)
class Shard:
    """Number `index` of `n`, counted from 1."""

    index: int
    n: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.index}-of-{self.n}"

    def of_plan(self, plan: Plan) -> Plan:
        """Its items of each benchmark; the attacks stay."""
        part = slice(self.index - 1, None, self.n)
        return replace(plan, benchmarks=[replace(each, items=each.items[part]) for each in plan.benchmarks])

    def decides(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        """What decides its answers, from what decides those of the whole evaluation."""
        return {**whole, "shard": self.name}


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """`2/8`, or `slurm`: the element of a job array, else the task of a step. Errors: UserError for any other text."""
    if text == "slurm":
        array = [environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "MIN", "COUNT", "STEP")]
        if all(array):
            number, first, n, step = map(int, array)
            return Shard((number - first) // step + 1, n)
        if int(environment.get("SLURM_NTASKS", 1)) < 2:
            raise UserError(
                "shard=slurm: neither in a job array nor in a step of several tasks; give shard=1/4 as numbers"
            )
        return Shard(int(environment["SLURM_PROCID"]) + 1, int(environment["SLURM_NTASKS"]))
    given = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if given is None or int(given[1]) > int(given[2]):
        raise UserError(f"shard={text}: expected the part and the number of parts, from 1/4 to 4/4, or slurm")
    return Shard(int(given[1]), int(given[2]))


def take_over(folder: EvaluationFolder, decides: Mapping[str, Any], judge_ids: Sequence[str]) -> int:
    """Copy what the shards below the folder have and it lacks; returns how many there are.

    Errors: UserError for a shard that is being answered, one of another evaluation, and rows edited since it ended.
    """
    parts = sorted(path.parent for path in folder.path.glob(f"shards/*/{MANIFEST}"))
    for path in parts:
        with held(path / "folder.lock", f"{path} is being answered; wait for it, and call again"):
            manifest = read_json(path / MANIFEST, "move that folder away: what it held is asked again")
            if manifest.get("decides_sha256") != json_sha256({**decides, "shard": path.name}):
                raise UserError(f"{path} is part of another evaluation; move it away: what it held is asked again")
            check_kept(path, manifest)
            for name in (RESPONSES, *map(verdict_file, judge_ids)):
                log = folder.log(name)
                known = {row.get("key") for row in log.rows}
                log.append(row for row in StoredLog(path / name).rows if row.get("key") not in known)
    return len(parts)
