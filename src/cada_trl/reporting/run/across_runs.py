"""Several run folders: mean, deviation and interval over the seeds of each configuration, beside every single run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cada_trl.reporting.pooled_words import pooled_note
from cada_trl.reporting.run.labels import SETS, measure_label
from cada_trl.statistics import UNBOUNDED, PooledSpread, pooled_spread
from cada_trl.tracking.metrics import PROBE_SETS


def across_runs(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a configuration (config hash), in the order given.

    {"config_hash", "runs": [...], "seeds": [...],
     "rows": [{"set", "measure", "stage": "before" | "after" | "difference",
               "per_run": [fraction | None], "n_runs", "mean", "sd", "low", "high", "borrowed", "pooled"}]}
    sd is the sample's (n - 1), None below two runs. Runs of different configurations are never averaged; the variance
    over their seeds is pooled (`pooled`: as PooledSpread) and gives the mean's 95 % interval for further seeds on these
    requests, where there are seeds enough. borrowed: of one run. Before training there are no seeds, and no interval.
    """
    by_config: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        by_config.setdefault(summary["config_hash"], []).append(summary)
    groups = [
        {
            "config_hash": config_hash,
            "runs": [summary["run"] for summary in group],
            "seeds": [summary["seed"] for summary in group],
            "rows": _rows(group),
        }
        for config_hash, group in by_config.items()
    ]
    _add_intervals([row for group in groups for row in group["rows"]])
    return groups


def seeds_note(groups: Sequence[dict[str, Any]]) -> str:
    """How the intervals were pooled, or why there are none; nothing where no configuration has two runs."""
    spreads = {
        f"{SETS[row['set']]}, {measure_label(row['set'], row['measure'])}": PooledSpread(**row["pooled"])
        for group in groups
        for row in group["rows"]
        if row["stage"] == "after"
    }
    note = pooled_note(list(spreads.items())) if spreads else ""
    return f"{note} The requests are taken as they are." if note else ""


def _add_intervals(rows: list[dict[str, Any]]) -> None:
    """Rows of one set, measure and stage, of all configurations, share a pool."""
    by_name: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault((row["set"], row["measure"], row["stage"]), []).append(row)
    for (_, measure, stage), own in by_name.items():
        pool = pooled_spread([_known(row) for row in own])
        rate = (-1.0, 1.0) if stage == "difference" else (0.0, 1.0)
        ends = UNBOUNDED if measure == "reward_mean" else rate
        for row in own:
            given = row["n_runs"] > 0 and stage != "before"
            interval = pool.interval(row["mean"], row["n_runs"], ends) if given else None
            row["low"], row["high"] = interval or (None, None)
            row["borrowed"] = interval is not None and row["n_runs"] == 1
            row["pooled"] = asdict(pool)


def _known(row: dict[str, Any]) -> list[float]:
    return [value for value in row["per_run"] if value is not None]


def _rows(group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for probe_set in PROBE_SETS:
        probes = [summary["probes"].get(probe_set) for summary in group]
        present = [probe for probe in probes if probe]
        for measure in present[0]["paired"] if present else []:
            for stage in ("before", "after", "difference"):
                values = [_value(probe, measure, stage) for probe in probes]
                rows.append(
                    {"set": probe_set, "measure": measure, "stage": stage, "per_run": values, **_mean_sd(values)}
                )
    return rows


def _value(probe: dict[str, Any] | None, measure: str, stage: str) -> float | None:
    if probe is None:
        return None
    if stage == "difference":
        return probe["paired"][measure]["difference"]  # type: ignore[no-any-return]
    found = (probe[stage] or {}).get(measure, {})
    return found.get("mean" if measure == "reward_mean" else "rate")  # type: ignore[no-any-return]


def _mean_sd(values: list[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "n_runs": len(known),
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
    }
