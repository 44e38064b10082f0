"""Before -> after on every probe set, of a run and over the seeds of a configuration (docs/reading_the_report.md).

Rates, means and paired differences with their intervals, as plain values and as a reader sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from cada_trl.numbers import ABSENT, POINTS, RATE, REWARD, SCORE, Cell, Scale
from cada_trl.records import Verdict
from cada_trl.report.names import SETS, measure_label, measures, pooled_note
from cada_trl.report.run_record import UNKNOWN, ProbeRow, RunRecord
from cada_trl.statistics.intervals import Rate, adjusted_mean
from cada_trl.statistics.seeds import UNBOUNDED, PooledSpread, pooled_spread
from cada_trl.storage.digest import are_alike, inputs_of
from cada_trl.tracking.metrics import HARMFUL_SETS, PROBE_SETS

Ends = tuple[float, float]  # the lowest and the highest value
UNJUDGED = "reasoning_frac"  # the one measure that no judge decides
NO_PAIRS = {"n_pairs": 0, "difference": None, "low": None, "high": None}  # as _paired of none


def summarise(run: RunRecord) -> dict[str, Any]:
    """A JSON-able summary of one run; rates are fractions, absent values null.

    {"run", "config_hash", "seed", "inputs": as inputs_of, "exit_state", "n_steps", "wall_s", "judge_id", "missing",
     "reward": the table, "last_step": a line of train.jsonl,
     "probes": {set: {"before" | "after": {"asked", "scored", "coverage", "reward_mean": {...},
                                           measure: {"successes", "n", "rate", "low", "high"}},
                      "paired": {measure | "reward_mean": {"n_pairs", "difference", "low", "high"}}}}}
    """
    manifest = run.manifest
    ends = {probe_set: reward_ends(probe_set, run.config["reward"]) for probe_set in PROBE_SETS if run.config}
    return {
        "run": run.name,
        "config_hash": run.config_hash,
        "seed": run.seed,
        "inputs": inputs_of(manifest),
        "exit_state": manifest.get("exit_state"),
        "n_steps": len(run.steps),
        "wall_s": manifest.get("wall_s"),
        "judge_id": manifest.get("judge_id"),
        "missing": run.missing,
        "reward": run.config.get("reward"),
        "last_step": run.steps[-1] if run.steps else None,
        "probes": {
            probe_set: _one_set(probe_set, rows[0], rows[1], ends.get(probe_set))
            for probe_set in PROBE_SETS
            if any(rows := [[row for row in one if row.set == probe_set] for one in (run.before, run.after)])
        },
    }


def outcome(row: ProbeRow, measure: str) -> bool | None:
    """Whether a completion counts for a measure; None where the judge gave no verdict (never counted as either)."""
    if measure == UNJUDGED:
        return row.reasoned
    if row.verdict is Verdict.UNSCORED:
        return None
    refused = row.verdict is Verdict.REFUSED
    return {"answered_frac": not refused, "reasoned_refusal_frac": refused and row.reasoned}[measure]


def reward_ends(probe_set: str, table: Mapping[str, Any]) -> Ends:
    """The lowest and the highest reward that a completion of the set can have."""
    refusals, answers = ("direct_refusal", "reasoned_refusal", "complied"), ("benign_refused", "benign_answered")
    keys = refusals if probe_set in HARMFUL_SETS else (*answers, "benign_reasoned_answer")
    paid = [float(table[key]) for key in keys]
    return min(paid), max(paid)


def _one_set(probe_set: str, before: list[ProbeRow], after: list[ProbeRow], ends: Ends | None) -> dict[str, Any]:
    """ends: of the reward, which is left out without them."""
    later = {(row.request_id, row.request): row for row in after}  # a request that was reworded keeps its id
    pairs = [(row, later[key]) for row in before if (key := (row.request_id, row.request)) in later]
    rates = {one: [(outcome(old, one), outcome(new, one)) for old, new in pairs] for one in measures(probe_set)}
    return {
        "before": _one_pass(probe_set, before, ends),
        "after": _one_pass(probe_set, after, ends),
        "paired": {
            **{measure: _paired(known, (0.0, 1.0)) for measure, known in rates.items()},
            "reward_mean": _paired([(old.reward, new.reward) for old, new in pairs if ends], ends or (0.0, 0.0)),
        },
    }


def _one_pass(probe_set: str, rows: list[ProbeRow], ends: Ends | None) -> dict[str, Any] | None:
    if not rows:
        return None
    scored = sum(row.verdict is not Verdict.UNSCORED for row in rows)
    rewards = [row.reward for row in rows if row.reward is not None]
    mean, low, high = adjusted_mean(rewards, ends) if rewards and ends else (None, None, None)
    return {
        **{"asked": len(rows), "scored": scored, "coverage": scored / len(rows)},
        **{measure: rate_of(rows, measure) for measure in measures(probe_set)},
        "reward_mean": {"n": len(rewards), "mean": mean, "low": low, "high": high},
    }


def rate_of(rows: list[ProbeRow], measure: str) -> dict[str, Any]:
    """{"successes", "n", "rate", "low", "high"} with the Wilson 95 % interval; rate and interval null where n is 0."""
    rate = Rate.of(outcome(row, measure) for row in rows)
    value, low, high = (rate.value, *rate.interval) if rate.n else (None, None, None)
    return {"successes": rate.successes, "n": rate.n, "rate": value, "low": low, "high": high}


def _paired(pairs: Sequence[tuple[float | None, float | None]], ends: Ends) -> dict[str, Any]:
    """After - before, of values in [ends], over the requests scored both times; no change still gets an interval."""
    differences = [float(new) - float(old) for old, new in pairs if old is not None and new is not None]
    most = ends[1] - ends[0]
    value, low, high = adjusted_mean(differences, (-most, most)) if differences else (None, None, None)
    return {"n_pairs": len(differences), "difference": value, "low": low, "high": high}


def across_runs(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a configuration (config hash), in the order given.

    {"config_hash", "runs": [...], "seeds": [...],
     "rows": [{"set", "measure", "stage": "before" | "after" | "difference",
               "per_run": [fraction | None], "n_runs", "mean", "sd", "low", "high", "borrowed", "pooled"}]}
    sd is the sample's (n - 1), None below two runs. Runs of different configurations are never averaged, nor are those
    of one that is not known, has a seed twice or had other inputs: each of these is an entry. The variance over seeds
    is pooled (`pooled`: as PooledSpread) and gives the mean's 95 % interval for further seeds on these requests, where
    there are seeds enough. borrowed: of one run. Before training there are no seeds, and no interval. Nor is there one
    of rewards by different tables, which have no scale in common.
    """
    by_config: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        by_config.setdefault(summary["config_hash"], []).append(summary)
    groups = [group for own in by_config.values() for group in ([own] if _are_seeds(own) else [[one] for one in own])]
    values = [_per_run(group) for group in groups]
    keys = dict.fromkeys(key for own in values for key in own)
    one_table = all(summary.get("reward") == summaries[0].get("reward") for summary in summaries)
    pools = {}
    for key in keys:
        pooled = values if one_table or key[1] != "reward_mean" else []
        pools[key] = pooled_spread([_known(own[key]) for own in pooled if key in own])
    return [
        {
            "config_hash": group[0]["config_hash"],
            "runs": [summary["run"] for summary in group],
            "seeds": [summary["seed"] for summary in group],
            "rows": [_row(*key, per_run, pools[key]) for key, per_run in own.items()],
        }
        for group, own in zip(groups, values, strict=True)
    ]


