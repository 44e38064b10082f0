"""What an evaluation will ask: the items of each benchmark, the attacks on it, and their attempts. No torch.

It may be cut into n parts, each answered by a process of its own: shard=2/8, or the one that Slurm numbered. A part
asks every n-th item of each benchmark, and keeps its answers and verdicts in <folder>/shards/2-of-8/. The same command
without shard= takes them over, asks what is left, and scores: as if one process had asked all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cada_trl.data.benchmark_items import BenchmarkSpec, Item, load_items, of_pack, stratified
from cada_trl.data.own_sets import Sets, find_sets
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Attempt, Missing, check_known, completion_hash, from_row, to_row
from cada_trl.evaluation.attacks import make_attack
from cada_trl.evaluation.attacks.attack import Attack, NoPrompts, NotRun
from cada_trl.evaluation.attacks.attacker import Attacker
from cada_trl.evaluation.attacks.pair import PairAttack
from cada_trl.evaluation.folder import ATTEMPTS, MISSING, RESPONSES, EvaluationFolder, verdict_file
from cada_trl.evaluation.settings import EvaluateConfig
from cada_trl.hazards.pack import load_pack
from cada_trl.records import read_jsonl, write_jsonl
from cada_trl.storage.digest import MANIFEST, check_kept, content_hash, json_sha256
from cada_trl.storage.files import held, read_json
from cada_trl.storage.log import AppendLog, StoredLog


@dataclass(frozen=True)
class PlannedBenchmark:
    """A benchmark, its items in the file's order, and the attacks that will be put to them."""

    spec: BenchmarkSpec
    items: list[Item]
    attacks: list[Attack]


@dataclass(frozen=True)
class Plan:
    """benchmarks in the order given; not_run: a sentence for each benchmark x attack that does not exist.

    read_as: a line for each file of the user's own, with the columns that were taken.
    """

    benchmarks: list[PlannedBenchmark]
    not_run: list[str]
    read_as: Sequence[str] = ()

    def facts(self) -> list[dict[str, object]]:
        """What decides the attempts, an entry per benchmark: its items by their hash, its attacks by their versions."""
        return [
            {
                "benchmark": planned.spec.name,
                "sha256": planned.spec.sha256,
                "n_items": len(planned.items),
                "items_hash": content_hash([to_row(item) for item in planned.items]),
                "attacks": {attack.name: attack.version for attack in planned.attacks},
            }
            for planned in self.benchmarks
        ]

    def attempted(self) -> tuple[list[Attempt], list[Missing]]:
        """Put every attack to its items. Errors: UserError as Attack.attempts."""
        attempts: list[Attempt] = []
        missing: list[Missing] = []
        for planned in self.benchmarks:
            for attack in planned.attacks:
                attacked = attack.attempts(planned.items)
                attempts += attacked.attempts
                missing += [
                    Missing(planned.spec.name, attack.name, item, reason) for item, reason in attacked.missing.items()
                ]
        return attempts, missing

    def not_run_lines(self) -> list[str]:
        """What is not run, the `benchmark x attack` of one reason in one line."""
        by_reason: dict[str, list[str]] = {}
        for sentence in self.not_run:
            what, _, reason = sentence.partition(": ")
            by_reason.setdefault(reason, []).append(what)
        return [f"not run: {', '.join(what)}: {reason}" for reason, what in by_reason.items()]


def sets_of(config: EvaluateConfig) -> tuple[Sets, list[str]]:
    """find_sets of an evaluation."""
    return find_sets(config.benchmarks, load_pack(config.hazards).hazards, config.twins_file)


def make_plan(config: EvaluateConfig, attacker: Attacker | None = None, pair: PairAttack | None = None) -> Plan:
    """Load every benchmark and prepare every attack on it. attacker, pair: as make_attack.

    An attack that a benchmark does not have, or whose prompts are not here, is not run there. Errors: UserError for an
    attack that no benchmark named here has, and for a benchmark that is left without any.
    """
    data_root = Path(config.data_root).expanduser() if config.data_root else None
    benchmarks: list[PlannedBenchmark] = []
    reasons: list[str] = []
    had: set[str] = set()
    hazards = load_pack(config.hazards).hazards
    sets, read_as = sets_of(config)
    for spec, own in sets:
        attacks: list[Attack] = []
        for name in config.attacks:
            try:
                attacks.append(make_attack(name, spec, data_root, attacker, pair))
                had.add(name)
            except (NotRun, NoPrompts) as reason:
                reasons.append(str(reason))
                # of a set of one's own nobody can have published any: as for prompts that are not here
                if own is not None or isinstance(reason, NoPrompts):
                    had.add(name)
        if own is None:
            items = of_pack(load_items(spec, data_root, config.limit, config.seed), hazards)
        else:
            items = stratified(own, config.limit, config.seed)
        benchmarks.append(PlannedBenchmark(spec, items, attacks))
    if unused := [name for name in config.attacks if name not in had]:
        why = next(line for line in reasons if f" x {unused[0]}: " in line)
        raise UserError(f"attack {unused[0]} applies to no benchmark named here; {why}")
    if bare := [planned.spec.name for planned in benchmarks if not planned.attacks]:
        names = ",".join(config.attacks)
        why = next(line for line in reasons if line.startswith(f"{bare[0]} x "))
        raise UserError(
            f"benchmark {bare[0]}: none of attacks={names} applies to it; add none, the raw request ({why})"
        )
    return Plan(benchmarks, reasons, read_as)


