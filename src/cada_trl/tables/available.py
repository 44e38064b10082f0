"""Whether a benchmark and its attacks can be had here, before anything is asked. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.evals.attacks.attack import NotRun
from cada_trl.evals.attacks.registry import AttackContext, make_attack
from cada_trl.evals.benchmarks import BenchmarkSpec, load_items, load_spec
from cada_trl.judging.phrases import PhraseJudge


@dataclass(frozen=True)
class Available:
    """attacks: those that can be put to the benchmark -> prompts; lacking: the others -> (a word, the reason)."""

    attacks: dict[str, int]
    lacking: dict[str, tuple[str, str]]


def available(name: str, attacks: Sequence[str], data_root: str | None, limit: int | None, seed: int) -> Available:
    """`no access` is a gated set that was not granted, `no prompts` an attack that nobody published for the set.

    Errors: UserError for an unknown benchmark or attack, as load_spec and make_attack.
    """
    spec, root = load_spec(name), Path(data_root).expanduser() if data_root else None
    try:
        items = load_items(spec, root, limit, seed)
    except UserError as error:
        word = "no access" if spec.gated else "no data"
        return Available({}, {attack: (word, str(error)) for attack in attacks})
    found: dict[str, int] = {}
    lacking: dict[str, tuple[str, str]] = {}
    for attack in attacks:
        try:
            found[attack] = len(make_attack(attack, _context(spec, root)).attempts(items).attempts)
        except NotRun as reason:
            lacking[attack] = ("no prompts", str(reason))
        except UserError as error:
            lacking[attack] = ("no data", str(error))
    return Available(found, lacking)


def _context(spec: BenchmarkSpec, data_root: Path | None) -> AttackContext:
    """Without an attacker: the tables ask published prompts, the same for every model."""
    return AttackContext(spec, data_root, None, None, "", PhraseJudge(), 1, 1)
