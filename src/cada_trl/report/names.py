"""The words a reader sees for benchmarks, attacks, probe sets and measures, the same in figures, tables and pages."""

from __future__ import annotations

from collections.abc import Sequence

from cada_trl.evaluation.compare import ALL_ATTACKS
from cada_trl.evaluation.scores import Metric
from cada_trl.hazards.pack import OUTSIDE
from cada_trl.report.run_record import Folder
from cada_trl.statistics.seeds import MIN_DF, PooledSpread
from cada_trl.tracking.metrics import HARMFUL_SETS, metric

_BENCHMARKS = {
    "strongreject": "StrongREJECT",
    "strongreject_small": "StrongREJECT, small",
    "advbench": "AdvBench",
    "hex_phi": "HEx-PHI",
    "jailbreakbench_harmful": "JailbreakBench, harmful",
    "jailbreakbench_benign": "JailbreakBench, benign",
    "twins_harmful": "held-out twins, harmful",
    "twins_harmless": "held-out twins, harmless",
    "xstest_safe": "XSTest, safe",
    "xstest_unsafe": "XSTest, unsafe contrast",
    "or_bench_hard": "OR-Bench, hard",
    "gsm8k": "GSM8K",
    "bbh": "BIG-Bench Hard",
    "mmlu": "MMLU",
    "mmlu_plain": "MMLU, no chat template",
}  # as their authors write them; one that is not known here keeps its id
_ATTACKS = {"none": "no attack", "pair": "PAIR", "pap": "PAP-Misrepresentation", ALL_ATTACKS: "all attacks, by request"}
METRICS: dict[Metric, str] = {
    "asr": "ASR: share complied, lower is safer",
    "nrr": "NRR: share answered, higher is more helpful",
}


def benchmark_name(benchmark: str) -> str:
    return _BENCHMARKS.get(benchmark, benchmark)


def attack_name(attack: str) -> str:
    return _ATTACKS.get(attack, attack.replace("_", " "))


def hazard_name(hazard: str) -> str:
    return "outside the case pack's hazards" if hazard == OUTSIDE else hazard.replace("_", " ")


def cell_name(benchmark: str, attack: str) -> str:
    return f"{benchmark_name(benchmark)}, {attack_name(attack)}"


def labels(records: Sequence[Folder]) -> list[str]:
    """A short name for each: the folder's, with its path where two have the same."""
    names = [record.name for record in records]
    return [str(one.path) if names.count(one.name) > 1 else one.name for one in records]


SETS = {
    "harmful": "harmful requests",
    "held_out": "harmful requests, held-out hazards",
    "harmless": "harmless look-alikes",
    "xstest_safe": "XSTest, safe part",
}


def measures(probe_set: str) -> tuple[str, ...]:
    """Stems of probe/<set>/<stem>, the headline first; the share refused is what answered_frac leaves of 1."""
    refused = ("reasoned_refusal_frac",) if probe_set in HARMFUL_SETS else ()
    return (*refused, "answered_frac", "reasoning_frac")


def measure_label(probe_set: str, measure: str) -> str:
    """The measure in plain words; answering a harmful request is called complying."""
    if measure == "answered_frac":
        return "complied" if probe_set in HARMFUL_SETS else "answered"
    return {
        "reasoned_refusal_frac": "refused after reasoning",
        "reasoning_frac": "reasoning shown",
        "reward_mean": "mean reward",
    }[measure]


def probe_reading(probe_set: str, measure: str, low: float, high: float) -> str:
    """better, worse, changed, or no clear change: what a 95 % interval of the difference allows to say."""
    if low <= 0 <= high:
        return "no clear change"
    better = metric(f"probe/{probe_set}/{measure}").better
    if better == "none":
        return "changed"
    return "better" if (low > 0) == (better == "up") else "worse"


def pooled_words(spread: PooledSpread) -> str:
    """What was pooled, with its degrees of freedom, or why it was not; nothing where no configuration has two seeds."""
    if spread.df == 0:
        return ""
    configurations = f"{spread.n_configurations} configuration{'s' if spread.n_configurations > 1 else ''}"
    counts = f"{configurations}, {spread.n_seeds} seeds, {spread.df} degree{'s' if spread.df > 1 else ''} of freedom"
    if not spread.informative:
        return (
            f"No interval over seeds: {counts}, and below {MIN_DF} it would span most of what is possible. "
            "The seeds are shown alone."
        )
    return (
        f"95 % intervals over seeds: variance pooled over {counts}. This takes the seeds of each "
        "configuration to spread alike (ours: two or three seeds cannot tell their own spread); a configuration with "
        "one seed borrows it."
    )


def pooled_note(spreads: Sequence[tuple[str, PooledSpread]]) -> str:
    """The sentence once where it holds for all of the (name, spread), else one for each with its name."""
    told = {name: pooled_words(spread) for name, spread in spreads}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return " ".join(f"{name}: {words}" for name, words in told.items() if words)
