"""What was run, what was not, and how far the judge can be trusted: the sentences around the numbers."""

from __future__ import annotations

from typing import Any

from cada_trl.reporting.run.data_funnel import unchecked_overlap
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.tracking.metrics import PROBE_SETS
from cada_trl.tracking.progress import duration
from cada_trl.training.targets import in_words


def run_facts(run: RunRecord) -> dict[str, str]:
    """Label -> value for the head of the report; what the folder does not say reads unknown."""
    manifest, machine = run.manifest, run.manifest.get("machine") or {}
    git = manifest.get("git")
    wall = manifest.get("wall_s")
    devices = (
        ", ".join(machine.get("gpus") or []) or f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores"
    )
    return {
        "Model": _of(run, "model", "name", "path"),
        "Data": f"{_of(run, 'data', 'dataset', 'sampling')} (hash {manifest.get('data_hash', 'unknown')})",
        "Method": _of(run, "algo", "method"),
        **({"Targets": in_words(manifest["targets"])} if manifest.get("targets") else {}),
        "Prompt of the rollouts": _of(run, "prompt", "arm", "cases_as"),
        "Learned on": _of(run, "algo", "learn_on"),
        "Baseline and KL": _of(run, "algo", "baseline", "kl", "kl_in", "beta_kl"),
        "Learning rate": _of(run, "algo", "lr"),
        "Requests a step, rollouts a request": _of(run, "algo", "requests_per_step", "rollouts_per_request"),
        "Steps done": str(run.steps[-1]["step"]) if run.steps else "0",
        "Seed": str(run.seed),
        "Config hash": run.config_hash,
        "State": str(manifest.get("exit_state") or "unknown"),
        "Wall time": duration(wall) if isinstance(wall, int | float) else "unknown",
        "Started (UTC)": str(manifest.get("started_utc") or "unknown")[:16].replace("T", " "),
        "Commit": f"{git['commit'][:10]}{' with local changes' if git['dirty'] else ''}" if git else "outside git",
        "Machine": devices,
    }


def judge_note(summary: dict[str, Any]) -> str:
    """Who judged, and the warning that a policy may have learned its own judge (design: What is easy to get wrong)."""
    reward, probe = summary["judge_id"], summary["probe_judge_id"]
    if reward is None or probe is None:
        return "The manifest does not name the judge: read every verdict below as unverified."
    if reward != probe:
        return f"The reward was paid by the judge {reward}; the probes below were judged by another one, {probe}."
    return (
        f"Warning: the judge {reward} paid the reward and also judged the probes below. A policy can learn what its "
        "judge looks for, so a gain here is not yet evidence of safety: judge the completions again with another judge."
    )


def tripped(run: RunRecord) -> list[str]:
    """A sentence for each time that a tripwire tripped (docs/tripwires.md)."""
    return [
        f"{row['wire']} ({row['action']}) at step {row['step']}, {row['name']}: {row['seen']}" for row in run.tripwires
    ]


def not_run(run: RunRecord, summary: dict[str, Any], n_seeds: int) -> list[str]:
    """Sentences on what this report cannot say."""
    sentences = list(run.missing)
    overlap = unchecked_overlap(run.manifest.get("data") or {})
    if overlap:
        sentences.append(overlap)
    absent = [name for name in PROBE_SETS if name not in summary["probes"]]
    if absent:
        sentences.append(f"No probe on: {', '.join(absent)}.")
    sentences.append(
        "The probes are no benchmark: attacks, over-refusal and utility are measured by python -m cada_trl.evaluate "
        "and python -m cada_trl.utility."
    )
    if n_seeds == 1:
        sentences.append("One seed only: the intervals cover the choice of requests, not the training's own noise.")
    return sentences


def _of(run: RunRecord, section: str, *keys: str) -> str:
    values = run.config.get(section) or {}
    return ", ".join(str(values.get(key, "unknown")) for key in keys)
