"""Evaluations' numbers as cells and rows: the rates, the same by hazard, and models against the first one in pairs.

The seeds of one training, asked in the same way, stand together on one side of a comparison.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cada_trl.document.blocks import Fold, Shown, Table, Text
from cada_trl.errors import UserError
from cada_trl.evaluation.compare import ALL_ATTACKS, Change, Comparison, compare
from cada_trl.evaluation.scores import Measure, Metric
from cada_trl.numbers import ABSENT, POINTS, RATE, SCORE, WITHHELD, Cell, p_text
from cada_trl.report.names import METRICS, attack_name, benchmark_name, cell_name, hazard_name, labels, pooled_words
from cada_trl.report.records import EvalRecord, every_cell
from cada_trl.report.run_record import of_training
from cada_trl.statistics.seeds import PooledSpread
from cada_trl.storage.digest import are_alike, inputs_of

# Columns that stand only where some evaluation has a number: a judge of refusals labels no harm
OPTIONAL = {"harmful": "judged harmful", "harmful_score": "harmful score"}
MAJORITY = "majority"
LEAST_N = 10  # ours: below it every Wilson interval is 30 points wide or more (0 of 9: 0 to 30 %)
_RUN_NAME = re.compile(r"(?P<training>.+-[0-9a-f]{8})-s(?P<seed>\d+)")  # as config.run_name
_AGAIN = Cell("All attacks, by request", "the same pairs again: no further tests")


def measure_cell(measure: Measure | None) -> Cell:
    """`42.0 % (29.4 to 55.8; 21/50)`; a mean score, which has no successes, `0.42 (0.31 to 0.53; n 50)`."""
    if measure is None or measure.value is None:
        return WITHHELD if measure is not None and measure.n else ABSENT
    if measure.successes is None:
        return SCORE.cell(measure.value, measure.low, measure.high, f"n {measure.n}")
    return RATE.cell(measure.value, measure.low, measure.high, f"{measure.successes}/{measure.n}")


def share_cell(value: float | None, sd: float | None = None) -> Cell:
    """`42.0 % (sd 1.5)`: sd over seeds, where there are several."""
    return RATE.cell(value, None, None, "" if sd is None else f"sd {RATE.text(sd)}")


def change_cell(change: Change, *notes: str, unit: str = "pairs") -> Cell:
    """`-12.0 points (-20.9 to -3.1; 50 pairs)`."""
    if change.difference is None:
        return WITHHELD if change.n_pairs else ABSENT
    unsure = "no interval: few seeds" if change.low is None else ""
    return POINTS.cell(change.difference, change.low, change.high, unsure, f"{change.n_pairs} {unit}", *notes)


def change_columns(first: str, second: str, change: Change, unit: str = "pairs") -> dict[str, Shown]:
    """Both sides, by their names, and the difference with its test."""
    only = ABSENT.value if change.only_before is None else f"{change.only_before} / {change.only_after}"
    return {
        first: share_cell(change.before, change.sd_before),
        second: share_cell(change.after, change.sd_after),
        "Difference": change_cell(change, unit=unit),
        "Only first / second": only,
        "p (Holm)": p_text(change.p, change.p_holm),
    }


def reading(change: Change, metric: Metric) -> str:
    """safer, less safe, more helpful, less helpful, or no clear change: what the 95 % interval allows to say."""
    if change.low is None or change.high is None:
        return str(ABSENT)
    if change.low <= 0 <= change.high:
        return "no clear change"
    up, down = ("less safe", "safer") if metric == "asr" else ("more helpful", "less helpful")
    return up if change.low > 0 else down


def attack_cell(record: EvalRecord, attack: str) -> Cell:
    """Its name, marked where its prompts were made against another model."""
    return Cell(attack_name(attack), "transfer" if record.is_transfer(attack) else "")


def rate_rows(records: Sequence[EvalRecord]) -> list[dict[str, Any]]:
    """A row by column for each benchmark, attack and evaluation that has it; the evaluation's name where several.

    Of a panel the majority's, then one by each of its judges.
    """
    every = [scores for record in records for scores in (record.scores, *record.scores.judges)]
    totals = [cell.total for scores in every for cell in scores.cells]
    optional = {name: words for name, words in OPTIONAL.items() if any(getattr(total, name).n for total in totals)}
    panel = any(record.scores.judges for record in records)
    return [
        {
            "Benchmark": Cell(benchmark_name(cell.benchmark), METRICS[cell.metric]),
            "Attack": attack_cell(record, cell.attack),
            **({"Evaluation": label} if len(records) > 1 else {}),
            **({"Judge": MAJORITY if scores.judges else scores.judge_id} if panel else {}),
            "Rate": measure_cell(cell.headline),
            "Scored": f"{cell.total.scored}/{cell.total.asked}" if cell.total.asked else ABSENT.value,
            **({"Judges agree": measure_cell(cell.agree), "Kappa": SCORE.text(cell.kappa)} if panel else {}),
            "Missing": str(cell.missing),
            "Reasoning": measure_cell(cell.total.reasoning).value,
            "Truncated": measure_cell(cell.total.truncated).value,
            **{words.capitalize(): measure_cell(getattr(cell.total, name)) for name, words in optional.items()},
        }
        for name in every_cell(records)
        for record, label in zip(records, labels(records), strict=True)
        for scores in (record.scores, *record.scores.judges)
        if (cell := scores.cell(*name)) is not None
    ]


@dataclass(frozen=True)
class SliceRow:
    """A row of a slice, by column. n: items scored; of several evaluations in one row the most."""

    slice: str
    n: int
    cells: dict[str, Shown]


def slice_tables(title: str, rows: Sequence[SliceRow]) -> tuple[list[Table], list[Fold], str]:
    """(what is shown, what is folded, a line that names the folded slices), each empty where there is none.

    A slice is small by the largest n of its rows.
    """
    most: dict[str, int] = {}
    for row in rows:
        most[row.slice] = max(row.n, most.get(row.slice, 0))
    shown, small = ([row.cells for row in rows if (most[row.slice] < LEAST_N) is few] for few in (False, True))
    names = [name for name, n in most.items() if n < LEAST_N]
    words = f"{len(names)} slice{'' if len(names) == 1 else 's'} with n < {LEAST_N}: folded"
    return (
        [Table.of(title, shown)] if shown else [],
        [Fold(words, [Table.of(f"{title}, small slices", small)])] if small else [],
        f"{words} ({', '.join(names)})" if small else "",
    )


def hazard_fold(records: Sequence[EvalRecord], benchmark: str, attack: str) -> Fold:
    """The rates by hazard, by name; those of which every evaluation scored few items are folded once more."""
    cells = [record.scores.cell(benchmark, attack) for record in records]
    present, title, rows = [cell for cell in cells if cell], cell_name(benchmark, attack), []
    for hazard in sorted({hazard for cell in present for hazard in cell.by_hazard}):
        slices = [cell.by_hazard.get(hazard) if cell else None for cell in cells]
        measures = [one.complied if one else None for one in slices]
        numbers = zip(labels(records), map(measure_cell, measures), strict=True)
        n, name = max(one.n for one in measures if one), hazard_name(hazard)
        rows.append(SliceRow(name, n, {"Hazard": name, **dict(numbers)}))
    shown, small, line = slice_tables(f"{title} by hazard", rows)
    brief = [Text(f"{title}, by hazard: {line}")] if line else []
    return Fold(f"{title}: {present[0].metric.upper()}", [*shown, *small], brief)


@dataclass(frozen=True)
class Side:
    """One model, or one training by its seeds."""

    label: str
    records: list[EvalRecord]

    @property
    def trained(self) -> bool:
        """Whether its model is a run's: a base model has no seeds to spread."""
        return _training(self.records[0]) is not None