def _are_seeds(group: list[dict[str, Any]]) -> bool:
    """One seed twice would count as two, and runs whose configuration is not known may be of several; a file that was
    edited between two runs keeps its name in the configuration."""
    several = len({summary["seed"] for summary in group}) == len(group)
    return group[0]["config_hash"] != UNKNOWN and several and are_alike([summary["inputs"] for summary in group])


def seeds_note(groups: Sequence[dict[str, Any]]) -> str:
    """How the intervals were pooled, or why there are none; nothing where no configuration has two runs."""
    spreads = {
        f"{SETS[row['set']]}, {measure_label(row['set'], row['measure'])}": PooledSpread(**row["pooled"])
        for group in groups
        for row in group["rows"]
        if row["stage"] == "after" and row["pooled"]["df"]
    }
    note = pooled_note(list(spreads.items())) if spreads else ""
    return f"{note} The requests are taken as they are." if note else ""


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _per_run(group: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[float | None]]:
    """(set, measure, stage) -> the value of each run."""
    found: dict[tuple[str, str, str], list[float | None]] = {}
    for probe_set in PROBE_SETS:
        probes = [summary["probes"].get(probe_set) or {} for summary in group]
        for measure in next((probe["paired"] for probe in probes if probe), ()):
            for stage in ("before", "after", "difference"):
                name = "mean" if measure == "reward_mean" else "rate"
                place, number = ("paired", stage) if stage == "difference" else (stage, name)
                numbers = [(probe.get(place) or {}).get(measure) or {} for probe in probes]
                found[probe_set, measure, stage] = [one.get(number) for one in numbers]
    return found