def make_attempts(plan: Plan, folder: EvaluationFolder) -> tuple[list[Attempt], list[Missing]]:
    """Put every planned attack to its items, and write attempts.jsonl and missing.jsonl.

    A generated attack answers from its cache what it has written already, so a second call costs nothing. Errors:
    UserError as Attack.attempts, and when the folder holds an attempt that is not among these: files were mixed up.
    """
    attempts, missing = plan.attempted()
    path = folder.path / ATTEMPTS
    if path.is_file():
        stored = [from_row(Attempt, row).key for _, row in read_jsonl(path)]
        check_known(path.name, stored, {attempt.key for attempt in attempts})
    write_jsonl(path, map(to_row, attempts))
    write_jsonl(folder.path / MISSING, map(asdict, missing))
    return attempts, missing


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


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """`2/8`, or `slurm`: the element of a job array, else the task of a step. Errors: UserError for any other text."""
    if text == "slurm":
        array = [environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "MIN", "COUNT", "STEP")]
        if all(array):
            number, first, n, step = map(int, array)
            index = (number - first) // step + 1
            if n < 2 or index > n:
                raise UserError(
                    f"shard=slurm: element {number} of this array is no part of several in even steps; give "
                    "the part as numbers, as in shard=3/4"
                )
            return Shard(index, n)
        n = int(environment.get("SLURM_STEP_NUM_TASKS", 1))  # a batch script has the NTASKS of its job, and is one task
        if n < 2:
            raise UserError(
                "shard=slurm: neither in a job array nor in a step of several tasks; start it by srun, or give "
                "shard=1/4 as numbers"
            )
        return Shard(int(environment["SLURM_PROCID"]) + 1, n)
    given = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if given is None or int(given[1]) > int(given[2]):
        raise UserError(f"shard={text}: expected the part and the number of parts, from 1/4 to 4/4, or slurm")
    return Shard(int(given[1]), int(given[2]))


def take_over(folder: EvaluationFolder, decides: Mapping[str, Any], judge_ids: Sequence[str]) -> int:
    """Copy what the shards below the folder have and it lacks; returns how many there are.

    Where the folder has another answer to the same, that one stays, and the shard's verdicts on its own are left. The
    time of a shard that gave something is added to the folder's. Errors: UserError for a shard that is being answered,
    one of another evaluation, and rows edited since it ended.
    """
    parts = sorted(path.parent for path in folder.path.glob(f"shards/*/{MANIFEST}"))
    for path in parts:
        with held(path / "folder.lock", f"{path} is being answered; wait for it, and call again"):
            manifest = read_json(path / MANIFEST, "move that folder away: what it held is asked again")
            if manifest.get("decides_sha256") != json_sha256({**decides, "shard": path.name}):
                raise UserError(f"{path} is part of another evaluation; move it away: what it held is asked again")
            check_kept(path, manifest)
            taken = _append_unknown(folder.log(RESPONSES), StoredLog(path / RESPONSES).rows)
            said = {row.get("key"): completion_hash(str(row.get("completion"))) for row in folder.log(RESPONSES).rows}
            for name in map(verdict_file, judge_ids):
                rows = StoredLog(path / name).rows
                on_ours = [row for row in rows if row.get("completion_hash") == said.get(row.get("key"))]
                taken += _append_unknown(folder.log(name), on_ours)
            if taken:
                walls_s = folder.manifest["pass_wall_s"]
                added_s = folder.manifest["shard_wall_s"].setdefault(path.name, {})
                for name, wall_s in manifest.get("pass_wall_s", {}).items():  # the part may be taken from once more
                    walls_s[name] = round(walls_s.get(name, 0.0) + wall_s - added_s.get(name, 0.0), 1)
                    added_s[name] = wall_s
    return len(parts)


def _append_unknown(log: AppendLog, rows: Iterable[Mapping[str, Any]]) -> int:
    """Append the rows whose key the log lacks; returns how many."""
    known = {row.get("key") for row in log.rows}
    new = [dict(row) for row in rows if row.get("key") not in known]
    log.append(new)
    return len(new)