def sides(records: Sequence[EvalRecord]) -> list[Side]:
    """In the order given. A seed that is there twice, or that learned from other inputs, is no seed beside others: such
    evaluations stand alone."""
    groups: dict[Any, list[Side]] = {}
    for index, (label, record) in enumerate(zip(labels(records), records, strict=True)):
        trained, decides = _training(record), record.manifest.get("decides") or {}
        asked = json.dumps([decides.get("prompt"), decides.get("generator")], sort_keys=True)
        training = (trained[0], asked, record.scores.judge_id) if trained else index
        groups.setdefault(training, []).append(Side(label, [record]))
    found: list[Side] = []
    for training, group in groups.items():
        own = [record for side in group for record in side.records]
        seeds = {trained[1] for record in own if (trained := _training(record))}
        inputs = [inputs_of(of_training(record).manifest) for record in own]
        if not 1 < len(own) == len(seeds) or not are_alike(inputs):
            found += group
            continue
        label = f"{training[0]}, {len(own)} seeds"
        again = sum(side.label.startswith(label) for side in found)  # one training, asked in two ways
        found.append(Side(f"{label} ({again + 1})" if again else label, own))
    return found


def _training(record: EvalRecord) -> tuple[str, str] | None:
    """`<model>-<hash8>` and seed: of the run beside the weights, else from a name that is like a run's."""
    run = of_training(record)
    if run.manifest.get("config_hash") and run.config.get("model"):
        return f"{run.config['model'].get('name')}-{run.manifest['config_hash']}", str(run.config.get("seed"))
    named = _RUN_NAME.fullmatch(str((record.config.get("model") or {}).get("name")))
    return (named["training"], named["seed"]) if named else None