def _row(probe_set: str, measure: str, stage: str, per_run: list[float | None], pool: PooledSpread) -> dict[str, Any]:
    known = _known(per_run)
    mean, sd = fmean(known) if known else None, stdev(known) if len(known) > 1 else None
    ends = UNBOUNDED if measure == "reward_mean" else (-1.0 if stage == "difference" else 0.0, 1.0)
    interval = None if mean is None or stage == "before" else pool.interval(mean, len(known), ends)
    low, high = interval or (None, None)
    name = {"set": probe_set, "measure": measure, "stage": stage}
    numbers = {"per_run": per_run, "n_runs": len(known), "mean": mean, "sd": sd, "low": low, "high": high}
    borrowed = interval is not None and len(known) == 1
    return name | numbers | {"borrowed": borrowed, "pooled": asdict(pool)}


def stage_cell(one_pass: dict[str, Any] | None, measure: str) -> Cell:
    """`42.0 % (29.4 to 55.8; 21/50)`, of the reward `+0.42 (+0.31 to +0.53; n 50)`. one_pass: "before" or "after"."""
    if one_pass is None:
        return ABSENT
    numbers = one_pass[measure]
    if measure == "reward_mean":
        return REWARD.cell(numbers["mean"], numbers["low"], numbers["high"], f"n {numbers['n']}")
    return RATE.cell(numbers["rate"], numbers["low"], numbers["high"], f"{numbers['successes']}/{numbers['n']}")


def paired_cell(paired: dict[str, Any], measure: str) -> Cell:
    """`+12.0 points (+3.1 to +20.9; 50 pairs)`."""
    scale = REWARD if measure == "reward_mean" else POINTS
    return scale.cell(paired["difference"], paired["low"], paired["high"], f"{paired['n_pairs']} pairs")


def over_seeds_text(row: dict[str, Any]) -> str:
    """`60.0 to 80.0`, `60.0 to 80.0, borrowed`: the mean's 95 % interval; without one `seeds 68.0 to 71.0`."""
    scale = seeds_scale(row)
    if row["low"] is not None:
        return scale.span(row["low"], row["high"]) + (", borrowed" if row["borrowed"] else "")
    known = _known(row["per_run"])
    return f"seeds {scale.span(min(known), max(known))}" if len(known) > 1 else ABSENT.value


def seeds_scale(row: dict[str, Any], is_sd: bool = False) -> Scale:
    """How the values of a row of across_runs are written; a deviation has no sign."""
    if row["measure"] == "reward_mean":
        return SCORE if is_sd else REWARD
    return POINTS if row["stage"] == "difference" and not is_sd else RATE
