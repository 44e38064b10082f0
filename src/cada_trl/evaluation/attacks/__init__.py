"""Attacks, what is sent to the model instead of a harmful request, by name. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from cada_trl.data.benchmark_items import BenchmarkSpec, load_spec, names
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks.attack import TRANSFORMS, Attack, FrozenAttack, NoAttack, NotRun, TransformAttack
from cada_trl.evaluation.attacks.attacker import Attacker, rewrite_attack
from cada_trl.evaluation.attacks.pair import PairAttack

# What stands behind the colon is the attack's argument.
GENERATED = ("pair_adaptive", "pap:<technique>", "paraphrase", "translation:<language>")


def known_names() -> list[str]:
    """Every attack's name: none, the frozen ones of the benchmarks, the transforms, the generated ones."""
    return ["none", *_frozen_names(), *TRANSFORMS, *GENERATED]


def generated(attacks: Iterable[str]) -> list[str]:
    """Those that an attacker model writes."""
    heads = tuple(name.partition("<")[0] for name in GENERATED)
    return [name for name in attacks if name.startswith(heads)]


def make_attack(
    name: str,
    spec: BenchmarkSpec,
    data_root: Path | None,
    attacker: Attacker | None = None,
    pair: PairAttack | None = None,
) -> Attack:
    """The attack, ready to be put to the benchmark. pair: on the tested model, by the attacker.

    Errors: NotRun where the benchmark has no such attack: it is harmless, or nobody published prompts for it. NoPrompts
    where they are not here. UserError for an unknown name, with the nearest ones, and without attacker or technique.
    """
    _check_name(name)
    if name == "none":
        return NoAttack()
    if not spec.harmful:
        raise NotRun(f"{spec.name} x {name}: the requests are harmless; attacks are for harmful ones")
    if name in TRANSFORMS:
        return TransformAttack(name)
    if name in _frozen_names():
        published = spec.frozen.attacks if spec.frozen else {}
        if name not in published:
            known = f"there are those of {', '.join(published)}" if published else "there are none of any attack"
            raise NotRun(f"{spec.name} x {name}: no published prompts; {known}")
        return FrozenAttack(name, spec, data_root)
    if attacker is None or pair is None:
        raise UserError(
            f"attack {name} is written by an attacker model and none is configured; set attacker_base_url and "
            "attacker_llm (any OpenAI-compatible endpoint), and attacker_api_key_env if it needs a key"
        )
    return pair if name == pair.name else rewrite_attack(name, data_root, attacker)


def _frozen_names() -> list[str]:
    frozen = [spec.frozen for spec in map(load_spec, names()) if spec.frozen]
    return sorted({name for prompts in frozen for name in prompts.attacks})


def _check_name(name: str) -> None:
    """The name is one of known_names(), with something in the place of <...>."""
    forms = {known.partition("<")[0]: known for known in known_names()}
    head, colon, argument = name.partition(":")
    if head + colon in forms and bool(argument) == bool(colon):
        return
    close = [forms[form] for form in difflib.get_close_matches(head + colon, forms, n=3)]
    advice = f"did you mean {' or '.join(close)}?" if close else f"valid: {', '.join(known_names())}"
    raise UserError(f"unknown attack '{name}'; {advice}")
