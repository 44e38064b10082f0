"""What an evaluation will ask: the items of each benchmark and the attacks that apply to it. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attack import Attack, NotRun
from cada_trl.evals.attacks.registry import AttackContext, make_attack
from cada_trl.evals.benchmarks import BenchmarkSpec, load_items, load_spec
from cada_trl.evals.items import Item, to_row
from cada_trl.evals.settings import EvaluateConfig
from cada_trl.storage.digest import content_hash


@dataclass(frozen=True)
class PlannedBenchmark:
    """A benchmark, its items in the file's order, and the attacks that will be put to them."""

    spec: BenchmarkSpec
    items: list[Item]
    attacks: list[Attack]


@dataclass(frozen=True)
class Plan:
    """benchmarks in the order given; not_run: a sentence for each benchmark x attack that does not exist."""

    benchmarks: list[PlannedBenchmark]
    not_run: list[str]

    def facts(self) -> list[dict[str, object]]:
        """What decides the attempts, a benchmark an entry: its items by their hash, its attacks by their versions."""
        return [
            {
                "benchmark": one.spec.name,
                "sha256": one.spec.sha256,
                "n_items": len(one.items),
                "items_hash": content_hash([to_row(item) for item in one.items]),
                "attacks": {attack.name: attack.version for attack in one.attacks},
            }
            for one in self.benchmarks
        ]


def make_plan(config: EvaluateConfig, context: Callable[[BenchmarkSpec], AttackContext]) -> Plan:
    """Load every benchmark and prepare every attack on it. context: what the attacks on a benchmark may use.

    An attack that a benchmark does not have is not run there. Errors: UserError as load_spec, load_items and
    make_attack; for an attack that no benchmark named here has, and for a benchmark that is left without any.
    """
    data_root = Path(config.data_root).expanduser() if config.data_root else None
    benchmarks: list[PlannedBenchmark] = []
    reasons: list[NotRun] = []
    specs = [load_spec(name) for name in config.benchmarks]
    for spec in specs:
        attacks: list[Attack] = []
        for name in config.attacks:
            try:
                attacks.append(make_attack(name, context(spec)))
            except NotRun as reason:
                reasons.append(reason)
        benchmarks.append(PlannedBenchmark(spec, load_items(spec, data_root, config.limit, config.seed), attacks))
    _check_all_used(benchmarks, config.attacks, reasons)
    return Plan(benchmarks, [str(reason) for reason in reasons])


def _check_all_used(benchmarks: Sequence[PlannedBenchmark], names: Sequence[str], reasons: Sequence[NotRun]) -> None:
    used = {attack.name for one in benchmarks for attack in one.attacks}
    if unused := [name for name in names if name not in used]:
        raise UserError(f"attack {unused[0]} applies to no benchmark named here; {reasons[0]}")
    if bare := [one.spec.name for one in benchmarks if not one.attacks]:
        raise UserError(
            f"benchmark {bare[0]}: none of attacks={','.join(names)} applies to it; add none, the raw request"
        )
