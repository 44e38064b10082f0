"""What an evaluation will ask: the items of each benchmark, the attacks on it, and their attempts. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cada_trl.data.benchmark_items import BenchmarkSpec, Item, load_items, of_pack, stratified
from cada_trl.data.own_sets import Sets, find_sets
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import check_known
from cada_trl.evaluation.attacks.attack import Attack, NoPrompts, NotRun
from cada_trl.evaluation.attacks.registry import AttackContext, make_attack
from cada_trl.evaluation.folder import ATTEMPTS, MISSING, EvaluationFolder
from cada_trl.evaluation.items import Attempt, Missing, from_row, to_row
from cada_trl.evaluation.settings import EvaluateConfig
from cada_trl.hazards.pack import load_pack
from cada_trl.records import read_jsonl, write_jsonl
from cada_trl.storage.digest import content_hash


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


def make_plan(config: EvaluateConfig, context: Callable[[BenchmarkSpec], AttackContext]) -> Plan:
    """Load every benchmark and prepare every attack on it. context: what the attacks on a benchmark may use.

    An attack that a benchmark does not have, or whose prompts are not here, is not run there. Errors: UserError as
    find_sets, load_items and make_attack; for an attack that no benchmark named here has, and for a benchmark that is
    left without any.
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
                attacks.append(make_attack(name, context(spec)))
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
        raise UserError(f"attack {unused[0]} applies to no benchmark named here; {reasons[0]}")
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