@dataclass(frozen=True)
class SideBySide:
    """Two sides; comparison is None, and `reason` says why, where their verdicts are of two judges.

    rows: by column, each attack, then all of them by request.
    """

    before: str
    after: str
    comparison: Comparison | None
    reason: str | None
    rows: list[dict[str, Shown]]

    def to_json(self) -> dict[str, Any]:
        """For report.json."""
        values = self.comparison.to_json() if self.comparison else None
        return {"before": self.before, "after": self.after, "not_compared": self.reason, "comparison": values}


def side_by_side(records: Sequence[EvalRecord]) -> list[SideBySide]:
    """Each later side against the first; the seeds of one training are one side, and all sides share their spread.

    Errors: UserError for an evaluation that shares no item with the first.
    """
    items = [{(one.item.benchmark, one.item.id) for one in record.attempts} for record in records]
    for record, own in zip(records[1:], items[1:], strict=True):
        if not items[0] & own:
            raise UserError(
                f"{records[0].path} and {record.path} have no item in common, so there is nothing to compare; report "
                "on them one by one, or evaluate both on the same benchmarks"
            )
    every = sides(records)
    return [_pair(every[0], other, every) for other in every[1:]]


def pool_words(records: Sequence[EvalRecord]) -> str:
    """How the differences' intervals are pooled over the trainings that have several seeds; nothing below two."""
    several = [len(side.records) for side in sides(records) if side.trained and len(side.records) > 1]
    df = sum(several) - len(several)
    if len(several) < 2:
        return ""
    pooled = pooled_words(PooledSpread(len(several), sum(several), df, None))
    return (
        f"{pooled} Two sides of one seed each are two models, compared over requests alone. Rates has each seed's own."
    )


def _pair(first: Side, other: Side, every: Sequence[Side]) -> SideBySide:
    records = first.records + other.records
    judges = list(dict.fromkeys(record.scores.judge_id for record in records))
    if len(judges) > 1:
        reason = f"The verdicts are of two judges, {' and '.join(judges)}; judge both by one of them to compare."
        return SideBySide(first.label, other.label, None, reason, [])
    among = [
        [record.evaluated for record in side.records]
        for side in every
        if side.trained and all(record.scores.judge_id == judges[0] for record in side.records)
    ]
    before, after = ([record.evaluated for record in side.records] for side in (first, other))
    coverage = max(record.scores.min_coverage for record in records)
    found = compare(before, after, coverage, among, (first.trained, other.trained))
    metrics = {cell.benchmark: cell.metric for record in records for cell in record.scores.cells}
    has_harm = any(cell.harmful.n_pairs for cell in found.cells)
    rows: list[dict[str, Shown]] = []
    for cell in [cell for cell in [*found.cells, *found.pooled] if cell.asked_before and cell.asked_after]:
        benchmark, metric, change = benchmark_name(cell.benchmark), metrics[cell.benchmark], cell.complied
        again = cell.attack == ALL_ATTACKS
        rows.append(
            {
                "Benchmark": _AGAIN if again else Cell(benchmark, METRICS[metric]),
                "Attack": benchmark if again else attack_name(cell.attack),
                **change_columns(first.label, other.label, change),
                "Reading": change.withheld or reading(change, metric),
                "Reasoning": change_cell(cell.reasoning),
                **({"Judged harmful": change_cell(cell.harmful)} if has_harm else {}),
            }
        )
    return SideBySide(first.label, other.label, found, None, rows)
