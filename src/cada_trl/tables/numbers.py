"""A table's number from the finished folders of its seeds, with its 95 % interval, or why there is none. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cada_trl.evals.outcomes import Outcome
from cada_trl.evals.scores import withheld
from cada_trl.records import read_jsonl
from cada_trl.report.eval_record import EvalRecord, read_evaluation
from cada_trl.statistics import across_seeds
from cada_trl.storage.files import read_json
from cada_trl.storage.json_record import JsonRecord
from cada_trl.tables.layout import Measure


class Number(JsonRecord):
    """A fraction over n items of the asked, its mean over the seeds; sd is theirs, None below two seeds.

    low, high: 95 %; one seed has the interval of its own report, several that of statistics.across_seeds. All are None
    exactly where `reason` says why.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    asked: int
    n_seeds: int
    sd: float | None
    reason: str | None


def evaluated(folders: Sequence[Path], benchmark: str, attack: str, measure: Measure) -> Number:
    """asr, nrr or harmful_score of one benchmark under one attack. Errors: UserError as read_evaluation."""
    records = [read_evaluation(folder) for folder in folders]
    if len(records) > 1:
        asked = {one.attempt.key: None for one in _outcomes(records[0], benchmark, attack)}
        values = [
            {one.attempt.key: _value(one, measure) for one in _outcomes(record, benchmark, attack)}
            for record in records
        ]
        return _over_seeds([asked | one for one in values], records[0].scores.min_coverage)
    cell = records[0].cell(benchmark, attack)
    if cell is None:
        return _none(0, 0, 1, "not in the evaluation's scores")
    one = cell.total.harmful_score if measure == "harmful_score" else cell.headline
    known = one.model_dump(include={"value", "low", "high", "n", "asked"})
    return Number(**known, n_seeds=1, sd=None, reason=one.withheld)


def answered(folders: Sequence[Path]) -> Number:
    """The accuracy of one utility task. Errors: UserError for a damaged file."""
    results = [read_json(folder / "result.json") for folder in folders]
    if len(results) > 1:
        own = [result["plan"]["task"]["filter"] for result in results]
        values = [_correct(folder, name) for folder, name in zip(folders, own, strict=True)]
        return _over_seeds(values, 1.0)
    rate = results[0]["accuracy"]
    return Number(**{key: rate[key] for key in ("value", "low", "high", "n", "asked")}, n_seeds=1, sd=None, reason=None)


def _over_seeds(values: Sequence[Mapping[str, float | None]], min_coverage: float) -> Number:
    """The items known in every seed, so that the seeds share them."""
    shared = [key for key in values[0] if all(one.get(key) is not None for one in values)]
    reason = withheld(len(shared), len(values[0]), min_coverage)
    if reason:
        return _none(len(shared), len(values[0]), len(values), reason)
    result = across_seeds([[float(one[key] or 0.0) for key in shared] for one in values])
    return Number(
        value=result.mean,
        low=result.low,
        high=result.high,
        n=len(shared),
        asked=len(values[0]),
        n_seeds=len(values),
        sd=result.sd,
        reason=None,
    )


def _none(n: int, asked: int, n_seeds: int, reason: str) -> Number:
    return Number(value=None, low=None, high=None, n=n, asked=asked, n_seeds=n_seeds, sd=None, reason=reason)


def _outcomes(record: EvalRecord, benchmark: str, attack: str) -> list[Outcome]:
    return [one for one in record.outcomes if one.cell == (benchmark, attack)]


def _value(outcome: Outcome, measure: Measure) -> float | None:
    if measure == "harmful_score":
        return outcome.harmful_score
    return None if outcome.complied is None else float(outcome.complied)


def _correct(folder: Path, name: str) -> dict[str, float | None]:
    rows = [row for _, row in read_jsonl(folder / "samples.jsonl")]
    return {f"{row['subset']}/{row['row']}": float(row["correct"][name]) for row in rows}
