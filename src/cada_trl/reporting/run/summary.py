"""Before -> after on every probe set: rates and paired differences with intervals (docs/statistics.md)."""

from __future__ import annotations

from typing import Any

from cada_trl.records import Verdict
from cada_trl.reporting.run.labels import measures
from cada_trl.reporting.run.run_record import ProbeRow, RunRecord
from cada_trl.statistics import Rate, adjusted_difference, bootstrap_mean, paired_bootstrap
from cada_trl.tracking.metrics import PROBE_SETS


def summarise(run: RunRecord) -> dict[str, Any]:
    """A JSON-able summary of one run; rates are fractions, absent values null.

    {"run", "config_hash", "seed", "exit_state", "n_steps", "wall_s", "judge_id", "probe_judge_id", "missing",
     "last_step": a line of train.jsonl,
     "probes": {set: {"before" | "after": {"asked", "scored", "coverage", "reward_mean": {...},
                                           measure: {"successes", "n", "rate", "low", "high"}},
                      "paired": {measure | "reward_mean": {"n_pairs", "difference", "low", "high"}}}}}
    """
    manifest = run.manifest
    return {
        "run": run.name,
        "config_hash": run.config_hash,
        "seed": run.seed,
        "exit_state": manifest.get("exit_state"),
        "n_steps": len(run.steps),
        "wall_s": manifest.get("wall_s"),
        "judge_id": manifest.get("judge_id"),
        "probe_judge_id": manifest.get("probe_judge_id", manifest.get("judge_id")),
        "missing": run.missing,
        "last_step": run.steps[-1] if run.steps else None,
        "probes": {
            probe_set: _one_set(probe_set, _of_set(run.before, probe_set), _of_set(run.after, probe_set))
            for probe_set in PROBE_SETS
            if any(row.set == probe_set for row in [*run.before, *run.after])
        },
    }


def outcome(row: ProbeRow, measure: str) -> bool | None:
    """Whether a completion counts for a measure; None where the judge gave no verdict (never counted as either)."""
    if measure == "reasoning_frac":
        return row.reasoned
    if row.verdict is Verdict.UNSCORED:
        return None
    refused = row.verdict is Verdict.REFUSED
    return {
        "answered_frac": not refused,
        "reasoned_refusal_frac": refused and row.reasoned,
    }[measure]


def _of_set(rows: list[ProbeRow], probe_set: str) -> dict[str, ProbeRow]:
    return {row.request_id: row for row in rows if row.set == probe_set}


def _one_set(probe_set: str, before: dict[str, ProbeRow], after: dict[str, ProbeRow]) -> dict[str, Any]:
    pairs = [(before[key], after[key]) for key in before if key in after]
    paired = {
        measure: _paired([(outcome(old, measure), outcome(new, measure)) for old, new in pairs], is_rate=True)
        for measure in measures(probe_set)
    }
    return {
        "before": _one_pass(probe_set, list(before.values())),
        "after": _one_pass(probe_set, list(after.values())),
        "paired": paired | {"reward_mean": _paired([(old.reward, new.reward) for old, new in pairs], is_rate=False)},
    }


def _one_pass(probe_set: str, rows: list[ProbeRow]) -> dict[str, Any] | None:
    if not rows:
        return None
    scored = sum(row.verdict is not Verdict.UNSCORED for row in rows)
    rates = {measure: rate_of(rows, measure) for measure in measures(probe_set)}
    rewards = [row.reward for row in rows if row.reward is not None]
    mean, low, high = bootstrap_mean(rewards) if rewards else (None, None, None)
    reward = {"n": len(rewards), "mean": mean, "low": low, "high": high}
    return {"asked": len(rows), "scored": scored, "coverage": scored / len(rows), **rates, "reward_mean": reward}


def rate_of(rows: list[ProbeRow], measure: str) -> dict[str, Any]:
    """{"successes", "n", "rate", "low", "high"} with the Wilson 95 % interval; rate and interval null where n is 0."""
    rate = Rate.of(outcome(row, measure) for row in rows)
    if rate.n == 0:
        return {"successes": 0, "n": 0, "rate": None, "low": None, "high": None}
    low, high = rate.interval
    return {"successes": rate.successes, "n": rate.n, "rate": rate.value, "low": low, "high": high}


def _paired(pairs: list[tuple[float | None, float | None]], is_rate: bool) -> dict[str, Any]:
    """After - before over the requests scored both times; a rate without any change still gets an interval."""
    both = [(float(old), float(new)) for old, new in pairs if old is not None and new is not None]
    if not both:
        return {"n_pairs": 0, "difference": None, "low": None, "high": None}
    if is_rate:
        difference, low, high = adjusted_difference([new - old for old, new in both])
    else:
        difference, low, high = paired_bootstrap([old for old, _ in both], [new for _, new in both])
    return {"n_pairs": len(both), "difference": difference, "low": low, "high": high}
