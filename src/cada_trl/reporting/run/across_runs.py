"""Several run folders: mean and standard deviation over the seeds of each configuration, beside every single run."""

from __future__ import annotations

import statistics
from typing import Any

from cada_trl.tracking.metrics import PROBE_SETS


def across_runs(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a configuration (config hash), in the order given.

    {"config_hash", "runs": [...], "seeds": [...],
     "rows": [{"set", "measure", "stage": "before" | "after" | "difference",
               "per_run": [fraction | None], "n_runs", "mean", "sd"}]}
    sd is the sample's (n - 1), None below two runs. Runs of different configurations are never averaged.
    """
    by_config: dict[str, list[dict[str, Any]]] = {}
    for summary in summaries:
        by_config.setdefault(summary["config_hash"], []).append(summary)
    return [
        {
            "config_hash": config_hash,
            "runs": [summary["run"] for summary in group],
            "seeds": [summary["seed"] for summary in group],
            "rows": _rows(group),
        }
        for config_hash, group in by_config.items()
    ]


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
