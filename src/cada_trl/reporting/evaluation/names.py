"""The words a reader sees for benchmarks, attacks and measures, the same in the figure, the page and the Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from cada_trl.evals.compare import ALL_ATTACKS
from cada_trl.evals.scores import NO_HAZARD, Metric

_BENCHMARKS = {
    "strongreject": "StrongREJECT",
    "strongreject_small": "StrongREJECT, small",
    "advbench": "AdvBench",
    "hex_phi": "HEx-PHI",
    "jailbreakbench_harmful": "JailbreakBench, harmful",
    "jailbreakbench_benign": "JailbreakBench, benign",
    "xstest_safe": "XSTest, safe",
    "xstest_unsafe": "XSTest, unsafe contrast",
    "or_bench_hard": "OR-Bench, hard",
    "gsm8k": "GSM8K",
    "bbh": "BIG-Bench Hard",
    "mmlu": "MMLU",
    "mmlu_plain": "MMLU, no chat template",
}
_ATTACKS = {"none": "no attack", "pair": "PAIR", "pap": "PAP-Misrepresentation", ALL_ATTACKS: "all attacks, by request"}
METRICS: dict[Metric, str] = {
    "asr": "ASR: share complied, lower is safer",
    "nrr": "NRR: share answered, higher is more helpful",
}


class Named(Protocol):
    """A folder that the page speaks of."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...


def benchmark_name(benchmark: str) -> str:
    """As its authors write it; one that is not known here keeps its id."""
    return _BENCHMARKS.get(benchmark, benchmark)


def attack_name(attack: str) -> str:
    """As its authors write it; one that is not known here keeps its id."""
    return _ATTACKS.get(attack, attack.replace("_", " "))


def hazard_name(hazard: str) -> str:
    """Hazard ids as words."""
    return "outside the case pack's hazards" if hazard == NO_HAZARD else hazard.replace("_", " ")


def in_order(cells: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(benchmark, attack) each once, a benchmark's attacks together, in the order given."""
    known = list(dict.fromkeys(cells))
    benchmarks = list(dict.fromkeys(benchmark for benchmark, _ in known))
    return sorted(known, key=lambda cell: benchmarks.index(cell[0]))


def labels(records: Sequence[Named]) -> list[str]:
    """A short name for each: the folder's, with its path where two have the same."""
    names = [record.name for record in records]
    return [str(one.path) if names.count(one.name) > 1 else one.name for one in records]
