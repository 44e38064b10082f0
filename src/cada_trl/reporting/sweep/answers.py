"""What a cell's model did with each request: pairs that two models share, by measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.evals.outcomes import Outcome
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name
from cada_trl.reporting.run.labels import SETS
from cada_trl.reporting.run.summary import outcome
from cada_trl.reporting.sweep.sweep_record import CellRecord

POOLED = "asr/all"
_SAFE = "nrr/xstest_safe/none"
_PROBED = {"probe/harmful", "probe/held_out"}
_ANSWERED = ("probe/xstest_safe", "probe/harmless")

# pair key -> (its item, complied or answered; None: not scored)
Answers = dict[str, tuple[str, bool | None]]


@dataclass(frozen=True)
class Measured:
    """A cell's answers by measure. min_coverage: below it a rate is withheld (0 for probes)."""

    cell: CellRecord
    by_measure: dict[str, Answers]
    min_coverage: float


def measured(cell: CellRecord) -> Measured:
    """asr/<benchmark>/<attack>, nrr/... and asr/all (all harmful items under all attacks); probe/<set>: complied."""
    by_measure: dict[str, Answers] = {}
    for record in cell.evaluations:
        for scored in record.scores.cells:
            own = [one for one in record.outcomes if one.cell == (scored.benchmark, scored.attack)]
            by_measure[f"{scored.metric}/{scored.benchmark}/{scored.attack}"] = _of_outcomes(own)
            if scored.metric == "asr":
                by_measure.setdefault(POOLED, {}).update(_of_outcomes(own))
    for row in cell.run.after if cell.run else []:
        probed = by_measure.setdefault(f"probe/{row.set}", {})
        probed[row.request_id] = (row.request_id, outcome(row, "answered_frac"))
    coverages = [record.scores.min_coverage for record in cell.evaluations]
    return Measured(cell, by_measure, max(coverages, default=0.0))


def axes_shown(cells: Sequence[Measured]) -> list[tuple[str, str]]:
    """(ASR, NRR) of each picture: of evaluations where a cell has both, else of probes; the headline first."""
    known = list(dict.fromkeys(name for cell in cells for name in cell.by_measure))
    attacked = [name for name in known if name.startswith("asr/") and name != POOLED]
    helpful = [_SAFE] if _SAFE in known else [name for name in known if name.startswith("nrr/")][:1]
    if attacked and helpful:
        return [(name, helpful[0]) for name in ([POOLED] if len(attacked) > 1 else []) + attacked]
    answered = [name for name in _ANSWERED if name in known]
    return [(name, one) for name in known if name in _PROBED for one in answered]


def measure_name(measure: str) -> str:
    """The measure for a reader."""
    if measure == POOLED:
        return "all harmful requests and attacks, by request"
    kind, *rest = measure.split("/")
    if kind == "probe":
        return f"probes: {SETS[rest[0]]}"
    return benchmark_name(rest[0]) + (f", {attack_name(rest[1])}" if kind == "asr" else "")


def _of_outcomes(outcomes: Sequence[Outcome]) -> Answers:
    return {one.attempt.key: (f"{one.attempt.item.benchmark}/{one.attempt.item.id}", one.complied) for one in outcomes}
